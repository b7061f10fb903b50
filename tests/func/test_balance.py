"""Which endpoint gets a request, and what becomes of those that fail: weights, sticky cookies, health checks, limits and the queue,
half-open recovery. Static routes to several small servers, no containers."""
import collections
import concurrent.futures
import contextlib
import os
import re
import socket
import threading

import pytest
import requests

from conftest import Cluster, poll
from test_front import Upstream, read_head


class Named(Upstream):
    """Answers with its name; counts what it has in hand. /health answers <health>; while <gate> is shut, answers wait."""

    def __init__(self, name, ip="127.0.0.1"):
        self.name, self.health, self.hits, self.inside, self.most = name, 200, 0, 0, 0
        self.lock, self.gate = threading.Lock(), threading.Event()
        self.gate.set()
        self.connections = []
        super().__init__(self.serve, ip)

    def _serve(self, s):
        self.connections.append(s)
        super()._serve(s)

    def serve(self, s, head):
        if head.startswith("GET /health "):
            s.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % self.health)
            return
        with self.lock:
            self.hits += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.gate.wait(20)
        with self.lock:
            self.inside -= 1
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self.name), self.name.encode()))

    def die(self):
        self.close()
        for s in self.connections:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def open_again(self):
        ip, port = self.at.removeprefix("http://").split(":")
        self.listener = socket.create_server((ip, int(port)))
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    c = Cluster(tmp_path_factory.mktemp("balance"))
    c.start("--docker-host", "none")
    yield c
    c.close()


@pytest.fixture
def route(front):
    """route(n, weights=…, policies=…) → (host, ups named a, b, c …)"""
    made = []

    def make(n, weights=(), policies=()):
        host = f"h{os.urandom(4).hex()}.example.test"
        ups = [Named("abcdef"[i]) for i in range(n)]
        targets = [b.at + (f",weight={weights[i]}" if weights else "") for i, b in enumerate(ups)]
        front.run("route", "add", host, *targets, *[a for p in policies for a in ("--policy", p)])
        made.append((host, ups))
        return host, ups

    yield make
    for host, ups in made:
        front.run("route", "rm", host, "--yes")
        for b in ups:
            b.gate.set()
            b.close()


def listed(front, host):
    return next(r for r in front.json("route", "ls")["items"] if r["host"] == host)


def endpoint(front, host, up):
    address = up.at.removeprefix("http://")
    return next(e for e in listed(front, host)["endpoints"]["items"] if e["address"] == address)


def served(front, host, n, **kw):
    """Who served each of n requests, one after the other on one connection."""
    with front.session(host) as s:
        return [s.get(f"https://{host}/", timeout=10, **kw).text for _ in range(n)]


def test_round_robin_is_exact(front, route):
    host, _ = route(3, policies=["balance=round-robin"])
    got = served(front, host, 9)
    assert got == got[:3] * 3 and sorted(got[:3]) == ["a", "b", "c"]


def test_least_connections_spares_the_slow(front, route):
    host, (a, b) = route(2, policies=["balance=least-connections"])
    a.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        stuck = [pool.submit(front.get, host) for _ in range(2)]
        poll("one is stuck at a", lambda: a.inside == 1)
        assert set(served(front, host, 20)) == {"b"}
        a.gate.set()
        assert sorted(f.result().text for f in stuck) == ["a", "b"]


def test_weights_are_shares(front, route):
    host, _ = route(3, weights=[1, 2, 4])
    assert collections.Counter(served(front, host, 70)) == {"a": 10, "b": 20, "c": 40}
    assert [e["weight"] for e in listed(front, host)["endpoints"]["items"]] == [1, 2, 4]


def test_weights_and_targets_change_without_a_cut(front, route):
    host, (a, b) = route(2)
    c = Named("c")
    try:
        a.gate.clear()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            stuck = [pool.submit(front.get, host) for _ in range(2)]
            poll("one is stuck at a", lambda: a.inside == 1)
            front.run("route", "set", host, b.at + ",weight=3", c.at)
            assert collections.Counter(served(front, host, 40)) == {"b": 30, "c": 10}
            a.gate.set()
            assert sorted(f.result().text for f in stuck) == ["a", "b"]
        poll("a is gone", lambda: listed(front, host)["endpoints"]["total"] == 2)
        front.run("route", "set", host, b.at + ",weight=0", c.at)
        assert set(served(front, host, 10)) == {"c"}
    finally:
        c.close()


