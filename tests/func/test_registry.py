"""Pulling from a real registry with credentials, here and on a worker that has an engine of its own."""
import contextlib
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import uuid

import pytest
import requests

from conftest import SAMPLE_APP, SANITIZED, TEMPS, Worker, docker, poll

MIB = 1 << 20


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


def push(ref, tmp_path):
    docker("--config", str(tmp_path / "docker"), "push", ref)


@pytest.fixture
def other(image):
    """The sample image with something more."""
    tag = f"temps-other:{uuid.uuid4().hex[:10]}"
    dockerfile = f"FROM {image}\nLABEL other=yes\n"
    subprocess.run(["docker", "build", "-q", "-t", tag, "-"], input=dockerfile, text=True, check=True, capture_output=True)
    yield tag
    docker("rmi", "-f", tag, check=False)


@pytest.fixture
def pushed(registry, image, tmp_path):
    """The sample image in the registry, and under that name nowhere else."""
    ref = f"{registry}/team/app:1"
    docker("tag", image, ref)
    subprocess.run(["docker", "--config", str(tmp_path / "docker"), "login", "-u", "ann", "--password-stdin", registry], input="s3cret",
                   text=True, check=True, capture_output=True)
    push(ref, tmp_path)
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


def test_a_worker_pulls_with_the_control_plane_s_credentials(new_cluster, second_engine, registry, pushed, tmp_path):
    c, (url, run) = new_cluster("--docker-host", "none"), second_engine
    w = worker_on(c, url)
    r = c.deploy("hello", image=pushed, replicas=1, check=False)
    assert r.returncode == 1 and pushed in r.stderr, r.stderr
    c.run("registry", "login", registry, "--username", "ann", "--password", "-", input="s3cret\n")
    # A layer that is not there any more: the engine says 200, and why it failed inside.
    layer = max((tmp_path / "blobs").rglob("data"), key=lambda p: p.stat().st_size)
    layer.rename(tmp_path / "layer")
    r = c.deploy("hello", image=pushed, replicas=1, check=False)
    assert r.returncode == 1 and "unknown blob" in r.stderr, r.stderr
    (tmp_path / "layer").rename(layer)
    c.deploy("hello", image=pushed, replicas=1)
    assert c.get().status_code == 200
    assert run("image", "inspect", "--format", "{{.Id}}", pushed).startswith("sha256:")
    kept = b"".join(p.read_bytes() for p in w.home.rglob("*") if p.is_file())
    assert b"s3cret" not in kept


def test_login_pull_and_logout(cluster, registry, pushed, image, other, tmp_path):
    c, ref = cluster, pushed
    r = c.deploy("hello", image=ref, replicas=1, check=False)
    assert r.returncode == 1 and ref in r.stderr, r.stderr

    c.run("registry", "login", registry, "--username", "ann", "--password", "-", input="s3cret\n")
    assert c.json("registry", "ls")["items"] == [{"server": registry, "username": "ann"}]
    c.deploy("hello", image=ref, replicas=1)
    assert c.get().status_code == 200
    release = c.json("releases", "hello")["items"][0]
    assert release["image_id"].startswith("sha256:")

    # The tag means another image by now: the next release is made of it.
    docker("tag", other, ref)
    push(ref, tmp_path)
    docker("rmi", ref)
    docker("tag", image, ref)
    c.deploy("hello", "--env", "A=1", image=ref, replicas=1)
    assert c.json("releases", "hello")["items"][0]["image_id"] == docker("image", "inspect", "--format", "{{.Id}}", other)

    stored = b"".join(p.read_bytes() for p in c.data.rglob("*") if p.is_file())
    assert b"s3cret" not in stored and b"s3cret" not in c.process.text().encode()
    c.run("registry", "logout", registry)
    assert c.json("registry", "ls")["items"] == []
    # What was pulled stays; a pull of something new is refused again.
    r = c.deploy("hello", image=ref.replace(":1", ":2"), replicas=1, check=False)
    assert r.returncode == 1 and ref.replace(":1", ":2") in r.stderr, r.stderr
    assert c.get().status_code == 200


