"""Every case of h2spec (https://github.com/summerwind/h2spec, generic, http2 and hpack, the strict ones too) as a row: section, name,
what is sent after the handshake, what must come back. The names are h2spec's; what is expected is the RFC's and mostly harder than
there: a connection error is a GOAWAY with the right code and then the end of the connection, not the end alone.

A step is bytes, or a function of the connection that waits for something or makes the bytes."""
import h2raw
from h2raw import (DATA, ENABLE_PUSH, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, PING,
                   PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, continuation, data, frame, goaway, headers, indexed,
                   literal, ping, priority, rst_stream, settings, string, table_size, window_update)

HOST = "h2spec.example.test"
RAW = object()  # the first step of a case that makes its own handshake


# --- requests ---

def pseudo(method="GET", path="/", scheme="https"):
    return [(":method", method), (":scheme", scheme), (":path", path), (":authority", HOST)]


def get(*more, method="GET"):
    return h2raw.block(*pseudo(method), *more)


def post(*more):
    return get(*more, method="POST")


def filler(size):
    return literal("x-filler", "f" * size)


GET, POST = get(), post()
BEAT = ping(b"a beat..")


# --- steps ---

def until(kind, stream=1, ack=None):
    """Waits for such a frame; a SETTINGS with ack=True is the answer to ours."""
    def step(c):
        c.wait(lambda f: f.kind == kind and (f.stream == stream or kind == SETTINGS) and (ack is None or f.is_ack == ack))
    return step


acked = until(SETTINGS, ack=True)


def answered(c):
    c.wait(lambda f: f.ends and f.stream == 1)


def largest(c):
    return c.settings.get(MAX_FRAME_SIZE, 16384)


# --- what must come back ---

def says(c, *lines):
    return f"{' '.join(lines)}; it sent {c.seen}, {c.broken or ''}"


def connection_error(*codes):
    def check(c):
        away = [f for f in c.rest() if f.kind == GOAWAY]
        assert away and away[-1].code in codes, says(c, "expected GOAWAY", *codes, "and the end")
    return check


def stream_error(*codes):
    """RFC 9113 §5.4.2: a stream error may be made a connection error."""
    def check(c):
        f = c.wait(lambda f: f.kind in (RST_STREAM, GOAWAY) or f.ends)
        assert f.kind == GOAWAY or f.kind == RST_STREAM and f.stream in (1, c.last_sent), says(c, "expected a stream error", *codes)
        assert f.code in codes, says(c, "expected a stream error", *codes)
    return check


def answer(c):
    f = c.wait(lambda f: f.stream == 1 or f.kind == GOAWAY)
    assert f.kind == HEADERS and f.fields[":status"] == "200", says(c, "expected a 200 on stream 1")
    if not f.ends:
        c.wait(lambda f: f.ends and f.stream == 1)


def pong(payload=BEAT[9:]):
    def check(c):
        f = c.wait(lambda f: f.kind in (PING, GOAWAY))
        assert f.kind == PING and f.is_ack and f.payload == payload, says(c, "expected the answer to the last PING")
    return check


def content(size):
    def check(c):
        f = c.wait(lambda f: f.kind in (DATA, RST_STREAM, GOAWAY))
        assert f.kind == DATA and len(f.payload) == size, says(c, f"expected DATA of {size}")
        c.send(BEAT)
        f = c.wait(lambda f: f.kind in (DATA, PING))
        assert f.kind == PING, says(c, f"expected no more DATA than {size}")
    return check


def preface(c):
    f = c.next()
    assert f.kind == SETTINGS and not f.is_ack, says(c, "expected SETTINGS first")


def settings_ack(c):
    f = c.wait(lambda f: f.kind in (SETTINGS, GOAWAY))
    assert f.kind == SETTINGS and f.is_ack and not f.payload, says(c, "expected the acknowledgement")


def closed(c):
    c.rest()


def pong_or_closed(c):
    try:
        pong()(c)
    except h2raw.Gone:
        pass


