"""Deploys under load, over two workers' machines and this one, cost nobody anything. DEPLOYS and TUNNEL_DEPLOYS make it longer, RATE
is in requests a second."""
import contextlib
import os
import re
import time

import pytest

from conftest import SANITIZED, cluster_over, poll
from load import Traffic, Watch
from test_stream import WebSocket

HOST = "hello.example.test"
DEPLOYS = int(os.environ.get("DEPLOYS", "5"))
TUNNEL_DEPLOYS = int(os.environ.get("TUNNEL_DEPLOYS", "5"))
RATE = int(os.environ.get("RATE", "300" if SANITIZED else "1000"))


@pytest.fixture
def three(engines, image, tmp_path):
    with cluster_over(engines, image, tmp_path, "--tunnel-drain", "3s") as c:
        yield c


def test_deploys_under_load_fail_nothing(three):
    c = three
    with Watch(c) as watch:
        c.deploy("hello", replicas=3)
        assert len({r["node"] for r in c.ready_replicas("hello")}) == 3
        with Traffic(c, HOST, RATE) as traffic:
            for n in range(DEPLOYS):
                c.deploy("hello", "--env", f"ROUND={n}", replicas=3)
            logs = poll("the old ones have ended", lambda: (lambda e: e if len(e) == 3 * DEPLOYS else None)(watch.ended()), 40)
        print(f"{DEPLOYS} deploys: {traffic}")
        assert traffic.failed == []
        assert traffic.rate > RATE * 0.8
        assert min(traffic.last["counts"].values()) > 0
        for cid, text in logs.items():
            assert "LATE" not in text, f"{cid}:\n{text}"
            assert "stopping" in text and ", 0 connections cut" in text, f"{cid}:\n{text}"
        said = watch.effects()
        assert len(said) == len(set(said)) == traffic.last["effects"]
    assert c.json("status")["front"]["cut"] == 0


def test_idle_tunnels_of_another_app_never_notice(three):
    c = three
    c.deploy("other", replicas=3)
    c.deploy("hello", replicas=3)
    with contextlib.ExitStack() as stack:
        tunnels = [stack.enter_context(WebSocket(c, "other.example.test")) for _ in range(30)]
        assert len({re.search(rb"(?i)x-replica: *(\S+)", ws.head)[1] for ws in tunnels}) == 3
        for n in range(TUNNEL_DEPLOYS):
            own = stack.enter_context(WebSocket(c, HOST))
            c.deploy("hello", "--env", f"ROUND={n}", replicas=3)
            deployed = time.monotonic()
            assert own.echo(b"still here") == b"still here"
        for ws in tunnels:
            assert ws.echo(b"untouched") == b"untouched"
        # The deployed app's own live until its drain limit, and not much longer.
        own.socket.settimeout(15)
        with contextlib.suppress(ConnectionResetError):
            assert own.socket.recv(1) == b""
        assert 2 < time.monotonic() - deployed < 8
    poll("each is counted", lambda: c.json("status")["front"]["cut"] == TUNNEL_DEPLOYS, 10)


def test_one_replica_that_stops_first_keeps_requests_waiting(three):
    """At a rate at which those of the old one's last 2 s fit into the queue."""
    c = three
    c.deploy("hello", "--stop-first", replicas=1)
    with Traffic(c, HOST, RATE // 8) as traffic:
        for n in range(2):
            c.deploy("hello", "--stop-first", "--env", f"ROUND={n}", replicas=1)
    print(f"2 stop-first deploys: {traffic}")
    assert traffic.failed == [] and traffic.latest_s > 0
