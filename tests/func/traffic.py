"""Mixed requests at a steady rate whatever the answers do, from a process of its own: each is due at its instant, waits for nobody, and
takes another connection when all are busy. For every one that was not answered with 200, or late, a line of JSON on standard output;
five times a second one with what was counted so far; and a last one with "done" once standard input has ended and all are answered.

Usage: traffic.py PORT CA-FILE HOST RATE SLOW-MS"""
import asyncio
import collections
import json
import os
import ssl
import sys
import time

import hpack

import h2raw

LIMIT_S = 30.0
LATE_S = 0.5  # over what a request takes by itself
TICK_S = 0.005
H2_CONNECTIONS = 4
H1_CONNECTIONS = 2000

Kind = collections.namedtuple("Kind", "name share h2 method path body normal_s repeatable")


def kinds(slow_ms):
    """Shares are of a thousand. What has an effect is known to the app by its number, and said there; content above 64 KiB is not kept
    for a second attempt, so that one may fail when its replica does."""
    slow = f"/slow?ms={slow_ms}"
    return (
        Kind("get-h1", 430, False, "GET", "/", b"", 0.0, True),
        Kind("get-h2", 430, True, "GET", "/", b"", 0.0, True),
        Kind("slow-h1", 10, False, "GET", slow, b"", slow_ms / 1000, True),
        Kind("slow-h2", 10, True, "GET", slow, b"", slow_ms / 1000, True),
        Kind("upload", 15, False, "PUT", "/upload", b"u" * 30000, 0.0, True),
        Kind("upload-big", 5, False, "POST", "/upload", b"u" * 300000, 0.0, False),
        Kind("effect-h1", 50, False, "POST", "/say?effect-", b"x" * 100, 0.0, False),
        Kind("effect-h2", 50, True, "POST", "/say?effect-", b"x" * 100, 0.0, False),
    )


class Request:
    """One request; ends once, in done()."""

    def __init__(self, traffic, kind):
        self.traffic, self.kind, self.began, self.over = traffic, kind, time.monotonic(), False
        self.path = kind.path
        if kind.path.endswith("-"):
            traffic.effects += 1
            self.path += f"{os.getpid()}-{traffic.effects}"

    def done(self, status, why=""):
        if self.over:
            return
        self.over = True
        took = time.monotonic() - self.began
        kind = self.kind
        self.traffic.open.discard(self)
        self.traffic.counts[kind.name] += 1
        if status != 200 or took - kind.normal_s > LATE_S:
            say(bad=status != 200, kind=kind.name, path=self.path, status=status, why=why, at=self.began, over_s=round(took - kind.normal_s, 3),
                repeatable=kind.repeatable)


def say(**kw):
    sys.stdout.write(json.dumps(kw) + "\n")
    sys.stdout.flush()


class H1(asyncio.Protocol):
    """A keep-alive connection: one request at a time."""

    def __init__(self, traffic):
        self.traffic, self.request, self.got, self.need = traffic, None, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def send(self, r):
        self.request, self.got, self.need = r, b"", None
        head = f"{r.kind.method} {r.path} HTTP/1.1\r\nHost: {self.traffic.host}\r\n"
        if r.kind.name == "upload-big":
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(r.kind.body), r.kind.body)
            head += "Transfer-Encoding: chunked\r\n"
        else:
            body = r.kind.body
            head += f"Content-Length: {len(body)}\r\n" if body else ""
        self.transport.write(head.encode() + b"\r\n" + body)

    def data_received(self, data):
        self.got += data
        if self.need is None:
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = self.got[:end].lower()
            length = self.head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self.need = end + 4 + int(length or 0)
        if len(self.got) < self.need or not self.request:
            return
        r, self.request = self.request, None
        status = int(self.head.split(b" ", 2)[1])
        r.done(status, "" if status == 200 else self.got[:1000].decode("latin-1"))
        # An answer that comes before the content has left ends the connection too.
        if b"connection: close" in self.head or status != 200:
            self.transport.close()
        else:
            self.traffic.idle.append(self)

    def connection_lost(self, exc):
        self.traffic.h1_count -= 1
        if self in self.traffic.idle:
            self.traffic.idle.remove(self)
        if self.request:
            self.request.done(0, f"connection lost after {len(self.got)} bytes: {exc!r}")


