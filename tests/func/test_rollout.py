"""The ways from one release to the next: in waves, stop-first with a volume, after a command, as a canary."""
import threading

from conftest import docker, poll
from load import Load, get


def carrying(c, app):
    return [r for r in c.replicas(app) if r["state"] == "ready"]


def status(c, app):
    return next(a["status"] for a in c.json("apps")["items"] if a["name"] == app)


class Deploy(threading.Thread):
    def __init__(self, c, *args, **kw):
        super().__init__(daemon=True)
        self.call = lambda: c.deploy(*args, check=False, **kw)
        self.start()

    def run(self):
        self.result = self.call()


def test_waves_keep_the_app_at_its_strength(module_cluster):
    c = module_cluster
    c.deploy("waves", replicas=3)
    with Load(c, "waves.example.test", get(wait_s=0.01)) as load:
        d = Deploy(c, "waves", "--max-surge", "1", "--env", "ROUND=2", replicas=3)
        seen = []
        while d.is_alive():
            rs = c.replicas("waves")
            seen.append((sum(r["state"] == "ready" for r in rs), len(rs), {r["release"] for r in rs if r["state"] == "ready"}))
    assert d.result.returncode == 0, d.result.stderr
    assert load.bad == []
    assert min(n for n, _, _ in seen) >= 3 and max(n for _, n, _ in seen) <= 4, seen
    assert {1, 2} in [r for _, _, r in seen], "no wave was seen"
    assert {r["release"] for r in carrying(c, "waves")} == {2}


def test_a_volume_goes_from_one_release_to_the_next_and_requests_wait(module_cluster):
    c = module_cluster
    c.deploy("store", "--volume", "data:/data", replicas=1)
    running = lambda: docker("ps", "-q", "--filter", f"label=sh.temps.cluster={c.id}", "--filter", "label=sh.temps.app=store").split()
    try:
        with Load(c, "store.example.test", get(wait_s=0.01)) as load:
            poll("load runs", lambda: load.count > 5)
            d = Deploy(c, "store", "--env", "ROUND=2", replicas=1)
            owners = []
            while d.is_alive():
                owners.append(len(running()))
            before = load.count
            poll("load goes on", lambda: load.count > before + 5)
        assert d.result.returncode == 0, d.result.stderr
        assert load.bad == [] and max(owners) == 1, (load.bad, owners)
        mount = docker("inspect", "--format", "{{range .Mounts}}{{.Name}} {{.Destination}}{{end}}", *running())
        assert mount == f"{c.id}-store.data /data"
        # The next one cannot start: the old one does again.
        r = c.deploy("store", "--env", "EXIT_AT_START=1", replicas=1, check=False)
        assert r.returncode == 1 and "exit code 3" in r.stderr, r.stderr
        poll("the old release is back", lambda: [x["release"] for x in carrying(c, "store")] == [2])
        assert c.get("store.example.test").status_code == 200
        assert c.run("scale", "store", "2", check=False).returncode == 1
    finally:
        c.run("rm", "store", "--yes")
        poll("its container is gone", lambda: not running())
        docker("volume", "rm", f"{c.id}-store.data", check=False)


def test_a_command_before_the_deploy(module_cluster):
    c = module_cluster
    c.deploy("hook", replicas=1)
    r = c.deploy("hook", "--pre-deploy", "3 'not well'", replicas=1, check=False)
    assert r.returncode == 1 and "pre-deploy command" in r.stderr and "exit code 3" in r.stderr, r.stderr
    assert "a command of release 2 ends with 3" in r.stderr, r.stderr
    assert [x["release"] for x in carrying(c, "hook")] == [1]
    c.deploy("hook", "--pre-deploy", "0", replicas=1)
    assert [x["release"] for x in carrying(c, "hook")] == [3]
    left = lambda: docker("ps", "-aq", "--filter", f"label=sh.temps.cluster={c.id}", "--filter", "label=sh.temps.app=hook").split()
    poll("only the replica is left", lambda: len(left()) == 1)


def test_a_health_command_decides(module_cluster):
    c = module_cluster
    c.deploy("fit", "--health-command", "/app 0", "--health-interval", "300ms", replicas=1)
    r = c.deploy("fit", "--health-command", "/app 1", "--health-fall", "2", replicas=1, check=False)
    assert r.returncode == 1 and "its health command fails" in r.stderr, r.stderr
    assert [x["release"] for x in carrying(c, "fit")] == [1]


def test_a_canary_gets_its_share(module_cluster):
    c = module_cluster
    said = c.deploy("bird", "--canary", "10", replicas=2, check=False)
    assert said.returncode == 1 and "no release" in said.stderr, said.stderr
    c.deploy("bird", replicas=2)
    said = c.deploy("bird", "--env", "ROUND=2", "--canary", "10", replicas=2).stdout
    assert "10 % of the requests" in said, said
    assert status(c, "bird") == "canary"
    with c.session("bird.example.test") as s:
        releases = [s.get("https://bird.example.test/").headers["X-Release"] for _ in range(200)]
    assert 16 <= releases.count("2") <= 24, releases.count("2")
    c.restart()
    poll("the canary sings on", lambda: status(c, "bird") == "canary")
    assert "active" in c.run("promote", "bird").stdout
    assert {x["release"] for x in carrying(c, "bird")} == {2}
    c.deploy("bird", "--env", "ROUND=3", "--canary", "50", replicas=2)
    c.run("abort", "bird")
    assert {x["release"] for x in carrying(c, "bird")} == {2}
    assert c.json("releases", "bird")["items"][0]["status"] == "aborted"
    r = c.run("promote", "bird", check=False)
    assert r.returncode == 1 and "no rollout under way" in r.stderr, r.stderr
