"""Once for real: 90 seconds without a word. The agent is killed when the session begins; the wait runs beside the other tests."""
import contextlib
import threading
import time


class Silence(threading.Thread):
    """Looks at the node whose agent was killed, and asks its container now and then."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.killed = time.monotonic()
        self.offline = self.served_until = self.replaced = None
        self.done, self.wrong = threading.Event(), []

    def run(self):
        while not self.offline and not self.done.is_set() and time.monotonic() < self.killed + 120:
            if self.cluster.node("worker-1")["status"] == "offline":
                self.offline = time.monotonic()
            elif not self.served_until or time.monotonic() > self.served_until + 5:
                status = self.cluster.get().status_code
                if status != 200:
                    self.wrong.append((time.monotonic() - self.killed, status))
                self.served_until = time.monotonic()
            self.done.wait(0.2)
        while self.offline and not self.replaced and not self.done.is_set() and time.monotonic() < self.offline + 30:
            if [r["node"] for r in self.cluster.ready_replicas("pair")].count("local") == 2:
                self.replaced = time.monotonic()
            self.done.wait(0.1)


@contextlib.contextmanager
def silenced(c):
    try:
        c.start()
        w = c.worker("worker-1")
        c.deploy("hello", "--node", "worker-1", replicas=1)
        c.deploy("pair", replicas=2)
        assert {r["node"] for r in c.ready_replicas("pair")} == {"local", "worker-1"}
        w.process.kill()
        seen = Silence(c)
        seen.start()
        yield seen
        seen.done.set()
        seen.join(30)
    finally:
        c.close()


def test_offline_between_90_and_91_s_after_the_last_exchange(silence):
    silence.join(130)
    assert silence.offline, silence.cluster.node("worker-1")
    # The last exchange was at most one event-stream line (5 s) before the kill; looking takes a moment too.
    took = silence.offline - silence.killed
    assert 84.5 < took < 92, took
    assert silence.wrong == [] and silence.served_until > silence.killed + 80
    # What is bound to no node is elsewhere within 10 s of the mark.
    assert silence.replaced and silence.replaced - silence.offline < 10, silence.cluster.replicas("pair")
    events = [e for e in silence.cluster.json("events")["items"] if e["type"] == "NodeOffline"]
    assert len(events) == 1 and "worker-1" in events[0]["subject"] + events[0]["text"]
