"""Sieges: attackers as processes that end by themselves, a good client beside them, and what must hold for as long as it lasts: no
request of the good client fails, its p99 stays under a second, and the server stays within 64 KiB for each connection it may have."""
import contextlib
import http.client
import math
import multiprocessing
import select
import socket
import ssl
import time

from conftest import SANITIZED, Cluster, SampleApp

HOST = "hostile.example.test"
GOOD_HOST = "good.example.test"  # an app of its own: what the attackers make theirs do is not what is measured
BYTES_PER_CONNECTION = 64 << 10
FORK = multiprocessing.get_context("fork")


class Target:
    """What an attacker must know; <until> is when it has to end, <source> the address it comes from."""

    def __init__(self, cluster, seconds, source):
        self.http_port, self.https_port, self.ca = cluster.http_port, cluster.https_port, cluster.ca
        self.seconds, self.source, self.until = seconds, source, None

    def over(self):
        return time.monotonic() >= self.until

    def tcp(self, tls_port=True, receive_buffer=None):
        s = socket.socket()
        try:
            if receive_buffer:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.settimeout(10)
            s.bind((self.source, 0))
            s.connect(("127.0.0.1", self.https_port if tls_port else self.http_port))
        except BaseException:
            s.close()
            raise
        return s

    def tls(self, alpn=None, **kw):
        s = self.tcp(**kw)
        ctx = ssl.create_default_context(cafile=self.ca)
        if alpn:
            ctx.set_alpn_protocols([alpn])
        try:
            return ctx.wrap_socket(s, server_hostname=HOST)
        except BaseException:
            s.close()
            raise


class Crowd:
    """Connections of one attacker that it keeps open as long as the server lets it; counts what becomes of them."""

    def __init__(self, target, size, opener):
        self.target, self.opener, self.born, self.turns = target, opener, {}, {}
        self.seen = {"opened": 0, "refused": 0, "cut": 0, "longest_ms": 0, "answers": 0}
        for _ in range(size):
            self.add()

    def add(self):
        try:
            s = self.opener()
        except (OSError, ssl.SSLError):
            self.seen["refused"] += 1
            return False
        s.setblocking(False)
        self.born[s], self.turns[s] = time.monotonic(), 0
        self.seen["opened"] += 1
        return True

    def lost(self, s):
        age = (time.monotonic() - self.born.pop(s)) * 1000
        self.seen["cut"] += 1
        self.seen["longest_ms"] = max(self.seen["longest_ms"], int(age))
        s.close()

    def lives(self, s):
        """Has the server reset or closed it? Without reading: what is there may wait for ever."""
        p = select.poll()
        p.register(s, select.POLLRDHUP)
        if p.poll(0):
            self.lost(s)
            return False
        return True

    def send(self, s, data):
        """False when the connection is gone."""
        try:
            s.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            pass
        except (OSError, ssl.SSLError):
            self.lost(s)
            return False
        return True

    def receive(self, s, most=65536):
        """Looks at what the server said; False when the connection is gone."""
        try:
            got = s.recv(most)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return True
        except (OSError, ssl.SSLError):
            got = b""
        if not got:
            self.lost(s)
            return False
        self.seen["answers"] += got.startswith(b"HTTP/1.1 ")
        return True

    def close(self):
        """The age of those that still live counts too."""
        for s, born in self.born.items():
            self.seen["longest_ms"] = max(self.seen["longest_ms"], int((time.monotonic() - born) * 1000))
            s.close()
        return {**self.seen, "left": len(self.born)}


def trickle(target, size, opener, piece, every_s, read=65536):
    """Each connection sends <piece> (bytes, or a function of how many went before on it) now and then and reads at most <read> bytes,
    as long as it lives; then another takes its place."""
    crowd = Crowd(target, size, opener)
    while not target.over():
        for s in list(crowd.born):
            data = piece(crowd.turns[s]) if callable(piece) else piece
            crowd.turns[s] += 1
            if (not data or crowd.send(s, data)) and crowd.lives(s) and read:
                crowd.receive(s, read)
        for _ in range(size - len(crowd.born)):
            if target.over() or not crowd.add():
                break
        time.sleep(every_s)
    return crowd.close()


def pump(s, blocks, until, gap_s=0.0):
    """Sends as fast as the server takes it, while reading nothing; how many bytes it took before it cut us or time was over."""
    sent, s = 0, s
    s.settimeout(0.2)
    for block in blocks:
        while block:
            if time.monotonic() >= until:
                return sent, False
            try:
                n = s.send(block)
            except (socket.timeout, TimeoutError, ssl.SSLWantWriteError):
                continue
            except (OSError, ssl.SSLError):
                return sent, True
            sent, block = sent + n, block[n:]
        if gap_s:
            time.sleep(gap_s)
    return sent, False


# --- the good client ---

def _good(cluster, stop, out):
    """Two requests in three over one connection, one in three over a new one; one answer in five is large."""
    took, bad, kept = [], [], None
    ctx = ssl.create_default_context(cafile=cluster.ca)

    def connect():
        c = http.client.HTTPSConnection("127.0.0.1", cluster.https_port, timeout=20, context=ctx)
        raw = socket.create_connection(("127.0.0.1", cluster.https_port), 20)
        c.sock = ctx.wrap_socket(raw, server_hostname=GOOD_HOST)
        return c

    def ask(c, n):
        large = n % 5 == 4
        c.request("GET", "/big?bytes=200000" if large else "/json", headers={"Host": GOOD_HOST})
        r = c.getresponse()
        body = r.read()
        if r.status != 200 or not body or large and len(body) != 200000:
            bad.append((r.status, len(body), body[:100]))
        return r.will_close

    n = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            if n % 3 == 0:
                with contextlib.closing(connect()) as c:
                    ask(c, n)
            else:
                kept = kept or connect()
                if ask(kept, n):
                    kept = None
        except (OSError, http.client.HTTPException) as e:
            bad.append((repr(e), round(time.monotonic() - began, 3)))
            kept = None
        took.append(time.monotonic() - began)
        n += 1
        out.send((took[-1], bad[-1] if bad else None))
        time.sleep(0.005)
    out.send(None)


