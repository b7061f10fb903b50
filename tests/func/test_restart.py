"""The control plane goes and comes back: the same routes from its store, containers untouched."""
import json
import signal
import threading

from conftest import docker, poll


def started(c, *more):
    """Of every container that runs, or of those with these labels: its id and when it was started."""
    ids = docker("ps", "-q", *(w for label in (f"sh.temps.cluster={c.id}", *more) for w in ("--filter", f"label={label}"))).split()
    return sorted(docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *ids).splitlines())


def test_killed_and_started_again(cluster):
    c = cluster
    c.worker("worker-1")
    c.deploy("hello", replicas=4)
    before, replicas = started(c), {r["name"] for r in c.ready_replicas("hello")}
    c.restart()
    # The first request of all: the routes came from the store.
    assert c.get().status_code == 200
    poll("converged", lambda: {r["name"] for r in c.ready_replicas("hello")} == replicas)
    poll("worker is back", lambda: c.node("worker-1")["agent_ok"])
    assert started(c) == before
    with c.session("hello.example.test") as s:
        assert len({s.get("https://hello.example.test/", timeout=10).text for _ in range(60)}) == 4


def test_without_an_engine_at_start_routes_are_still_served(new_cluster):
    """Restart with the engine unreachable: what ran goes on being served by what the store says."""
    c = new_cluster()
    c.deploy("hello", replicas=1)
    c.restart("--docker-host", "unix:///nonexistent.sock")
    assert c.get().status_code == 200


def test_sigterm_finishes_what_runs_and_ends_with_0(cluster):
    c = cluster
    c.deploy("hello", replicas=1)
    answers = []
    t = threading.Thread(target=lambda: answers.append(c.get(path="/slow?ms=1500").status_code))
    t.start()
    poll("the request is under way", lambda: c.ready_replicas("hello")[0]["in_flight"] == 1)
    c.process.popen.send_signal(signal.SIGTERM)
    t.join(15)
    assert answers == [200]
    assert c.process.popen.wait(15) == 0
    c.process.check()


def test_ready_file_and_health(cluster):
    c = cluster
    ready = json.loads(c.ready.read_text())
    assert ready["pid"] == c.process.popen.pid and ready["http"] and ready["https"]
    for path in ("/health", "/health/live", "/health/ready"):
        assert c.api("GET", path).status_code == 200
