"""The front door in front of scripted upstreams: forwarding, retries, tunnels, error pages. Static routes, no containers."""
import contextlib
import hashlib
import os
import socket
import threading

import pytest

from conftest import poll


class Upstream:
    """A TCP server whose answer to each connection is a function (socket, request bytes)."""

    def __init__(self, answer, ip="127.0.0.1"):
        self.answer, self.requests = answer, []
        self.listener = socket.create_server((ip, 0))
        self.at = "http://%s:%d" % self.listener.getsockname()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        with contextlib.suppress(OSError), s:
            s.settimeout(20)
            while True:
                head = read_head(s)
                if head is None:
                    return
                self.requests.append(head)
                if self.answer(s, head) is False:
                    return

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def read_head(s):
    data = b""
    while b"\r\n\r\n" not in data:
        got = s.recv(1)
        if not got:
            return None
        data += got
    return data.decode("latin-1")


def ok(body=b"ok", extra=b""):
    def answer(s, head):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), extra, body))
    return answer


def field(head, name):
    return [line.split(":", 1)[1].strip() for line in head.split("\r\n")[1:] if line.lower().startswith(name.lower() + ":")]


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    from conftest import Cluster
    c = Cluster(tmp_path_factory.mktemp("front"))
    c.start("--docker-host", "none", "--access-log", str(c.dir / "access.log"))
    yield c
    c.close()


@pytest.fixture
def route(front, request):
    """route(answer, …) → (host, upstreams): a static route to scripted upstreams."""
    made = []

    def make(*answers):
        host = f"h{os.urandom(4).hex()}.example.test"
        ups = [Upstream(a) for a in answers]
        made.extend(ups)
        front.run("route", "add", host, *[u.at for u in ups])
        return host, ups

    yield make
    for u in made:
        u.close()


def test_forwarding_fields(front, route):
    host, (up,) = route(ok())
    front.get(host, headers={"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6",
                             "Connection": "X-Secret, X-Forwarded-For", "X-Secret": "1", "X-Kept": "yes", "TE": "gzip",
                             "Proxy-Authorization": "x", "Keep-Alive": "300"})
    head = up.requests[0]
    assert field(head, "Host") == [host]
    assert field(head, "X-Forwarded-For") == ["127.0.0.1"]
    assert field(head, "X-Forwarded-Proto") == ["https"]
    assert field(head, "X-Forwarded-Host") == [host]
    assert "6.6.6.6" not in head
    assert field(head, "X-Kept") == ["yes"] and field(head, "X-Request-ID")
    for gone in ("X-Secret", "Proxy-Authorization", "Keep-Alive"):
        assert field(head, gone) == [], head


def test_unknown_host_and_console(front):
    r = front.get("nobody.example.test", verify=False)
    assert r.status_code == 404


