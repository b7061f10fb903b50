"""Policies: how they get in, and what the front door makes of them. Static routes in front of scripted upstreams; a deploy."""
import json
import os
import uuid

import pytest

from conftest import Cluster, poll
from test_front import Upstream, field, ok


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    c = Cluster(tmp_path_factory.mktemp("policy"))
    c.start("--docker-host", "none")
    yield c
    c.close()


@pytest.fixture
def route(front):
    """route(answer, KEY=VALUE …) → (host, upstream): a static route with policies."""
    made = []

    def add(answer, *policies):
        host = f"h{uuid.uuid4().hex[:8]}.example.test"
        up = Upstream(answer)
        front.run("route", "add", host, up.at, *(f"--policy={p}" for p in policies))
        made.append((host, up))
        return host, up

    yield add
    for host, up in made:
        front.run("route", "rm", host, "--yes")
        up.close()


def policy_of(cluster, host):
    return next(r for r in cluster.json("route", "ls")["items"] if r["host"] == host)["policy"]


# --- the way in ---


def test_policies_are_added_changed_and_taken_away(front, route):
    host, _ = route(ok(), "rate=100", "max-body=10MiB", "request-header=X-A: 1", "request-header=-X-B")
    assert policy_of(front, host) == {"rate": "100", "max-body": "10MiB", "request-header": "X-A: 1\n-X-B"}
    front.run("route", "set", host, "--policy", "rate=200", "--policy", "burst=7", "--policy", "max-body=")
    assert policy_of(front, host) == {"rate": "200", "burst": "7", "request-header": "X-A: 1\n-X-B"}
    key = front.key()
    r = front.api("PATCH", "/api/routes", key=key, json={"host": host, "policy": {"rate": None, "burst": None, "allow": ["127.0.0.0/8", "::1"],
                                                                                 "request-header": None}})
    assert r.status_code == 200 and r.json()["policy"] == {"allow": "127.0.0.0/8\n::1"}


@pytest.mark.parametrize("policy, says", [
    ("rate=fast", 'policy "rate": "fast": expected a whole number from 1 to 1000000'),
    ("speed=1", 'policy "speed": unknown; there are balance, '),
    ("burst=5", 'policy "burst": makes no sense without "rate"'),
    ("request-header=Content-Length: 5", "the front door writes it itself"),
])
def test_bad_policies_change_nothing(front, route, policy, says):
    host, up = route(ok(), "max-body=5k")
    r = front.run("route", "set", host, "--policy", policy, check=False)
    assert r.returncode == 1 and says in r.stderr
    r = front.run("route", "add", "other.example.test", up.at, "--policy", policy, check=False)
    assert r.returncode == 1 and says in r.stderr
    assert policy_of(front, host) == {"max-body": "5k"}
    assert all(r["host"] != "other.example.test" for r in front.json("route", "ls")["items"])


def test_set_needs_a_static_route(front):
    r = front.run("route", "set", "nobody.example.test", "--policy", "rate=5", check=False)
    assert r.returncode == 1 and "no static route" in r.stderr
    assert front.run("route", "set", "nobody.example.test", check=False).returncode == 2


def test_passwords_are_kept_as_hashes_and_shown_to_nobody(front, route):
    host, _ = route(ok(), "rate=100")
    front.run("route", "set", host, "--policy", "basic-auth=-", input="alice:hunter2\n")
    assert policy_of(front, host) == {"rate": "100", "basic-auth": "alice"}
    stored = b"".join(p.read_bytes() for p in front.data.rglob("*") if p.is_file())
    assert b"alice:$y$" in stored and b"hunter2" not in stored
    assert "hunter2" not in front.process.text() and "$y$" not in front.process.text()


def test_policies_survive_a_restart(new_cluster):
    up = Upstream(ok())
    c = new_cluster("--docker-host", "none")
    c.run("route", "add", "a.example.test", up.at, "--policy", "rate=77")
    c.restart()
    assert policy_of(c, "a.example.test") == {"rate": "77"}
    up.close()


def test_a_deploy_of_policies_starts_no_container(module_cluster):
    c = module_cluster
    c.deploy("pol", "--policy", "rate=1000", replicas=1)
    before = [(r["replica"], r["container_id"], r["release"]) for r in c.ready_replicas("pol")]
    assert policy_of(c, "pol.example.test") == {"rate": "1000"}
    out = c.run("deploy", "pol", "--policy", "burst=9").stdout
    assert "release 1 is active" in out
    assert policy_of(c, "pol.example.test") == {"rate": "1000", "burst": "9"}
    assert [(r["replica"], r["container_id"], r["release"]) for r in c.ready_replicas("pol")] == before
    r = c.run("deploy", "pol", "--policy", "rate=", check=False)
    assert r.returncode == 1 and "makes no sense without" in r.stderr
    r = c.run("route", "set", "pol.example.test", "--policy", "rate=5", check=False)
    assert r.returncode == 1 and "belongs to app pol" in r.stderr