@pytest.mark.parametrize("target", ["http://127.0.0.1:80,weight=1001", "http://127.0.0.1:80,weight=x", "http://127.0.0.1:80,color=red",
                                    "http://localhost:80", "http://127.0.0.1:80/"])
def test_bad_targets_are_refused(front, target):
    r = front.run("route", "add", "bad.example.test", target, check=False)
    assert r.returncode == 1 and "expected http://ADDRESS:PORT" in r.stderr
    r = front.run("route", "add", "bad.example.test", "http://127.0.0.1:80", "http://127.0.0.1:80,weight=2", check=False)
    assert r.returncode == 1 and "twice" in r.stderr


def test_sticky(front, route):
    host, ups = route(3, policies=["sticky=at"])
    with front.session(host) as s:
        first = s.get(f"https://{host}/", timeout=10)
        said = first.headers["Set-Cookie"]
        assert re.fullmatch(r"at=[0-9a-f]{16}; Path=/; HttpOnly; SameSite=Lax; Secure", said)
        for _ in range(5):
            again = s.get(f"https://{host}/", timeout=10)
            assert again.text == first.text and "Set-Cookie" not in again.headers
        # Without weight it keeps those it has.
        home = next(b for b in ups if b.name == first.text)
        front.run("route", "set", host, *[b.at + (",weight=0" if b is home else "") for b in ups])
        assert s.get(f"https://{host}/", timeout=10).text == home.name
        assert home.name not in served(front, host, 10)
        # Gone: elsewhere in the same request, and there from now on.
        home.die()
        moved = s.get(f"https://{host}/", timeout=10)
        assert moved.status_code == 200 and moved.text != home.name and "Set-Cookie" in moved.headers
        assert s.get(f"https://{host}/", timeout=10).text == moved.text
    e = listed(front, host)["endpoints"]
    assert e["sticky_hits"] >= 7 and e["sticky_misses"] == 0


def test_sticky_outlives_the_control_plane(new_cluster):
    c = new_cluster("--docker-host", "none")
    ups = [Named(n) for n in "abc"]
    c.run("route", "add", "s.example.test", *[b.at for b in ups], "--policy", "sticky=at")
    first = c.get("s.example.test")
    cookies = {"at": first.cookies["at"]}
    c.restart()
    for _ in range(4):
        r = c.get("s.example.test", cookies=cookies)
        assert r.text == first.text and "Set-Cookie" not in r.headers
    for b in ups:
        b.close()


def test_health_checks(front, route):
    host, (a, b) = route(2, policies=["health-path=/health", "health-interval=100ms", "health-fall=2", "health-rise=2"])
    poll("both are asked", lambda: all(endpoint(front, host, x)["checks_passed"] >= 2 for x in (a, b)))
    assert all("Host: %s\r\n" % host in r for r in a.requests)
    a.health = 503
    poll("a is out", lambda: endpoint(front, host, a)["state"] == "out")
    assert set(served(front, host, 10)) == {"b"}
    assert endpoint(front, host, a)["ejections"] == 1 and endpoint(front, host, b)["ejections"] == 0
    a.health = 302
    poll("a is back", lambda: endpoint(front, host, a)["state"] == "trial")
    assert set(served(front, host, 10)) == {"a", "b"}
    assert endpoint(front, host, a)["state"] == "in" and endpoint(front, host, a)["recoveries"] == 1


def test_policy_takes_checks_away(front, route):
    host, (a,) = route(1, policies=["health-path=/health", "health-interval=100ms", "health-fall=1"])
    a.health = 500
    poll("out", lambda: endpoint(front, host, a)["state"] == "out")
    assert front.get(host).status_code == 503
    front.run("route", "set", host, "--policy", "health-path=", "--policy", "health-interval=", "--policy", "health-fall=")
    poll("back by a connection alone", lambda: front.get(host).status_code == 200)


