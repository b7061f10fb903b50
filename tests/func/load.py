"""Clients that keep asking while a test changes things, and a watch on what containers said before they were gone."""
import json
import pathlib
import re
import subprocess
import sys
import threading
import time

from conftest import docker, poll


class Load(threading.Thread):
    """One client: sends requests one after the other until told to stop; keeps whatever was not answered as wanted."""

    def __init__(self, cluster, host, send=None, fresh=False):
        super().__init__(daemon=True)
        self.cluster, self.host, self.send, self.fresh = cluster, host, send or get(), fresh
        self.done, self.bad, self.count = threading.Event(), [], 0

    def run(self):
        session = self.cluster.session(self.host)
        while not self.done.is_set():
            if self.fresh:
                session.close()
                session = self.cluster.session(self.host)
            began = time.monotonic()
            try:
                wrong = self.send(session, f"https://{self.host}")
                if wrong:
                    self.bad.append((*wrong, round(time.monotonic() - began, 3)))
            except OSError as e:
                self.bad.append((repr(e), round(time.monotonic() - began, 3)))
            self.count += 1
        session.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *args):
        self.done.set()
        self.join(60)


def get(path="/", wait_s=0.0):
    def send(session, url):
        r = session.get(url + path, timeout=30)
        time.sleep(wait_s)
        return None if r.status_code == 200 else (r.status_code, r.text[:200])
    return send


def upload(size, chunked=False):
    def send(session, url):
        body = iter([b"u" * (size // 4)] * 4) if chunked else b"u" * size
        r = session.post(url + "/upload", data=body, timeout=30)
        return None if r.status_code == 200 and r.json()["bytes"] == size else (r.status_code, r.text[:200])
    return send


class Loads:
    """Several clients as one."""

    def __init__(self, *loads):
        self.loads = loads

    @property
    def bad(self):
        return [b for load in self.loads for b in load.bad]

    @property
    def count(self):
        return min(load.count for load in self.loads)

    def __enter__(self):
        for load in self.loads:
            load.start()
        return self

    def __exit__(self, *args):
        for load in self.loads:
            load.done.set()
        for load in self.loads:
            load.join(60)


class Traffic(threading.Thread):
    """traffic.py at <rate> requests a second, some of which take <slow_ms>: what it counted, and each request that failed or was late."""

    def __init__(self, cluster, host, rate, slow_ms=2000):
        super().__init__(daemon=True)
        self.popen = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).parent / "traffic.py"), str(cluster.https_port), cluster.ca, host, str(rate),
             str(slow_ms)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.last, self.requests = {"counts": {}}, []

    def run(self):
        for line in self.popen.stdout:
            line = json.loads(line)
            if "counts" in line:
                self.last = line
            else:
                self.requests.append(line)

    @property
    def count(self):
        return sum(self.last["counts"].values())

    @property
    def failed(self):
        return [r for r in self.requests if r["bad"]]

    @property
    def latest_s(self):
        """How long over what it takes by itself the slowest took, of all that were answered."""
        return max((r["over_s"] for r in self.requests if not r["bad"]), default=0.0)

    def __str__(self):
        return (f"{sum(self.last['counts'].values())} requests at {self.rate:.0f}/s, {len(self.failed)} failed, {len(self.requests)} failed or "
                f"late by over 0.5 s, the latest by {self.latest_s} s; {dict(self.last['counts'])}")

    def __enter__(self):
        self.start()
        poll("traffic flows", lambda: self.count > 0, 20)
        self.began, self.before = time.monotonic(), self.count
        return self

    def __exit__(self, *args):
        """Ends when all are answered."""
        self.seconds, n = time.monotonic() - self.began, self.count - self.before
        self.rate = n / self.seconds
        self.popen.stdin.close()
        self.join(60)
        self.popen.kill()
        assert self.popen.wait(10) is not None and self.last.get("done"), f"traffic.py ended before its time: {self.last}"


class Watch(threading.Thread):
    """Holds what engines keep of the log of every container of a cluster, so that its last words are known when it is gone, and
    whatever became of its engine meanwhile."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.done, self.following, self.others = cluster, threading.Event(), {}, set()
        self.roots = [pathlib.Path(docker("info", "--format", "{{.DockerRootDir}}"))]
        self.roots += [e.dir / "data" for e in cluster.engines.all] if cluster.engines else []

    def run(self):
        while not self.done.wait(0.1):
            for root in self.roots:
                for d in (root / "containers").iterdir():
                    if d not in self.following and d not in self.others:
                        self.look(d)

    def look(self, directory):
        try:
            labels = json.loads((directory / "config.v2.json").read_text())["Config"]["Labels"]
            if labels.get("sh.temps.cluster") != self.cluster.id:
                self.others.add(directory)
            else:
                self.following[directory] = open(directory / f"{directory.name}-json.log", "rb")
        except (OSError, ValueError):
            pass  # it is being made: another time

    def logs(self, ended=False):
        """{container id: its whole log}; of those only that were removed."""
        out = {}
        for d, f in list(self.following.items()):
            if not ended or not d.exists():
                f.seek(0)
                out[d.name] = "".join(json.loads(line)["log"] for line in f.read().splitlines(True) if line.endswith(b"\n"))
        return out

    def ended(self):
        return self.logs(ended=True)

    def effects(self):
        """The number of each that traffic.py asked for and an app had, as often as it had it."""
        return [n for text in self.logs().values() for n in re.findall(r"SAID \?effect-(\S+)", text)]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *args):
        self.done.set()
        self.join(10)
        for f in self.following.values():
            f.close()
