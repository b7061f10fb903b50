"""The PROXY protocol, as a load balancer in front sends it: whose connection it is, who may say so, what is refused."""
import socket
import ssl
import struct
import subprocess

import pytest

from conftest import TEMPS, Cluster, poll
from test_front import Upstream, field, ok

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(client, port=4711, command=0x21, tlvs=b""):
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    ip = socket.inet_pton(family, client)
    body = ip + ip + struct.pack(">HH", port, 443) + tlvs
    return SIGNATURE + struct.pack(">BBH", command, 0x21 if family == socket.AF_INET6 else 0x11, len(body)) + body


def v1(client, port=4711):
    return b"PROXY TCP%d %s %s %d 443\r\n" % (6 if ":" in client else 4, client.encode(), client.encode(), port)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """Load balancers are at 127.0.0.2 and in 127.1.0.0/16."""
    c = Cluster(tmp_path_factory.mktemp("proxied"))
    c.start("--docker-host", "none", "--proxy-protocol", "127.0.0.2", "--proxy-protocol", "127.1.0.0/16", "--max-per-address", "20")
    yield c
    c.close()


@pytest.fixture(scope="module")
def served(front):
    up = Upstream(ok())
    front.run("route", "add", "p.example.test", up.at)
    yield up
    up.close()


def connect(front, sender, header, tls=True, split=None, host="p.example.test"):
    s = socket.socket()
    s.settimeout(10)
    s.bind((sender, 0))
    s.connect(("127.0.0.1", front.https_port if tls else front.http_port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(header), split or len(header) or 1):
        s.sendall(header[at:at + (split or len(header))])
    if not tls:
        return s
    return ssl.create_default_context(cafile=front.ca).wrap_socket(s, server_hostname=host)


def get(s, host="p.example.test", close=True):
    s.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n{'Connection: close' if close else 'X: y'}\r\n\r\n".encode())
    out = b""
    while b"\r\n\r\n" not in out or (close and not out.endswith(b"ok")):
        got = s.recv(65536)
        if not got:
            break
        out += got
    return out


def refused(front, sender, header, tls=True):
    """Nothing comes but the end."""
    try:
        with connect(front, sender, header, tls) as s:
            got = get(s)
    except (OSError, ssl.SSLError):
        return
    assert not got


@pytest.mark.parametrize("split", [None, 1, 7])
@pytest.mark.parametrize("header, client", [
    (v1("192.0.2.77"), "192.0.2.77"), (v1("2001:db8::77"), "2001:db8::77"),
    (v2("192.0.2.78"), "192.0.2.78"), (v2("2001:db8::78"), "2001:db8::78"),
    (v2("192.0.2.79", tlvs=b"\x01\0\x02h2\x04\x03\0" + bytes(768)), "192.0.2.79"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.2"), (v2("192.0.2.80", command=0x20), "127.0.0.2"),
], ids=["v1", "v1-v6", "v2", "v2-v6", "v2-tlvs", "v1-unknown", "v2-local"])
def test_the_client_is_whom_the_header_names(front, served, header, client, split):
    with connect(front, "127.0.0.2", header, split=split) as s:
        assert get(s).startswith(b"HTTP/1.1 200 ")
    head = served.requests[-1]
    assert field(head, "X-Forwarded-For") == [client] and field(head, "X-Real-IP") == [client]


def test_header_and_request_in_one_packet(front, served):
    """Nothing behind the header is lost, over plain HTTP too."""
    with connect(front, "127.1.2.3", v1("192.0.2.5") + b"GET /x?y HTTP/1.1\r\nHost: p.example.test\r\nConnection: close\r\n\r\n", tls=False) as s:
        assert s.recv(1000).startswith(b"HTTP/1.1 308 ")


def test_from_others_it_is_no_header(front, served):
    """Who is not named as a sender cannot say who he is."""
    with connect(front, "127.0.0.3", v1("192.0.2.5"), tls=False) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: p.example.test\r\n\r\n")
        assert s.recv(1000).startswith(b"HTTP/1.1 400 ")
    refused(front, "127.0.0.3", v1("192.0.2.5"))
    with connect(front, "127.0.0.3", b"") as s:
        assert get(s).startswith(b"HTTP/1.1 200 ")
    assert field(served.requests[-1], "X-Forwarded-For") == ["127.0.0.3"]


@pytest.mark.parametrize("header", [
    b"", b"GET / HTTP/1.1\r\nHost: p.example.test\r\n\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.1 1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.1 1 2 3\r\n", b"PROXY UNKNOWN " + b"x" * 100, SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
    SIGNATURE + b"\x21\x11\0\x04" + bytes(4), SIGNATURE + b"\x21\x11\xff\xff" + bytes(1000),
], ids=["none", "http", "short", "long", "endless", "version", "small", "huge"])
def test_a_sender_without_a_good_header_is_refused(front, served, header):
    n, before = len(served.requests), status(front)["bad_proxy_headers"]
    refused(front, "127.0.0.2", header, tls=header == b"")
    assert len(served.requests) == n
    poll("counted", lambda: status(front)["bad_proxy_headers"] == before + 1, 5)


def status(front):
    return front.json("status")["front"]


def test_silence_costs_a_sender_its_connection(new_cluster):
    c = new_cluster("--docker-host", "none", "--proxy-protocol", "127.0.0.2", "--head-timeout", "1s")
    with connect(c, "127.0.0.2", v1("192.0.2.1")[:20], tls=False) as s:
        assert s.recv(10) == b""


def test_limits_are_about_the_client(front, served):
    """20 connections of one client behind a load balancer, and more of others."""
    held = [connect(front, "127.0.0.2", v2("192.0.2.99"), tls=False) for _ in range(20)]
    try:
        for s in held:
            s.sendall(b"GET / HTTP/1.1\r\nHost: p.example.test\r\n\r\n")
            assert s.recv(1000).startswith(b"HTTP/1.1 308 ")
        refused(front, "127.0.0.2", v2("192.0.2.99"))
        others = [connect(front, "127.0.0.2", v2(f"192.0.2.{n}"), tls=False) for n in range(100, 125)]
        for s in others:
            s.sendall(b"GET / HTTP/1.1\r\nHost: p.example.test\r\n\r\n")
            assert s.recv(1000).startswith(b"HTTP/1.1 308 ")
            s.close()
    finally:
        for s in held:
            s.close()
    poll("the client may come again", lambda: get(connect(front, "127.0.0.2", v2("192.0.2.99"))).startswith(b"HTTP/1.1 200 "), 5)


def test_policies_are_about_the_client(front, served):
    front.run("route", "add", "q.example.test", served.at, "--policy", "allow=192.0.2.0/24")
    with connect(front, "127.0.0.2", v1("192.0.2.5"), host="q.example.test") as s:
        assert get(s, "q.example.test").startswith(b"HTTP/1.1 200 ")
    with connect(front, "127.0.0.2", v1("198.51.100.5"), host="q.example.test") as s:
        assert get(s, "q.example.test", close=False).startswith(b"HTTP/1.1 403 ")


def test_a_bad_range_is_said_at_start(tmp_path):
    r = subprocess.run([str(TEMPS), "serve", "--address", "127.0.0.1:0", "--tls-address", "127.0.0.1:0", "--data-dir", str(tmp_path / "d"),
                        "--docker-host", "none", "--proxy-protocol", "everywhere"], capture_output=True, text=True, timeout=20, check=False)
    assert r.returncode == 1 and 'PROXY protocol sender "everywhere": expected an address range' in r.stderr