PROTOCOL, FRAME_SIZE, CLOSED = "PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "STREAM_CLOSED"
FLOW, COMPRESSION = "FLOW_CONTROL_ERROR", "COMPRESSION_ERROR"
PROTOCOL_ERROR, FRAME_SIZE_ERROR = connection_error(PROTOCOL), connection_error(FRAME_SIZE)
MALFORMED = stream_error(PROTOCOL)  # RFC 9113 §8.1.1
FLOW_CONTROL_ERROR, COMPRESSION_ERROR = connection_error(FLOW), connection_error(COMPRESSION)

WINDOW_0 = settings((INITIAL_WINDOW_SIZE, 0))
START = [RAW, h2raw.PREFACE + settings((INITIAL_WINDOW_SIZE, 65535))]


def extra(field):
    """A request with one more representation behind it, well formed or not."""
    return [headers(1, GET + field)]


GENERIC = [
    ("1", "Sends a client connection preface", START, preface),
    ("2", "Sends a PRIORITY frame on idle stream", [priority(1, weight=255), BEAT], pong()),
    ("2", "Sends a WINDOW_UPDATE frame on half-closed (remote) stream", [WINDOW_0, headers(1, GET), window_update(1, 1)], content(1)),
    ("2", "Sends a PRIORITY frame on half-closed (remote) stream",
     [WINDOW_0, headers(1, GET), priority(1, weight=255), window_update(1, 1)], content(1)),
    ("2", "Sends a RST_STREAM frame on half-closed (remote) stream", [headers(1, GET), rst_stream(1), BEAT], pong()),
    ("2", "Sends a PRIORITY frame on closed stream", [headers(1, GET), answered, priority(1, weight=255), BEAT], pong()),
    ("3.1", "Sends a DATA frame", [headers(1, POST, end=False), data(1, b"test", end=True)], answer),
    ("3.1", "Sends multiple DATA frames", [headers(1, POST, end=False), data(1, b"test"), data(1, b"test", end=True)], answer),
    ("3.1", "Sends a DATA frame with padding", [headers(1, POST, end=False), data(1, b"test", end=True, pad=7)], answer),
    ("3.2", "Sends a HEADERS frame", [headers(1, GET)], answer),
    ("3.2", "Sends a HEADERS frame with padding", [headers(1, GET, pad=7)], answer),
    ("3.2", "Sends a HEADERS frame with priority", [headers(1, GET, depends_on=0, weight=255, exclusive=True)], answer),
    ("3.3", "Sends a PRIORITY frame with priority 1", [priority(1, weight=0), headers(1, GET)], answer),
    ("3.3", "Sends a PRIORITY frame with priority 256", [priority(1, weight=255), headers(1, GET)], answer),
    ("3.3", "Sends a PRIORITY frame with stream dependency", [priority(3, depends_on=1), headers(1, GET)], answer),
    ("3.3", "Sends a PRIORITY frame with exclusive", [priority(1, exclusive=True), headers(1, GET)], answer),
    ("3.3", "Sends a PRIORITY frame for an idle stream, then send a HEADER frame for a lower stream ID",
     [priority(3, weight=255), headers(1, GET)], answer),
    ("3.4", "Sends a RST_STREAM frame", [headers(1, POST, end=False), rst_stream(1), BEAT], pong()),
    ("3.5", "Sends a SETTINGS frame", [settings((MAX_CONCURRENT_STREAMS, 100))], settings_ack),
    ("3.7", "Sends a PING frame", [ping(b"12345678")], pong(b"12345678")),
    ("3.8", "Sends a GOAWAY frame", [goaway(), BEAT], pong_or_closed),
    ("3.9", "Sends a WINDOW_UPDATE frame with stream ID 0", [window_update(0, 1), headers(1, GET)], answer),
    ("3.9", "Sends a WINDOW_UPDATE frame with stream ID 1",
     [WINDOW_0, headers(1, GET), until(HEADERS), window_update(1, 1)], content(1)),
    ("3.10", "Sends a CONTINUATION frame", [headers(1, GET[:9], end_headers=False), continuation(1, GET[9:])], answer),
    ("3.10", "Sends multiple CONTINUATION frames",
     [headers(1, GET[:9], end_headers=False), continuation(1, GET[9:20], False), continuation(1, GET[20:])], answer),
    ("4", "Sends a GET request", [headers(1, GET)], answer),
    ("4", "Sends a HEAD request", [headers(1, get(method="HEAD"))], answer),
    ("4", "Sends a POST request", [headers(1, POST, end=False), data(1, b"test", end=True)], answer),
    ("4", "Sends a POST request with trailers",
     [headers(1, post(("trailer", "x-test")), end=False), data(1, b"test"), headers(1, literal("x-test", "ok"))], answer),
    ("5", "Sends a indexed header field representation", extra(indexed(58)), answer),
    ("5", "Sends a literal header field with incremental indexing - indexed name", extra(literal(58, "test", kind="indexing")), answer),
    ("5", "Sends a literal header field with incremental indexing - indexed name (with Huffman coding)",
     extra(literal(58, "test", True, kind="indexing")), answer),
    ("5", "Sends a literal header field with incremental indexing - new name",
     extra(literal("x-test", "test", kind="indexing")), answer),
    ("5", "Sends a literal header field with incremental indexing - new name (with Huffman coding)",
     extra(literal("x-test", "test", True, kind="indexing")), answer),
    ("5", "Sends a literal header field without indexing - indexed name", extra(literal(58, "test")), answer),
    ("5", "Sends a literal header field without indexing - indexed name (with Huffman coding)", extra(literal(58, "test", True)), answer),
    ("5", "Sends a literal header field without indexing - new name", extra(literal("x-test", "test")), answer),
    ("5", "Sends a literal header field without indexing - new name (huffman encoded)", extra(literal("x-test", "test", True)), answer),
    ("5", "Sends a literal header field never indexed - indexed name", extra(literal(58, "test", kind="never")), answer),
    ("5", "Sends a literal header field never indexed - indexed name (huffman encoded)",
     extra(literal(58, "test", True, kind="never")), answer),
    ("5", "Sends a literal header field never indexed - new name", extra(literal("x-test", "test", kind="never")), answer),
    ("5", "Sends a literal header field never indexed - new name (huffman encoded)",
     extra(literal("x-test", "test", True, kind="never")), answer),
    ("5", "Sends a dynamic table size update", [headers(1, table_size(0) + GET)], answer),
    ("5", "Sends multiple dynamic table size update", [headers(1, table_size(0) + table_size(4096) + GET)], answer),
]

