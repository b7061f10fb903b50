"""Our parser against two others that know nothing of each other: node's llhttp and python3-h11. What either rejects, we reject, and what we
accept they read as the same messages: a proxy and a server that disagree about where a message ends are how requests are smuggled. Where we
take what one of them does not, a rule below says why.

Hand-made cases of every kind that is known, and random mutations of them; the seed is printed, DIFFERENTIAL_SEED repeats one and
DIFFERENTIAL_CASES makes more. Some of them go through a real front door to an upstream that is h11."""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import threading

import h11
import pytest

from conftest import TEMPS, Cluster, poll

HERE = pathlib.Path(__file__).resolve().parent
OURS = TEMPS.parent / "tests" / "func" / "parse_batch"
SEED = int(os.environ.get("DIFFERENTIAL_SEED", random.randrange(1 << 32)))
CASES = int(os.environ.get("DIFFERENTIAL_CASES", 20000))

HOST = b"Host: a.test\r\n"
OK = b"GET /next HTTP/1.1\r\n" + HOST + b"\r\n"


def post(fields, body=b"", line=b"POST / HTTP/1.1"):
    return line + b"\r\n" + HOST + fields + b"\r\n" + body


def chunked(body, trailers=b"\r\n"):
    return post(b"Transfer-Encoding: chunked\r\n", body + trailers)


TE = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"

# --- the corpus: each is followed by an ordinary request, which shows where it was believed to end ---

