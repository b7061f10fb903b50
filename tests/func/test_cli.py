"""The command line: exit codes, help, JSON, completion; the API's errors and scopes."""
import json
import pathlib
import socket
import subprocess

import pytest

from conftest import TEMPS


def temps(*args, **kw):
    return subprocess.run([str(TEMPS), *args], capture_output=True, text=True, timeout=30, check=False, **kw)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    from conftest import Cluster
    c = Cluster(tmp_path_factory.mktemp("cli"))
    c.start("--docker-host", "none")
    yield c
    c.close()


def test_help_and_usage():
    assert temps("--version").stdout.startswith("temps ")
    assert temps("--help").returncode == 0 and "deploy" in temps("--help").stdout
    assert temps().returncode == 2
    assert temps("nonsense").returncode == 2
    assert temps("node").returncode == 2 and "node ls" in temps("node").stderr
    assert temps("deploy").returncode == 2
    assert temps("deploy", "--nonsense", "x").returncode == 2
    assert temps("deploy", "x", "--replicas", "many").returncode == 2


def commands():
    words = temps("complete").stdout.split()
    for w in words:
        if w == "complete":
            continue
        rest = [x for x in temps("complete", w).stdout.split() if not x.startswith("-")]
        for second in rest or [None]:
            yield [w, second] if second else [w]


def test_every_command_has_help_options_and_a_manual_page():
    found = list(commands())
    assert len(found) >= 25
    for words in found:
        r = temps(*words, "--help")
        assert r.returncode == 0 and r.stdout.startswith(f"Usage: temps {' '.join(words)}"), words
        assert "--json" in temps("complete", *words).stdout, words
        from conftest import ROOT
        assert (ROOT / "man" / f"temps-{'-'.join(words)}.1").exists(), words


def test_completion_of_a_whole_command_is_its_options():
    words = temps("complete", "route", "add").stdout.split()
    assert "--policy" in words and all(w.startswith("--") for w in words)


def test_no_control_plane(tmp_path):
    r = temps("node", "ls", "--data-dir", str(tmp_path))
    assert r.returncode == 1 and "temps serve" in r.stderr


@pytest.mark.parametrize("args", [["node", "ls"], ["apps"], ["token", "ls"], ["api-key", "ls"], ["route", "ls"], ["cert", "ls"],
                                  ["registry", "ls"], ["events"], ["status"], ["ps"]])
def test_listings_as_text_and_json(plain, args):
    assert plain.run(*args).returncode == 0
    json.loads(plain.run(*args, "--json").stdout)


def test_unknown_names_are_named(plain):
    for args in (["ps", "nobody"], ["explain", "nobody"], ["scale", "nobody", "2"], ["logs", "nobody"], ["node", "show", "nobody"]):
        r = plain.run(*args, check=False)
        assert r.returncode == 1 and f"there is no {'node' if args[0] == 'node' else 'app'} nobody" in r.stderr, r.stderr


def test_what_prints_without_end_stops_when_nobody_reads(plain):
    p = subprocess.Popen([str(TEMPS), "top", "--json", "--interval", "1s", "--data-dir", str(plain.data)], stdout=subprocess.PIPE)
    try:
        p.stdout.readline()
        p.stdout.close()
        assert p.wait(10) == 1
    finally:
        p.kill()
        p.wait(10)


def test_by_url_and_key(plain, tmp_path):
    env = {"TEMPS_API_URL": plain.https, "TEMPS_CA_FILE": plain.ca, "PATH": "/usr/bin", "HOME": str(tmp_path)}
    r = temps("status", env=env)
    assert r.returncode == 1 and "TEMPS_API_TOKEN" in r.stderr
    r = temps("status", env={**env, "TEMPS_API_TOKEN": plain.key("read")})
    assert r.returncode == 0, r.stderr
    del env["TEMPS_CA_FILE"]
    r = temps("status", env=env)
    assert r.returncode == 1 and "--ca-file" in r.stderr


def test_scopes(plain):
    read, write, admin = (plain.key(s) for s in ("read", "write", "admin"))
    assert plain.api("GET", "/api/apps", read).status_code == 200
    assert plain.api("POST", "/api/routes", read, json={"host": "a.example.test", "targets": ["http://127.0.0.1:1"]}).status_code == 403
    assert plain.api("POST", "/api/join-tokens", write, json={}).status_code == 403
    assert plain.api("POST", "/api/join-tokens", admin, json={}).status_code == 201
    assert plain.api("GET", "/api/apps").status_code == 401
    assert plain.api("GET", "/api/apps", "x" * 64).status_code == 401


def test_problems(plain):
    key = plain.key()
    for method, path, status in (("GET", "/api/nothing", 404), ("PATCH", "/api/apps", 405), ("GET", "/api/apps/none", 404),
                                 ("DELETE", "/api/api-keys/999", 404), ("DELETE", "/api/join-tokens/999", 404)):
        r = plain.api(method, path, key)
        assert r.status_code == status, (method, path, r.text)
        assert r.headers["Content-Type"] == "application/problem+json"
        doc = r.json()
        assert doc["status"] == status and doc["title"] and doc["instance"]
    assert "Allow" in plain.api("PATCH", "/api/apps", key).headers
    for body in (b"{", b"[]", b'{"host": 5}', b'{"host": "bad host", "targets": ["http://127.0.0.1:1"]}',
                 b'{"host": "a.example.test", "targets": ["http://example.com"]}', b'{"host": "a.example.test", "targets": []}'):
        assert plain.api("POST", "/api/routes", key, data=body).status_code == 400, body
    assert plain.api("POST", "/api/routes", key, data=b"x" * (300 << 10)).status_code == 413


def test_revoked_key(plain):
    made = plain.json("api-key", "create", "short-lived")
    assert plain.api("GET", "/api/apps", made["key"]).status_code == 200
    plain.run("api-key", "revoke", str(made["id"]))
    assert plain.api("GET", "/api/apps", made["key"]).status_code == 401


def test_the_console_is_not_served_to_other_names(plain):
    assert plain.api("GET", "/api/apps", plain.key(), headers={"Host": "elsewhere.example.test"}).status_code == 404


def test_secrets_do_not_show_in_the_process_list(plain, tmp_path):
    p = subprocess.Popen([str(TEMPS), "join", "https://127.0.0.1:9", "-", "--private-address", "127.0.0.2"],
                         stdin=subprocess.PIPE, env={"HOME": str(tmp_path), "PATH": "/usr/bin"}, stderr=subprocess.DEVNULL)
    assert b"secret" not in command_line(p)
    p.communicate(b"0" * 64 + b"." + b"1" * 64 + b"\n", timeout=30)
    assert p.returncode == 1
    # What is given as an argument is overwritten: here the command waits for a server that says nothing.
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        url = "http://127.0.0.1:%d" % s.getsockname()[1]
        for args in (["join", url, "c0ffee" * 10 + "c0ff", "--private-address", "127.0.0.2"],
                     ["deploy", "x", "--image", "i", "--env", "PASS=c0ffee", "--api-url", url]):
            p = subprocess.Popen([str(TEMPS), *args], env={"HOME": str(tmp_path), "PATH": "/usr/bin"}, stderr=subprocess.DEVNULL)
            try:
                s.settimeout(10)
                with s.accept()[0]:
                    assert b"c0ffee" not in command_line(p) and b"xxxxxx" in command_line(p)
            finally:
                p.kill()
                p.wait(10)


def command_line(p):
    return pathlib.Path(f"/proc/{p.pid}/cmdline").read_bytes()