def test_plain_listener_redirects_a_routed_host(front, route):
    host, _ = route(ok())
    out = front.raw(host, f"GET /x?y=1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(), tls=False).decode()
    assert out.startswith("HTTP/1.1 308 ") and f"location: https://{host}:{front.https_port}/x?y=1" in out.lower().replace("\r", "")


def test_keep_alive_to_client_and_upstream(front, route):
    host, (up,) = route(ok())
    with front.session(host) as s:
        for _ in range(10):
            assert s.get(f"https://{host}/", timeout=10).text == "ok"
    assert len(up.requests) == 10


def test_both_endpoints_are_used(front, route):
    host, (a, b) = route(ok(b"a"), ok(b"b"))
    assert {front.get(host).text for _ in range(40)} == {"a", "b"}
    assert a.requests and b.requests


def test_head_and_bodiless_answers(front, route):
    def answer(s, head):
        status = b"204 No Content" if "/204" in head else b"304 Not Modified" if "/304" in head else b"200 OK"
        length = b"Content-Length: 5\r\n" if b"200" in status else b""
        s.sendall(b"HTTP/1.1 " + status + b"\r\n" + length + b"\r\n" + (b"" if head.startswith("HEAD") or not length else b"hello"))

    host, _ = route(answer)
    with front.session(host) as s:
        for path, status in (("/", 200), ("/204", 204), ("/304", 304)):
            r = s.head(f"https://{host}{path}", timeout=10)
            assert (r.status_code, r.content) == (status, b"")
        assert s.get(f"https://{host}/", timeout=10).content == b"hello"


def test_big_bodies_both_ways(front, route):
    size = 20 << 20

    def answer(s, head):
        left, digest = int(field(head, "Content-Length")[0]), hashlib.sha256()
        while left:
            got = s.recv(min(left, 1 << 16))
            digest.update(got)
            left -= len(got)
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Digest: %s\r\n\r\n" % digest.hexdigest().encode())
        block = bytes(range(256)) * 256
        for _ in range(size // len(block)):
            s.sendall(b"%x\r\n%s\r\n" % (len(block), block))
        s.sendall(b"0\r\n\r\n")

    host, _ = route(answer)
    data = os.urandom(size)
    with front.session(host) as s:
        r = s.post(f"https://{host}/", data=data, timeout=60)
    assert r.headers["X-Digest"] == hashlib.sha256(data).hexdigest()
    assert len(r.content) == size and hashlib.sha256(r.content).digest() == hashlib.sha256(bytes(range(256)) * (size // 256)).digest()


def test_chunked_upload_and_trailers(front, route):
    got = []

    def answer(s, head):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += s.recv(4096)
        got.append((head, data))
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    host, _ = route(answer)
    out = front.raw(host, (f"POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum\r\n"
                           "Connection: close\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n").encode())
    assert out.startswith(b"HTTP/1.1 200 ")
    head, body = got[0]
    assert field(head, "Transfer-Encoding") == ["chunked"]
    assert b"hello" in body and b" world" in body and b"X-Sum: 11" in body and b"x=y" not in body


def test_expect_continue(front, route):
    def answer(s, head):
        s.recv(5)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    host, _ = route(answer)
    with front.connect(host) as s:
        s.sendall(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode())
        assert s.recv(4096).startswith(b"HTTP/1.1 100 ")
        s.sendall(b"hello")
        assert s.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_order(front, route):
    def answer(s, head):
        body = head.split(" ")[1].encode()
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    host, _ = route(answer)
    wanted = [f"/{n}" for n in range(20)]
    data = "".join(f"GET {p} HTTP/1.1\r\nHost: {host}\r\n\r\n" for p in wanted[:-1])
    data += f"GET {wanted[-1]} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    out = front.raw(host, data.encode()).decode()
    assert [part.split("\r\n\r\n")[1] for part in out.split("HTTP/1.1 200 ")[1:]] == wanted


def test_websocket_tunnel_both_ways(front, route):
    tunnel, go = [], threading.Event()

    def answer(s, head):
        assert field(head, "Upgrade") == ["websocket"] and "upgrade" in field(head, "Connection")[0].lower()
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
        while b"more" not in b"".join(tunnel):
            tunnel.append(s.recv(4096))
        go.wait(10)
        s.sendall(b"end")
        return False

    host, _ = route(answer)
    with front.connect(host) as s:
        s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: x\r\n\r\n".encode())
        data = b""
        while b"early" not in data:
            data += s.recv(4096)
        assert data.startswith(b"HTTP/1.1 101 ")
        s.sendall(b"frames")
        poll("the upstream has them", lambda: b"frames" in b"".join(tunnel))
        s.sendall(b"more")
        poll("and more", lambda: b"framesmore" in b"".join(tunnel))
        go.set()
        while b"end" not in data:
            data += s.recv(4096)
        assert s.recv(4096) == b""


def test_event_stream_is_not_buffered(front, route):
    go = threading.Event()

    def answer(s, head):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        go.wait(10)
        s.sendall(b"data: 2\n\n")
        return False

    host, _ = route(answer)
    with front.connect(host) as s:
        s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        data = b""
        while b"data: 1" not in data:
            data += s.recv(4096)
        go.set()
        while b"data: 2" not in data:
            data += s.recv(4096)


def dead_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_dead_endpoint_costs_nothing(front):
    up = Upstream(ok())
    host = f"h{os.urandom(4).hex()}.example.test"
    front.run("route", "add", host, f"http://127.0.0.1:{dead_port()}", up.at)
    assert [front.get(host).status_code for _ in range(20)] == [200] * 20
    with front.session(host) as s:
        assert [s.post(f"https://{host}/", data=b"x" * 10, timeout=10).status_code for _ in range(20)] == [200] * 20
    up.close()


def test_error_pages(front, route):
    host = f"h{os.urandom(4).hex()}.example.test"
    front.run("route", "add", host, f"http://127.0.0.1:{dead_port()}")
    r = front.get(host, headers={"Accept": "application/json"})
    assert r.status_code in (502, 503) and r.headers["Content-Type"] == "application/problem+json"
    assert r.json()["status"] == r.status_code and r.json()["instance"]
    r = front.get(host, headers={"Accept": "text/html"})
    assert r.headers["Content-Type"].startswith("text/html") and "<html" in r.text.lower()


def test_a_lost_post_is_never_sent_twice(front, route):
    seen = []

    def cut(s, head):
        if not head.startswith("POST"):
            return ok()(s, head)
        seen.append(head)
        return False

    host, _ = route(cut, cut)
    with front.session(host) as s:
        r = s.post(f"https://{host}/", data=b"once", timeout=10)
    assert r.status_code == 502 and len(seen) == 1


def test_a_lost_get_is_sent_elsewhere(front, route):
    def cut(s, head):
        return False

    host, (bad, good) = route(cut, ok())
    assert [front.get(host).status_code for _ in range(10)] == [200] * 10
    assert bad.requests and good.requests


def test_a_truncated_answer_is_not_passed_on_as_complete(front, route):
    def short(s, head):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        return False

    host, _ = route(short)
    out = front.raw(host, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b"Content-Length: 100\r\n" in out and out.endswith(b"\r\n\r\nonly this")


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"NONSENSE\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
])
def test_a_broken_upstream_answer_is_502(front, route, answer):
    def broken(s, head):
        s.sendall(answer)
        return False

    host, _ = route(broken)
    assert front.get(host).status_code == 502


def test_one_label_wildcard_and_path_prefix(front):
    a, b, c = Upstream(ok(b"a")), Upstream(ok(b"b")), Upstream(ok(b"c"))
    base = f"w{os.urandom(4).hex()}.example.test"
    front.run("route", "add", f"*.{base}", a.at)
    front.run("route", "add", f"exact.{base}", b.at)
    front.run("route", "add", f"exact.{base}/api", c.at)
    assert front.get(f"any.{base}").text == "a"
    assert front.get(f"exact.{base}").text == "b"
    assert front.get(f"exact.{base}", "/api/x").text == "c"
    assert front.get(f"exact.{base}", "/apix").text == "b"
    assert front.get(f"two.labels.{base}", verify=False).status_code == 404
    r = front.run("route", "add", f"exact.{base}", a.at, check=False)
    assert r.returncode == 1 and f"exact.{base}" in r.stderr
    front.run("route", "rm", f"exact.{base}/api", "--yes")
    assert front.get(f"exact.{base}", "/api/x").text == "b"
    for u in (a, b, c):
        u.close()


def test_access_log(front, route):
    host, (up,) = route(ok())
    front.get(host, "/logged?x=1")
    line = poll("the line is written", lambda: [x for x in (front.dir / "access.log").read_text().splitlines() if "/logged" in x], 5)[0]
    assert host in line and "200" in line and up.at.removeprefix("http://") in line
