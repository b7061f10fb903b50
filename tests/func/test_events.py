"""temps events: what is listed, what is followed, over a restart too; the same as server-sent events."""
import json
import subprocess

import requests

from conftest import TEMPS, Process, poll


def joined(c, name):
    """A worker that registers and never beats: NodeRegistered at once."""
    token = c.json("token", "create", "--name", name, "--once")["token"]
    ip = next(c.addresses)
    r = c.api("POST", "/api/internal/nodes/register",
              json={"name": name, "token": name.ljust(64, "0"), "address": f"https://{ip}:3100", "private_address": ip, "join_token": token})
    assert r.status_code in (200, 201), r.text


def types(text):
    return [json.loads(line)["type"] for line in text.splitlines() if line.startswith("{")]


def test_listed_followed_and_filtered(new_cluster, tmp_path):
    c = new_cluster("--docker-host", "none")
    joined(c, "worker-1")
    listed = c.json("events", "--type", "NodeRegistered", "--type", "NodeRemoved")["items"]
    assert [(e["type"], e["subject"]) for e in listed] == [("NodeRegistered", "worker-1")]
    assert c.json("events", "--subject", "worker-2")["items"] == []

    tail = Process(["events", "-f", "--json", "--subject", "worker-2", "--data-dir", str(c.data)], tmp_path / "tail.log")
    whole = Process(["events", "-f", "--limit", "1", "--data-dir", str(c.data)], tmp_path / "whole.log")
    poll("the last event", lambda: len(whole.text().splitlines()) == 1)
    joined(c, "worker-2")
    poll("a new event", lambda: types(tail.text()) == ["NodeRegistered"])
    c.restart()
    c.run("node", "rm", "worker-2", "--yes")
    poll("one after the restart, none twice", lambda: types(tail.text()) == ["NodeRegistered", "NodeRemoved"])
    assert sum("worker-2" in line and "NodeRegistered" in line for line in whole.text().splitlines()) == 1
    tail.kill()
    whole.kill()


def test_last_event_id(new_cluster):
    c = new_cluster("--docker-host", "none")
    key = c.key("read")
    for name in ("worker-1", "worker-2", "worker-3"):
        joined(c, name)
    first = c.json("events", "--type", "NodeRegistered")["items"][0]["id"]
    with requests.get(f"{c.https}/api/events?type=NodeRegistered", verify=c.ca, stream=True, timeout=10, headers={
            "Authorization": f"Bearer {key}", "Accept": "text/event-stream", "Last-Event-ID": str(first)}) as r:
        data = (json.loads(line[5:]) for line in r.iter_lines(chunk_size=1) if line.startswith(b"data:"))
        assert [next(data)["subject"], next(data)["subject"]] == ["worker-2", "worker-3"]
    bad = c.api("GET", "/api/events", key=key, headers={"Accept": "text/event-stream", "Last-Event-ID": "nonsense"})
    assert bad.status_code == 400, bad.text
    assert subprocess.run([TEMPS, "events", "--limit", "0"], capture_output=True, check=False).returncode == 2
