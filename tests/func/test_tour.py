"""The five-minute tour of the README, as a new user would take it."""
import collections
import os
import signal
import time

from conftest import docker, poll
from load import Load


def test_request_reaches_a_container_the_scheduler_put_on_a_worker(cluster):
    c = cluster
    c.worker("worker-1", labels="region=eu-west")

    nodes = {n["name"]: n for n in c.json("node", "ls")["nodes"]}
    assert set(nodes) == {"local", "worker-1"}
    assert all(n["status"] == "active" for n in nodes.values())
    assert nodes["worker-1"]["labels"] == {"region": "eu-west"}
    assert nodes["worker-1"]["last_heartbeat"]

    c.deploy("hello", replicas=4)
    assert collections.Counter(r["node"] for r in c.ready_replicas("hello")) == {"local": 2, "worker-1": 2}

    assert c.json("ps")["items"] == c.replicas("hello")

    with c.session("hello.example.test") as s:
        seen = {s.get("https://hello.example.test/", timeout=10).text for _ in range(40)}
    assert len(seen) == 4, seen


def test_nodes_are_listed_as_the_specification_prints_them(cluster):
    c = cluster
    w = c.worker("worker-eu-1", labels="region=eu-west")
    key = c.key("read")
    assert c.api("GET", "/api/internal/nodes").status_code == 401
    doc = c.api("GET", "/api/internal/nodes", key).json()
    assert doc["total"] == 1
    node = doc["nodes"][0]
    want = {"id": 1, "name": "worker-eu-1", "private_address": w.ip, "role": "worker", "status": "active",
            "labels": {"region": "eu-west"}}
    assert {k: node[k] for k in want} == want
    assert node["address"].startswith(f"https://{w.ip}:")
    assert node["last_heartbeat"].endswith("Z")
    assert c.api("GET", "/api/internal/nodes/1", key).json()["name"] == "worker-eu-1"
    assert c.api("GET", "/api/internal/nodes/99", key).status_code == 404


def test_a_killed_container_fails_no_request_and_comes_back(cluster):
    c = cluster
    c.deploy("hello", replicas=3)
    victim = c.ready_replicas("hello")[0]
    pid = int(docker("inspect", "--format", "{{.State.Pid}}", victim["container_id"]))
    with Load(c, "hello.example.test") as load:
        poll("load runs", lambda: load.count > 50)
        os.kill(pid, signal.SIGKILL)
        before = load.count
        poll("load goes on", lambda: load.count > before + 200)
        poll("it is back", lambda: len(c.ready_replicas("hello")) == 3, 30)
    assert load.bad == []


def test_a_killed_agent_takes_no_placement_and_its_containers_serve_on(new_cluster):
    c = new_cluster("--heartbeat-interval", "1s", "--offline-after", "4s")
    w = c.worker("worker-1")
    c.deploy("hello", replicas=4)
    on_worker = [r for r in c.ready_replicas("hello") if r["node"] == "worker-1"]
    assert len(on_worker) == 2
    with Load(c, "hello.example.test") as load:
        w.process.kill()
        last = time.monotonic()
        poll("agent loss is seen", lambda: not c.node("worker-1")["agent_ok"], 5)
        assert c.node("worker-1")["status"] == "active"
        c.deploy("other", replicas=2)
        assert {r["node"] for r in c.ready_replicas("other")} == {"local"}
        assert len([r for r in c.ready_replicas("hello") if r["node"] == "worker-1"]) == 2
        poll("offline", lambda: c.node("worker-1")["status"] == "offline", 10)
        assert 2.5 < time.monotonic() - last < 6.5
    assert load.bad == []