OPEN, POSTED = headers(1, POST, end=False), headers(1, GET)
CUT = OPEN + rst_stream(1)
PART = headers(1, GET, end_headers=False)


def one_too_many(c):
    """As many streams as the server allows, and one more; none can be finished."""
    most = c.settings[MAX_CONCURRENT_STREAMS]
    c.last_sent = 2 * most + 1
    return WINDOW_0 + b"".join(headers(2 * i + 1, GET) for i in range(most + 1))


HTTP2 = [
    ("3.5", "Sends client connection preface", START, preface),
    ("3.5", "Sends invalid connection preface", [RAW, b"INVALID CONNECTION PREFACE\r\n\r\n"], closed),
    ("4.1", "Sends a frame with unknown type", [frame(0x16, 0, 0, bytes(8)), BEAT], pong()),
    ("4.1", "Sends a frame with undefined flag", [frame(PING, 0x16, 0, b"flagged.")], pong(b"flagged.")),
    ("4.1", "Sends a frame with reserved field bit", [frame(PING, 0, 1 << 31, b"reserved")], pong(b"reserved")),
    ("4.2", "Sends a DATA frame with 2^14 octets in length", [OPEN, data(1, bytes(16384), end=True)], answer),
    ("4.2", "Sends a large size DATA frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
     [OPEN, lambda c: data(1, bytes(largest(c) + 1), end=True)], stream_error(FRAME_SIZE)),
    ("4.2", "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
     [lambda c: headers(1, GET + filler(largest(c)))], FRAME_SIZE_ERROR),
    ("4.3", "Sends invalid header block fragment", [headers(1, b"\x40")], COMPRESSION_ERROR),
    ("4.3", "Sends a PRIORITY frame while sending the header blocks", [PART, priority(1), continuation(1, b"")], PROTOCOL_ERROR),
    ("4.3", "Sends a HEADERS frame to another stream while sending the header blocks",
     [PART, headers(3, GET), continuation(1, b"")], PROTOCOL_ERROR),
    ("5.1", "idle: Sends a DATA frame", [data(1, b"test", end=True)], PROTOCOL_ERROR),
    ("5.1", "idle: Sends a RST_STREAM frame", [rst_stream(1)], PROTOCOL_ERROR),
    ("5.1", "idle: Sends a WINDOW_UPDATE frame", [window_update(1, 100)], PROTOCOL_ERROR),
    ("5.1", "idle: Sends a CONTINUATION frame", [continuation(1, GET)], PROTOCOL_ERROR),
    ("5.1", "half closed (remote): Sends a DATA frame", [WINDOW_0, POSTED, data(1, b"test", end=True)], stream_error(CLOSED)),
    ("5.1", "half closed (remote): Sends a HEADERS frame", [WINDOW_0, POSTED, headers(1, GET)], stream_error(CLOSED)),
    ("5.1", "half closed (remote): Sends a CONTINUATION frame",
     [WINDOW_0, POSTED, continuation(1, GET)], stream_error(CLOSED, PROTOCOL)),
    ("5.1", "closed: Sends a DATA frame after sending RST_STREAM frame", [CUT, data(1, b"test", end=True)], stream_error(CLOSED)),
    ("5.1", "closed: Sends a HEADERS frame after sending RST_STREAM frame", [CUT, headers(1, GET)], stream_error(CLOSED)),
    ("5.1", "closed: Sends a CONTINUATION frame after sending RST_STREAM frame",
     [CUT, continuation(1, GET)], stream_error(CLOSED, PROTOCOL)),
    ("5.1", "closed: Sends a DATA frame", [POSTED, answered, data(1, b"test", end=True)], connection_error(CLOSED)),
    ("5.1", "closed: Sends a HEADERS frame", [POSTED, answered, headers(1, GET)], connection_error(CLOSED)),
    ("5.1", "closed: Sends a CONTINUATION frame", [POSTED, answered, continuation(1, GET)], connection_error(CLOSED, PROTOCOL)),
    ("5.1.1", "Sends even-numbered stream identifier", [headers(2, GET)], PROTOCOL_ERROR),
    ("5.1.1", "Sends stream identifier that is numerically smaller than previous", [headers(5, GET), headers(3, GET)], PROTOCOL_ERROR),
    ("5.1.2", "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
     [one_too_many], stream_error(PROTOCOL, "REFUSED_STREAM")),
    ("5.3.1", "Sends HEADERS frame that depends on itself", [headers(1, GET, depends_on=1)], stream_error(PROTOCOL)),
    ("5.3.1", "Sends PRIORITY frame that depend on itself", [priority(1, depends_on=1)], stream_error(PROTOCOL)),
    ("5.4.1", "Sends an invalid PING frame for connection close", [frame(PING, 0, 3, bytes(8))], closed),
    ("5.4.1", "Sends an invalid PING frame to receive GOAWAY frame", [frame(PING, 0, 3, bytes(8))], PROTOCOL_ERROR),
    ("5.5", "Sends an unknown extension frame", [frame(0xff, 0, 0, bytes(8)), BEAT], pong()),
    ("5.5", "Sends an unknown extension frame in the middle of a header block",
     [PART, frame(0x16, 0, 0, bytes(8)), continuation(1, b"")], PROTOCOL_ERROR),
    ("6.1", "Sends a DATA frame with 0x0 stream identifier", [OPEN, data(0, b"test", end=True)], PROTOCOL_ERROR),
    ("6.1", 'Sends a DATA frame on the stream that is not in "open" or "half-closed (local)" state',
     [WINDOW_0, POSTED, data(1, b"test", end=True)], stream_error(CLOSED)),
    ("6.1", "Sends a DATA frame with invalid pad length", [OPEN, frame(DATA, 0x9, 1, b"\x06\x54\x65\x73\x74")], PROTOCOL_ERROR),
    ("6.2", "Sends a HEADERS frame without the END_HEADERS flag, and a PRIORITY frame", [PART, priority(1)], PROTOCOL_ERROR),
    ("6.2", "Sends a HEADERS frame to another stream while sending a HEADERS frame", [PART, headers(3, GET)], PROTOCOL_ERROR),
    ("6.2", "Sends a HEADERS frame with 0x0 stream identifier", [headers(0, GET)], PROTOCOL_ERROR),
    ("6.2", "Sends a HEADERS frame with invalid pad length",
     [frame(HEADERS, 0xd, 1, bytes([len(GET) + 1]) + GET)], stream_error(PROTOCOL)),
    ("6.3", "Sends a PRIORITY frame with 0x0 stream identifier", [priority(0, depends_on=1)], PROTOCOL_ERROR),
    ("6.3", "Sends a PRIORITY frame with a length other than 5 octets", [OPEN, frame(PRIORITY, 0, 1, bytes(4))], stream_error(FRAME_SIZE)),
    ("6.4", "Sends a RST_STREAM frame with 0x0 stream identifier", [rst_stream(0)], PROTOCOL_ERROR),
    ("6.4", "Sends a RST_STREAM frame on a idle stream", [rst_stream(1)], PROTOCOL_ERROR),
    ("6.4", "Sends a RST_STREAM frame with a length other than 4 octets", [OPEN, frame(RST_STREAM, 0, 1, bytes(3))], FRAME_SIZE_ERROR),
    ("6.5", "Sends a SETTINGS frame with ACK flag and payload", [frame(SETTINGS, h2raw.ACK, 0, b"\0")], FRAME_SIZE_ERROR),
    ("6.5", "Sends a SETTINGS frame with a stream identifier other than 0x0",
     [frame(SETTINGS, 0, 1, b"\0\x03\0\0\0\x64")], PROTOCOL_ERROR),
    ("6.5", "Sends a SETTINGS frame with a length other than a multiple of 6 octets",
     [frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64\0\x02")], FRAME_SIZE_ERROR),
    ("6.5.2", "SETTINGS_ENABLE_PUSH (0x2): Sends the value other than 0 or 1", [settings((ENABLE_PUSH, 2))], PROTOCOL_ERROR),
    ("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE (0x4): Sends the value above the maximum flow control window size",
     [settings((INITIAL_WINDOW_SIZE, 1 << 31))], FLOW_CONTROL_ERROR),
    ("6.5.2", "SETTINGS_MAX_FRAME_SIZE (0x5): Sends the value below the initial value", [settings((MAX_FRAME_SIZE, 16383))], PROTOCOL_ERROR),
    ("6.5.2", "SETTINGS_MAX_FRAME_SIZE (0x5): Sends the value above the maximum allowed frame size",
     [settings((MAX_FRAME_SIZE, 1 << 24))], PROTOCOL_ERROR),
    ("6.5.2", "Sends a SETTINGS frame with unknown identifier", [settings((0xff, 1)), BEAT], pong()),
    ("6.5.3", "Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
     [settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)), acked, POSTED], content(1)),
    ("6.5.3", "Sends a SETTINGS frame without ACK flag", [settings((ENABLE_PUSH, 0))], settings_ack),
    ("6.7", "Sends a PING frame", [ping(b"12345678")], pong(b"12345678")),
    ("6.7", "Sends a PING frame with ACK", [ping(b"no reply", ack=True), BEAT], pong()),
    ("6.7", "Sends a PING frame with a stream identifier field value other than 0x0", [frame(PING, 0, 1, bytes(8))], PROTOCOL_ERROR),
    ("6.7", "Sends a PING frame with a length field value other than 8", [frame(PING, 0, 0, bytes(6))], FRAME_SIZE_ERROR),
    ("6.8", "Sends a GOAWAY frame with a stream identifier other than 0x0", [frame(GOAWAY, 0, 1, bytes(8))], PROTOCOL_ERROR),
    ("6.9", "Sends a WINDOW_UPDATE frame with a flow control window increment of 0", [window_update(0, 0)], PROTOCOL_ERROR),
    ("6.9", "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream",
     [OPEN, window_update(1, 0)], stream_error(PROTOCOL)),
    ("6.9", "Sends a WINDOW_UPDATE frame with a length other than 4 octets", [frame(WINDOW_UPDATE, 0, 0, b"\0\0\1")], FRAME_SIZE_ERROR),
    ("6.9.1", "Sends SETTINGS frame to set the initial window size to 1 and sends HEADERS frame",
     [settings((INITIAL_WINDOW_SIZE, 1)), acked, POSTED], content(1)),
    ("6.9.1", "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1",
     [window_update(0, (1 << 31) - 1) * 2], FLOW_CONTROL_ERROR),
    ("6.9.1", "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
     [OPEN, window_update(1, (1 << 31) - 1) * 2], stream_error(FLOW)),
    ("6.9.2", "Changes SETTINGS_INITIAL_WINDOW_SIZE after sending HEADERS frame",
     [WINDOW_0, acked, POSTED, until(HEADERS), settings((INITIAL_WINDOW_SIZE, 1)), acked], content(1)),
    ("6.9.2", "Sends a SETTINGS frame for window size to be negative",
     [settings((INITIAL_WINDOW_SIZE, 3)), acked, POSTED, until(DATA), settings((INITIAL_WINDOW_SIZE, 2)), acked, window_update(1, 2)],
     content(1)),
    ("6.9.2", "Sends a SETTINGS_INITIAL_WINDOW_SIZE settings with an exceeded maximum window size value",
     [settings((INITIAL_WINDOW_SIZE, 1 << 31))], FLOW_CONTROL_ERROR),
    ("6.10", "Sends multiple CONTINUATION frames preceded by a HEADERS frame",
     [PART, continuation(1, filler(10), False), continuation(1, filler(10))], answer),
    ("6.10", "Sends a CONTINUATION frame followed by any frame other than CONTINUATION",
     [headers(1, POST, end=False, end_headers=False), continuation(1, filler(10), False), data(1, b"test", end=True)], PROTOCOL_ERROR),
    ("6.10", "Sends a CONTINUATION frame with 0x0 stream identifier", [PART, continuation(0, filler(10))], PROTOCOL_ERROR),
    ("6.10", "Sends a CONTINUATION frame preceded by a HEADERS frame with END_HEADERS flag",
     [WINDOW_0, POSTED, continuation(1, filler(10))], PROTOCOL_ERROR),
    ("6.10", "Sends a CONTINUATION frame preceded by a CONTINUATION frame with END_HEADERS flag",
     [WINDOW_0, PART, continuation(1, filler(10)), continuation(1, filler(10))], PROTOCOL_ERROR),
    ("6.10", "Sends a CONTINUATION frame preceded by a DATA frame",
     [OPEN, data(1, b"test"), continuation(1, filler(10))], PROTOCOL_ERROR),
    ("7", "Sends a GOAWAY frame with unknown error code", [goaway(0, 0xff), BEAT], pong_or_closed),
    ("7", "Sends a RST_STREAM frame with unknown error code", [OPEN, rst_stream(1, 0xff), BEAT], pong()),
    ("8.1", "Sends a second HEADERS frame without the END_STREAM flag",
     [OPEN, data(1, b"test"), headers(1, literal("x-test", "ok"), end=False)], MALFORMED),
    ("8.1.2", "Sends a HEADERS frame that contains the header field name in uppercase letters", extra(literal("X-TEST", "ok")), MALFORMED),
    ("8.1.2.1", "Sends a HEADERS frame that contains a unknown pseudo-header field", [headers(1, literal(":test", "ok") + GET)], MALFORMED),
    ("8.1.2.1", "Sends a HEADERS frame that contains the pseudo-header field defined for response",
     [headers(1, literal(":status", "200") + GET)], MALFORMED),
    ("8.1.2.1", "Sends a HEADERS frame that contains a pseudo-header field as trailers",
     [OPEN, data(1, b"test"), headers(1, literal(":method", "200"))], MALFORMED),
    ("8.1.2.1", "Sends a HEADERS frame that contains a pseudo-header field that appears in a header block after a regular header field",
     [headers(1, h2raw.block(*pseudo()[:3], ("x-test", "ok"), pseudo()[3]))], MALFORMED),
    ("8.1.2.2", "Sends a HEADERS frame that contains the connection-specific header field",
     extra(literal("connection", "keep-alive")), MALFORMED),
    ("8.1.2.2", 'Sends a HEADERS frame that contains the TE header field with any value other than "trailers"',
     extra(literal("te", "trailers, deflate")), MALFORMED),
    ("8.1.2.3", "Sends a HEADERS frame with empty \":path\" pseudo-header field", [headers(1, h2raw.block(*pseudo(path="")))], MALFORMED),
    ("8.1.2.3", "Sends a HEADERS frame that omits \":method\" pseudo-header field", [headers(1, h2raw.block(*pseudo()[1:]))], MALFORMED),
    ("8.1.2.3", "Sends a HEADERS frame that omits \":scheme\" pseudo-header field",
     [headers(1, h2raw.block(*pseudo()[:1], *pseudo()[2:]))], MALFORMED),
    ("8.1.2.3", "Sends a HEADERS frame that omits \":path\" pseudo-header field",
     [headers(1, h2raw.block(*pseudo()[:2], *pseudo()[3:]))], MALFORMED),
    ("8.1.2.3", "Sends a HEADERS frame with duplicated \":method\" pseudo-header field", [headers(1, literal(":method", "GET") + GET)], MALFORMED),
    ("8.1.2.3", "Sends a HEADERS frame with duplicated \":scheme\" pseudo-header field",
     [headers(1, literal(":scheme", "https") + GET)], MALFORMED),
    ("8.1.2.3", "Sends a HEADERS frame with duplicated \":path\" pseudo-header field", [headers(1, literal(":path", "/") + GET)], MALFORMED),
    ("8.1.2.6", 'Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length',
     [headers(1, post(("content-length", "1")), end=False), data(1, b"test", end=True)], MALFORMED),
    ("8.1.2.6", 'Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames '
     "payload length", [headers(1, post(("content-length", "1")), end=False), data(1, b"test"), data(1, b"test", end=True)], MALFORMED),
    ("8.2", "Sends a PUSH_PROMISE frame", [OPEN, frame(PUSH_PROMISE, 4, 1, b"\0\0\0\x03" + GET)], PROTOCOL_ERROR),
]

