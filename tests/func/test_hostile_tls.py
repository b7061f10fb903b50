"""Attacks on and before the TLS handshake, see hostile.py."""
import contextlib
import os
import socket
import ssl
import struct
import subprocess
import time

import pytest

from hostile import HOST, Crowd, Front, Siege, trickle

CAP = 128
SIZE = 80


@pytest.fixture
def front(tmp_path):
    with Front(tmp_path, CAP, "--head-timeout", "1s") as f:
        yield f


def client_hello(size=None):
    """What OpenSSL would send first for our host; padded by an extension to <size> bytes of handshake."""
    ctx = ssl.create_default_context()
    out = ssl.MemoryBIO()
    tls = ctx.wrap_bio(ssl.MemoryBIO(), out, server_hostname=HOST)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = out.read()[5:]
    if size:  # after version, random, session, suites and compression come the extensions
        at = 4 + 2 + 32
        at += 1 + hello[at]
        at += 2 + struct.unpack(">H", hello[at:at + 2])[0]
        at += 1 + hello[at]
        n = struct.unpack(">H", hello[at:at + 2])[0]
        pad = size - len(hello) - 4
        body = hello[4:at] + struct.pack(">H", n + 4 + pad) + hello[at + 2:] + struct.pack(">HH", 21, pad) + bytes(pad)
        hello = hello[:1] + len(body).to_bytes(3, "big") + body
    return hello


def records(handshake, piece=16384):
    return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(p)) + p
                    for p in (handshake[i:i + piece] for i in range(0, len(handshake), piece)))


HELLO, BYTES = records(client_hello()), records(client_hello(), 1)
BIG = records(client_hello(65000))

# What is sent, how often, in which pieces: each must be gone after the time a head may take, whatever it dribbles.
HALF_OPEN = {
    "a connection without a byte": b"",
    "a record's head, byte by byte": lambda n: HELLO[n:n + 1],
    "half a hello": lambda n: b"" if n else HELLO[:len(HELLO) // 2],
    "a hello, then silence": lambda n: b"" if n else HELLO,
    "a hello in records of a byte": lambda n: BYTES[6 * n:6 * n + 6],
}


def test_half_open(front):
    size = SIZE // len(HALF_OPEN)
    with Siege(front, 3) as s:
        for name, piece in HALF_OPEN.items():
            s.attack(lambda t, piece=piece: trickle(t, size, t.tcp, piece, 0.1), name=name)
    for name in HALF_OPEN:
        assert s.of[name]["cut"] >= size and s.of[name]["longest_ms"] < 2000, (name, s.of[name])
    assert s.counted("timeouts") >= size * len(HALF_OPEN)


GARBAGE = {
    "noise": lambda: os.urandom(4096),
    "plain HTTP": lambda: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a record larger than a record": lambda: b"\x16\x03\x01\xff\xff" + bytes(65535),
    "an alert": lambda: b"\x15\x03\x01\x00\x02\x02\x28",
    "empty records": lambda: b"\x16\x03\x01\x00\x00" * 2000,
    "change cipher specs": lambda: b"\x14\x03\x03\x00\x01\x01" * 2000,
    "application data first": lambda: b"\x17\x03\x03\x40\x00" + os.urandom(16384),
    "a hello of 100 KiB": lambda: BIG * 2,
    "a handshake message of 16 MiB": lambda: records(b"\x01\xff\xff\xff" + bytes(16380)) * 8,
}


def garbage(t, make):
    crowd = Crowd(t, 0, t.tcp)
    while not t.over():
        while len(crowd.born) < SIZE // len(GARBAGE) and crowd.add():
            crowd.send(list(crowd.born)[-1], make())
        for s in list(crowd.born):
            crowd.receive(s)
        time.sleep(0.005)
    return crowd.close()


def test_no_handshake(front):
    with Siege(front, 3) as s:
        for name, make in GARBAGE.items():
            s.attack(garbage, make, name=name)
    for name in GARBAGE:
        assert s.of[name]["cut"] >= SIZE and s.of[name]["longest_ms"] < 2000, (name, s.of[name])


def hellos(t):
    """Makes the server do its half of a handshake, then leaves."""
    seen = {"handshakes": 0}
    while not t.over():
        with t.tcp() as s:
            s.sendall(HELLO)
            seen["handshakes"] += s.recv(100)[:1] == b"\x16"
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return seen


def handshakes(t):
    """Whole ones, one after the other."""
    seen = {"handshakes": 0}
    while not t.over():
        t.tls().close()
        seen["handshakes"] += 1
    return seen


@pytest.mark.parametrize("kind", [hellos, handshakes], ids=["cut in the middle", "whole"])
def test_handshakes_as_fast_as_they_go(front, kind):
    with Siege(front, 3) as s:
        s.attack(kind, n=4)
    assert s.sums["handshakes"] > 200, s.sums


def test_flood_from_many_addresses(tmp_path):
    """Each has its share; together they are held off by the table's size, and go when their time is over."""
    share = 16
    with Front(tmp_path, CAP, "--max-per-address", str(share), "--head-timeout", "1s") as front:
        with Siege(front, 3) as s:
            for i in range(6):
                s.attack(lambda t: trickle(t, 2 * share, t.tcp, b"", 0.05), source=f"127.66.1.{i + 1}")
        assert s.counted("refused") >= 6 * share and s.sums["longest_ms"] < 2000, s.sums


def s_client(t, version, order):
    """openssl s_client, told the same thing line by line until it or the time is over."""
    seen, log = {"clients": 0, "ended": 0}, b""
    while not t.over():
        p = subprocess.Popen(["openssl", "s_client", version, "-connect", f"127.0.0.1:{t.https_port}", "-servername", HOST],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seen["clients"] += 1
        with contextlib.suppress(BrokenPipeError), p:
            while p.poll() is None and not t.over():
                with contextlib.suppress(BrokenPipeError):
                    p.stdin.write(order * 20)
                    p.stdin.flush()
                time.sleep(0.02)
            seen["ended"] += p.poll() is not None
            p.kill()
            log += p.stdout.read()
    seen["refused"] = log.count(b"no renegotiation")
    return seen


def test_renegotiation(front):
    with Siege(front, 2) as s:
        s.attack(s_client, "-tls1_2", b"R\n", n=2)
    assert s.sums["refused"] >= 2, s.sums


def test_key_updates(front):
    """Each asks the server for new keys of its own too (TLS 1.3)."""
    with Siege(front, 2) as s:
        s.attack(s_client, "-tls1_3", b"K\n", n=2)