@pytest.fixture
def foreign(image):
    """The image once more, said to be for another processor."""
    tag = f"temps-foreign:{uuid.uuid4().hex[:10]}"
    saved = tarfile.open(fileobj=io.BytesIO(subprocess.run(["docker", "save", image], check=True, capture_output=True).stdout))
    manifest = json.load(saved.extractfile("manifest.json"))[0]
    config = {**json.load(saved.extractfile(manifest["Config"])), "architecture": "arm64"}
    files = {"config.json": json.dumps(config).encode(), "layer.tar": saved.extractfile(manifest["Layers"][0]).read(),
             "manifest.json": json.dumps([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]).encode()}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    subprocess.run(["docker", "load", "-q"], input=out.getvalue(), check=True, capture_output=True)
    yield tag
    docker("rmi", tag, check=False)


def test_an_image_that_only_the_control_plane_has(cluster, second_engine, image, foreign):
    """No registry knows it: the worker's engine gets it from here, unless its processor is another one."""
    c, (url, run) = cluster, second_engine
    worker_on(c, url)
    for node in ("worker-1", "local"):
        r = c.deploy("odd", "--node", node, image=foreign, replicas=1, check=False)
        assert r.returncode == 1 and "it is for arm64 processors, and the node's is amd64" in r.stderr, r.stderr
    assert run("images", "-aq") == ""
    c.deploy("hello", image=image, replicas=2)
    assert sorted(r["node"] for r in c.ready_replicas("hello")) == ["local", "worker-1"]
    assert run("image", "inspect", "--format", "{{.Id}}", "temps/hello:1").startswith("sha256:")
    assert c.get().status_code == 200


@pytest.fixture
def big_image(tmp_path):
    """128 MiB that only this machine's engine has."""
    tag = f"temps-big:{uuid.uuid4().hex[:10]}"
    shutil.copy(SAMPLE_APP, tmp_path / "app")
    with open(tmp_path / "ballast", "wb") as f:
        f.truncate(128 * MIB)
    tar = subprocess.Popen(["tar", "-C", tmp_path, "-cf", "-", "app", "ballast"], stdout=subprocess.PIPE)
    docker("import", "--change", 'ENTRYPOINT ["/app"]', "-", tag, stdin=tar.stdout)
    assert tar.wait(10) == 0
    yield tag
    docker("rmi", "-f", tag, check=False)


def peak(process):
    """The most memory it ever had, in bytes."""
    status = pathlib.Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(next(x for x in status.splitlines() if x.startswith("VmHWM:")).split()[1]) * 1024


def test_a_large_image_whose_way_breaks_off(cluster, second_engine, big_image):
    """The agent is killed in the middle: nothing is left of what came, and it is sent again when the agent is back. Neither
    end ever has more of it in memory than a few blocks."""
    c, (url, run) = cluster, second_engine
    w = worker_on(c, url)
    before = peak(c.process), peak(w.process)
    engine = int(pathlib.Path(url.removeprefix("unix://")).with_name("pid").read_text())
    deploy = subprocess.Popen([str(TEMPS), "deploy", "big", "--image", big_image, "--node", "worker-1", "--data-dir", str(c.data)],
                              stderr=subprocess.PIPE, text=True)

    def sent():
        image = c.replicas("big")[0]["image"]
        return image and image["phase"] == "sending" and image["sent_bytes"]

    try:
        poll("it is on its way", sent, every_s=0)
        os.kill(engine, signal.SIGSTOP)
        some = poll("it waits for the engine", lambda: (a := sent()) and a == sent() and a)
        assert some < 128 * MIB
        assert f"sending {some / MIB:.1f} MiB of 12" in c.run("ps", "big").stdout
        w.process.kill()
    finally:
        os.kill(engine, signal.SIGCONT)
    poll("what came is thrown away", lambda: run("images", "-aq") == "")
    w.start("--docker-host", url)
    said = deploy.communicate(timeout=60)[1]
    assert deploy.returncode == 0 and "1 image; worker-1: sending " in said, said
    ids = docker("image", "inspect", "--format", "{{.Id}}", big_image), run("image", "inspect", "--format", "{{.Id}}", "temps/big:1")
    assert ids[0] == ids[1]
    for process, was in zip((c.process, w.process), before):
        assert SANITIZED or peak(process) - was < 4 * MIB  # a sanitizer keeps what was freed for a while