REQUESTS = [
    OK, b"GET / HTTP/1.0\r\n\r\n", b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n", b"\r\n\r\n" + OK, b"\n" + OK, b"\r" + OK, b" " + OK,
    post(b"Content-Length: 5\r\n", b"hello"), post(b"Content-Length: 0\r\n"), post(b"Content-Length: 005\r\n", b"hello"),
    chunked(b"5\r\nhello\r\n0\r\n"), chunked(b"A\r\n0123456789\r\n00\r\n"), chunked(b"5;a=b;c=\"d;\\\"e\"\r\nhello\r\n0;x\r\n"),
    chunked(b"5\r\nhello\r\n0\r\n", b"X-Sum: 1\r\nY: 2\r\n\r\n"),
    # CL.TE, TE.CL, TE.TE and their disguises
    post(b"Content-Length: 6\r\n" + TE, b"0\r\n\r\nG"), post(TE + b"Content-Length: 4\r\n", b"5c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
    *(post(te + b"\r\n", b"0\r\n\r\n") for te in (
        b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunkedx",
        b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding:\x0cchunked", b"Transfer-Encoding: chunked\x00",
        b"Transfer-Encoding: \"chunked\"", b"Transfer-Encoding: 'chunked'", b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding:",
        b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: identity", b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding:\n chunked", b"X: y\r\n Transfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked",
        b"X: y\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"transfer-encoding: CHUNKED", b"Transfer_Encoding: chunked", b"Transfer-Encoding\x00: chunked", b"\x00Transfer-Encoding: chunked",
        b"Transfer\xadEncoding: chunked", b"Transfer-Encoding\xa0: chunked", b"Transfer-Encoding:\xa0chunked", b": chunked",
        b"Transfer-Encoding", b"Transfer-Encoding=chunked", b"Content-Length: 5\r\nTransfer_Encoding: chunked")),
    b"POST / HTTP/1.0\r\n" + HOST + TE + b"\r\n0\r\n\r\n",
    b"POST / HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n" + TE + b"\r\n0\r\n\r\n",
    # lengths
    *(post(b"Content-Length: " + n + b"\r\n", b"hello") for n in (
        b"+5", b"-5", b"5, 5", b"5, 6", b"5,", b"0x5", b"5.0", b"5e0", b"5 5", b"5\x00", b"\x0b5", b"", b"5\t", b"\t5", b"'5'", b"5;a=b",
        b"18446744073709551621", b"9223372036854775813", b"4294967301", b"99999999999999999999", b"\xd9\xa5", b"5\r\nContent-Length: 5",
        b"5\r\nContent-Length: 6", b"5\r\n ", b"5\n", b"0\r\nContent-Length: 5")),
    post(b"Content-Length : 5\r\n", b"hello"), post(b"Content-Length\x0b: 5\r\n", b"hello"), post(b" Content-Length: 5\r\n", b"hello"),
    post(b"Content-Length: 5\r\n" + TE, b"0\r\n\r\n"), b"GET / HTTP/1.1\r\nContent-Length: 5\r\n" + HOST + b"\r\nhello",
    # chunks
    *(chunked(body) for body in (
        b"5\nhello\r\n0\r\n", b"5\r\nhello\n0\r\n", b"5\rhello\r\n0\r\n", b"5\r\nhelloXX0\r\n", b"5 \r\nhello\r\n0\r\n", b" 5\r\nhello\r\n0\r\n",
        b"5\t\r\nhello\r\n0\r\n", b"0x5\r\nhello\r\n0\r\n", b"+5\r\nhello\r\n0\r\n", b"-5\r\nhello\r\n0\r\n", b"5_0\r\nhello\r\n0\r\n",
        b"\r\nhello\r\n0\r\n", b";a\r\nhello\r\n0\r\n", b"5;a\nb\r\nhello\r\n0\r\n", b"5;a\rb\r\nhello\r\n0\r\n", b"5;\r\nhello\r\n0\r\n",
        b"5 ;a=b\r\nhello\r\n0\r\n", b"5; a=b\r\nhello\r\n0\r\n", b"5;a =b\r\nhello\r\n0\r\n", b"5;a= b\r\nhello\r\n0\r\n",
        b"5;a=\"b\r\nhello\r\n0\r\n", b"5;a=\"\x00\"\r\nhello\r\n0\r\n", b"5;\xff\r\nhello\r\n0\r\n", b"5,a\r\nhello\r\n0\r\n",
        b"5;a=b\xff\r\nhello\r\n0\r\n", b"5;=\r\nhello\r\n0\r\n", b"5;;\r\nhello\r\n0\r\n", b"5;a=\"b\"c\r\nhello\r\n0\r\n",
        b"5\r\nhello0\r\n", b"5\r\nhell\r\n0\r\n", b"5\r\nhello!\r\n0\r\n", b"5\r\nhello\r\n\r\n0\r\n", b"5\r\nhello\r\r\n0\r\n",
        b"fffffffffffffffff\r\nhello\r\n0\r\n", b"10000000000000005\r\nhello\r\n0\r\n", b"00000000000000000005\r\nhello\r\n0\r\n",
        b"ffffffffffffffff\r\nhello\r\n0\r\n", b"100000005\r\nhello\r\n0\r\n", b"g\r\nhello\r\n0\r\n", b"5\x00\r\nhello\r\n0\r\n",
        b"5\r\nhello\r\n0\n", b"5\r\nhello\r\n0\r", b"5\r\nhello\r\n0;\r\n", b"5\r\nhello\r\n0 \r\n", b"5\r\nhello\r\n-0\r\n")),
    *(chunked(b"0\r\n", t) for t in (
        b"X: y\n\r\n", b"X: y\r\n\n", b"X : y\r\n\r\n", b"X\r\n\r\n", b" X: y\r\n\r\n", b"X: y\r\n z\r\n\r\n", b"X: \x00\r\n\r\n", b"\n", b"\r\r\n",
        b": y\r\n\r\n", b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n", b"X: y\r\r\n\r\n", b"X\x00: y\r\n\r\n")),
    # line ends and bytes that do not belong
    b"GET / HTTP/1.1\n" + HOST + b"\r\n", b"GET / HTTP/1.1\r\nHost: a.test\n\r\n", b"GET / HTTP/1.1\r\n" + HOST + b"\n", b"GET / HTTP/1.1\rHost: a.test\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\r\n", b"GET / HTTP/1.1\r\r\n" + HOST + b"\r\n",
    *(b"GET / HTTP/1.1\r\n" + HOST + b"X: " + bytes([c]) + b"y\r\n\r\n" for c in (*range(0, 9), 11, 12, *range(14, 32), 127, 128, 160, 255)),
    *(b"GET / HTTP/1.1\r\n" + HOST + b"X" + bytes([c]) + b"Y: z\r\n\r\n" for c in range(256)),
    *(b"GET /" + bytes([c]) + b" HTTP/1.1\r\n" + HOST + b"\r\n" for c in range(256)),
    *(b"G" + bytes([c]) + b"T / HTTP/1.1\r\n" + HOST + b"\r\n" for c in range(256)),
    # start lines
    *(line + b"\r\n" + HOST + b"\r\n" for line in (
        b"GET / HTTP/1.1 ", b"GET / HTTP/1.1\t", b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET\t/ HTTP/1.1", b" GET / HTTP/1.1", b"GET / HTTP/1.10",
        b"GET / HTTP/01.1", b"GET / HTTP/1.01", b"GET / HTTP/1", b"GET / HTTP/1.", b"GET / HTTP/.1", b"GET / http/1.1", b"GET / HTTP/2.0",
        b"GET / HTTP/0.9", b"GET / HTTP/1.2", b"GET / HTTP/1.9", b"GET / HTTP/9.9", b"GET / HTTP 1.1", b"GET / HTTPS/1.1", b"GET /", b"GET",
        b"GET / ICE/1.0", b"GET /a b HTTP/1.1", b"GET /a#b HTTP/1.1", b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET a HTTP/1.1", b"GET ? HTTP/1.1",
        b"GET //a/b HTTP/1.1", b"GET http://b.test/ HTTP/1.1", b"GET http://b.test HTTP/1.1", b"GET http:/b HTTP/1.1", b"GET http:// HTTP/1.1",
        b"GET http://u@b.test/ HTTP/1.1", b"GET http://b.test:x/ HTTP/1.1", b"GET HTTP://b.test/ HTTP/1.1", b"GET ftp://b.test/ HTTP/1.1",
        b"CONNECT b.test:443 HTTP/1.1", b"CONNECT b.test HTTP/1.1", b"CONNECT / HTTP/1.1", b"GET b.test:443 HTTP/1.1", b"FOO / HTTP/1.1",
        b"get / HTTP/1.1", b"PRI * HTTP/2.0", b"M-SEARCH / HTTP/1.1", b"GET /\xc3\xa4 HTTP/1.1", b"GET /%zz HTTP/1.1", b"")),
    # Host
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", b"GET http://b.test/ HTTP/1.1\r\n\r\n",
    *(b"GET / HTTP/1.1\r\nHost: " + h + b"\r\n\r\n" for h in (b"", b"a b", b"a/b", b"u@a", b"a,b", b"a:80", b"a:", b"a:x", b"a:80:80", b"[::1]",
                                                              b"[::1", b"::1", b"a\x00b", b"a\tb", b"\xe4", b"a\r\nHost: b", b"a\r\n b")),
    b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n",
    # options
    post(b"Connection: close\r\nContent-Length: 5\r\n", b"hello"), post(b"Connection: Content-Length\r\nContent-Length: 5\r\n", b"hello"),
    post(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", line=b"GET / HTTP/1.1"), post(b"Upgrade: websocket\r\n", line=b"GET / HTTP/1.1"),
    post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", b"hello"), post(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello"),
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n" + HOST + b"\r\n", post(b"Connection: keep-alive, close\r\nContent-Length: 5\r\n", b"hello"),
]
REQUESTS = [r + OK for r in REQUESTS] + [OK[:n] for n in range(len(OK))]


def answer(fields, body=b"", line=b"HTTP/1.1 200 OK"):
    return line + b"\r\n" + fields + b"\r\n" + body


CL = b"Content-Length: 5\r\n"
NEXT = answer(b"Content-Length: 4\r\n", b"next")
RESPONSES = [
    answer(CL, b"hello"), answer(TE, b"5\r\nhello\r\n0\r\n\r\n"), answer(b"", b"until the end", b"HTTP/1.0 200 OK"), answer(b"", b"until the end"),
    answer(b"Connection: close\r\n" + CL, b"hello"), answer(b"Connection: keep-alive\r\n" + CL, b"hello", b"HTTP/1.0 200 OK"), b"\r\n" + NEXT, b"\n" + NEXT,
    *(answer(f, b"5\r\nhello\r\n0\r\n\r\n") for f in (
        CL + TE, TE + CL, CL + CL, CL + b"Content-Length: 6\r\n", TE + TE, b"Transfer-Encoding: gzip\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n", b"Transfer-Encoding: chunked\n", b"Transfer-Encoding: \x0bchunked\r\n", b"Transfer-Encoding:\r\n")),
    *(answer(b"Content-Length: " + n + b"\r\n", b"hello") for n in (b"+5", b"-5", b"5, 5", b"0x5", b"", b"5 5", b"99999999999999999999", b"5\x00", b"05")),
    *(answer(CL, b"hello", line) for line in (
        b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1  200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 600 OK",
        b"HTTP/1.1 999 OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 OK", b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/1.2 200 OK", b"http/1.1 200 OK", b"ICY 200 OK",
        b"HTTP/1.1 200OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200 O\x00K", b"HTTP/1.1 200 O\x7fK", b"HTTP/1.1 200 \xe4", b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 2x0 OK", b"")),
    *(answer(CL, b"", b"HTTP/1.1 " + s + b" x") for s in (b"204", b"304", b"100", b"103")), answer(TE, b"", b"HTTP/1.1 204 x"), answer(TE, b"", b"HTTP/1.1 304 x"),
    answer(b"Link: x\r\n", b"", b"HTTP/1.1 103 x"), answer(b"Content-Length: 0\r\n", b"", b"HTTP/1.1 205 x"),
    *(answer(TE, body) for body in (b"5\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5;a\nb\r\nhello\r\n0\r\n\r\n",
                                    b"5\r\nhello\r\n0\r\nX: y\n\r\n", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n", b"5\r\nhello\r\n", b"5\r\nhel")),
    answer(b"X: a\r\n b\r\n" + CL, b"hello"), answer(b"X : a\r\n" + CL, b"hello"), answer(b": a\r\n" + CL, b"hello"), answer(b"X: \x00\r\n" + CL, b"hello"),
    answer(b"X: a\n" + CL, b"hello"), answer(b"X\r\n" + CL, b"hello"),
]
RESPONSES = [r + NEXT for r in RESPONSES] + [NEXT[:n] for n in range(len(NEXT))]

# --- the generator ---

PIECES = [b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"\x0b", b"\x7f", b"\xff", b":", b";", b",", b"=", b"\"", b"\\", b"0", b"1", b"5", b"f", b"-", b"+", b"x", b"0x",
          b"\r\n\r\n", b"\r\n ", b"0\r\n\r\n", b"5\r\nhello\r\n", b";a=b", b"chunked", b"identity", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", TE, HOST,
          b"Transfer-Encoding:", b"Connection: close\r\n", b"HTTP/1.1", b"HTTP/1.0", b"GET / ", b"X: y\r\n", SMUGGLED]


def mutate(rng, corpus):
    text = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice((1, 1, 2, 4, 10)))
        kind = rng.randrange(7)
        if kind == 0:
            text[at:at] = rng.choice(PIECES)
        elif kind == 1:
            text[at:end] = rng.choice(PIECES)
        elif kind == 2:
            del text[at:end]
        elif kind == 3:
            text[at:at] = text[at:end]
        elif kind == 4 and at < len(text):
            text[at] = rng.randrange(256)
        elif kind == 5:
            text[at:end] = text[at:end].swapcase()
        else:  # a line moves
            lines = bytes(text).split(b"\r\n")
            lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))
            text = bytearray(b"\r\n".join(lines))
    return bytes(text)


# --- the three readers: each gives {"state", "why", "messages"}, see parse_batch.c ---


def batch(command, cases):
    data = b"".join(kind.encode() + struct.pack(">I", len(text)) + text for kind, text in cases)
    run = subprocess.run(command, input=data, capture_output=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr.decode(errors="replace")[-3000:]
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(found) == len(cases)
    return found


def h11_read(kind, text):
    request = kind == "q"
    conn = h11.Connection(h11.SERVER if request else h11.CLIENT, max_incomplete_event_size=1 << 17)
    found = {"messages": [], "state": "head", "why": ""}

    def ask():
        for event in (h11.Request(method="HEAD" if kind == "h" else "GET", target="/", headers=[("Host", "a")]), h11.EndOfMessage()):
            conn.send(event)

    def next_message():
        if request:
            for event in (h11.Response(status_code=200, headers=[("Content-Length", "0")]), h11.EndOfMessage()):
                conn.send(event)
        conn.start_next_cycle()
        if not request:
            ask()

    word, body, closed = "", b"", text == b""
    try:
        if not request:
            ask()
        conn.receive_data(text)
        while True:
            event = conn.next_event()
            if event is h11.NEED_DATA and not closed:
                closed = True
                conn.receive_data(b"")
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return found
            elif event is h11.PAUSED:
                found["state"] = "tunnel"
                return found
            elif isinstance(event, h11.InformationalResponse):
                found["messages"].append([str(event.status_code), ""])
                if event.status_code == 101:
                    return {**found, "state": "tunnel"}
            elif isinstance(event, (h11.Request, h11.Response)):
                word, body = event.method.decode() if request else str(event.status_code), b""
                found["state"] = "body"
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found["messages"].append([word, body.hex()])
                found["state"] = "end"
                if conn.their_state is not h11.DONE or conn.our_state is h11.MUST_CLOSE:
                    return {**found, "state": "tunnel" if conn.their_state is h11.MIGHT_SWITCH_PROTOCOL else "closed"}
                next_message()
    except h11.RemoteProtocolError as e:
        # What is cut short is no error of its own.
        if closed and re.search("without sending complete message body|event type ConnectionClosed|unexpectedly closed", str(e)):
            return found
        return {**found, "state": "rejected", "why": str(e)}
    except h11.LocalProtocolError:
        return {**found, "state": "closed"}


# --- what we do differently, and why. A rule gets the case, our reading and theirs; true: it explains the difference ---


def any_method(text, ours, theirs):
    """llhttp knows a list of methods. RFC 9110 §9.1: it is open, and a proxy passes on what it does not know. (h11 checks that it is a token.)"""
    return theirs["why"].startswith("HPE_INVALID_METHOD")


def tab_behind_length(text, ours, theirs):
    """llhttp takes no tab behind a length. RFC 9110 §5.5: white space around a value is not part of it. We write the length anew."""
    return theirs["why"].startswith("HPE_INVALID_CONTENT_LENGTH") and re.search(rb"(?i)\ncontent-length:[ \t]*\d+ *\t[ \t]*\r", text)


def upgrade_with_content(text, ours, theirs):
    """llhttp believes that what follows an upgrade is no content. RFC 9110 §7.8: an upgrade may be ignored; with content we ignore it, and do
    not pass it on, so that nobody behind us sees one."""
    return theirs["state"] == "tunnel" and re.search(rb"(?i)\nupgrade:", text) and re.search(rb"(?i)\n(content-length|transfer-encoding):", text)


def upgrade_not_named(text, ours, theirs):
    """h11 takes Upgrade alone for an offer. RFC 9110 §7.8: it must be named in Connection; else it is none, and we do not pass it on."""
    return theirs["state"] == "tunnel" and re.search(rb"(?i)\nupgrade:", text)


def old_keep_alive(text, ours, theirs):
    """h11 closes after every message of HTTP/1.0, llhttp when a tab follows. RFC 9112 §9.3: Connection: keep-alive may keep it open."""
    return theirs["state"] == "closed" and b"HTTP/1.0" in text and re.search(rb"(?i)keep-alive", text)


def empty_lines(text, ours, theirs):
    """h11 takes no empty line before a request. RFC 9112 §2.2: a server should skip at least one; we skip four."""
    return theirs["why"] == "no request line received"


def length_without_content(text, ours, theirs):
    """llhttp 6 remembers the length of a response without content for the next one. RFC 9112 §6.3, first rule: 1xx, 204 and 304 end with their
    head whatever it says."""
    return theirs["state"] == "body" and re.search(rb"(?is)http/1.. (1..|204|304).*content-length", text)


def interim_is_last(text, ours, theirs):
    """llhttp believes that nothing follows an interim response of HTTP/1.0 or with Connection: close. RFC 9110 §15.2: a final one does; we read
    on until it comes."""
    return theirs["state"] == "closed" and theirs["messages"][-1][0].startswith("1")


LLHTTP_RULES = (any_method, tab_behind_length, upgrade_with_content, old_keep_alive,
                length_without_content, interim_is_last)
H11_RULES = (upgrade_not_named, old_keep_alive, empty_lines)


def difference(ours, theirs):
    """What is wrong, or None."""
    mine, other = ours["messages"], theirs["messages"]
    if theirs["state"] == "rejected":
        # A head or trailers of which the end is missing were not believed either.
        if ours["state"] not in ("rejected", "head", "trailers") or len(mine) > len(other):
            return f"rejected: {theirs['why']}"
    if mine != other[:len(mine)]:
        return "read as other messages"
    if theirs["state"] != "rejected" and ours["state"] not in ("rejected", "head", "trailers") and len(other) > len(mine):
        return "read as more messages"
    return None


def compare(name, cases, ours, theirs, rules):
    bad = []
    for (kind, text), mine, other in zip(cases, ours, theirs):
        what = difference(mine, other)
        if what and not any(rule(text, mine, other) for rule in rules):
            bad.append(f"{kind} {text!r}\n  {name} {what}\n  ours {mine}\n  {name} {other}")
    assert not bad, f"seed {SEED}: {len(bad)} of {len(cases)}, the shortest first:\n" + "\n".join(sorted(bad, key=len)[:12])


def generated():
    rng = random.Random(SEED)
    cases = [("q", r) for r in REQUESTS] + [(k, r) for r in RESPONSES for k in "rh"]
    return cases + [("q", mutate(rng, REQUESTS)) for _ in range(CASES)] + [(rng.choice("rh"), mutate(rng, RESPONSES)) for _ in range(CASES // 2)]


@pytest.fixture(scope="module")
def cases():
    print(f"DIFFERENTIAL_SEED={SEED}")
    return generated()


@pytest.fixture(scope="module")
def ours(cases):
    return batch([str(OURS)], cases)


def test_llhttp(cases, ours):
    node = shutil.which("node")
    assert node, "node is missing: run ./test.sh"
    compare("llhttp", cases, ours, batch([node, "--no-deprecation", str(HERE / "llhttp_batch.js")], cases), LLHTTP_RULES)


def test_h11(cases, ours):
    compare("h11", cases, ours, [h11_read(*c) for c in cases], H11_RULES)


# --- the same through a front door ---


class StrictUpstream:
    """Reads with h11 what the front door makes of requests, and answers each."""

    def __init__(self):
        self.seen, self.wrong = [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.at = "http://%s:%d" % self.listener.getsockname()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        conn = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
        got, body = b"", b""
        with contextlib.suppress(OSError), s:
            while True:
                try:
                    event = conn.next_event()
                except h11.RemoteProtocolError as e:
                    # A client that left in the middle is no fault of the front door's.
                    if "without sending complete message body" not in str(e):
                        self.wrong.append((str(e), got))
                    return
                if event is h11.NEED_DATA:
                    data = s.recv(65536)
                    got += data
                    conn.receive_data(data)
                elif isinstance(event, h11.Request):
                    method, body = event.method.decode(), b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.seen.append([method, body.hex()])
                    s.sendall(conn.send(h11.Response(status_code=200, headers=[("Content-Length", "0")])) + conn.send(h11.EndOfMessage()))
                    if conn.our_state is not h11.DONE or conn.their_state is not h11.DONE:
                        return
                    conn.start_next_cycle()
                    got = b""
                else:
                    return

    def close(self):
        self.listener.close()


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    c = Cluster(tmp_path_factory.mktemp("differential"))
    c.start("--docker-host", "none")
    c.up = StrictUpstream()
    c.run("route", "add", "a.test", c.up.at)
    yield c
    c.close()
    c.up.close()


def answers(front, text, want):
    """Sends <text> and reads until <want> final answers came, or the end; how many came."""
    with front.connect("a.test") as s:
        s.sendall(text)
        out = b""
        while (n := len(re.findall(rb"HTTP/1\.1 [2-5]\d\d ", out))) < want:
            try:
                data = s.recv(65536)
            except ConnectionResetError:
                return n
            if not data:
                return n
            out += data
        return n


def is_subsequence(few, many):
    rest = iter(many)
    return all(any(m == x for m in rest) for x in few)


def test_front(front, cases, ours):
    sample = [i for i, (kind, text) in enumerate(cases) if kind == "q" and text and ours[i]["state"] != "tunnel"]
    for i in random.Random(SEED).sample(sample, 400):
        text, mine = cases[i][1], ours[i]
        want = len(mine["messages"]) + (mine["state"] == "rejected")
        front.up.seen = []
        assert answers(front, text, want) >= want, f"seed {SEED}: {text!r}: {mine}"
        assert is_subsequence(front.up.seen, mine["messages"]), f"seed {SEED}: {text!r}: {mine}, upstream saw {front.up.seen}"
        assert not front.up.wrong, f"seed {SEED}: {text!r}: {front.up.wrong}"
    # It is not as if nothing had come through.
    before = len(front.up.seen)
    answers(front, OK, 1)
    poll("the request upstream", lambda: len(front.up.seen) > before)
