"""The control plane is killed, or its disk loses power, while it serves and writes. Every acknowledged write is there afterwards,
nothing that was seen is gone, containers were not touched, and the front door serves at once. KILLS and CUTS are how often."""
import http.client
import json
import os
import random
import re
import socket
import ssl
import threading
import time

from conftest import SANITIZED, TEMPS, SampleApp, docker, poll
from test_restart import started

KILLS, CUTS = int(os.environ.get("KILLS", 10)), int(os.environ.get("CUTS", 6))
SHIM = TEMPS.parent / "tests" / "preload" / "powerloss.so"
ROUTES = 1000
FIRST_BYTE_S = 5 if SANITIZED else 1    # about a tenth of a second, on a machine with nothing else to do
GONE = 1 << 30                          # the version of a route that was removed: it never comes again


class Socket(http.client.HTTPConnection):
    """The API over the unix socket."""

    def __init__(self, c):
        super().__init__("localhost", timeout=20)
        self.path = str(c.data / "temps.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self.path)

    def call(self, method, path, body=None):
        self.request(method, path, json.dumps(body) if body else None)
        r = self.getresponse()
        return r.status, json.loads(r.read() or b"{}")


def versions(api):
    """{host: the version of its target} as the API tells them."""
    return {r["host"]: int(r["targets"][0].rsplit(":", 1)[1]) for r in api.call("GET", "/api/routes")[1]["items"] if r["host"].startswith("w")}


class Writer(threading.Thread):
    """Adds routes, changes their targets from port to port, removes them; knows what it asked for and what was acknowledged."""
    number = 0  # with the thread: no two writers have a route in common

    def __init__(self, c, asked, acked):
        super().__init__(daemon=True)
        self.c, self.asked, self.acked = c, asked, acked

    def write(self, api, host, version):
        self.asked[host] = version
        body = {"host": host, "targets": [f"http://127.0.0.1:{version}"]}
        method, path = ("DELETE", f"/api/routes?host={host}") if version == GONE else ("POST" if version == 1 else "PATCH", "/api/routes")
        status, _ = api.call(method, path, None if version == GONE else body)
        if status == 503:
            raise ConnectionAbortedError    # another process takes over
        assert status // 100 == 2, (method, host, version, status)
        self.acked[host] = version

    def run(self):
        try:
            api = Socket(self.c)
            while True:
                Writer.number += 1
                host = f"w{Writer.number}-{threading.get_ident()}.example.test"
                for version in (1, 2, 3, *random.choice([(), (GONE,)])):
                    self.write(api, host, version)
        except (OSError, http.client.HTTPException, ValueError):
            pass    # it was killed


class Reader(threading.Thread):
    """What anybody could see, before it is killed."""

    def __init__(self, c):
        super().__init__(daemon=True)
        self.c, self.seen = c, {}

    def run(self):
        try:
            api = Socket(self.c)
            while True:
                self.seen.update(versions(api))
        except (OSError, http.client.HTTPException, ValueError):
            pass


def check(asked, acked, seen, api):
    now = versions(api)
    for host, version in asked.items():
        # A route that is not there was removed, if that was asked for, or never added.
        there = now.get(host, GONE if version == GONE else 0)
        assert acked.get(host, 0) <= there <= version, (host, "acknowledged", acked.get(host), "there", there, "asked", version)
        assert there >= seen.get(host, 0), (host, "was seen at", seen[host], "there", there)
    assert set(now) <= set(asked)
    # From here on that is what was asked for and acknowledged.
    for host in asked:
        asked[host] = acked[host] = now.get(host, GONE)


def first_byte(c, host):
    """Seconds until it is served through the HTTPS front door."""
    tls = ssl.create_default_context(cafile=c.ca)
    began = time.monotonic()
    while time.monotonic() - began < 20:
        try:
            with tls.wrap_socket(socket.create_connection(("127.0.0.1", c.https_port), 5), server_hostname=host) as s:
                s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                if s.recv(12).startswith(b"HTTP/1.1 200"):
                    return time.monotonic() - began
        except OSError:
            time.sleep(0.001)
    raise AssertionError(f"{host} is not served after the restart")


def add_routes(c, target):
    def add(part):
        api = Socket(c)
        for n in part:
            assert api.call("POST", "/api/routes", {"host": f"r{n}.example.test", "targets": [target]})[0] == 201
    threads = [threading.Thread(target=add, args=(range(i, ROUTES, 16),)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)


def test_killed_under_load_and_writes(cluster, tmp_path):
    c = cluster
    c.deploy("steady", replicas=2)
    containers = started(c, "sh.temps.app=steady")
    asked, acked, times, busy = {}, {}, [], 0
    with SampleApp(tmp_path) as app:
        add_routes(c, app.at)
        for n in range(KILLS):
            reader = Reader(c)
            threads = [reader, *(Writer(c, asked, acked) for _ in range(4))]
            for t in threads:
                t.start()
            status, _ = Socket(c).call("POST", "/api/apps/busy/deploy", {"image": c.image, "port": 8080, "env": {"ROUND": str(n)}})
            assert status == 202
            before = len(acked)
            poll("writes are acknowledged", lambda: len(acked) >= before + 8, 20, 0.002)
            time.sleep(random.uniform(0, 0.2))      # at any instant, that is what this is about
            c.process.kill()
            c.process.check()
            for t in threads:
                t.join(20)
            c.start_again(wait=False)
            times.append(first_byte(c, f"r{random.randrange(ROUTES)}.example.test"))
            poll("ready again", c._is_ready, 20)
            check(asked, acked, reader.seen, Socket(c))
            assert started(c, "sh.temps.app=steady") == containers, "containers were touched"
        assert len(c.json("route", "ls")["items"]) >= ROUTES
    median = sorted(times)[KILLS // 2]
    print(f"first byte with {ROUTES} routes after {KILLS} kills: median {median * 1000:.0f} ms, at most {max(times) * 1000:.0f} ms; "
          f"{len(acked)} routes written")
    assert median < FIRST_BYTE_S and max(times) < 10 * FIRST_BYTE_S
    # The deploys that it died in the middle of: the last one is carried out, and nothing of the others is left.
    poll("busy is at its last release", lambda: c.json("apps")["items"] and all(
        a["status"] == "running" for a in c.json("apps")["items"]) and {
        r["container_id"] for a in ("busy", "steady") for r in c.ready_replicas(a)} == {line.split()[0] for line in started(c)}, 60)
    assert c.get("steady.example.test").status_code == 200


def with_shim(at, data):
    asan = f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0:verify_asan_link_order=0"
    return {**{k: v for k, v in os.environ.items() if not k.startswith("TEMPS")}, "ASAN_OPTIONS": asan, "LD_PRELOAD": str(SHIM),
            "POWERLOSS_FILE": f"{data}/", "POWERLOSS_AT": str(at), "POWERLOSS_SEED": str(random.randrange(1 << 30))}


def was_cut(c):
    c.process.popen.wait(20)
    cuts = re.findall(r"powerloss: event .*", c.process.text())
    assert c.process.popen.returncode == -9 and cuts, c.process.text()[-2000:]
    return cuts[-1]


def test_power_is_lost_under_writes(new_cluster):
    c = new_cluster("--docker-host", "none")
    asked, acked = {}, {}
    for _ in range(CUTS):
        c.process.kill()
        c.start_again(env=with_shim(random.randrange(1, 120), c.data), wait=False)
        try:
            poll("it listens, or is gone", lambda: c.ready.exists() or not c.process.alive(), 20, 0.005)
            reader = Reader(c)
            threads = [reader, *(Writer(c, asked, acked) for _ in range(4))]
            for t in threads:
                t.start()
            where = was_cut(c)
        finally:
            c.process.kill()
        for t in threads:
            t.join(20)
        c.start_again()
        try:
            check(asked, acked, reader.seen, Socket(c))
        except AssertionError as e:
            raise AssertionError(f"{where}: {e}") from None


def test_power_is_lost_in_the_first_start(new_cluster):
    """Authorities, keys, the cluster's record, the admin key: begun anew or there, and a key that was told is good."""
    told = 0
    for n in range(CUTS):
        c = new_cluster(start=False)
        at = 1 + random.randrange(4) + n * 4 % 40
        log = c.dir / "serve.log"
        # The ports are the next start's as well.
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            b.bind(("127.0.0.1", 0))
            c.http_port, c.https_port = a.getsockname()[1], b.getsockname()[1]
        c.start_again("--docker-host", "none", env=with_shim(at, c.data), wait=False)
        poll("it is gone or has nothing more to write", lambda: not c.process.alive() or c.ready.exists(), 20, 0.005)
        c.process.kill()
        key = re.search(r"admin key: (\S+)", log.read_text())
        c.start_again("--docker-host", "none")
        c.ca = str(c.data / "front-ca.pem")
        c.https = f"https://127.0.0.1:{c.https_port}"
        if key:
            told += 1
            assert c.api("GET", "/api/status", key=key[1]).status_code == 200, (at, log.read_text())
        keys = re.findall(r"admin key: (\S+)", log.read_text())
        assert keys and c.api("GET", "/api/status", key=keys[-1]).status_code == 200, (at, log.read_text())
    print(f"{told} of {CUTS} had told the admin key")
