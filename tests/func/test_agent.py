"""The agent's own API, as the specification lists it, with its bearer token over HTTPS."""
import json

import pytest
import requests

from conftest import docker, poll


@pytest.fixture
def agent(cluster):
    w = cluster.worker("worker-1")
    ca = cluster.dir / "cluster-ca.pem"
    ca.write_text((cluster.data / "cluster-ca.pem").read_text())
    token = w.config()["token"]

    def call(method, path, **kw):
        headers = {"Authorization": f"Bearer {token}", **kw.pop("headers", {})}
        return requests.request(method, f"https://{w.address}{path}", headers=headers, verify=str(ca), timeout=60, **kw)

    call.worker, call.ca, call.cluster = w, str(ca), cluster
    return call


def test_authentication(agent):
    url = f"https://{agent.worker.address}/agent/health"
    r = requests.get(url, verify=agent.ca, timeout=10)
    assert (r.status_code, r.text) == (401, "Missing or invalid Authorization header")
    r = requests.get(url, verify=agent.ca, timeout=10, headers={"Authorization": "Bearer wrong"})
    assert (r.status_code, r.text) == (401, "Invalid token")


def test_health_has_the_specification_s_metrics(agent):
    doc = agent("GET", "/agent/health").json()
    assert doc["success"] is True and doc["error"] is None
    for name in ("cpu_percent", "memory_used_bytes", "memory_total_bytes", "disk_used_bytes", "disk_total_bytes", "running_containers"):
        assert isinstance(doc["data"][name], (int, float)), name
    assert doc["data"]["memory_total_bytes"] > doc["data"]["memory_used_bytes"] > 0


def test_life_of_a_container(agent, image):
    name = f"{agent.cluster.id}-by-hand"
    body = {"image_name": image, "container_name": name, "environment_vars": {"A": "b"}, "log_path": "/tmp/x",
            "port_mappings": [{"host_port": 0, "container_port": 8080, "protocol": "Tcp"}],
            "network_name": None, "resource_limits": {"cpu_limit": 0.5, "memory_limit_mb": 64, "disk_limit_mb": None},
            "restart_policy": "UnlessStopped", "command": None, "labels": {"x": "y"}}
    r = agent("POST", "/agent/containers/deploy", json=body)
    assert r.status_code == 200, r.text
    made = r.json()["data"]
    assert made["container_name"] == name and made["host_port"] > 0 and made["container_port"] == 8080
    again = agent("POST", "/agent/containers/deploy", json=body)
    assert again.status_code in (200, 409)

    cid = made["container_id"]
    info = agent("GET", f"/agent/containers/{cid}/info").json()["data"]
    assert info["container_id"] == cid and info["status"] == "Running" and info["labels"]["x"] == "y"
    assert cid in [c["container_id"] for c in agent("GET", "/agent/containers").json()["data"]]
    stats = agent("GET", f"/agent/containers/{cid}/stats").json()["data"]
    assert stats["memory_bytes"] > 0
    text = poll("it has printed", lambda: agent("GET", f"/agent/containers/{cid}/logs", headers={"Accept": "text/plain"}).text, 10)
    whole = agent("GET", f"/agent/containers/{cid}/logs", headers={"Accept": "application/json"}).json()
    assert whole["data"].splitlines()[0] == text.splitlines()[0]
    assert agent("POST", f"/agent/containers/{cid}/stop", json={}).json()["data"] == "stopped"
    assert agent("GET", f"/agent/containers/{cid}/info").json()["data"]["status"] == "Exited"
    assert agent("POST", f"/agent/containers/{cid}/start", json={}).json()["data"] == "started"
    assert agent("DELETE", f"/agent/containers/{cid}").json()["data"] == "removed"
    r = agent("GET", f"/agent/containers/{cid}/info")
    assert r.status_code == 404 and r.json()["success"] is False and r.json()["error"]


def test_images(agent, image):
    quoted = requests.utils.quote(image, safe="")
    assert agent("GET", f"/agent/images/{quoted}/exists").json()["data"] is True
    assert agent("GET", "/agent/images/nobody%2Fnothing%3A1/exists").json()["data"] is False
    tar = docker_save(image)
    assert agent("POST", "/agent/images/import", data=tar).status_code == 400
    tag = f"imported-{agent.cluster.id}:1"
    r = agent("POST", "/agent/images/import", data=tar, headers={"x-image-tag": tag, "x-image-bytes": str(1 << 62)})
    assert r.status_code == 507 and "it takes 4.0 EiB, and only " in r.json()["error"], r.text
    assert agent("POST", "/agent/images/import", data=tar, headers={"x-image-tag": tag, "x-image-bytes": "x"}).status_code == 400
    try:
        r = agent("POST", "/agent/images/import", data=tar, headers={"x-image-tag": tag, "Content-Type": "application/x-tar"})
        assert r.status_code == 200, r.text
        assert docker("image", "inspect", "--format", "{{.Id}}", tag) == r.json()["data"]
    finally:
        docker("rmi", tag, check=False)


def docker_save(image):
    import subprocess
    return subprocess.run(["docker", "save", image], check=True, capture_output=True, timeout=60).stdout


def test_bad_bodies(agent):
    for body in (b"", b"{", b"[]", b'{"image_name": 5}', b'{"image_name": "x"}'):
        r = agent("POST", "/agent/containers/deploy", data=body)
        assert 400 <= r.status_code < 500 and r.json()["success"] is False, (body, r.status_code, r.text)
    assert agent("GET", "/agent/nothing").status_code == 404
    assert agent("PUT", "/agent/health").status_code == 405


def test_containers_of_others_are_not_touched(agent, image):
    other = docker("run", "-d", image)
    try:
        assert agent("DELETE", f"/agent/containers/{other}").status_code == 404
        assert agent("POST", f"/agent/containers/{other}/stop", json={}).status_code == 404
    finally:
        docker("rm", "-f", other)


def test_events_stream(agent, image):
    with agent("GET", "/agent/events", stream=True) as r:
        assert r.status_code == 200
        agent.cluster.deploy("hello", "--node", "worker-1", replicas=1)
        seen = []
        for line in r.iter_lines():
            if line:
                seen.append(json.loads(line))
                if any(e["action"] == "start" for e in seen):
                    break


def test_sigterm_stops_the_agent_cleanly(agent):
    assert agent.worker.process.stop() == 0
