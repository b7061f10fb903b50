"""Clients that keep asking while a test changes things, and a watch on what containers said before they were gone."""
import subprocess
import threading
import time

from conftest import docker


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


class Watch(threading.Thread):
    """Follows the log of every container of a cluster, so that their last words are known when they are gone."""

    def __init__(self, cluster, directory):
        super().__init__(daemon=True)
        self.cluster, self.directory = cluster, directory
        self.done, self.following = threading.Event(), {}
        directory.mkdir()

    def run(self):
        while not self.done.is_set():
            for cid in docker("ps", "-q", "--no-trunc", "--filter", f"label=sh.temps.cluster={self.cluster.id}").split():
                if cid not in self.following:
                    with open(self.directory / cid, "wb") as f:
                        self.following[cid] = subprocess.Popen(["docker", "logs", "-f", cid], stdout=f, stderr=subprocess.STDOUT)
            time.sleep(0.2)

    def ended(self):
        """{container id: its whole log} of those that have ended."""
        return {cid: (self.directory / cid).read_text() for cid, p in list(self.following.items()) if p.poll() is not None}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *args):
        self.done.set()
        self.join(10)
        for p in self.following.values():
            p.kill()
            p.wait(10)