class H2(asyncio.Protocol):
    """Many requests at once. No dynamic table, so that each header block stands for itself."""

    def __init__(self, traffic):
        self.traffic, self.streams, self.next, self.got, self.going = traffic, {}, 1, b"", False
        self.window, self.max_streams = 65535, 100
        self.common = h2raw.block((":scheme", "https"), (":authority", traffic.host))

    def connection_made(self, transport):
        self.transport = transport
        transport.write(h2raw.PREFACE + h2raw.settings((h2raw.HEADER_TABLE_SIZE, 0), (h2raw.INITIAL_WINDOW_SIZE, 1 << 20)) +
                        h2raw.window_update(0, 1 << 30))

    def takes(self):
        return not self.going and len(self.streams) < self.max_streams and self.window > 1000

    def send(self, r):
        stream, self.next = self.next, self.next + 2
        self.streams[stream] = [r, None]
        body = r.kind.body
        block = h2raw.block((":method", r.kind.method), (":path", r.path)) + self.common
        out = h2raw.headers(stream, block, end=not body)
        if body:
            self.window -= len(body)
            out += h2raw.data(stream, body, end=True)
        self.transport.write(out)

    def data_received(self, data):
        self.got += data
        at = 0
        while len(self.got) - at >= 9:
            n = int.from_bytes(self.got[at:at + 3], "big")
            if len(self.got) - at < 9 + n:
                break
            kind, flags, stream = self.got[at + 3], self.got[at + 4], int.from_bytes(self.got[at + 5:at + 9], "big") & 0x7fffffff
            self.frame(kind, flags, stream, self.got[at + 9:at + 9 + n])
            at += 9 + n
        self.got = self.got[at:]

    def frame(self, kind, flags, stream, payload):
        if kind == h2raw.HEADERS and stream in self.streams and self.streams[stream][1] is None:
            self.streams[stream][1] = 200 if payload[:1] == b"\x88" else int(dict(hpack.Decoder().decode(payload))[":status"])
        if kind in (h2raw.HEADERS, h2raw.DATA) and flags & h2raw.END_STREAM:
            if stream in self.streams:
                r, status = self.streams.pop(stream)
                r.done(status, payload[:200].decode("latin-1") if status != 200 else "")
        elif kind == h2raw.RST_STREAM and stream in self.streams:
            r, _ = self.streams.pop(stream)
            code = int.from_bytes(payload, "big")
            if h2raw.ERRORS[code] == "REFUSED_STREAM":
                self.traffic.send_h2(r)
            else:
                r.done(0, f"RST_STREAM {h2raw.ERRORS[code]}")
        elif kind == h2raw.GOAWAY:
            self.going = True
            last = int.from_bytes(payload[:4], "big") & 0x7fffffff
            for n in [n for n in self.streams if n > last]:
                self.traffic.send_h2(self.streams.pop(n)[0])
        elif kind == h2raw.SETTINGS and not flags & h2raw.ACK:
            for at in range(0, len(payload), 6):
                if int.from_bytes(payload[at:at + 2], "big") == h2raw.MAX_CONCURRENT_STREAMS:
                    self.max_streams = int.from_bytes(payload[at + 2:at + 6], "big")
            self.transport.write(h2raw.settings(ack=True))
        elif kind == h2raw.PING and not flags & h2raw.ACK:
            self.transport.write(h2raw.ping(payload, ack=True))
        elif kind == h2raw.WINDOW_UPDATE and not stream:
            self.window += int.from_bytes(payload, "big")
        if self.going and not self.streams:
            self.transport.close()

    def connection_lost(self, exc):
        self.going = True
        for r, _ in self.streams.values():
            r.done(0, f"HTTP/2 connection lost: {exc!r}")
        self.streams = {}


class Traffic:
    def __init__(self, port, ca, host, rate, slow_ms):
        self.port, self.host, self.rate, self.kinds = port, host, rate, kinds(slow_ms)
        self.counts, self.open, self.effects = collections.Counter(), set(), 0
        self.idle, self.h1_count, self.h2, self.waiting = [], 0, [], collections.deque()
        self.contexts = {}
        for protocol in ("http/1.1", "h2"):
            self.contexts[protocol] = ssl.create_default_context(cafile=ca)
            self.contexts[protocol].set_alpn_protocols([protocol])

    async def connect(self, protocol, factory):
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: factory(self), "127.0.0.1", self.port, ssl=self.contexts[protocol],
                                             server_hostname=self.host))[1]

    async def send_on_new_h1(self, r):
        self.h1_count += 1
        try:
            (await self.connect("http/1.1", H1)).send(r)
        except OSError as e:
            self.h1_count -= 1
            r.done(0, f"connect: {e!r}")

    def send_h2(self, r):
        """On the connection with the least in hand; all lost or full: when one is there again."""
        able = [c for c in self.h2 if c.takes()]
        if able:
            min(able, key=lambda c: len(c.streams)).send(r)
        else:
            self.waiting.append(r)

    async def keep_h2(self):
        while True:
            self.h2 = [c for c in self.h2 if not c.going]
            full = self.waiting and not [c for c in self.h2 if c.takes()]
            if len(self.h2) < H2_CONNECTIONS or (full and len(self.h2) < 10 * H2_CONNECTIONS):
                try:
                    self.h2.append(await self.connect("h2", H2))
                except OSError as e:
                    for r in self.waiting:
                        r.done(0, f"connect: {e!r}")
                    self.waiting.clear()
            while self.waiting and [c for c in self.h2 if c.takes()]:
                self.send_h2(self.waiting.popleft())
            await asyncio.sleep(TICK_S)

    def begin(self, kind):
        r = Request(self, kind)
        self.open.add(r)
        if kind.h2:
            self.send_h2(r)
        elif self.idle:
            self.idle.pop().send(r)
        elif self.h1_count < H1_CONNECTIONS:
            asyncio.ensure_future(self.send_on_new_h1(r))
        else:
            r.done(0, "too many connections are busy")

    def expire(self, now):
        for r in [r for r in self.open if now - r.began > LIMIT_S]:
            r.done(0, f"no answer within {LIMIT_S} s")

    def tell(self, **more):
        say(counts=self.counts, open=len(self.open), effects=self.effects, at=time.monotonic(), **more)

    async def run(self):
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(0, lambda: sys.stdin.buffer.read1(1) or ended.set())
        keeper = asyncio.ensure_future(self.keep_h2())
        due = [0.5 * k / len(self.kinds) for k in range(len(self.kinds))]
        last = told = time.monotonic()
        while not ended.is_set():
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            # Who was kept from running does not make up for all of it at once.
            step, last = min(now - last, 0.1), now
            for k, kind in enumerate(self.kinds):
                due[k] += step * self.rate * kind.share / 1000
                while due[k] >= 1:
                    due[k] -= 1
                    self.begin(kind)
            if now - told > 0.2:
                told = now
                self.expire(now)
                self.tell()
        while self.open:
            await asyncio.sleep(0.02)
            self.expire(time.monotonic())
        keeper.cancel()
        self.tell(done=True)


if __name__ == "__main__":
    asyncio.run(Traffic(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])).run())
