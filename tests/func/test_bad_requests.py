"""Broken, oversized and smuggled requests: the right status, a close, and not one byte to the upstream."""
import socket

import pytest

from test_front import Upstream, ok

HOST = "bad.example.test"
H = f"Host: {HOST}\r\n"


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    from conftest import Cluster
    c = Cluster(tmp_path_factory.mktemp("bad"))
    c.start("--docker-host", "none")
    c.up = Upstream(ok())
    c.run("route", "add", HOST, c.up.at)
    c.run("route", "add", f"{HOST}/private", c.up.at, "--policy", "deny=127.0.0.0/8")
    yield c
    c.up.close()
    c.close()


CASES = {
    "bare LF line ends": (f"GET / HTTP/1.1\nHost: {HOST}\n\n", 400),
    "no Host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (f"GET / HTTP/1.1\r\n{H}{H}\r\n", 400),
    "Host with a space": ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "length and chunked": (f"POST / HTTP/1.1\r\n{H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (f"POST / HTTP/1.1\r\n{H}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
    "signed length": (f"POST / HTTP/1.1\r\n{H}Content-Length: +5\r\n\r\nhello", 400),
    "length list": (f"POST / HTTP/1.1\r\n{H}Content-Length: 5, 6\r\n\r\nhello", 400),
    "length overflow": (f"POST / HTTP/1.1\r\n{H}Content-Length: 99999999999999999999\r\n\r\n", 400),
    "space before the colon": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "folded field": (f"GET / HTTP/1.1\r\n{H}X-A: b\r\n c\r\n\r\n", 400),
    "unknown coding": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: gzip\r\n\r\n", 501),
    "chunked not last": (f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked, gzip\r\n\r\n", 501),
    "chunked on 1.0": (f"POST / HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "HTTP/2.7": (f"GET / HTTP/2.7\r\n{H}\r\n", 505),
    "HTTP/1.2 garbage": (f"GET / HTPT/1.1\r\n{H}\r\n", 400),
    "NUL in a value": (f"GET / HTTP/1.1\r\n{H}X-A: a\0b\r\n\r\n", 400),
    "CR in a value": (f"GET / HTTP/1.1\r\n{H}X-A: a\rb\r\n\r\n", 400),
    "control in a target": (f"GET /\x01 HTTP/1.1\r\n{H}\r\n", 400),
    "two spaces": (f"GET  / HTTP/1.1\r\n{H}\r\n", 400),
    "empty name": (f"GET / HTTP/1.1\r\n{H}: x\r\n\r\n", 400),
    "userinfo": (f"GET http://user@{HOST}/ HTTP/1.1\r\n{H}\r\n", 400),
    "long target": (f"GET /{'a' * 17000} HTTP/1.1\r\n{H}\r\n", 414),
    "big head": (f"GET / HTTP/1.1\r\n{H}X-A: {'a' * 33000}\r\n\r\n", 431),
    "many fields": (f"GET / HTTP/1.1\r\n{H}" + "X-A: b\r\n" * 120 + "\r\n", 431),
}


@pytest.mark.parametrize("name", CASES)
def test_rejected_and_closed(front, name):
    text, status = CASES[name]
    before = len(front.up.requests)
    out = front.raw(HOST, text.encode("latin-1"))
    assert out.startswith(b"HTTP/1.1 %d " % status), out[:200]
    assert b"connection: close" in out.lower()
    assert out.count(b"HTTP/1.1 ") == 1
    assert len(front.up.requests) == before


@pytest.mark.parametrize("body", [b"5\r\nhelloXX0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"5;a=\nb\r\nhello\r\n0\r\n\r\n",
                                  b"-5\r\nhello\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\n", b"5 \r\nhello\r\n0\r\n\r\n"])
def test_bad_chunks_never_complete_a_request(front, body):
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\n\r\n"
    out = front.raw(HOST, f"POST / HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n".encode() + body + smuggled)
    assert not any("/smuggled" in r for r in front.up.requests)
    assert b"HTTP/1.1 200 " not in out.split(b"\r\n\r\n", 1)[-1]


def test_unknown_methods_are_forwarded(front):
    out = front.raw(HOST, f"FOO / HTTP/1.1\r\n{H}Connection: close\r\n\r\n".encode())
    assert out.startswith(b"HTTP/1.1 200 ") and front.up.requests[-1].startswith("FOO / ")


def test_absolute_form_names_the_host(front):
    out = front.raw(HOST, f"GET http://{HOST}/x HTTP/1.1\r\nHost: other.example.test\r\nConnection: close\r\n\r\n".encode())
    assert out.startswith(b"HTTP/1.1 200 ") and f"Host: {HOST}\r\n" in front.up.requests[-1]
    assert front.up.requests[-1].startswith("GET /x ")


def test_http_10_client(front):
    out = front.raw(HOST, f"GET / HTTP/1.0\r\n{H}\r\n".encode())
    assert out.startswith(b"HTTP/1.1 200 ") and out.endswith(b"ok")


@pytest.mark.parametrize("path", ["/private", "/x/../private", "/%70rivate", "/./private/", "//private", "/x/%2e%2e/private", "/x%2f..%2fprivate?a=b"])
def test_no_way_of_writing_a_path_leads_past_its_policies(front, path):
    before = len(front.up.requests)
    out = front.raw(HOST, f"GET {path} HTTP/1.1\r\n{H}Connection: close\r\n\r\n".encode())
    assert out.startswith(b"HTTP/1.1 403 "), out[:200]
    assert len(front.up.requests) == before


def test_a_path_is_passed_on_as_it_came(front):
    out = front.raw(HOST, f"GET /a/../b%2fc//d HTTP/1.1\r\n{H}Connection: close\r\n\r\n".encode())
    assert out.startswith(b"HTTP/1.1 200 ") and front.up.requests[-1].startswith("GET /a/../b%2fc//d ")


def test_they_are_counted(front):
    before = front.json("status")["front"]
    front.raw(HOST, b"GET / HTTP/1.1\r\n\r\n")
    after = front.json("status")["front"]
    assert after["bad_requests"] == before["bad_requests"] + 1


def test_half_a_request_times_out_without_an_upstream(front):
    before = len(front.up.requests)
    with front.connect(HOST, limit_s=15) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: ")
        s.settimeout(15)
        try:
            out = s.recv(4096)
        except (ConnectionResetError, socket.timeout) as e:
            out = repr(e).encode()
    assert out.startswith(b"HTTP/1.1 408 ") or out == b"", out
    assert len(front.up.requests) == before