def test_dead_endpoint_costs_nothing_and_comes_back(front, route):
    host, (a, b) = route(2)
    assert set(served(front, host, 4)) == {"a", "b"}
    a.die()
    assert set(served(front, host, 20)) <= {"a", "b"}
    poll("a is out", lambda: endpoint(front, host, a)["state"] == "out")
    assert set(served(front, host, 10)) == {"b"}
    a.open_again()
    poll("a is on trial", lambda: endpoint(front, host, a)["state"] == "trial")
    assert set(served(front, host, 10)) == {"a", "b"}
    e = endpoint(front, host, a)
    assert (e["state"], e["ejections"], e["half_open"], e["recoveries"]) == ("in", 1, 1, 1)
    said = re.findall(f"upstream={host}/ endpoint={e['address']} (out|in) (.+)", front.process.text())
    assert [s for s, _ in said] == ["out", "in"] and "refused" in said[0][1]


def test_limit_and_queue(front, route):
    host, (a, b) = route(2, policies=["max-in-flight=2", "queue=5", "queue-time=10s"])
    for x in (a, b):
        x.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(front.get, host) for _ in range(9)]
        poll("four are in hand, five wait", lambda: listed(front, host)["endpoints"]["waiting"] == 5)
        refused = front.get(host)
        assert refused.status_code == 503 and refused.headers["Retry-After"]
        for x in (a, b):
            x.gate.set()
        assert [f.result().status_code for f in waiting] == [200] * 9
    assert a.most <= 2 and b.most <= 2
    e = listed(front, host)["endpoints"]
    assert (e["queued"], e["queue_refused"], e["queue_timeouts"], e["waiting"]) == (5, 1, 0, 0)


def test_queue_time(front, route):
    host, (a,) = route(1, policies=["max-in-flight=1", "queue=5", "queue-time=300ms"])
    a.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(front.get, host)
        poll("it is in hand", lambda: a.inside == 1)
        late = front.get(host)
        assert late.status_code == 503 and late.headers["Retry-After"]
        a.gate.set()
        assert first.result().status_code == 200
    assert listed(front, host)["endpoints"]["queue_timeouts"] == 1


def test_an_upgraded_connection_counts(front, route):
    """As in haproxy, nginx and Envoy: what is open there is what the endpoint has to carry."""
    host, (a,) = route(1, policies=["max-in-flight=1", "queue=5", "queue-time=5s"])

    def upgrade(s, head):
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while s.recv(100):
            pass
        return False
    a.answer = lambda s, head: upgrade(s, head) if "pgrade" in head else a.serve(s, head)
    with front.connect(host) as ws:
        ws.sendall(f"GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
        assert " 101 " in read_head(ws)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(front.get, host)
            poll("it waits", lambda: listed(front, host)["endpoints"]["waiting"] == 1)
            ws.close()
            assert waiting.result().text == "a"


def test_an_app_by_the_same_rules(module_cluster):
    """Health checks and stickiness of replicas; the domain knows, and says why one is out."""
    c = module_cluster
    c.deploy("fit", "--policy", "sticky=at", "--policy", "health-path=/health", "--policy", "health-interval=100ms",
             "--policy", "health-fall=2", host="fit.example.test")
    host = "fit.example.test"
    with c.session(host) as s:
        def who():
            return s.get(f"https://{host}/json", timeout=10).json()["replica"]
        first = who()
        assert [who() for _ in range(5)] == [first] * 5
        assert s.get(f"https://{host}/fail-health?on=1", timeout=10).status_code == 200
        sick = poll("it is out", lambda: next((r for r in c.replicas("fit") if r["reason"]), None))
        assert "health check" in sick["reason"]
        other = who()
        assert other != first and who() == other
        with requests.Session() as direct:
            direct.trust_env = False
            direct.get(f"http://{sick['address']}/fail-health?on=0", timeout=10)
        poll("it is in again", lambda: len(c.ready_replicas("fit")) == 2 and not any(r["reason"] for r in c.replicas("fit")))
        assert who() == other
