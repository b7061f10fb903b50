"""Upstreams that speak HTTP/2 in clear text to clients that speak HTTP/1.1: what passes, what is refused, how their health is checked."""
import contextlib
import os
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from conftest import poll


class Upstream:
    """Answers each request through <answer>(connection, stream id, fields, body); counts connections and keeps what came."""

    def __init__(self, answer, websockets=False):
        self.answer, self.websockets = answer, websockets
        self.requests, self.connections = [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.at = "http://%s:%d" % self.listener.getsockname()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        if self.websockets:
            c.local_settings = h2.settings.Settings(client=False, initial_values={
                h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1, h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100})
        c.initiate_connection()
        streams = {}
        with contextlib.suppress(OSError), s:
            s.sendall(c.data_to_send())
            while data := s.recv(65536):
                for e in c.receive_data(data):
                    self._take(c, e, streams)
                s.sendall(c.data_to_send())

    def _take(self, c, e, streams):
        if isinstance(e, h2.events.RequestReceived):
            fields = dict(e.headers)
            streams[e.stream_id] = [fields, b""]
            if ":protocol" in fields:
                self.requests.append(fields)
                c.send_headers(e.stream_id, [(":status", "200")])
        elif isinstance(e, h2.events.DataReceived):
            c.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            streams[e.stream_id][1] += e.data
            if ":protocol" in streams[e.stream_id][0]:
                c.send_data(e.stream_id, e.data.upper())
        elif isinstance(e, h2.events.StreamEnded):
            fields, body = streams.pop(e.stream_id)
            if ":protocol" in fields:
                c.end_stream(e.stream_id)
            else:
                self.requests.append(fields)
                self.answer(c, e.stream_id, fields, body)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def ok(c, sid, fields, body):
    c.send_headers(sid, [(":status", "200"), ("content-type", "text/plain"), ("x-length", str(len(body)))])
    c.send_data(sid, b"ok", end_stream=True)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    from conftest import Cluster
    c = Cluster(tmp_path_factory.mktemp("h2c"))
    c.start("--docker-host", "none")
    yield c
    c.close()


@pytest.fixture
def route(front):
    made = []

    def make(answer, *options, **kw):
        host = f"h{os.urandom(4).hex()}.example.test"
        up = Upstream(answer, **kw)
        made.append(up)
        front.run("route", "add", host, up.at, "--protocol", "h2c", *options)
        return host, up

    yield make
    for u in made:
        u.close()


def test_requests_and_responses(front, route):
    host, up = route(ok)
    with front.session(host) as s:
        for n in (0, 5, 100000):
            r = s.post(f"https://{host}/x?y=z", data=b"x" * n, timeout=10)
            assert (r.status_code, r.text, r.headers["x-length"]) == (200, "ok", str(n))
    assert up.connections == 1
    fields = up.requests[2]
    assert (fields[":method"], fields[":path"], fields[":authority"], fields[":scheme"]) == ("POST", "/x?y=z", host, "http")
    assert fields["content-length"] == "100000" and fields["x-forwarded-proto"] == "https" and fields["x-forwarded-for"] == "127.0.0.1"
    for gone in ("connection", "host", "transfer-encoding", "keep-alive", "te"):
        assert gone not in fields


def test_responses_of_every_shape(front, route):
    def answer(c, sid, fields, body):
        path = fields[":path"]
        if path == "/204":
            c.send_headers(sid, [(":status", "204")], end_stream=True)
        elif path == "/early":
            c.send_headers(sid, [(":status", "103"), ("link", "</a.css>")])
            ok(c, sid, fields, body)
        elif path == "/head":
            c.send_headers(sid, [(":status", "200"), ("content-length", "7")], end_stream=True)
        elif path == "/cut":
            c.send_headers(sid, [(":status", "200")])
            c.send_data(sid, b"half")
            c.reset_stream(sid, 2)
        elif path == "/reset":
            c.reset_stream(sid, 2)
        else:
            c.send_headers(sid, [(":status", "200"), ("content-length", "9")])
            c.send_data(sid, b"short", end_stream=True)

    host, up = route(answer)
    assert front.get(host, "/204").status_code == 204
    early = front.raw(host, f"GET /early HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert early.startswith(b"HTTP/1.1 103 ") and b"\r\n\r\nHTTP/1.1 200 " in early
    with front.session(host) as s:
        r = s.head(f"https://{host}/head", timeout=10)
        assert (r.status_code, r.headers["content-length"], r.content) == (200, "7", b"")
    # What is cut never looks complete.
    for path, answer in (("/cut", b"half"), ("/short", b"short")):
        got = front.raw(host, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert got.startswith(b"HTTP/1.1 200 ") and answer in got and not got.endswith(b"0\r\n\r\n")
    assert front.get(host, "/reset").status_code == 502
    assert up.connections == 1


def test_who_speaks_http1_is_told_apart(front):
    """It never sees a request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = []

        def serve():
            s, _ = listener.accept()
            with s:
                s.settimeout(10)
                seen.append(s.recv(65536))
                s.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        host = f"h{os.urandom(4).hex()}.example.test"
        front.run("route", "add", host, "http://%s:%d" % listener.getsockname(), "--protocol", "h2c")
        assert front.get(host, "/secret").status_code == 502
        assert seen[0].startswith(b"PRI * HTTP/2.0\r\n") and b"secret" not in seen[0]


UPGRADE = "GET /chat HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


def test_websockets_become_extended_connect(front, route):
    host, up = route(ok, websockets=True)
    with front.connect(host) as s:
        s.sendall((UPGRADE % host).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += s.recv(65536)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        for word in (b"hello", b"again"):
            s.sendall(word)
            assert s.recv(100) == word.upper()
    fields = up.requests[0]
    assert (fields[":method"], fields[":protocol"], fields[":path"]) == ("CONNECT", "websocket", "/chat")
    assert "sec-websocket-key" not in fields and fields["sec-websocket-version"] == "13"


def test_websockets_from_one_extended_connect_to_the_other(front, route):
    host, up = route(ok, websockets=True)
    ctx = ssl.create_default_context(cafile=front.ca)
    ctx.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", front.https_port), 10) as plain, ctx.wrap_socket(plain, server_hostname=host) as s:
        c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        c.initiate_connection()
        c.send_headers(1, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/chat"),
                           (":authority", host), ("sec-websocket-version", "13")])
        c.send_data(1, b"hello")
        got, status = b"", None
        while got != b"HELLO":
            s.sendall(c.data_to_send())
            for e in c.receive_data(s.recv(65536)):
                if isinstance(e, h2.events.ResponseReceived):
                    status = dict(e.headers)[":status"]
                elif isinstance(e, h2.events.DataReceived):
                    got += e.data
                assert not isinstance(e, (h2.events.StreamReset, h2.events.ConnectionTerminated)), e
        assert status == "200"
    assert up.requests[0][":protocol"] == "websocket"


def test_no_websockets_where_they_are_not_taken(front, route):
    host, up = route(ok)
    assert front.raw(host, (UPGRADE % host).replace("Upgrade\r\n", "Upgrade, close\r\n", 1).encode()).startswith(b"HTTP/1.1 501 ")
    assert not up.requests


def test_health_is_asked_the_same_way(front, route):
    well = True

    def answer(c, sid, fields, body):
        if fields[":path"] == "/health":
            c.send_headers(sid, [(":status", "200" if well else "503")], end_stream=True)
        else:
            ok(c, sid, fields, body)

    host, up = route(answer, "--policy", "health-path=/health", "--policy", "health-interval=100ms")
    assert front.get(host).status_code == 200
    poll("it is asked", lambda: any(f[":path"] == "/health" for f in up.requests))
    well = False
    poll("it is out", lambda: front.get(host).status_code == 503)
    well = True
    poll("it is in again", lambda: front.get(host).status_code == 200)


def test_the_health_gate_of_a_new_release(cluster):
    """An app that does not speak what its policy says never takes a request, and the old release stays."""
    cluster.deploy("hello", "--health-path", "/health")
    r = cluster.deploy("hello", "--protocol", "h2c", "--env", "NEW=1", "--health-timeout", "3s", check=False)
    assert r.returncode != 0 and "does not speak HTTP/2" in r.stdout + r.stderr
    assert cluster.get().status_code == 200
