"""What people ask of an app that runs: scale, rollback, restart, pause, lock."""
import threading

import pytest

from conftest import docker, poll
from load import Load

HOST = "hello.example.test"


@pytest.fixture(scope="module")
def app(module_cluster):
    """Two releases: one that worked, and the one that does."""
    c = module_cluster
    c.deploy("hello", "--env", "GREETING=one", replicas=1)
    c.deploy("hello", "--env", "GREETING=two", replicas=2)
    return c


def env_of(c):
    name = c.ready_replicas("hello")[0]["name"]
    return docker("inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", name)


def test_scale_rollback_and_restart_under_load(app):
    c = app
    with Load(c, HOST) as load:
        poll("load runs", lambda: load.count > 10)
        assert "3 of 3 ready" in c.run("scale", "hello", "3").stdout
        assert "1 of 1 ready" in c.run("scale", "hello", "1").stdout
        assert "release 3 is active" in c.run("rollback", "hello").stdout
        assert "GREETING=one" in env_of(c)
        assert "release 4 is active" in c.run("rollback", "hello", "2").stdout
        assert "GREETING=two" in env_of(c)
        before = {r["name"] for r in c.ready_replicas("hello")}
        assert "release 5 is active" in c.run("restart", "hello").stdout
        assert not before & {r["name"] for r in c.ready_replicas("hello")}
    assert load.bad == []
    releases = c.json("releases", "hello")["items"]
    assert [r["cause"] for r in releases] == ["restart of release 4", "rollback to release 2", "rollback to release 1", None, None]
    assert {r["by"] for r in releases} == {"local"} and len({r["image_id"] for r in releases}) == 1
    assert "restart of release 4" in c.run("releases", "hello").stdout


@pytest.mark.parametrize("args, part", [
    (["scale", "hello", "0"], "temps pause"),
    (["scale", "hello", "1001"], "1 to 1000"),
    (["scale", "nobody", "2"], "no app nobody"),
    (["rollback", "hello", "99"], "keeps no release 99; releases it can go back to: "),
])
def test_refusals(app, args, part):
    r = app.run(*args, check=False)
    assert r.returncode == 1 and part in r.stderr, r.stderr


def test_a_paused_app_holds_its_requests_also_over_a_restart(app):
    c = app
    c.run("pause", "hello")
    assert "paused" in c.run("apps").stdout
    c.restart()
    got = []
    threads = [threading.Thread(target=lambda: got.append(c.get(HOST).status_code)) for _ in range(5)]
    for t in threads:
        t.start()
    poll("all wait", lambda: c.json("status")["front"]["holding"] == 5)
    assert got == []
    c.run("resume", "hello")
    for t in threads:
        t.join(20)
    assert got == [200] * 5
    assert "paused" not in c.run("apps").stdout


def test_a_locked_app_gets_no_release(app):
    c = app
    key = c.key("write")
    assert c.api("POST", "/api/apps/hello/lock", key, json={"reason": "the database moves"}).status_code == 200
    before = len(c.json("releases", "hello")["items"])
    for args in (["deploy", "hello", "--env", "GREETING=three"], ["rollback", "hello"], ["restart", "hello"],
                 ["lock", "hello", "--reason", "mine"]):
        r = c.run(*args, check=False)
        assert r.returncode == 1 and "locked by key k" in r.stderr and "the database moves" in r.stderr, r.stderr
    assert len(c.json("releases", "hello")["items"]) == before
    assert "locked" in c.run("apps").stdout
    c.run("unlock", "hello")
    assert c.run("lock", "hello", check=False).returncode == 2
    assert "is active" in c.run("deploy", "hello", "--env", "GREETING=three").stdout


def test_ps_tells_where_a_rollout_is_and_a_rollback_ends_it(app):
    c = app
    image = c.json("releases", "hello")["items"][0]["image_id"]
    c.run("deploy", "hello", "--env", "HEALTH_FAIL=1", "--health-path", "/health", "--no-wait")
    out = poll("it waits for its health", lambda: waits(c))
    assert "is being rolled out (deploy by local, " in out and ": checking, 0 of " in out
    assert "is active" in c.run("rollback", "hello").stdout
    first, second = c.json("releases", "hello")["items"][:2]
    assert second["status"] == "superseded" and first["cause"].startswith("rollback to release ") and first["image_id"] == image
    assert "being rolled out" not in c.run("ps", "hello").stdout
    c.run("pause", "hello")
    c.run("lock", "hello", "--reason", "moving")
    assert "apps       1, 1 paused, 1 locked" in c.run("status").stdout
    head = c.run("ps", "hello").stdout.splitlines()[:2]
    assert head[0].startswith("hello: locked by local, ") and head[0].endswith(": moving")
    assert head[1].startswith("hello: paused, its requests wait, by local, ")


def waits(c):
    out = c.run("ps", "hello").stdout
    return out if "to be healthy" in out else None