HUFFMAN = string("test", huffman=True)  # 3 octets, the last with padding


def coded(*octets):
    """A field whose value is these octets, marked as Huffman code."""
    return extra(literal("x-test", "")[:-1] + bytes([0x80 | len(octets), *octets]))


HPACK = [
    ("2.3.3", "Sends a indexed header field representation with invalid index", extra(indexed(70)), COMPRESSION_ERROR),
    ("2.3.3", "Sends a literal header field representation with invalid index",
     extra(literal(70, "test", kind="indexing")), COMPRESSION_ERROR),
    ("4.2", "Sends a dynamic table size update at the end of header block", extra(table_size(1)), COMPRESSION_ERROR),
    ("5.2", "Sends a Huffman-encoded string literal representation with padding longer than 7 bits",
     coded(*HUFFMAN[1:], 0xff), COMPRESSION_ERROR),
    ("5.2", "Sends a Huffman-encoded string literal representation padded by zero", coded(*HUFFMAN[1:-1], HUFFMAN[-1] & 0xfe), COMPRESSION_ERROR),
    ("5.2", "Sends a Huffman-encoded string literal representation containing the EOS symbol",
     coded(0xff, 0xff, 0xff, 0xff), COMPRESSION_ERROR),
    ("6.1", "Sends a indexed header field representation with index 0", extra(indexed(0)), COMPRESSION_ERROR),
    ("6.3", "Sends a dynamic table size update larger than the value of SETTINGS_HEADER_TABLE_SIZE",
     [headers(1, table_size(1 << 20) + GET)], COMPRESSION_ERROR),
]

CASES = [(group, *case) for group, cases in (("generic", GENERIC), ("http2", HTTP2), ("hpack", HPACK)) for case in cases]
