"""App files and secrets: what is shown, what is asked, what is changed, and what nobody sees."""
import json
import os
import pty
import re
import subprocess

import pytest

from conftest import ROOT, TEMPS, docker, poll

SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def c(module_cluster):
    return module_cluster


def write(c, text):
    path = c.dir / "app.yaml"
    path.write_text(text)
    return str(path)


def apply(c, text, *args, check=True, **env):
    return c.run("apply", "-f", write(c, text), *args, check=check, env={**os.environ, **env}, stdin=subprocess.DEVNULL)


def file_of(c, level="info", rest=""):
    return f"""apps:
  one:
    image: {c.image}
    replicas: 1
    domains: [one.example.test]
    env:
      LEVEL: {level}
    secrets:
      TOKEN: ${{APPLY_TOKEN}}
{rest}  two:
    image: {c.image}
    replicas: 1
"""


def env_of(c, app):
    name = c.ready_replicas(app)[0]["name"]
    return docker("inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", name).split("\n")


def test_a_file_is_a_plan_then_a_rollout(c):
    r = apply(c, file_of(c), "--dry-run", APPLY_TOKEN=SECRET)
    assert "one: create" in r.stdout and "two: create" in r.stdout and c.json("apps")["items"] == []
    r = apply(c, file_of(c), check=False, APPLY_TOKEN=SECRET)
    assert r.returncode == 1 and "nothing was changed: there is no terminal to ask on; give --yes" in r.stderr
    assert c.json("apps")["items"] == []
    r = apply(c, file_of(c), "--yes", APPLY_TOKEN=SECRET)
    assert "one: release 1 is active" in r.stdout and "two: release 1 is active" in r.stdout
    assert f"TOKEN={SECRET}" in env_of(c, "one")
    assert "one: unchanged\ntwo: unchanged\nnothing to do" in apply(c, file_of(c), "--yes", APPLY_TOKEN=SECRET).stdout


def test_what_changes_is_shown(c):
    rest = "    cpus: 0.5\n    policy: {rate: 1000}\n"
    r = apply(c, file_of(c, "debug", rest), "--dry-run", APPLY_TOKEN="another")
    for line in ("one: change", "    env.LEVEL: changed to debug", "    secrets.TOKEN: changed", "    cpus: 0.5", "    policy.rate: 1000",
                 "two: unchanged"):
        assert line in r.stdout.splitlines(), r.stdout
    r = apply(c, file_of(c).replace("    domains: [one.example.test]\n", "    domains: [one.example.test, 1.example.test]\n"), "--json",
              "--dry-run", APPLY_TOKEN=SECRET)
    plan = json.loads(r.stdout)["apps"]
    assert [a["changes"] for a in plan] == [True, False]
    assert plan[0]["plan"]["changes"] == [{"member": "domains", "change": "changed", "from": "one.example.test",
                                           "to": "one.example.test, 1.example.test"}]


def test_what_is_left_out_goes_but_secrets_and_replicas(c):
    c.run("scale", "two", "2")
    bare = f"apps:\n  one: {{image: '{c.image}'}}\n  two: {{image: '{c.image}'}}\n"
    r = apply(c, bare, "--yes")
    assert "    domains: one.example.test -> none" in r.stdout and "two: unchanged" in r.stdout
    env = env_of(c, "one")
    assert f"TOKEN={SECRET}" in env and not [x for x in env if x.startswith("LEVEL=")]
    assert len(c.ready_replicas("two")) == 2
    apply(c, file_of(c), "--yes", APPLY_TOKEN=SECRET)


@pytest.mark.parametrize("old, new, where, reason", [
    ("replicas: 1", "replica: 1", "4:5", 'did you mean "replicas"?'),
    ("LEVEL: info", "LEVEL: [info]", "7:14", "expected a text"),
    ("replicas: 1", "replicas: 1\n    nodes: [nowhere]", "5:5", "nowhere"),
    ("replicas: 1", "health_path: nothing", "4:5", "must begin with"),
    ("replicas: 1", "strategy: magic", "4:5", "magic"),
    ("two:", "two:\n    domains: [one.example.test]", "11:15", "belongs to app one already, line 5"),
    ("${APPLY_TOKEN}", "${NOT_SET}", "9:14", "NOT_SET is not set"),
    ("      TOKEN: ${APPLY_TOKEN}", "      NEW:", "8:5", "has no value yet"),
])
def test_a_mistake_has_its_place_and_nothing_is_changed(c, old, new, where, reason):
    before = [(a["name"], a["release"]) for a in c.json("apps")["items"]]
    text = file_of(c, "info").replace(old, new, 1)
    text = text.replace("  two:\n    image", "  two:\n    env: {OTHER: changed}\n    image") if "two:\n    dom" not in text else text
    r = apply(c, text, "--yes", check=False, APPLY_TOKEN=SECRET)
    assert r.returncode == 1 and f"app.yaml:{where}: " in r.stderr and reason in r.stderr, r.stderr
    assert "nothing was changed" in r.stderr
    assert [(a["name"], a["release"]) for a in c.json("apps")["items"]] == before


