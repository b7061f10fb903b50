"""Hot upgrade: another process takes listeners, store and containers over, and no client notices."""
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from conftest import TEMPS, poll
from load import Load, Loads, Watch, get, upload
from test_drain import check_last_words
from test_stream import WebSocket
from test_sudden_end import Socket, Writer, check

HOST = "hello.example.test"


class H2Load(Load):
    """Requests over HTTP/2 by curl, many on a connection for as long as the server takes new ones there."""

    def run(self):
        while not self.done.is_set():
            r = subprocess.run(["curl", "-sS", "--http2", "--cacert", self.cluster.ca, "--resolve", f"{HOST}:{self.cluster.https_port}:127.0.0.1",
                                "-o", "/dev/null", "-w", "%{http_code} %{http_version}\\n",
                                f"https://{HOST}:{self.cluster.https_port}/?[1-60]"], capture_output=True, text=True, timeout=60)
            self.bad += [line for line in r.stdout.splitlines() if line != "200 2"] + r.stderr.splitlines()
            self.count += 1


def resumed(c, session=None):
    """A request on a TLS 1.3 connection, with a session of another one: the new session, and whether that one was taken."""
    ctx = resumed.ctx = getattr(resumed, "ctx", None) or ssl.create_default_context(cafile=c.ca)
    with ctx.wrap_socket(socket.create_connection(("127.0.0.1", c.https_port), 20), server_hostname=HOST, session=session) as s:
        s.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert s.recv(65536).startswith(b"HTTP/1.1 200")
        return s.session, s.session_reused


def test_three_upgrades_under_load(cluster):
    c = cluster
    c.worker("worker-1")
    resumed.ctx, deployed = None, []
    with Watch(c) as watch:
        c.deploy("hello", replicas=3)
        poll("all are followed", lambda: len(watch.following) == 3)
        started = {r["container_id"]: r["started_at"] for r in c.ready_replicas("hello")}
        session, _ = resumed(c)
        with WebSocket(c, HOST) as ws, Loads(
                Load(c, HOST), Load(c, HOST, get(), fresh=True), Load(c, HOST, get("/slow?ms=600")), Load(c, HOST, upload(300_000)),
                Load(c, HOST, get(wait_s=0.9)), H2Load(c, HOST)) as load:
            poll("load runs", lambda: load.count >= 1, 30)
            first = c.process.popen.pid
            for n in range(3):
                if n == 1:
                    # One that is under way goes on in the new process, and so does who follows it.
                    deploy = threading.Thread(target=lambda: deployed.append(c.deploy("hello", "--env", "ROUND=1", replicas=3)))
                    deploy.start()
                    poll("it is under way", lambda: c.json("apps")["items"][0]["status"] == "deploying", 10, 0.01)
                assert "serves" in c.upgrade()
                assert ws.echo(b"%d" % n) == b"%d" % n
                session, reused = resumed(c, session)
                assert reused, "a ticket of the process before is not taken"
                if n == 1:
                    deploy.join(60)
                    assert len(deployed) == 1
                    started = {r["container_id"]: r["started_at"] for r in c.ready_replicas("hello")}
                # What ran goes on; what the old process still has there is not cut.
                assert {r["container_id"]: r["started_at"] for r in c.ready_replicas("hello")} == started
                before = load.count
                poll("load goes on", lambda: load.count > before, 30)
            # The first process drains on behalf of the WebSocket, which has the container of the first release.
            assert c.old[0].popen.pid == first and c.old[0].alive()
            assert ws.echo(b"still") == b"still"
        assert load.bad == []
        for old in c.old:
            assert old.popen.wait(20) == 0
        logs = poll("the old release has ended", lambda: (lambda e: e if len(e) >= 3 else None)(watch.ended()), 40)
    check_last_words(logs)
    assert [e["type"] for e in c.json("events")["items"]].count("Upgraded") == 3
    assert c.node("worker-1")["status"] == "active"


def test_a_replica_with_requests_of_an_old_process_is_not_stopped(cluster):
    c = cluster
    with Watch(c) as watch:
        c.deploy("hello", replicas=1)
        poll("it is followed", lambda: len(watch.following) == 1)
        answers = []
        t = threading.Thread(target=lambda: answers.append(c.get(path="/slow?ms=2500").status_code))
        t.start()
        poll("the request is under way", lambda: c.ready_replicas("hello")[0]["in_flight"] == 1)
        with c.session(HOST) as kept:
            kept.get(f"https://{HOST}/")
            c.upgrade()
            c.deploy("hello", "--env", "ROUND=1", replicas=1)
            # On a connection of the old process, which learns of the release: nothing new goes to the old container.
            assert "release 2" in kept.get(f"https://{HOST}/").text
            # It says what it has still to do.
            poll("the old one has a request", lambda: [r["in_flight"] for r in c.replicas("hello") if r["release"] == 1] == [1], 3)
            assert [d["pid"] for d in c.json("status")["draining"]] == [c.old[0].popen.pid]
        assert answers == [] and "stopping" not in "".join(watch.logs().values())
        t.join(20)
        assert answers == [200]
        check_last_words(poll("it has ended", watch.ended, 20))


