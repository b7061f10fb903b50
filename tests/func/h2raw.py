"""HTTP/2 by hand, for tests that must be able to send anything: frames are built as told, right or wrong, and header blocks are
written byte by byte. Only what comes back is decoded by a library."""
import socket
import ssl
import struct
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

TYPES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION")
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

ERRORS = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
          "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM")

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 8


# --- frames ---

def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """<length> lies about the payload's; <stream> may have its reserved bit set."""
    n = len(payload) if length is None else length
    return struct.pack(">BHBBL", n >> 16, n & 0xffff, kind, flags, stream) + payload


def _padded(payload, pad):
    return payload if pad is None else bytes([pad]) + payload + bytes(pad)


def data(stream, payload=b"", end=False, pad=None):
    return frame(DATA, (END_STREAM if end else 0) | (PADDED if pad is not None else 0), stream, _padded(payload, pad))


def headers(stream, block, end=True, end_headers=True, pad=None, depends_on=None, weight=15, exclusive=False):
    flags = (END_STREAM if end else 0) | (END_HEADERS if end_headers else 0)
    if depends_on is not None:
        flags |= WITH_PRIORITY
        block = struct.pack(">LB", depends_on | exclusive << 31, weight) + block
    if pad is not None:
        flags |= PADDED
    return frame(HEADERS, flags, stream, _padded(block, pad))


def continuation(stream, block, end_headers=True):
    return frame(CONTINUATION, END_HEADERS if end_headers else 0, stream, block)


def priority(stream, depends_on=0, weight=15, exclusive=False):
    return frame(PRIORITY, 0, stream, struct.pack(">LB", depends_on | exclusive << 31, weight))


def rst_stream(stream, code=8):
    return frame(RST_STREAM, 0, stream, struct.pack(">L", code))


def settings(*pairs, ack=False):
    return frame(SETTINGS, ACK if ack else 0, 0, b"".join(struct.pack(">HL", k, v) for k, v in pairs))


def ping(payload=b"\0" * 8, ack=False):
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last=0, code=0, debug=b""):
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last, code) + debug)


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))


# --- header blocks (RFC 7541) ---

def integer(value, bits, first=0):
    top = (1 << bits) - 1
    if value < top:
        return bytes([first | value])
    out, value = [first | top], value - top
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def string(text, huffman=False):
    raw = text if isinstance(text, bytes) else text.encode("latin-1")
    if huffman:
        raw = hpack.huffman.HuffmanEncoder(hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH).encode(raw)
    return integer(len(raw), 7, 0x80 if huffman else 0) + raw


def indexed(index):
    return integer(index, 7, 0x80)


def literal(name, value, huffman=False, kind="plain"):
    """<name> is text or an index; <kind> is indexing, plain or never."""
    bits, first = {"indexing": (6, 0x40), "plain": (4, 0), "never": (4, 0x10)}[kind]
    head = integer(name, bits, first) if isinstance(name, int) else bytes([first]) + string(name, huffman)
    return head + string(value, huffman)


def table_size(size):
    return integer(size, 5, 0x20)


def block(*fields):
    return b"".join(f if isinstance(f, bytes) else literal(*f) for f in fields)


# --- a connection ---

class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload
        self.fields = None  # of a complete header block

    @property
    def name(self):
        return TYPES[self.kind] if self.kind < len(TYPES) else f"type {self.kind}"

    @property
    def code(self):
        """The error of RST_STREAM and GOAWAY, by name."""
        if self.kind not in (RST_STREAM, GOAWAY):
            return None
        n = struct.unpack(">L", self.payload[4:8] if self.kind == GOAWAY else self.payload)[0]
        return ERRORS[n] if n < len(ERRORS) else str(n)

    @property
    def ends(self):
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def is_ack(self):
        return self.kind in (SETTINGS, PING) and bool(self.flags & ACK)

    def __repr__(self):
        return " ".join(x for x in (self.name, self.code, f"flags={self.flags:#x}", f"stream={self.stream}",
                                    f"length={len(self.payload)}") if x)


class Gone(Exception):
    """The server closed the connection; the text says how."""


class Raw:
    """One connection. <sock> is connected, and past its TLS handshake if it has one."""

    def __init__(self, sock):
        self.sock, self.pending, self.seen = sock, b"", []
        self.decoder = hpack.Decoder()
        self.decoder.max_allowed_table_size = 65536
        self.settings, self.fragment, self.broken, self.last_sent = {}, b"", None, 0

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.sock.close()

    def send(self, *frames):
        """All at once. A server that has closed meanwhile is no surprise here: next() tells."""
        try:
            self.sock.sendall(b"".join(frames))
        except (OSError, ssl.SSLError) as e:
            self.broken = e

    def handshake(self, *pairs):
        """Preface and SETTINGS both ways, all acknowledged."""
        self.send(PREFACE, settings(*pairs))
        self.wait(lambda f: f.kind == SETTINGS and not f.is_ack)
        self.send(settings(ack=True))
        self.wait(lambda f: f.kind == SETTINGS and f.is_ack)
        return self

    def _fill(self, n, end):
        while len(self.pending) < n:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"nothing more; seen so far: {self.seen[-12:]}")
            self.sock.settimeout(left)
            try:
                got = self.sock.recv(65536)
            except (TimeoutError, socket.timeout):
                continue
            except (OSError, ssl.SSLError) as e:
                raise Gone(repr(e)) from None
            if not got:
                raise Gone("end of file")
            self.pending += got

    def next(self, limit_s=5.0):
        """The next frame; Gone at the end of the connection, TimeoutError after the limit."""
        end = time.monotonic() + limit_s
        self._fill(9, end)
        high, low, kind, flags, stream = struct.unpack(">BHBBL", self.pending[:9])
        n = high << 16 | low
        self._fill(9 + n, end)
        f = Frame(kind, flags, stream & 0x7fffffff, self.pending[9:9 + n])
        self.pending = self.pending[9 + n:]
        self.seen.append(f)
        self._understand(f)
        return f

    def _understand(self, f):
        if f.kind == SETTINGS and not f.is_ack:
            self.settings.update(struct.unpack(">HL", f.payload[i:i + 6]) for i in range(0, len(f.payload), 6))
        elif f.kind in (HEADERS, CONTINUATION):
            assert not f.flags & (PADDED | WITH_PRIORITY), f
            self.fragment += f.payload
            if f.flags & END_HEADERS:
                f.fields = dict(self.decoder.decode(self.fragment))
                self.fragment = b""

    def wait(self, wanted, limit_s=5.0):
        """Reads until <wanted>(frame), and returns that frame."""
        end = time.monotonic() + limit_s
        while True:
            f = self.next(max(end - time.monotonic(), 0.001))
            if wanted(f):
                return f

    def rest(self, limit_s=5.0):
        """Every frame until the server closes."""
        end, out = time.monotonic() + limit_s, []
        try:
            while True:
                out.append(self.next(max(end - time.monotonic(), 0.001)))
        except Gone:
            return out


def connect(port, host, ip="127.0.0.1", cafile=None, source=None, limit_s=10.0):
    """TLS with ALPN h2; the certificate is verified by <cafile> when given."""
    sock = socket.create_connection((ip, port), limit_s, source_address=(source, 0) if source else None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ctx = ssl.create_default_context(cafile=cafile)
    if not cafile:
        ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    ctx.set_alpn_protocols(["h2"])
    try:
        tls = ctx.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    assert tls.selected_alpn_protocol() == "h2", tls.selected_alpn_protocol()
    return Raw(tls)
