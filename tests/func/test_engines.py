"""The machines of engines.py are what the tests that need them take them for: cut off, killed and frozen for real."""
import socket
import time

import pytest

from conftest import poll
from engines import run


@pytest.fixture
def served(engines, image):
    """An engine with a container that answers at a port of its machine."""
    e = engines.all[0]
    cid = e.docker("run", "--detach", "--restart", "unless-stopped", "--publish", f"{e.ip}:21000:8080", image)
    poll("it answers", lambda: ask(e))
    yield e
    e.heal()
    e.docker("rm", "--force", cid)


def ask(e, limit_s=2.0):
    with socket.create_connection((e.ip, 21000), limit_s) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"hello from" in s.recv(4096)


def test_a_dropped_network_says_nothing(served):
    with socket.create_connection((served.ip, 21000), 2) as s:
        served.drop()
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        s.settimeout(0.5)
        with pytest.raises(TimeoutError):
            s.recv(1)
        with pytest.raises(TimeoutError):
            ask(served, 0.5)
        served.heal()
        s.settimeout(10)
        assert b"hello from" in s.recv(4096)
    assert ask(served)


def test_a_rejecting_network_resets(served):
    with socket.create_connection((served.ip, 21000), 2) as s:
        served.reject()
        with pytest.raises(ConnectionRefusedError):
            ask(served)
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    served.heal()
    assert ask(served)


def test_a_killed_daemon_leaves_its_containers_and_has_them_again_when_it_returns(served):
    """Stopped, as live-restore is off; whether it starts them again is the version's."""
    served.kill()
    assert ask(served)
    served.begin().wait()
    (cid,) = served.docker("ps", "--all", "--quiet").split()
    served.docker("start", cid)
    poll("it answers again", lambda: ask(served), 10)


def test_a_frozen_daemon_answers_nobody_while_containers_serve(served):
    served.freeze()
    began = time.monotonic()
    assert ask(served)
    with pytest.raises(Exception, match="timed out"):
        served.docker("ps", limit_s=0.5)
    assert time.monotonic() - began < 5
    served.thaw()
    assert len(served.running()) == 1


def test_neither_knows_of_the_other_and_both_reach_the_host(served, engines):
    one, two = engines.all
    assert len(one.running()) == 1 and two.running() == []
    with socket.create_server((engines.host, 0)) as s:
        for e in engines.all:
            assert engines.image in e.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
            run(*e.enter, "bash", "-c", f"exec 3<>/dev/tcp/{engines.host}/{s.getsockname()[1]}")
