"""GET /metrics: what promtool thinks of it, that the numbers add up, that it stays whole while things change, and its manual page."""
import collections
import os
import re
import socket
import ssl
import subprocess
import threading

import pytest

from conftest import ROOT, poll
from test_front import Upstream, front, ok, route  # noqa: F401 (fixtures)

SAMPLE = re.compile(r'([a-z0-9_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? ([0-9.]+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\\n]|\\[\\"n])*)"')


def parse(text):
    """{(name, frozenset of labels): value}; every line is as it must be, and none comes twice."""
    out, family, seen = {}, None, set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in seen, f"{family} is not in one place"
            seen.add(family)
            continue
        if line.startswith("# TYPE "):
            assert line.split(" ")[2] == family
            continue
        m = SAMPLE.fullmatch(line)
        assert m, line
        assert m[1] == family or m[1].rsplit("_", 1)[0] == family, line
        key = (m[1], frozenset(LABEL.findall(m[2] or "")))
        assert key not in out, f"twice: {line}"
        out[key] = float(m[3])
    return out


@pytest.fixture(scope="module")
def key(front):  # noqa: F811
    return front.key("read")


@pytest.fixture
def scrape(front, key):  # noqa: F811
    def run():
        r = front.api("GET", "/metrics", key)
        assert r.status_code == 200
        assert r.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return r.text
    return run


class Numbers:
    def __init__(self, text):
        self.samples = parse(text)

    def __call__(self, name, **labels):
        return self.samples.get((name, frozenset(labels.items())), 0.0)


def test_closed_by_default(front, key, route):  # noqa: F811
    assert front.api("GET", "/metrics").status_code == 401
    assert front.api("GET", "/metrics", "no" + key).status_code == 401
    assert front.api("GET", "/metrics", key).status_code == 200
    host, (up,) = route(ok(b"the app's own"))
    assert front.get(host, "/metrics").text == "the app's own"


def test_promtool_has_nothing_to_say(front, scrape):  # noqa: F811
    up = Upstream(ok())
    host = f"h{os.urandom(4).hex()}.example.test"
    # Everything a label may hold.
    front.run("route", "add", host + '/q"u\\o%20te', up.at)
    front.get(host, '/q"u\\o%20te')
    text = scrape()
    up.close()
    r = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    at = up.at.removeprefix("http://")
    n = Numbers(text)
    name = host + '/q\\"u\\\\o%20te'
    assert ("temps_endpoint_weight", frozenset({("upstream", name), ("endpoint", at)})) in n.samples


