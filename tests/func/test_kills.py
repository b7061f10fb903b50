"""Whatever is killed, frozen or cut off under load, at a random time: no idempotent request fails, none waits for long, and the app is
whole again by itself. KILLS makes it longer, KILL_SEED repeats a run's choices, RATE is in requests a second."""
import contextlib
import os
import random
import signal
import time

import pytest

from conftest import SANITIZED, cluster_over, docker, poll
from load import Traffic, Watch

HOST = "hello.example.test"
RATE = int(os.environ.get("RATE", "200" if SANITIZED else "400"))
SEED = int(os.environ.get("KILL_SEED", random.randrange(1 << 30)))
OFFLINE_S = 3
SLOW_S = 1.0
LATE_S = 2.5  # what a silent network may cost a request


class Rig:
    """A cluster over three machines with an app on all of them, and the choices of a run."""

    def __init__(self, cluster, watch):
        self.c, self.watch, self.random = cluster, watch, random.Random(SEED)
        self.workers = {w.name: w for w in cluster.workers}
        self.restarted = set()  # containers that were stopped by their own engine: nobody could tell the control plane before

    def replicas(self):
        return self.c.ready_replicas("hello")

    def pause(self):
        time.sleep(self.random.uniform(0.2, 0.7))

    def a_worker(self):
        """One with a replica on it."""
        name = self.random.choice(sorted({r["node"] for r in self.replicas()} - {"local"}))
        return self.workers[name]

    def docker(self, node):
        return docker if node == "local" else self.workers[node].engine.docker

    def whole(self):
        nodes = self.c.json("node", "ls")["nodes"]
        assert all(n["status"] == "active" and n["health"] == "ok" and n["agent_ok"] and n["docker_ok"] for n in nodes), nodes
        all_of_it = self.c.replicas("hello")
        assert len(all_of_it) == 3 and len(self.replicas()) == 3, all_of_it
        return True

    def be_whole(self, limit_s=20):
        poll("the app and its nodes are whole", self.whole, limit_s, 0.2)

    def spread(self):
        """A replica on each machine."""
        if len({r["node"] for r in self.replicas()}) < 3:
            self.c.deploy("hello", "--env", f"ROUND={time.monotonic()}", replicas=3)
        self.be_whole()

    def until_offline(self, worker):
        poll("offline", lambda: self.c.node(worker.name)["status"] == "offline", OFFLINE_S + 6)
        poll("its replica runs elsewhere", lambda: len([r for r in self.replicas() if r["node"] != worker.name]) == 3, 10)


@pytest.fixture(scope="module")
def rig(engines, image, tmp_path_factory):
    with cluster_over(engines, image, tmp_path_factory.mktemp("kills"), "--heartbeat-interval", "1s", "--offline-after", f"{OFFLINE_S}s") as c:
        with Watch(c) as watch:
            c.deploy("hello", replicas=3)
            yield Rig(c, watch)


# Each ends with everything started or mended again, and gives the interval in which no answer can be asked of anybody, or None.

def kill_a_replica(rig):
    r = rig.random.choice(rig.replicas())
    os.kill(int(rig.docker(r["node"])("inspect", "--format", "{{.State.Pid}}", r["container_id"])), signal.SIGKILL)
    poll("it left", lambda: r["started_at"] not in [x["started_at"] for x in rig.replicas()], 10)


def kill_an_agent(rig):
    before = {r["container_id"] for r in rig.replicas()}
    w = rig.a_worker()
    w.process.kill()
    rig.pause()
    w.start()
    assert {r["container_id"] for r in rig.replicas()} == before


def restart_every_agent(rig):
    before = {r["container_id"] for r in rig.replicas()}
    for w in rig.workers.values():
        w.process.stop()
    for w in rig.workers.values():
        w.start()
    assert {r["container_id"] for r in rig.replicas()} == before


def kill_an_engine(rig):
    """By kill -9, which leaves its containers until it is back, or by SIGTERM, which takes them along."""
    w = rig.a_worker()
    rig.restarted |= set(w.engine.running())
    if rig.random.random() < 0.5:
        w.engine.kill()
        rig.pause()
    else:
        w.engine.stop()
    w.engine.begin().wait()


def freeze_an_engine(rig):
    before = {r["container_id"] for r in rig.replicas()}
    w = rig.a_worker()
    w.engine.freeze()
    time.sleep(rig.random.uniform(1, 2))
    w.engine.thaw()
    assert {r["container_id"] for r in rig.replicas()} == before


def drop_a_network(rig):
    w = rig.a_worker()
    w.engine.drop()
    time.sleep(rig.random.uniform(2.5, 3.5))
    w.engine.heal()


def reject_a_network(rig):
    w = rig.a_worker()
    w.engine.reject()
    rig.pause()
    w.engine.heal()


def drop_until_offline(rig):
    """What serves elsewhere by then stays; what comes back is drained and stopped."""
    w = rig.a_worker()
    w.engine.drop()
    rig.until_offline(w)
    serving = {r["container_id"] for r in rig.replicas() if r["node"] != w.name}
    w.engine.heal()
    rig.be_whole()
    assert {r["container_id"] for r in rig.replicas()} == serving
    poll("its copy is stopped and removed", lambda: not w.engine.running(), 20)


def reject_until_offline(rig):
    w = rig.a_worker()
    w.engine.reject()
    rig.until_offline(w)
    w.engine.heal()


def kill_the_control_plane(rig):
    before = {(r["container_id"], r["started_at"]) for r in rig.replicas()}
    began = time.monotonic()
    rig.c.process.kill()
    rig.c.start_again()
    assert rig.c.get(HOST).status_code == 200
    ended = time.monotonic()
    rig.be_whole()
    assert {(r["container_id"], r["started_at"]) for r in rig.replicas()} == before
    return began, ended


CASES = (kill_a_replica, kill_an_agent, kill_an_engine, freeze_an_engine, drop_a_network, reject_a_network, kill_the_control_plane,
         restart_every_agent, drop_until_offline, reject_until_offline)
KILLS = int(os.environ.get("KILLS", len(CASES)))


def over(r, began):
    """How much longer a request took than it does by itself, and than what had been done of it when its replica was lost took."""
    lost_s = min(max(began - r["at"], 0.0), SLOW_S) if "slow" in r["kind"] else 0.0
    return r["over_s"] - lost_s


@pytest.mark.parametrize("n", range(KILLS), ids=lambda n: f"{n}-{CASES[n % len(CASES)].__name__}")
def test_kill(rig, n):
    rig.spread()
    print(f"KILL_SEED={SEED}")
    with contextlib.ExitStack() as stack:
        for w in rig.workers.values():
            stack.callback(w.engine.heal)
        with Traffic(rig.c, HOST, RATE, int(SLOW_S * 1000)) as traffic:
            rig.pause()
            away = CASES[n % len(CASES)](rig)
            rig.be_whole()
            rig.pause()
    print(f"{CASES[n % len(CASES)].__name__}: {traffic}")
    requests = [r for r in traffic.requests if not away or r["at"] > away[1]]
    assert [r for r in requests if r["bad"] and r["repeatable"]] == []
    cut_s = max(w.engine.cut_s or 0 for w in rig.workers.values())
    assert [(round(over(r, cut_s), 3), r) for r in requests
            if r["repeatable"] and over(r, cut_s) > LATE_S] == []
    said = rig.watch.effects()
    assert len(said) == len(set(said)), "an effect was asked for twice"
    for cid, text in rig.watch.logs().items():
        assert cid in rig.restarted or "LATE" not in text, f"{cid}:\n{text}"
