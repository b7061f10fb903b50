"""Logs: of all containers of an app in the order of their time, also when they are gone, and over deploys."""
import json
import subprocess

from conftest import TEMPS, poll


def say(c, word, times=20):
    with c.session("hello.example.test") as s:
        for _ in range(times):
            s.get(f"https://hello.example.test/say?{word}", timeout=10)


def test_logs_outlive_their_containers(cluster):
    c = cluster
    w = c.worker("worker-1")
    c.deploy("hello", replicas=2)
    old = {r["name"]: r["node"] for r in c.ready_replicas("hello")}
    assert set(old.values()) == {"local", "worker-1"}
    say(c, "first")
    c.deploy("hello", "--env", "A=1", replicas=2)
    say(c, "second")
    poll("the old ones are gone", lambda: not set(old) & {r["name"] for r in c.replicas("hello")}, 60)

    def logs(*args):
        lines = [line.split(" | ", 1) for line in c.run("logs", "hello", *args).stdout.splitlines()]
        return [(name, text) for name, text in lines]

    assert not set(old) & {name for name, _ in logs()}
    kept = logs("--release", "1")
    assert {name for name, _ in kept} == set(old) and sum("SAID ?first" in text for _, text in kept) == 20
    there = next(name for name, node in old.items() if node == "worker-1")
    assert {name for name, _ in logs("--release", "1", "--node", "worker-1")} == {there}
    assert all("first" in text for _, text in logs("--grep", "first")) and len(logs("--grep", "first")) == 20
    assert len(logs("--release", "1", "--node", "worker-1", "--tail", "3")) == 3

    lines = [json.loads(line) for line in c.run("logs", "hello", "--grep", "first", "--json").stdout.splitlines()]
    assert len(lines) == 20 and {line["replica"] for line in lines} <= set(old)
    assert all(line["text"] == "SAID ?first" and line["time"].startswith("20") for line in lines)

    stamps = [text.split(" ")[0] for _, text in logs("--since", "1h", "--tail", "1000", "--timestamps")]
    assert stamps == sorted(stamps) and stamps[0].startswith("20")
    both = [text for _, text in logs("--since", "1h", "--tail", "1000") if "SAID" in text]
    assert both == ["SAID ?first"] * 20 + ["SAID ?second"] * 20

    # On the worker's disk, for its owner alone; a worker that starts anew still has it, and one that is away says so.
    files = [p for p in (w.home / ".temps" / "logs").rglob("*") if p.is_file()]
    assert [p.name.split(".")[2] for p in files] == [there] and files[0].stat().st_mode & 0o077 == 0
    w.process.kill()
    assert "worker-1 | (" in c.run("logs", "hello", "--release", "1").stdout
    w.start()
    poll("it is back", lambda: len(logs("--release", "1", "--grep", "first")) == 20)
    r = c.run("logs", "hello", "--node", "nobody", check=False)
    assert r.returncode == 1 and "no node nobody" in r.stderr, r.stderr
    r = c.run("logs", "hello", "--release", "3", check=False)
    assert r.returncode == 1 and "no release 3" in r.stderr, r.stderr


def test_followed_over_deploys_and_restarts(cluster, tmp_path):
    c, out = cluster, tmp_path / "out"
    w = c.worker("worker-1")
    c.deploy("hello", "--node", "worker-1", replicas=1)
    with open(out, "wb") as f:
        p = subprocess.Popen([str(TEMPS), "logs", "hello", "-f", "--grep", "SAID", "--data-dir", str(c.data)], stdout=f)
    try:
        say(c, "one", 1)
        poll("the old one's", lambda: "SAID ?one" in out.read_text(), 10)
        w.process.kill()
        say(c, "two", 1)
        w.start()
        poll("what was said meanwhile", lambda: "SAID ?two" in out.read_text(), 10)
        with c.session("hello.example.test") as s:
            assert s.post("https://hello.example.test/crash", timeout=10).status_code == 502
        say(c, "three", 1)
        poll("the restarted one's", lambda: "SAID ?three" in out.read_text(), 10)
        c.deploy("hello", "--env", "A=1", replicas=1)
        say(c, "four", 1)
        poll("the new one's", lambda: "SAID ?four" in out.read_text(), 10)
        lines = [line.split(" | ") for line in out.read_text().splitlines()]
        assert [text for _, text in lines if "SAID" in text] == ["SAID ?one", "SAID ?two", "SAID ?three", "SAID ?four"]
        assert len({name for name, _ in lines}) == 2
    finally:
        p.kill()
        p.wait(10)
