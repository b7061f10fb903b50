"""What keeps `temps serve` from starting: one line that names the thing and what to do, exit 1 or 2, nothing half started."""
import os
import socket
import subprocess

import pytest

from conftest import TEMPS, poll


def serve(tmp_path, *args, **kw):
    return subprocess.run(
        [str(TEMPS), "serve", "--data-dir", str(tmp_path / "data"), "--docker-host", "none", *args],
        capture_output=True, text=True, timeout=30, check=False, **kw)


def one_line(r, code, *words):
    assert r.returncode == code, r.stderr
    lines = [x for x in r.stderr.splitlines() if x.strip()]
    assert code == 2 or len(lines) == 1, r.stderr
    for w in words:
        assert w in r.stderr, r.stderr


PORTS = ("--address", "127.0.0.1:0", "--tls-address", "127.0.0.1:0")


def test_port_in_use(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        at = "127.0.0.1:%d" % s.getsockname()[1]
        one_line(serve(tmp_path, "--address", at, "--tls-address", "127.0.0.1:0"), 1, at, "in use")


def test_second_server_on_the_same_data(cluster, tmp_path):
    r = subprocess.run([str(TEMPS), "serve", "--data-dir", str(cluster.data), *PORTS], capture_output=True, text=True,
                       timeout=30, check=False)
    one_line(r, 1, str(cluster.data), str(cluster.process.popen.pid))


@pytest.mark.parametrize("args,word", [
    (["--no-such-flag"], "--no-such-flag"),
    (["--address", "nonsense"], "nonsense"),
    (["--heartbeat-interval", "soon"], "soon"),
    (["--cert", "/x"], "--key"),
    (["extra"], "extra"),
])
def test_bad_flags(tmp_path, args, word):
    r = serve(tmp_path, *args)
    one_line(r, 2 if word != "nonsense" else r.returncode, word)
    assert r.returncode in (1, 2)


def test_unreadable_certificate(tmp_path):
    missing = str(tmp_path / "missing.pem")
    one_line(serve(tmp_path, *PORTS, "--cert", missing, "--key", missing), 1, missing)
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate")
    one_line(serve(tmp_path, *PORTS, "--cert", str(broken), "--key", str(broken)), 1, str(broken))


def test_configuration_file_with_an_unknown_key(tmp_path):
    conf = tmp_path / "temps.conf"
    conf.write_text("# fine\naddress = 127.0.0.1:0\nno-such-key = 1\n")
    one_line(serve(tmp_path, "--config", str(conf)), 1, f"{conf}:3", "no-such-key")


def test_data_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    r = subprocess.run([str(TEMPS), "serve", "--data-dir", str(tmp_path / "file" / "data"), *PORTS], capture_output=True,
                       text=True, timeout=30, check=False)
    one_line(r, 1, str(tmp_path / "file"), "Not a directory")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own that can be filled or made read-only."""
    at = tmp_path / "disk"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(at)], check=True)
    yield at
    subprocess.run(["umount", "-l", str(at)], check=True)


def test_read_only_disk(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    r = subprocess.run([str(TEMPS), "serve", "--data-dir", str(small_disk / "data"), *PORTS], capture_output=True, text=True,
                       timeout=30, check=False)
    one_line(r, 1, "Read-only file system")


def test_full_disk_refuses_writes_and_serves_on(new_cluster, small_disk):
    c = new_cluster(start=False)
    c.data = small_disk / "data"
    c.start("--docker-host", "none")
    c.run("route", "add", "one.example.test", f"http://127.0.0.1:{c.http_port}")
    with open(small_disk / "filler", "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass

    def refused():
        r = c.run("route", "add", f"r{os.urandom(4).hex()}.example.test", "http://127.0.0.1:1", check=False)
        return r.returncode == 1 and "space" in r.stderr.lower()

    poll("writes are refused", refused, 20)
    assert c.api("GET", "/health").status_code == 200
    (small_disk / "filler").unlink()
    poll("writes are taken again", lambda: c.run("route", "add", "two.example.test", "http://127.0.0.1:1", check=False).returncode == 0, 20)


def test_store_of_an_unknown_version(new_cluster):
    c = new_cluster("--docker-host", "none")
    c.process.stop()
    dump = subprocess.run(["mdb_dump", "-a", str(c.data / "store")], capture_output=True, text=True, check=True).stdout
    assert "database=_meta" in dump, dump[:500]
    lines, out, in_meta = dump.splitlines(), [], False
    for i, line in enumerate(lines):
        if line.startswith("database="):
            in_meta = line == "database=_meta"
        if in_meta and lines[i - 1].strip() == "schema".encode().hex():
            line = " " + b"999".hex()
        out.append(line)
    for f in (c.data / "store").glob("*.mdb"):
        f.unlink()
    subprocess.run(["mdb_load", str(c.data / "store")], input="\n".join(out) + "\n", text=True, check=True)
    r = subprocess.run([str(TEMPS), "serve", "--data-dir", str(c.data), *PORTS], capture_output=True, text=True, timeout=30,
                       check=False)
    one_line(r, 1, "newer", "999")