def test_numbers_add_up(front, route, scrape):  # noqa: F811
    def answer(s, head):
        status = {"GET /bad ": b"503 No", "GET /gone ": b"404 No"}.get(head[:head.index(" ", 4) + 1], b"200 OK")
        content = b""
        while head.startswith("POST") and len(content) < 8:
            content += s.recv(8 - len(content))
        s.sendall(b"HTTP/1.1 %s\r\nContent-Length: 4\r\n\r\nbody" % status)

    host, (up,) = route(answer)
    before = Numbers(scrape())
    with front.session(host) as s:
        for path, times in (("/", 20), ("/gone", 5), ("/bad", 3)):
            for _ in range(times):
                s.post(f"https://{host}/", data=b"12345678") if path == "/" else s.get(f"https://{host}{path}")
    assert front.get("nobody.example.test", verify=False).status_code == 404
    after = poll("all have ended", lambda: (n := Numbers(scrape()))("temps_upstream_requests_in_flight", upstream=host + "/") == 0 and n)

    def grew(name, **labels):
        return after(name, **labels) - before(name, **labels)

    u, e = {"upstream": host + "/"}, {"upstream": host + "/", "endpoint": up.at.removeprefix("http://")}
    assert after("temps_upstream_requests_total", **u) == 28
    assert [after("temps_upstream_responses_total", code=f"{i}xx", **u) for i in range(1, 6)] == [0, 20, 0, 5, 3]
    assert [after("temps_endpoint_responses_total", code=f"{i}xx", **e) for i in range(1, 6)] == [0, 20, 0, 5, 3]
    assert after("temps_upstream_request_bytes_total", **u) == 160 and after("temps_upstream_response_bytes_total", **u) == 112
    assert grew("temps_request_bytes_total") == 160 and grew("temps_response_bytes_total") >= 112
    assert grew("temps_requests_total") == 29 and grew("temps_requests_without_route_total") == 1
    assert [grew("temps_responses_total", code=f"{i}xx") for i in range(1, 6)] == [0, 20, 0, 6, 3]
    for name, labels, want in (("temps_upstream_request_duration_seconds", u, 28), ("temps_endpoint_response_time_seconds", e, 28)):
        buckets = sorted((float(dict(k)["le"]), v) for (n, k), v in after.samples.items()
                         if n == name + "_bucket" and set(labels.items()) <= k)
        assert buckets[-1] == (float("inf"), want) and after(name + "_count", **labels) == want
        assert [v for _, v in buckets] == sorted(v for _, v in buckets)
        assert 0 < after(name + "_sum", **labels) < 28 * 20
    assert grew("temps_request_duration_seconds_count") == 29
    assert grew("temps_tls_handshakes_total") >= 2
    assert grew("temps_connections_accepted_total") >= 2 and after("temps_connections") >= 1
    assert grew("temps_upstream_connections_opened_total") + grew("temps_upstream_connections_reused_total") >= 28
    assert after("temps_upstream_endpoints_in", **u) == 1
    assert after("temps_loop_turn_duration_seconds_count") == after("temps_loop_turns_total") > before("temps_loop_turns_total")
    assert after("temps_store_commit_duration_seconds_count") == after("temps_store_commits_total") >= 1
    assert grew("temps_certificates", source="front-ca") >= 0 and after("temps_certificates", source="front-ca") >= 1
    assert after("process_open_fds") > 5 and after("process_resident_memory_bytes") > 1e6
    assert after("process_cpu_seconds_total") >= before("process_cpu_seconds_total")


def test_connections_by_what_they_do(front, route, scrape):  # noqa: F811
    def tunnel(s, head):
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        s.recv(1)
        return False

    host, (up,) = route(tunnel)
    names = ("temps_connections_opening", "temps_connections_http2", "temps_tunnels_open", "temps_connections_idle")

    def now():
        n = Numbers(scrape())
        return [n(name) for name in names] + [n("temps_endpoint_tunnels", upstream=host + "/", endpoint=up.at.removeprefix("http://"))]

    before = now()
    ctx = ssl.create_default_context(cafile=front.ca)
    ctx.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", front.https_port)), \
            ctx.wrap_socket(socket.create_connection(("127.0.0.1", front.https_port)), server_hostname=host) as h2, \
            front.connect(host) as ws:
        assert h2.selected_alpn_protocol() == "h2"
        ws.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        assert ws.recv(4096).startswith(b"HTTP/1.1 101 ")
        poll("one of each", lambda: [a - b for a, b in zip(now(), before)][:3] == [1, 1, 1])
        assert now()[4] == 1 and Numbers(scrape())("temps_upstream_requests_in_flight", upstream=host + "/") == 1
    poll("none is left", lambda: [a - b for a, b in zip(now(), before)][:3] == [0, 0, 0] and now()[4] == 0)
    # It lasted as long as it liked; its time is to its head.
    assert Numbers(scrape())("temps_upstream_request_duration_seconds_count", upstream=host + "/") == 1


def test_failures_are_counted(front, scrape):  # noqa: F811
    up, dead = Upstream(ok()), Upstream(ok())
    dead.close()
    host = f"h{os.urandom(4).hex()}.example.test"
    front.run("route", "add", host, dead.at, up.at)
    before = Numbers(scrape())
    for _ in range(4):
        assert front.get(host).status_code == 200
    after = Numbers(scrape())
    up.close()
    e = {"upstream": host + "/", "endpoint": dead.at.removeprefix("http://")}
    assert after("temps_endpoint_state", **e) == 1 and after("temps_endpoint_ejections_total", **e) == 1
    assert after("temps_endpoint_failures_total", **e) >= 1 and after("temps_endpoint_retries_away_total", **e) == 1
    assert after("temps_upstream_retries_total", upstream=host + "/") == 1
    assert after("temps_upstream_endpoints_in", upstream=host + "/") == 1
    assert after("temps_upstream_connect_failures_total") > before("temps_upstream_connect_failures_total")
    assert after("temps_request_retries_total") > before("temps_request_retries_total")


