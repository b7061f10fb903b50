"""Nodes come, fall silent, return and go."""
import os
import pathlib
import signal
import subprocess

from conftest import SANITIZED, TEMPS, docker, poll
from load import Load

SHORT = ("--heartbeat-interval", "1s", "--offline-after", "4s")


def resident_mib(pid):
    line = [x for x in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS:")][0]
    return int(line.split()[1]) / 1024


if not SANITIZED:  # which costs memory of its own

    def test_idle_memory(cluster):
        w = cluster.worker("worker-1")
        cluster.deploy("hello", replicas=2)
        for _ in range(20):
            assert cluster.get().status_code == 200
        assert resident_mib(cluster.process.popen.pid) <= 20
        assert resident_mib(w.process.popen.pid) <= 15


def test_a_node_with_containers_is_not_removed(cluster):
    c = cluster
    w = c.worker("worker-1")
    c.deploy("hello", "--node", "worker-1", replicas=1)
    r = c.run("node", "rm", "worker-1", "--yes", check=False)
    assert r.returncode == 1 and "Active Containers" in r.stderr, r.stderr
    assert c.api("DELETE", "/api/internal/nodes/1", c.key()).status_code == 409
    assert [x["container_id"] for x in c.api("GET", "/api/internal/nodes/1/containers", c.key()).json()["containers"]] == [
        c.replicas("hello")[0]["container_id"]]
    c.run("rm", "hello", "--yes")
    assert c.run("node", "rm", "worker-1", check=False, stdin=subprocess.DEVNULL).returncode == 1
    poll("removed once its container has ended", lambda: c.run("node", "rm", "worker-1", "--yes", check=False).returncode == 0, 30)
    assert [n["name"] for n in c.json("node", "ls")["nodes"]] == ["local"]
    # Its token is worth nothing now.
    r = c.api("POST", "/api/internal/nodes/1/heartbeat", w.config()["token"], json={})
    assert r.status_code in (401, 404), r.text


def test_an_offline_node_s_work_moves_and_its_return_is_quiet(new_cluster):
    c = new_cluster(*SHORT)
    w = c.worker("worker-1")
    c.deploy("hello", replicas=2)
    away = [r for r in c.ready_replicas("hello") if r["node"] == "worker-1"]
    assert len(away) == 1
    with Load(c, "hello.example.test") as load:
        w.process.kill()
        poll("offline", lambda: c.node("worker-1")["status"] == "offline", 10)
        poll("placed elsewhere", lambda: len([r for r in c.ready_replicas("hello") if r["node"] == "local"]) == 2, 30)
        # Its container serves on: nothing is known against it.
        assert docker("inspect", "--format", "{{.State.Running}}", away[0]["container_id"]) == "true"
        w.start()
        poll("active again", lambda: c.node("worker-1")["status"] == "active", 15)
        poll("as many as wanted, surplus gone", lambda: len(c.replicas("hello")) == 2 and len(c.ready_replicas("hello")) == 2, 40)
        before = load.count
        poll("load goes on", lambda: load.count > before + 20)
    assert load.bad == []


def test_drained_spread_anew_and_removed_by_force(cluster):
    c = cluster
    c.worker("worker-1")
    c.deploy("hello", replicas=2)

    def where():
        return sorted(r["node"] for r in c.ready_replicas("hello"))

    assert where() == ["local", "worker-1"]
    with Load(c, "hello.example.test") as one, Load(c, "hello.example.test", fresh=True) as two:
        assert "may be removed" in c.run("node", "drain", "worker-1", "--wait").stdout
        assert c.node("worker-1")["status"] == "drained" and where() == ["local", "local"]
        assert c.run("node", "drain", "worker-1", check=False).returncode == 1
        assert c.api("GET", "/api/internal/nodes/1/drain", c.key()).json()["can_remove"] is True
        c.run("node", "undrain", "worker-1")
        plan = c.json("rebalance")["moves"]
        assert [(m["from"], m["to"]) for m in plan] == [("local", "worker-1")]
        assert c.run("rebalance", check=False, stdin=subprocess.DEVNULL).returncode == 1 and where() == ["local", "local"]
        c.run("rebalance", "--yes")
        poll("spread again", lambda: where() == ["local", "worker-1"], 20)
        # This machine is a node like any other.
        c.run("node", "drain", "local", "--wait")
        assert c.node("local")["status"] == "drained" and where() == ["worker-1", "worker-1"]
        c.run("node", "undrain", "local")
        c.run("rebalance", "--yes")
        poll("spread again", lambda: where() == ["local", "worker-1"], 20)
    assert one.bad == [] and two.bad == []
    token = c.workers[0].config()["token"]
    r = c.run("node", "rm", "worker-1", "--force", "--yes", check=False)
    assert r.returncode == 1 and "still answers" in r.stderr and f"{c.id}-hello-" in r.stderr
    c.workers[0].process.kill()
    # No 90 seconds: a person knows that it is dead.
    poll("removed by force", lambda: c.run("node", "rm", "worker-1", "--force", "--yes", check=False).returncode == 0, 15)
    poll("replaced", lambda: where() == ["local", "local"], 15)
    assert c.api("POST", "/api/internal/nodes/1/heartbeat", token, json={}).status_code in (401, 404)


def test_unknown_containers_are_removed_by_hand_only(cluster):
    c = cluster
    c.deploy("hello", replicas=1)
    docker("run", "-d", "--name", f"{c.id}-old-7", "--label", "sh.temps.managed=true", "--label", f"sh.temps.cluster={c.id}",
           "--label", "sh.temps.node=local", c.image)
    poll("it is noticed", lambda: c.node("local")["quarantined"] == 1, 15)
    assert f"{c.id}-old-7" in c.run("node", "show", "local").stdout
    r = c.run("node", "gc", "local", check=False, stdin=subprocess.DEVNULL)
    assert r.returncode == 1 and f"{c.id}-old-7" in r.stderr
    assert c.run("node", "gc", "local", "--yes").stdout == "1 removed\n"
    assert docker("ps", "-aq", "--filter", f"name={c.id}-old-7") == ""
    assert len(c.ready_replicas("hello")) == 1 and "release it" not in c.run("status").stdout


def test_an_agent_that_restarts_moves_no_traffic(cluster):
    c = cluster
    w = c.worker("worker-1")
    c.deploy("hello", replicas=2)
    before = {r["container_id"] for r in c.ready_replicas("hello")}
    with Load(c, "hello.example.test") as load:
        for how in (signal.SIGTERM, signal.SIGKILL):
            w.process.popen.send_signal(how)
            w.process.popen.wait(20)
            w.start()
            poll("back", lambda: c.node("worker-1")["agent_ok"], 15)
        poll("load goes on", lambda: load.count > 50)
    assert load.bad == []
    assert {r["container_id"] for r in c.ready_replicas("hello")} == before
    assert "endpoint=hello" not in c.process.text().split("event=RolloutDone")[1]


def test_a_killed_container_is_out_of_routing_once(cluster):
    """The first sign of it takes it out, and nobody asks it again before a probe has: one line, no failed request."""
    c = cluster
    c.deploy("hello", replicas=3)
    victim = c.ready_replicas("hello")[0]
    pid = int(docker("inspect", "--format", "{{.State.Pid}}", victim["container_id"]))
    with Load(c, "hello.example.test") as one, Load(c, "hello.example.test", fresh=True) as two:
        poll("load runs", lambda: one.count > 30 and two.count > 30)
        os.kill(pid, signal.SIGKILL)
        out = poll("out of routing", lambda: [x for x in c.process.text().splitlines() if "endpoint=hello/" in x and " out " in x], 5)
        poll("back in", lambda: len(c.ready_replicas("hello")) == 3, 30)
        before = two.count
        poll("load goes on", lambda: two.count > before + 50)
    assert one.bad == [] and two.bad == []
    assert len(out) == 1, out


def test_a_crash_says_why(cluster):
    c = cluster
    c.deploy("hello", replicas=1)
    with c.session("hello.example.test") as s:  # not to be sent twice
        assert s.post("https://hello.example.test/crash", timeout=10).status_code == 502
    r = poll("its lines came", lambda: [x for x in c.ready_replicas("hello") if x["restarts"] == 1 and x.get("log_tail")], 15)[0]
    assert r["exit_code"] == 7 and r["oom_killed"] is False and "CRASH" in r["log_tail"]
    assert "ended with exit code 7; its last lines were:" in (out := c.run("ps", "hello").stdout) and "CRASH" in out
    assert [f["replica"] for f in c.api("GET", "/api/apps/hello/releases/1", c.key()).json()["failures"]] == [r["replica"]]
    assert [e["type"] for e in c.json("events")["items"]].count("ContainerRestarted") == 1


def test_events_are_streamed(cluster, tmp_path):
    c = cluster
    with open(tmp_path / "out", "wb") as f:
        p = subprocess.Popen([str(TEMPS), "events", "--follow", "--data-dir", str(c.data)], stdout=f)
    try:
        c.deploy("hello", replicas=1)
        poll("it is told", lambda: "RolloutDone" in (tmp_path / "out").read_text(), 10)
    finally:
        p.kill()
        p.wait(10)
