"""When many nodes fall silent at once the fault is more likely the control plane's: stopped, starved by a flood, or cut off. Then
nothing is re-placed."""
import signal
import socket
import ssl
import threading
import time

import pytest

from conftest import Cluster, SampleApp, poll
from test_restart import started

FAST = ("--heartbeat-interval", "1s", "--offline-after", "3s")
MAX_CONNECTIONS = 40


def types(c):
    return [e["type"] for e in c.json("events")["items"]]


def workers(c):
    return [n for n in c.json("node", "ls")["nodes"] if n["id"] != 0]


def beats(c):
    return {n["name"]: n["last_heartbeat"] for n in workers(c)}


def all_beat_again(c):
    """Every node is heard of, in a later second than now."""
    before = beats(c)
    poll("all beat", lambda: all(t != before[name] for name, t in beats(c).items()), 10)


@pytest.fixture(scope="module")
def three(tmp_path_factory, image):
    """Three workers with a replica each."""
    c = Cluster(tmp_path_factory.mktemp("three"), image)
    try:
        c.start(*FAST)
        for n in range(3):
            c.worker(f"worker-{n}")
        c.deploy("hello", "--strategy", "spread", "--node", "worker-0", "--node", "worker-1", "--node", "worker-2", replicas=3)
        assert len({r["node"] for r in c.ready_replicas("hello")}) == 3
        yield c
    finally:
        c.close()


def test_a_control_plane_that_stood_still_blames_nobody(three):
    c = three
    containers = started(c)
    c.process.popen.send_signal(signal.SIGSTOP)
    time.sleep(3.8)     # longer than makes a node offline
    c.process.popen.send_signal(signal.SIGCONT)
    all_beat_again(c)
    assert "LateTurn" in types(c) and "NodeOffline" not in types(c)
    assert started(c) == containers and [n["status"] for n in workers(c)] == ["active"] * 3
    assert len(c.ready_replicas("hello")) == 3 == len(c.replicas("hello"))


def test_nothing_is_placed_anew_when_all_fall_silent(three):
    c = three
    containers = started(c)
    for w in c.workers:
        w.process.popen.send_signal(signal.SIGSTOP)
    try:
        poll("all are offline", lambda: [n["health"] for n in workers(c)] == ["offline"] * 3, 15)
        assert types(c).count("NodeOffline") == 3 and "MassFailure" in types(c), types(c)
        # At most what the first two ran was to go elsewhere, before there were three. The data path still reaches all.
        assert len(c.replicas("hello")) < 6
        assert c.get().status_code == 200 and started(c) == containers
    finally:
        for w in c.workers:
            w.process.popen.send_signal(signal.SIGCONT)
    poll("all are back", lambda: [n["health"] for n in workers(c)] == ["ok"] * 3, 15)
    poll("all is as before", lambda: started(c) == containers and len(c.ready_replicas("hello")) == 3, 15)
    assert c.get().status_code == 200


class Flood(threading.Thread):
    """Somebody at another address who keeps every place of the table that it can get, with requests in progress."""

    def __init__(self, c, host):
        super().__init__(daemon=True)
        self.c, self.host, self.done, self.held, self.refused = c, host, threading.Event(), [], 0

    def run(self):
        tls = ssl.create_default_context(cafile=self.c.ca)
        while not self.done.is_set():
            s = socket.socket()
            try:
                s.settimeout(5)
                s.bind(("127.66.6.6", 0))
                s.connect(("127.0.0.1", self.c.https_port))
                s = tls.wrap_socket(s, server_hostname=self.host)
                s.sendall(f"GET /slow?ms=60000 HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
                self.held.append(s)
            except OSError:
                s.close()
                self.refused += 1
                self.done.wait(0.01)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *args):
        self.done.set()
        self.join(10)
        for s in self.held:
            s.close()


def test_a_flood_does_not_starve_beats(new_cluster, tmp_path):
    c = new_cluster("--docker-host", "none", *FAST, "--max-connections", str(MAX_CONNECTIONS))
    # Its connections come from 127.0.0.1, as those of a worker elsewhere come from its private address.
    c.addresses = iter(["127.0.0.1"])
    c.worker("worker-1")
    with SampleApp(tmp_path) as app:
        c.run("route", "add", "app.example.test", app.at)
        with Flood(c, "app.example.test") as flood:
            poll("the table is full", lambda: flood.refused >= 20, 20)
            assert len(flood.held) >= MAX_CONNECTIONS * 9 // 10 - 2
            began, refused = time.monotonic(), flood.refused
            while time.monotonic() - began < 3.5:   # longer than makes a node offline
                all_beat_again(c)                   # and the socket's users get in as well
            assert flood.refused > refused, "the flood is over"
            assert [n["status"] for n in workers(c)] == ["active"]
    assert "NodeOffline" not in types(c) and "NodeSuspect" not in types(c)
