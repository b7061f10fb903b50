"""Bad input to join and agent: a named cause, exit 1, nothing stored, no agent.json."""
import socket

import pytest

from conftest import Worker, poll


def new_worker(cluster, name="w1"):
    w = Worker(cluster, name)
    cluster.workers.append(w)
    return w


def refused(cluster, w, r, *words):
    assert r.returncode == 1, r.stdout + r.stderr
    text = r.stderr.lower()
    assert all(word in text for word in words), r.stderr
    assert not (w.home / ".temps" / "agent.json").exists()
    assert len(cluster.json("node", "ls")["nodes"]) == 1


def test_wrong_secret(cluster):
    w = new_worker(cluster)
    token = cluster.json("token", "create")["token"]
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    refused(cluster, w, w.join(token=wrong, check=False), "403", "token")


def test_wrong_fingerprint(cluster):
    w = new_worker(cluster)
    fingerprint, secret = cluster.json("token", "create")["token"].split(".")
    r = w.join(token=f"{fingerprint[::-1]}.{secret}", check=False)
    refused(cluster, w, r, "ca certificate", "token")


def test_used_token(cluster):
    token = cluster.json("token", "create", "--once")["token"]
    first = new_worker(cluster, "w1")
    assert first.join(token=token).returncode == 0
    second = new_worker(cluster, "w2")
    r = second.join(token=token, check=False)
    assert r.returncode == 1 and "403" in r.stderr and "used" in r.stderr.lower(), r.stderr
    assert not (second.home / ".temps" / "agent.json").exists()


def test_expired_token(cluster):
    w = new_worker(cluster)
    token = cluster.json("token", "create", "--ttl", "1s")["token"]
    listed = cluster.json("token", "ls")["items"][0]["expires_at"]
    assert listed
    r = poll("the token expires", lambda: (lambda r: r if r.returncode else None)(
        w.join(token=token, check=False)) if expired(listed) else None, 10)
    refused(cluster, w, r, "403", "expired")


def expired(stamp):
    import datetime

    then = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return datetime.datetime.now(datetime.timezone.utc) > then + datetime.timedelta(seconds=1)


def test_revoked_token(cluster):
    w = new_worker(cluster)
    made = cluster.json("token", "create")
    cluster.run("token", "revoke", str(made["id"]))
    refused(cluster, w, w.join(token=made["token"], check=False), "403")


def test_token_for_another_name(cluster):
    w = new_worker(cluster)
    token = cluster.json("token", "create", "--name", "somebody-else")["token"]
    refused(cluster, w, w.join(token=token, check=False), "403")


def test_missing_token(cluster):
    r = cluster.api("POST", "/api/internal/nodes/register",
                    json={"name": "x", "token": "a" * 64, "address": "https://127.0.0.2:3100", "private_address": "127.0.0.2"})
    assert r.status_code == 403
    assert r.headers["Content-Type"] == "application/problem+json"
    assert r.json()["status"] == 403 and r.json()["title"]


def test_unreachable_control_plane(cluster):
    w = new_worker(cluster)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        r = w.join(url=f"https://127.0.0.1:{port}", token="0" * 64 + "." + "1" * 64, check=False)
    refused(cluster, w, r, "refused", str(port))


@pytest.mark.parametrize("args,word", [
    (["http://192.0.2.1", "t", "--private-address", "127.0.0.2"], "https"),
    (["ftp://x", "t", "--private-address", "127.0.0.2"], "https"),
    (["https://127.0.0.1:1", "a" * 64, "--private-address", "nonsense"], "nonsense"),
    (["https://127.0.0.1:1", "t", "--private-address", "127.0.0.2"], "64 hex"),
    (["https://127.0.0.1:1", "a" * 64, "--private-address", "127.0.0.2", "--labels", "no-equals"], "no-equals"),
    (["https://127.0.0.1:1"], "token"),
    ([], "argument"),
])
def test_bad_arguments(new_cluster, args, word):
    c = new_cluster(start=False)
    w = new_worker(c)
    import subprocess

    from conftest import TEMPS
    r = subprocess.run([str(TEMPS), "join", *args], env=w.env(), capture_output=True, text=True, timeout=30, check=False)
    assert r.returncode == 2, r.stderr
    assert word in r.stderr, r.stderr


def test_agent_without_configuration(new_cluster):
    w = new_worker(new_cluster(start=False))
    r = run_agent(w)
    assert r.returncode == 1
    assert "Run 'temps join' first" in r.stderr and "--token" in r.stderr


def test_agent_json_that_does_not_parse(new_cluster):
    w = new_worker(new_cluster(start=False))
    path = w.home / ".temps" / "agent.json"
    path.parent.mkdir()
    path.write_text('{"token": "x",\n  "node_id": }')
    r = run_agent(w)
    assert r.returncode == 1
    assert "agent.json" in r.stderr and "2" in r.stderr, r.stderr


def run_agent(w, *args):
    import subprocess

    from conftest import TEMPS
    return subprocess.run([str(TEMPS), "agent", *args], env=w.env(), capture_output=True, text=True, timeout=30, check=False)


def test_files_are_private(cluster):
    w = new_worker(cluster)
    w.join()
    path = w.home / ".temps" / "agent.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert cluster.data.stat().st_mode & 0o777 == 0o700
    for key in cluster.data.glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600, key


def test_rejoining_needs_proof(cluster):
    w = cluster.worker("w1")
    thief = Worker(cluster, "thief")
    thief.name = "w1"
    cluster.workers.append(thief)
    r = thief.join(check=False)
    assert r.returncode == 1 and "409" in r.stderr, r.stderr
    # The node itself has its old token: the same id again.
    node = cluster.node("w1")["id"]
    w.process.stop()
    assert w.join().returncode == 0
    assert cluster.node("w1")["id"] == node


def test_api_token_generate_of_the_specification(cluster):
    key = cluster.key()
    made = cluster.api("POST", "/api/settings/join-token/generate", key).json()
    assert cluster.api("GET", "/api/settings/join-token/status", key).json() == {"has_token": True}
    w = new_worker(cluster)
    assert w.join(token=made["token"]).returncode == 0
    assert cluster.api("DELETE", "/api/settings/join-token", key).status_code == 200
    assert cluster.api("GET", "/api/settings/join-token/status", key).json() == {"has_token": False}
