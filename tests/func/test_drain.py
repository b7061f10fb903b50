"""A container gets nothing any more once it was told to stop, whatever is under way: new release, removal, end of a tunnel."""
import socket
import threading
import time

from conftest import poll
from load import Load, Loads, Watch, get, upload
from test_stream import WebSocket

HOST = "hello.example.test"


def mixed(c):
    return Loads(Load(c, HOST), Load(c, HOST, get(), fresh=True), Load(c, HOST, get("/slow?ms=2000")), Load(c, HOST, upload(300_000)),
                 Load(c, HOST, upload(200_000, chunked=True)), Load(c, HOST, get(wait_s=0.9)))


def check_last_words(logs):
    for cid, text in logs.items():
        assert "LATE" not in text, f"{cid}:\n{text}"
        assert "stopping" in text and ", 0 connections cut" in text, f"{cid}:\n{text}"


def test_deploys_under_mixed_load(cluster):
    c = cluster
    c.worker("worker-1")
    with Watch(c) as watch:
        c.deploy("hello", replicas=3)
        poll("all are followed", lambda: len(watch.following) == 3)
        with mixed(c) as load:
            poll("load runs", lambda: load.count >= 1, 30)
            for n in range(3):
                c.deploy("hello", "--env", f"ROUND={n}", replicas=3)
            before = load.count
            poll("load goes on", lambda: load.count > before, 30)
            logs = poll("the old ones have ended", lambda: (lambda e: e if len(e) >= 9 else None)(watch.ended()), 40)
        assert load.bad == []
        assert len(logs) == 9
        check_last_words(logs)
    assert c.json("status")["front"]["cut"] == 0


def test_removal_lets_requests_finish(cluster):
    c = cluster
    with Watch(c) as watch:
        c.deploy("hello", replicas=2)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(c.get(path="/slow?ms=2000").status_code)) for _ in range(4)]
        for t in threads:
            t.start()
        poll("they are under way", lambda: sum(r["in_flight"] for r in c.replicas("hello")) == 4)
        c.run("rm", "hello", "--yes")
        for t in threads:
            t.join(20)
        assert answers == [200] * 4
        logs = poll("both have ended", lambda: (lambda e: e if len(e) == 2 else None)(watch.ended()), 30)
    check_last_words(logs)


def test_a_tunnel_is_cut_at_its_limit_and_counted(new_cluster):
    c = new_cluster("--tunnel-drain", "2s")
    c.deploy("hello", replicas=1)
    with WebSocket(c, HOST) as ws:
        assert ws.echo(b"before") == b"before"
        c.deploy("hello", "--env", "ROUND=1", replicas=1)
        deployed = time.monotonic()
        # Told so by nobody: it goes on, on the old container, while new requests go to the new one.
        assert ws.echo(b"between") == b"between"
        assert "release 2" in c.get().text
        ws.socket.settimeout(15)
        try:
            assert ws.socket.recv(1) == b""
        except (ConnectionResetError, socket.timeout) as e:
            assert isinstance(e, ConnectionResetError), "never cut"
        assert time.monotonic() - deployed < 10
    poll("it is counted", lambda: c.json("status")["front"]["cut"] == 1, 5)
    assert "cut at the limit" in c.process.text()


def test_another_app_s_tunnel_is_not_touched(cluster):
    c = cluster
    c.deploy("hello", replicas=1)
    c.deploy("other", replicas=1)
    with WebSocket(c, "other.example.test") as ws:
        assert ws.echo(b"1") == b"1"
        c.deploy("hello", "--env", "ROUND=1", replicas=2)
        c.run("rm", "hello", "--yes")
        poll("gone", lambda: [a["name"] for a in c.json("apps")["items"]] == ["other"], 40)
        assert ws.echo(b"2") == b"2"
