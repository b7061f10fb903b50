"""Releases: what goes wrong changes nothing for the release that serves."""
import subprocess

from conftest import TEMPS, docker, poll
from load import Load


def test_a_new_release_replaces_the_old_one_without_a_failed_request(cluster):
    c = cluster
    c.deploy("hello", replicas=2)
    with Load(c, "hello.example.test") as load:
        poll("load runs", lambda: load.count > 20)
        for n in range(3):
            c.deploy("hello", "--env", f"ROUND={n}", replicas=2)
        before = load.count
        poll("load goes on", lambda: load.count > before + 20)
    assert load.bad == []
    releases = c.json("releases", "hello")["items"]
    assert [r["release"] for r in releases] == [4, 3, 2, 1]
    assert [r["status"] for r in releases] == ["active"] + ["superseded"] * 3
    names = {r["name"] for r in c.ready_replicas("hello")}
    poll("old containers are gone", lambda: set(running(c)) == names, 40)


def running(c):
    return docker("ps", "--filter", f"label=sh.temps.cluster={c.id}", "--format", "{{.Names}}").split()


def test_the_same_deploy_again_does_nothing(cluster):
    c = cluster
    c.deploy("hello", replicas=1)
    before = running(c)
    assert "nothing to do" in c.deploy("hello", replicas=1).stdout
    assert running(c) == before


def failing(c, *args, image=None):
    """A good release, then one that must fail while requests go on."""
    c.deploy("hello", replicas=1)
    with Load(c, "hello.example.test") as load:
        poll("load runs", lambda: load.count > 5)
        r = c.deploy("hello", *args, image=image, replicas=1, check=False)
        before = load.count
        poll("load goes on", lambda: load.count > before + 5)
    assert load.bad == []
    assert r.returncode == 1
    releases = c.json("releases", "hello")["items"]
    assert [x["status"] for x in releases] == ["failed", "active"]
    assert c.json("ps", "hello")["items"][0]["release"] == 1
    poll("nothing of it is left", lambda: len(running(c)) == 1, 30)
    return r.stderr, releases[0]


def test_an_image_that_does_not_exist(cluster):
    text, release = failing(cluster, image="127.0.0.1:1/nobody/nothing:1")
    assert "nothing" in text and release["reason"]


def test_a_container_that_exits_at_once(cluster):
    text, release = failing(cluster, "--env", "EXIT_AT_START=1")
    assert "3" in release["reason"], release
    assert release["log_tail"] and release["log_tail"].strip().splitlines()[-1] in text


def test_a_container_that_never_gets_healthy(cluster):
    text, release = failing(cluster, "--env", "HEALTH_FAIL=1", "--health-path", "/health", "--health-timeout", "4s")
    assert "/health" in text and "503" in release["reason"], release


def test_a_domain_that_another_app_owns(cluster):
    c = cluster
    c.deploy("one", replicas=1, host="shared.example.test")
    r = c.deploy("two", replicas=1, host="shared.example.test", check=False)
    assert r.returncode == 1 and "one" in r.stderr and "shared.example.test" in r.stderr
    assert [a["name"] for a in c.json("apps")["items"]] == ["one"]


def test_nobody_can_run_it(cluster):
    r = cluster.deploy("hello", "--label", "region=mars", replicas=1, check=False)
    assert r.returncode == 1 and "local" in r.stderr and "region" in r.stderr, r.stderr
    r = cluster.deploy("hello", "--node", "ghost", replicas=1, check=False)
    assert r.returncode == 1 and "ghost" in r.stderr, r.stderr


def test_labels_choose_the_node(cluster):
    c = cluster
    c.worker("eu", labels="region=eu")
    c.worker("us", labels="region=us")
    c.deploy("hello", "--label", "region=us", replicas=2)
    assert {r["node"] for r in c.ready_replicas("hello")} == {"us"}
    c.deploy("pinned", "--node", "eu", replicas=2)
    assert {r["node"] for r in c.ready_replicas("pinned")} == {"eu"}


def test_logs_come_from_wherever_the_container_runs(cluster):
    c = cluster
    c.worker("worker-1")
    c.deploy("hello", replicas=2)
    names = {r["name"] for r in c.ready_replicas("hello")}
    text = poll("both have printed", lambda: (lambda t: t if all(n in t for n in names) else None)(c.run("logs", "hello").stdout))
    assert all(line.split(" | ")[0] in names for line in text.splitlines())


def test_followed_logs_stream(cluster, tmp_path):
    """A line that is printed now arrives now, from this machine and from a worker alike."""
    c = cluster
    c.worker("worker-1")
    c.deploy("hello", replicas=2)
    names = {r["name"] for r in c.ready_replicas("hello")}
    out = tmp_path / "out"
    with open(out, "wb") as f:
        p = subprocess.Popen([str(TEMPS), "logs", "hello", "--follow", "--data-dir", str(c.data)], stdout=f)
    try:
        poll("what was printed before", lambda: all(n in out.read_text() for n in names), 10)
        with c.session("hello.example.test") as s:
            for _ in range(20):
                s.get("https://hello.example.test/say?mark4711", timeout=10)
        said = poll("both say it", lambda: lines_with(out, "SAID ?mark4711", names), 10)
        assert all(line.split(" | ")[0] in names for line in said)
    finally:
        p.kill()
        p.wait(10)


def lines_with(path, mark, names):
    """The lines with <mark>, once each of <names> has one."""
    lines = [x for x in path.read_text().splitlines() if mark in x]
    return lines if {x.split(" | ")[0] for x in lines} == set(names) else None


def test_removing_an_app_removes_all_of_it(cluster):
    c = cluster
    c.worker("worker-1")
    c.deploy("hello", replicas=2)
    c.run("rm", "hello", "--yes")
    poll("no container is left", lambda: not running(c), 40)
    poll("the app is gone", lambda: c.json("apps")["items"] == [])
    assert c.get(verify=False).status_code == 404
    c.deploy("hello", replicas=1)
    assert c.get().status_code == 200


def test_without_docker_workers_run_everything(new_cluster):
    c = new_cluster("--docker-host", "unix:///nonexistent/docker.sock")
    r = c.deploy("hello", replicas=1, check=False)
    assert r.returncode == 1 and "docker" in r.stderr.lower(), r.stderr
    c.worker("worker-1")
    c.deploy("hello", replicas=2)
    assert {r["node"] for r in c.ready_replicas("hello")} == {"worker-1"}
    assert c.json("status")["docker"]["ok"] is False
    assert c.get().status_code == 200
