"""Pulling from a real registry with credentials, here and on a worker that has an engine of its own."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest
import requests

from conftest import Worker, docker, poll


@pytest.fixture
def registry(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    users = subprocess.run(["htpasswd", "-Bbn", "ann", "s3cret"], check=True, capture_output=True, text=True).stdout
    (tmp_path / "htpasswd").write_text(users.strip() + "\n")
    (tmp_path / "config.yml").write_text(f"""
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {tmp_path}/blobs}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}
""")
    p = subprocess.Popen(["docker-registry", "serve", str(tmp_path / "config.yml")], stdout=subprocess.DEVNULL,
                         stderr=open(tmp_path / "log", "w"))
    poll("the registry answers", lambda: requests.get(f"http://127.0.0.1:{port}/v2/", timeout=2).status_code == 401)
    yield f"127.0.0.1:{port}"
    os.kill(p.pid, signal.SIGTERM)
    p.wait(10)


@pytest.fixture
def pushed(registry, image, tmp_path):
    """The sample image in the registry, and under that name nowhere else."""
    ref = f"{registry}/team/app:1"
    docker("tag", image, ref)
    config = ["--config", str(tmp_path / "docker")]
    subprocess.run(["docker", *config, "login", "-u", "ann", "--password-stdin", registry], input="s3cret", text=True, check=True,
                   capture_output=True)
    subprocess.run(["docker", *config, "push", ref], check=True, capture_output=True, timeout=120)
    docker("rmi", ref)
    yield ref
    docker("rmi", ref, check=False)


@pytest.fixture
def second_engine():
    """A Docker Engine of its own, with its own images and its own bridge: (URL, function that runs docker there)."""
    bridge, subnet = f"tft{os.getpid() % 100000}", f"10.240.{os.getpid() % 250}.1/24"
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    at = pathlib.Path(tempfile.mkdtemp(prefix="tft"))  # short: socket paths have 107 bytes
    url = f"unix://{at}/sock"
    p = None
    try:
        subprocess.run(["ip", "addr", "add", subnet, "dev", bridge], check=True)
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        with open(at / "log", "w") as log:
            p = subprocess.Popen(["dockerd", "-H", url, "--data-root", str(at / "root"), "--exec-root", str(at / "exec"), "--pidfile",
                                  str(at / "pid"), "-b", bridge, "--iptables=false", "--ip-masq=false"], stdout=log, stderr=log)
        poll("the second engine answers", lambda: there(url, "info", "--format", "{{.ServerVersion}}"), 30)
        yield url, lambda *args: there(url, *args)
    finally:
        if p:
            with contextlib.suppress(subprocess.SubprocessError):
                there(url, "rm", "-f", *there(url, "ps", "-aq").split())
            p.terminate()
            p.wait(30)
        subprocess.run(["ip", "link", "del", bridge], check=True)
        shutil.rmtree(at, ignore_errors=True)


def there(url, *args):
    return docker("-H", url, *args, check=False)


def worker_on(c, url):
    w = Worker(c, "worker-1")
    c.workers.append(w)
    w.join()
    w.start("--docker-host", url)
    poll("it has an engine", lambda: c.node("worker-1")["docker_ok"])
    return w


def test_a_worker_pulls_with_the_control_plane_s_credentials(new_cluster, second_engine, registry, pushed):
    c, (url, run) = new_cluster("--docker-host", "none"), second_engine
    w = worker_on(c, url)
    r = c.deploy("hello", image=pushed, replicas=1, check=False)
    assert r.returncode == 1 and pushed in r.stderr, r.stderr
    c.run("registry", "login", registry, "--username", "ann", "--password", "-", input="s3cret\n")
    c.deploy("hello", image=pushed, replicas=1)
    assert c.get().status_code == 200
    assert run("image", "inspect", "--format", "{{.Id}}", pushed).startswith("sha256:")
    kept = b"".join(p.read_bytes() for p in w.home.rglob("*") if p.is_file())
    assert b"s3cret" not in kept


def test_login_pull_and_logout(cluster, registry, pushed):
    c, ref = cluster, pushed
    r = c.deploy("hello", image=ref, replicas=1, check=False)
    assert r.returncode == 1 and ref in r.stderr, r.stderr

    c.run("registry", "login", registry, "--username", "ann", "--password", "-", input="s3cret\n")
    assert c.json("registry", "ls")["items"] == [{"server": registry, "username": "ann"}]
    c.deploy("hello", image=ref, replicas=1)
    assert c.get().status_code == 200
    release = c.json("releases", "hello")["items"][0]
    assert release["image_id"].startswith("sha256:")

    stored = b"".join(p.read_bytes() for p in c.data.rglob("*") if p.is_file())
    assert b"s3cret" not in stored and b"s3cret" not in c.process.text().encode()
    c.run("registry", "logout", registry)
    assert c.json("registry", "ls")["items"] == []
    # What was pulled stays; a pull of something new is refused again.
    r = c.deploy("hello", image=ref.replace(":1", ":2"), replicas=1, check=False)
    assert r.returncode == 1 and ref.replace(":1", ":2") in r.stderr, r.stderr
    assert c.get().status_code == 200


def test_an_image_that_only_the_control_plane_has(cluster, second_engine, image):
    """No registry knows it: the worker's engine gets it from here."""
    c, (url, run) = cluster, second_engine
    worker_on(c, url)
    c.deploy("hello", image=image, replicas=2)
    assert sorted(r["node"] for r in c.ready_replicas("hello")) == ["local", "worker-1"]
    assert run("image", "inspect", "--format", "{{.Id}}", "temps/hello:1").startswith("sha256:")
    assert c.get().status_code == 200