def _attack(fn, target, args, out):
    target.until = time.monotonic() + target.seconds
    try:
        out.send(fn(target, *args))
    except Exception as e:  # its place is the test's report, not a lost process
        out.send({"error": repr(e)})


class Siege:
    """with Siege(front, 3) as s: s.attack(fn, …) – runs the attackers at the end of the block, then checks."""

    def __init__(self, front, seconds=3.0):
        self.front, self.seconds, self.attackers = front, seconds, []

    def attack(self, fn, *args, source="127.66.0.1", n=1, name=""):
        """fn(target, *args) → {what: number}, in a process of its own, <n> times; added up in <sums>, and by name in <of>."""
        for _ in range(n):
            self.attackers.append((fn, Target(self.front, self.seconds, source), args, name))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._run()
            self._check()

    def _run(self):
        self.took, self.bad = [], []
        ours, theirs = FORK.Pipe(duplex=False)
        stop = FORK.Event()
        good = FORK.Process(target=_good, args=(self.front, stop, theirs), daemon=True)
        good.start()
        theirs.close()
        for _ in range(30):  # until pools, caches and the allocator have what ordinary traffic needs
            self._hear(ours, 10)
        self.idle, self.before = self.front.resident(), self.front.front_status()
        self.took.clear()
        self.peak, running, self.sums, self.of = self.idle, [], {}, {}
        for fn, target, args, name in self.attackers:
            reader, writer = FORK.Pipe(duplex=False)
            p = FORK.Process(target=_attack, args=(fn, target, args, writer), daemon=True)
            p.start()
            writer.close()
            running.append((p, reader, name))
        end = time.monotonic() + self.seconds + 15
        while any(p.is_alive() and not r.poll() for p, r, _ in running) and time.monotonic() < end:
            self.peak = max(self.peak, self.front.resident())
            while ours.poll():
                self._hear(ours, 1)
            time.sleep(0.01)
        self.after = self.front.front_status()
        for p, reader, name in running:
            result = reader.recv() if reader.poll(5) else {"error": "said nothing"}
            p.join(5)
            if p.is_alive():
                p.kill()
            assert "error" not in result, (name, result)
            for sums in (self.sums, self.of.setdefault(name, {})):
                for k, v in result.items():
                    sums[k] = max(sums.get(k, 0), v) if k.startswith("longest") else sums.get(k, 0) + v
        stop.set()
        while self._hear(ours, 25):
            pass
        good.join(10)

    def _hear(self, pipe, limit_s):
        assert pipe.poll(limit_s), f"the good client is stuck; {self.bad}"
        got = pipe.recv()
        if got is None:
            return False
        self.took.append(got[0])
        if got[1] and (not self.bad or self.bad[-1] != got[1]):
            self.bad.append(got[1])
        return True

    @property
    def p99(self):
        return sorted(self.took)[math.ceil(len(self.took) * 0.99) - 1]

    def counted(self, name):
        return self.after[name] - self.before[name]

    def _check(self):
        report = (f"{len(self.took)} good requests, p99 {self.p99 * 1000:.0f} ms, bad {self.bad[:5]}; resident {self.idle >> 10} KiB, "
                  f"peak {self.peak >> 10} KiB; {self.of}")
        print(report)
        assert not self.bad, report
        assert len(self.took) >= 10 and self.p99 < 1, report
        if not SANITIZED:  # there freed memory is kept for a while, and every byte has a shadow
            assert self.peak <= self.idle + BYTES_PER_CONNECTION * self.front.cap, report


class Front(Cluster):
    """A front door with a route for attackers and one for the good client, and few connections, so that a bound on each of them shows.
    Each siege has one of its own: what an earlier one left behind excuses nothing."""

    def __init__(self, directory, cap, *options):
        super().__init__(directory)
        self.cap = cap
        self.arguments = ["--docker-host", "none", "--max-connections", str(cap), "--drain-limit", "1s", *options]

    def __enter__(self):
        self.apps = contextlib.ExitStack()
        with contextlib.ExitStack() as failed:
            failed.enter_context(self.apps)
            self.start(*self.arguments)
            failed.callback(self.close)
            for host in (HOST, GOOD_HOST):
                self.run("route", "add", host, self.apps.enter_context(SampleApp(self.dir, host)).at)
            failed.pop_all()
        return self

    def __exit__(self, *_):
        with self.apps:
            self.close()

    def resident(self):
        with open(f"/proc/{self.process.popen.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * 4096

    def front_status(self):
        return self.json("status")["front"]


def groups(kinds, size):
    """The names of a table, some at a time: attackers of several kinds at once cost the suite less time than one after the other."""
    names = list(kinds)
    return [names[i:i + size] for i in range(0, len(names), size)]


def answered(s, limit_s=5.0):
    """Everything until the server closes, for a single attacker on a blocking socket."""
    out = b""
    end = time.monotonic() + limit_s
    with contextlib.suppress(OSError, ssl.SSLError):
        while time.monotonic() < end:
            if not (s.pending() if isinstance(s, ssl.SSLSocket) else 0) and not select.select([s], [], [], end - time.monotonic())[0]:
                break
            got = s.recv(65536)
            if not got:
                break
            out += got
    return out
