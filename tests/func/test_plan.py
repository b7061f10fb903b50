"""What a deploy would do and why replicas are where they are: said before, done the same, explained after."""
import json
import subprocess

from conftest import TEMPS, poll


def rows(plan, part, key="node"):
    return [x[key] for x in plan[part]]


def test_plan_deploy_explain(new_cluster):
    c = new_cluster("--region", "home", "--tags", "fast", "--cpu-cores", "3")
    w = c.worker("worker-1", labels="region=eu,gpu=true")

    plan = c.json("plan", "hello", "--image", c.image, "--replicas", "3", "--strategy", "spread")
    assert rows(plan, "start") == ["local", "worker-1", "local"] and plan["release"] == 1 and plan["stop"] == []
    assert c.json("apps")["items"] == []
    assert c.json("plan", "hello", "--image", c.image, "--replicas", "3", "--strategy", "spread") == plan

    c.deploy("hello", "--strategy", "spread", replicas=3)
    placed = c.json("ps", "hello")["items"]
    assert [r["node"] for r in placed] == rows(plan, "start")
    assert [r["placed"] for r in placed] == rows(plan, "start", "reason")

    told = c.json("explain", "hello")
    assert [(r["name"], r["node"], r["score"]) for r in told["replicas"]] == [(r["name"], r["node"], r["score"]) for r in placed]
    assert all(r["now"]["fits"] and r["now"]["parts"]["image"] == 50 for r in told["replicas"])
    assert [(n["node"], n["replicas"]) for n in told["nodes"]] == [("local", 2), ("worker-1", 1)]
    text = c.run("explain", "hello").stdout
    assert "would be put there again" in text and "the next one" in text and "fewest replicas" in text

    here = c.json("node", "show", "local")
    assert here["resources"]["cpu_cores"] == 3 and here["labels"] == {"fast": "true", "region": "home"}
    assert c.json("plan", "hello", "--label", "region=home")["start"][2]["node"] == "local"

    # A change is a new release; the same again is nothing.
    change = c.json("deploy", "hello", "--dry-run", "--env", "A=b")
    assert change["release"] == 2 and sorted(rows(change, "stop", "name")) == sorted(r["name"] for r in placed)
    assert c.json("plan", "hello")["unchanged"]
    assert "no container would be touched" in c.run("plan", "hello").stdout
    down = c.json("plan", "hello", "--scale", "1")
    assert down["start"] == [] and rows(down, "stop", "name") == [placed[2]["name"], placed[1]["name"]]
    assert [r["name"] for r in c.json("ps", "hello")["items"]] == [r["name"] for r in placed]

    # Nobody: the table, from the plan and from the deploy alike.
    for command in ("plan", "deploy"):
        r = c.run(command, "hello", "--tag", "gpu", "--memory", "900g", check=False)
        assert r.returncode == 1 and "no node can run it\n" in r.stderr, r.stderr
        lines = dict(line.split(None, 1) for line in r.stderr.splitlines() if line.startswith(("local", "worker-1")))
        assert lines["local"] == "has no label gpu" and lines["worker-1"].startswith("too little memory: ")
    r = c.api("POST", "/api/apps/hello/deploy", c.key(), json={"target_tags": ["ghost"]})
    assert r.status_code == 422 and [n["node"] for n in r.json()["nodes"]] == ["local", "worker-1"]
    r = c.run("deploy", "hello", "--strategy", "best", check=False)
    assert r.returncode == 1 and "expected round-robin, spread, least-loaded or binpack" in r.stderr

    # Other figures at join, shown and held to.
    token = c.json("token", "create")["token"]
    w.process.stop()
    joined = join(w, token, "--memory-gb", "1", "--gpus", "2", "--tags", "fast,gpu", "--region", "us")
    assert joined["resources"] == {"memory_gb": 1, "gpu_count": 2}
    w.start()
    poll("it beats", lambda: c.json("node", "show", "worker-1")["resources"]["memory_gb"] == 1)
    node = c.json("node", "show", "worker-1")
    assert node["resources"]["gpu"] and node["region"] == "us"
    assert node["tags"] == ["fast", "gpu"] and node["promised"]["replicas"] == 1


def join(worker, token, *args):
    subprocess.run([str(TEMPS), "join", worker.cluster.https, token, "--private-address", worker.ip, "--name", worker.name,
                    "--agent-address", f"{worker.ip}:0", *args], env=worker.env(), check=True, capture_output=True, timeout=60)
    return json.loads((worker.home / ".temps" / "agent.json").read_text())