def test_a_locked_app_stops_the_whole_file(c):
    c.run("lock", "one", "--reason", "the database moves")
    r = apply(c, file_of(c, "trace").replace("  two:\n", "  two:\n    env: {A: b}\n"), "--yes", check=False, APPLY_TOKEN=SECRET)
    assert r.returncode == 1 and "app.yaml:2:3: app one: " in r.stderr and "the database moves" in r.stderr
    assert "two: unchanged" in apply(c, file_of(c), "--dry-run", APPLY_TOKEN=SECRET).stdout
    c.run("unlock", "one")


def test_a_terminal_is_asked(c):
    path = write(c, file_of(c, "asked"))
    for answer, code in ((b"n\n", 1), (b"y\n", 0)):
        master, slave = pty.openpty()
        p = subprocess.Popen([str(TEMPS), "apply", "-f", path, "--data-dir", str(c.data)], stdin=slave, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, env={**os.environ, "APPLY_TOKEN": SECRET})
        os.write(master, answer)
        out = p.communicate(timeout=60)[0].decode()
        os.close(master)
        os.close(slave)
        assert p.returncode == code and "Change 1 of 2 apps? [y/N]" in out, out
    assert "LEVEL=asked" in env_of(c, "one")


def test_one_failed_rollout_is_exit_1(c):
    text = file_of(c, "asked").replace("  two:\n", "  two:\n    env: {EXIT_AT_START: 1}\n")
    r = apply(c, text, "--yes", check=False, APPLY_TOKEN=SECRET)
    assert r.returncode == 1 and "1 of 1 apps failed" in r.stderr, r.stderr
    assert c.json("apps")["items"][1]["status"] == "running"


def test_a_file_from_standard_input(c):
    r = c.run("apply", "-f", "-", "--dry-run", input=file_of(c, "asked"), env={**os.environ, "APPLY_TOKEN": SECRET})
    assert "one: unchanged" in r.stdout
    r = c.run("apply", "-f", "-", "--dry-run", input="apps: {a: {imag: x}}", check=False)
    assert "stdin:1:12: unknown key" in r.stderr


def test_variables_are_set_one_by_one(c):
    c.run("deploy", "two", "--env", "A=1", "--env", "B=2")
    c.run("deploy", "two", "--env", "B=3")
    assert {"A=1", "B=3"} <= set(env_of(c, "two"))
    key = c.dir / "key.pem"
    key.write_text("first\nsecond\n")
    c.run("deploy", "two", "--unset-env", "A", "--secret", "S=-", "--secret", f"F=@{key}", input=SECRET + "\n")
    env = env_of(c, "two")
    assert f"S={SECRET}" in env and "F=first" in env and not [x for x in env if x.startswith("A=")]
    assert "nothing to do" in c.run("deploy", "two", "--secret", "S=-", input=SECRET + "\n").stdout
    r = c.run("deploy", "two", "--env", "S=plain", check=False)
    assert r.returncode == 1 and "secret and a plain" in r.stderr
    c.run("deploy", "two", "--unset-secret", "F")
    assert not [x for x in env_of(c, "two") if x.startswith("F=")]


def test_nobody_is_shown_a_secret(c):
    app = c.api("GET", "/api/apps/two", c.key("read")).json()
    assert app["secrets"] == ["S"] and "S" not in app["env"]
    seen = [json.dumps(app)]
    seen += [c.run(*args).stdout for args in (["apps"], ["ps", "two"], ["releases", "two", "--json"], ["events", "--limit", "1000", "--json"],
                                              ["releases", "one", "--json"], ["plan", "one", "--env", "X=y", "--json"])]
    seen.append(c.process.text())
    seen += [p.read_bytes().decode(errors="replace") for p in c.data.rglob("*.mdb")]
    assert not [text for text in seen if SECRET in text]
    r = c.run("deploy", "two", "--secret", SECRET, check=False)
    assert r.returncode == 2 and SECRET not in r.stderr


def test_every_member_of_a_deploy_is_a_key_of_the_file():
    source = (ROOT / "src/control/api_deploy.c").read_text()
    members = set(re.findall(r'"(\w+)"', re.search(r"members\[\] = \{(.*?)\};", source, re.S)[1])) - {"replace", "canary"}  # of one deploy alone
    keys = set(re.findall(r'\{ "(\w+)", KEY_', (ROOT / "src/cli/app_file.c").read_text()))
    assert keys == members
    page = (ROOT / "man/temps-app-file.5").read_text()
    assert {k for k in keys if f".It Li {k}" not in page} == set()