def test_a_route_that_goes_takes_its_series_along(front, route, scrape):  # noqa: F811
    host, _ = route(ok())
    assert front.get(host).status_code == 200
    assert host in scrape()
    front.run("route", "rm", host, "--yes")
    assert host not in scrape()


def test_whole_while_routes_come_and_go_under_load(front, route, scrape, key):  # noqa: F811
    """Slow readers get a whole answer, whatever happens meanwhile, and counters never go back."""
    host, _ = route(ok())
    up = Upstream(ok())
    names = [f"r{i}.{os.urandom(4).hex()}.example.test" for i in range(16)]
    for name in names:
        front.run("route", "add", name, *[f"http://127.0.0.1:{port}" for port in range(2000, 2030)], up.at)
    done, wrong = threading.Event(), []

    def load():
        with front.session(host) as s:
            while not done.is_set():
                if s.get(f"https://{host}/").status_code != 200:
                    wrong.append("status")

    def read_slowly(texts):
        request = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        with front.connect("127.0.0.1", tls=False) as s:
            s.settimeout(30)
            s.sendall(request.encode())
            data = b""
            while got := s.recv(4096):
                data += got
                removal.wait(0.002)
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        texts.append(unchunk(body))

    removal, texts = threading.Event(), []
    threads = [threading.Thread(target=load)] + [threading.Thread(target=read_slowly, args=(texts,)) for _ in range(3)]
    for t in threads:
        t.start()
    last = collections.Counter()
    for name in names:
        front.run("route", "rm", name, "--yes")
        now = Numbers(scrape()).samples
        for (metric, labels), value in now.items():
            if metric.endswith("_total") and ("upstream", host + "/") in labels or not labels:
                assert not metric.endswith("_total") or value >= last[metric, labels], (metric, labels)
                last[metric, labels] = value
    removal.set()
    for t in threads[1:]:
        t.join(60)
    done.set()
    threads[0].join(60)
    up.close()
    assert not wrong and len(texts) == 3
    for text in texts:
        assert len(parse(text)) > 10000
    assert "temps_upstream_requests_total" in scrape() and names[0] not in scrape()


def unchunk(body):
    out = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        n = int(size, 16)
        if n == 0:
            assert body == b"\r\n"
            return out.decode()
        out, body = out + body[:n], body[n + 2:]


def test_scrapes_at_once_are_few(front, key):  # noqa: F811
    """Who does not read is refused company before memory is."""
    request = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    up = Upstream(ok())
    names = [f"m{i}.{os.urandom(4).hex()}.example.test" for i in range(30)]
    for name in names:
        front.run("route", "add", name, *[f"http://127.0.0.1:{port}" for port in range(2000, 2040)])
    stuck = []
    try:
        for _ in range(8):
            s = front.connect("127.0.0.1", tls=False)
            s.setsockopt(1, 8, 4096)
            s.sendall(request)
            assert s.recv(15) == b"HTTP/1.1 200 OK"
            stuck.append(s)
        r = front.api("GET", "/metrics", key)
        assert r.status_code == 503 and r.headers["Retry-After"]
    finally:
        for s in stuck:
            s.close()
    poll("they are gone", lambda: front.api("GET", "/metrics", key).status_code == 200)
    for name in names:
        front.run("route", "rm", name, "--yes")
    up.close()


def test_manual_page_lists_each(scrape):
    text = (ROOT / "man" / "temps-metrics.7").read_text()
    listed = re.findall(r"^\.It Li ((?:temps|process)_[a-z0-9_]+)$", text, re.M)
    families = re.findall(r"^# TYPE ([a-z0-9_]+) ", scrape(), re.M)
    assert sorted(listed) == sorted(families)