@pytest.fixture
def swapped(new_cluster, tmp_path):
    """A cluster without an engine whose binary can be swapped, and a function that does it."""
    c = new_cluster(start=False)
    c.binary = tmp_path / "temps"
    shutil.copy(TEMPS, c.binary)
    c.start("--docker-host", "none")

    def swap(text):
        new = tmp_path / "new"
        new.write_text(text)
        new.chmod(0o755)
        os.replace(new, c.binary)
    return c, swap


BROKEN = [  # what is found at the path, and what is said
    ("#!/bin/sh\nexit 7\n", "ended with status 7"),
    ("#!/bin/sh\nkill -SEGV $$\n", "killed by signal 11"),
    ("no program", "Exec format error"),
    # These have the store already when they fail.
    ("#!/bin/sh\nexec {temps} \"$@\" --trusted-proxy nonsense\n", "nonsense"),
    ("#!/bin/sh\nexec {temps} \"$@\" --address 203.0.113.1:1\n", "203.0.113.1:1"),
]


def test_a_binary_that_does_not_start_changes_nothing(swapped):
    c, swap = swapped
    pid = c.process.popen.pid
    for n, (text, why) in enumerate(BROKEN):
        swap(text.format(temps=TEMPS))
        r = c.run("upgrade", check=False)
        assert r.returncode == 1 and why in r.stderr, (text, r)
        c.run("route", "add", f"h{n}.example.test", "http://127.0.0.1:9")
        assert json.loads(c.ready.read_text())["pid"] == pid == c.json("status")["pid"]
        assert c.api("GET", "/health/ready").status_code == 200
    assert len(c.json("route", "ls")["items"]) == len(BROKEN)
    assert [e["type"] for e in c.json("events")["items"]].count("UpgradeFailed") == len(BROKEN)
    # A killed process leaves the old one's decisions in the store, and a good binary then works.
    swap(f"#!/bin/sh\nexec {TEMPS} \"$@\"\n")
    c.upgrade()
    assert len(c.json("route", "ls")["items"]) == len(BROKEN)


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """The service manager's socket: a function that gives who said what so far."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        s.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        said = []

        def heard():
            try:
                while True:
                    text, extra, _, _ = s.recvmsg(200, socket.CMSG_SPACE(12))
                    said.append((struct.unpack("3i", extra[0][2])[0], text.decode()))
            except BlockingIOError:
                return said
        yield heard


def test_writes_go_on_and_none_is_lost(new_cluster):
    c = new_cluster("--docker-host", "none")
    asked, acked, ends = {}, {}, []

    def write():
        # A writer ends when it is refused, as its process hands over: nothing was done then, the next one goes on.
        while not ends:
            Writer(c, asked, acked).run()
    writers = [threading.Thread(target=write) for _ in range(4)]
    for w in writers:
        w.start()
    for _ in range(3):
        before = len(acked)
        poll("writes are acknowledged", lambda: len(acked) >= before + 20, 20, 0.01)
        c.upgrade()
    ends.append(True)
    c.process.kill()
    for w in writers:
        w.join(20)
    c.start_again()
    check(asked, acked, {}, Socket(c))


def test_one_at_a_time_and_by_signal(systemd, swapped, tmp_path):
    c, swap = swapped
    go = tmp_path / "go"
    swap(f"#!/bin/sh\nwhile [ ! -e {go} ]; do sleep 0.05; done\nexec {TEMPS} \"$@\"\n")
    c.process.popen.send_signal(signal.SIGUSR2)
    poll("it is under way", lambda: "upgrade: started" in c.process.text())
    r = c.run("upgrade", check=False)
    assert r.returncode == 1 and "under way already" in r.stderr
    c.run("route", "add", "h.example.test", "http://127.0.0.1:9")   # nothing has stopped yet
    old = c.process
    go.touch()
    c.upgraded()
    assert old.popen.wait(20) == 0
    assert [r["host"] for r in c.json("route", "ls")["items"]] == ["h.example.test"]
    # The main process says who is the next one, before that says that it is ready.
    pids = old.popen.pid, c.process.popen.pid
    assert poll("all is said", lambda: (lambda said: said if len(said) == 4 else None)(systemd())) == [
        (pids[0], "READY=1"), (pids[0], "RELOADING=1"), (pids[0], f"MAINPID={pids[1]}"), (pids[1], "READY=1")]
    # The next one is told to end while it drains for nobody: the socket and the ready file are its own.
    assert c.process.stop() == 0
    assert not c.ready.exists() and not (c.data / "temps.sock").exists()
