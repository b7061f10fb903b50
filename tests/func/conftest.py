"""Real processes on loopback addresses and a real Docker Engine. Every cluster has its own id, data directory, bridge network and
port 0 listeners, so that tests never see each other; whatever a cluster made on the engine is removed at its end."""
import contextlib
import json
import os
import pathlib
import random
import re
import signal
import socket
import ssl
import subprocess
import time
import uuid

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPS = pathlib.Path(os.environ.get("TEMPS", ROOT / "build" / "gcc" / "temps"))
SAMPLE_APP = pathlib.Path(os.environ.get("SAMPLE_APP", TEMPS.parent / "tests" / "sample" / "app"))
SANITIZED = b"__asan_init" in TEMPS.read_bytes() if TEMPS.exists() else False


def poll(what, fn, limit_s=20.0, every_s=0.05):
    """Calls fn until it gives something true; what it gave. Fails after the limit, saying what was awaited and what came last."""
    end = time.monotonic() + limit_s
    last = None
    while True:
        try:
            last = fn()
            if last:
                return last
        except (requests.RequestException, OSError, AssertionError, KeyError, ValueError) as e:
            last = repr(e)
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {limit_s} s; last: {last}")
        time.sleep(every_s)


def docker(*args, check=True, **kw):
    return subprocess.run(["docker", *args], check=check, capture_output=True, text=True, timeout=120, **kw).stdout.strip()


def free_subnet():
    """One that no network on this engine has; at random, as other sessions may be looking too."""
    taken = docker("network", "inspect", "--format", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", *docker("network", "ls", "-q").split(),
                   check=False).split()
    while True:
        subnet = f"10.{random.randrange(214, 240)}.{random.randrange(256)}.0/24"
        if subnet not in taken:
            return subnet


class Process:
    """A temps process with its output in a file, ended by id. <enter> is a command that goes elsewhere before it becomes temps."""

    def __init__(self, args, log, env=None, cwd=None, enter=(), binary=TEMPS):
        self.log_path = log
        self.log = open(log, "ab")
        self.popen = subprocess.Popen(
            [*enter, str(binary), *args], stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, cwd=cwd
        )

    def text(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def alive(self):
        return self.popen.poll() is None

    def stop(self, limit_s=40):
        """SIGTERM; its exit status. Fails when it does not end in time or when a sanitizer spoke."""
        if self.alive():
            self.popen.send_signal(signal.SIGTERM)
        try:
            code = self.popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.popen.args}: no end within {limit_s} s of SIGTERM\n{self.text()[-3000:]}") from None
        self.check()
        return code

    def kill(self):
        if self.alive():
            self.popen.kill()
        self.popen.wait(10)

    def check(self):
        text = self.text()
        for word in ("AddressSanitizer", "runtime error:", "LeakSanitizer", "assertion", "Assertion"):
            assert word not in text, f"{self.popen.args}:\n{text[-4000:]}"


class Stranger:
    """As much of a Popen as is needed for a process that is nobody's child here: it was started by one that was."""

    def __init__(self, pid):
        self.pid, self.args, self.returncode = pid, f"process {pid}", None

    def poll(self):
        try:
            if pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                return None
        except (FileNotFoundError, ProcessLookupError):
            pass
        self.returncode = 0     # as far as anybody can know
        return 0

    def wait(self, limit_s):
        end = time.monotonic() + limit_s
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, limit_s)
            time.sleep(0.02)
        return 0

    def send_signal(self, signo):
        os.kill(self.pid, signo)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


class Successor(Process):
    """What a hot upgrade started; its output goes where that of the one before goes."""

    def __init__(self, pid, log):
        self.popen, self.log_path = Stranger(pid), log


class SampleApp:
    """The sample app as a plain process on 127.0.0.1, for static routes without a container."""

    def __init__(self, directory, name="app"):
        self.log = pathlib.Path(directory) / f"{name}.log"

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen([str(SAMPLE_APP)], env={**os.environ, "PORT": "0"}, stdout=log, stderr=log)
        port = poll("the app listens", lambda: re.search(r"listening on port (\d+)", self.log.read_text()), 10)[1]
        self.at = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *args):
        self.popen.kill()
        self.popen.wait(10)


class Worker:
    """A machine of its own, as far as one can be: a home directory and an address that no other cluster of any session has; with an
    <engine> of engines.py, in that one's namespace."""

    def __init__(self, cluster, name, engine=None):
        self.cluster, self.name, self.engine = cluster, name, engine
        self.ip = engine.ip if engine else next(cluster.addresses)
        self.enter = engine.enter if engine else []
        self.home = cluster.dir / name
        self.home.mkdir()
        self.ready = self.home / "ready"
        self.process = None

    def env(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("TEMPS")}
        return {**env, "HOME": str(self.home), **more}

    def join(self, token=None, labels=None, url=None, check=True, agent_address=None):
        token = token or self.cluster.json("token", "create")["token"]
        args = ["join", url or (self.cluster.https_inside if self.engine else self.cluster.https), token, "--private-address", self.ip, "--name", self.name,
                "--agent-address", agent_address or f"{self.ip}:0"]
        if labels:
            args += ["--labels", labels]
        return subprocess.run([*self.enter, str(TEMPS), *args], env=self.env(), capture_output=True, text=True, timeout=60, check=check)

    def start(self, *args):
        self.ready.unlink(missing_ok=True)
        engine = ["--docker-host", self.engine.url] if self.engine else []
        self.process = Process(["agent", "--ready-file", str(self.ready), *engine, *args], self.home / "agent.log", env=self.env(),
                               enter=self.enter)
        poll(f"agent {self.name} ready", lambda: self.ready.exists() and self.ready.stat().st_size or self._dead(), 15)
        self.address = json.loads(self.ready.read_text())["https"][0]
        return self

    def _dead(self):
        if not self.process.alive():
            pytest.fail(f"agent {self.name} ended:\n{self.process.text()[-3000:]}")

    def config(self):
        return json.loads((self.home / ".temps" / "agent.json").read_text())


class Cluster:
    all = []  # of this session

    def __init__(self, directory, image=None, engines=None):
        self.dir = pathlib.Path(directory)
        self.engines = engines
        self.id = "t" + uuid.uuid4().hex[:10]
        self.image = image
        self.data = self.dir / "data"
        self.ready = self.dir / "ready"
        self.network = f"temps-{self.id}"
        self.subnet = free_subnet()
        net = f"{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        self.addresses = ("127.%s.%d" % (net, n) for n in range(2, 250))
        self.workers = []
        self.process = None
        self.binary = TEMPS
        self.old = []   # processes that were upgraded, and drain
        self.options = []
        Cluster.all.append(self)

    # --- processes ---

    def start(self, *options):
        self.options = list(options) or self.options
        self.ready.unlink(missing_ok=True)
        self.process = Process(
            ["serve", "--address", "127.0.0.1:0", "--tls-address", "127.0.0.1:0", "--data-dir", str(self.data),
             "--ready-file", str(self.ready), "--cluster-id", self.id, "--network-name", self.network,
             "--network-subnet", self.subnet, *(["--tls-address", f"{self.engines.host}:0"] if self.engines else []), *self.options],
            self.dir / "serve.log", env={k: v for k, v in os.environ.items() if not k.startswith("TEMPS")}, binary=self.binary)
        poll("serve ready", self._is_ready, 20)
        self.ready_json = ready = json.loads(self.ready.read_text())
        self.http_port = int(ready["http"][0].rsplit(":", 1)[1])
        self.https_port = int(ready["https"][0].rsplit(":", 1)[1])
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.https = f"https://127.0.0.1:{self.https_port}"
        self.https_inside = f"https://{ready['https'][-1]}"  # for who is in a namespace
        self.ca = str(self.data / "front-ca.pem")
        return self

    def _is_ready(self):
        if not self.process.alive():
            pytest.fail(f"serve ended with {self.process.popen.returncode}:\n{self.process.text()[-3000:]}")
        return self.ready.exists() and self.ready.stat().st_size

    def restart(self, *options):
        """kill -9, then start with the same ports."""
        self.process.kill()
        return self.start_again(*options)

    def start_again(self, *options, env=None, wait=True):
        self.ready.unlink(missing_ok=True)
        inside = ["--tls-address", self.https_inside.removeprefix("https://")] if self.engines else []
        args = ["serve", "--address", f"127.0.0.1:{self.http_port}", "--tls-address", f"127.0.0.1:{self.https_port}", *inside,
                "--data-dir", str(self.data), "--ready-file", str(self.ready), "--network-name", self.network,
                "--network-subnet", self.subnet, *(options or self.options)]
        self.process = Process(args, self.dir / "serve.log", env=env)
        if wait:
            poll("serve ready again", self._is_ready, 20)
        return self

    def upgraded(self):
        """After a hot upgrade: our process is another one, as the ready file says."""
        self.old.append(self.process)
        pid = poll("the new process is ready", lambda: (lambda p: p if p != self.process.popen.pid else None)(
            json.loads(self.ready.read_text())["pid"]), 20)
        self.process = Successor(pid, self.dir / "serve.log")

    def upgrade(self):
        said = self.run("upgrade").stdout
        self.upgraded()
        return said

    def worker(self, name="worker-1", labels=None, engine=None):
        w = Worker(self, name, engine)
        self.workers.append(w)
        w.join(labels=labels)
        w.start()
        poll(f"{name} active", lambda: self.node(name)["status"] == "active" and self.node(name)["docker_ok"])
        return w

    def remove_containers(self):
        for ask in [docker, *(e.docker for e in self.engines.all)] if self.engines else [docker]:
            ids = ask("ps", "-aq", "--filter", f"label=sh.temps.cluster={self.id}", check=False).split()
            if ids:
                ask("rm", "-f", *ids, check=False)

    def close(self):
        """Ends the processes, then removes every container of this cluster and its network."""
        problems = []
        for p in [w.process for w in self.workers] + [self.process] + self.old:
            try:
                if p:
                    p.stop()
            except AssertionError as e:
                problems.append(str(e))
        self.remove_containers()
        if self.network in docker("network", "ls", "--format", "{{.Name}}").split():
            docker("network", "rm", self.network)
        assert not problems, "\n".join(problems)

    # --- command line and API ---

    def run(self, *args, check=True, limit_s=120, **kw):
        r = subprocess.run([str(TEMPS), *args, "--data-dir", str(self.data)], capture_output=True, text=True,
                           timeout=limit_s, **kw)
        assert not check or r.returncode == 0, f"temps {' '.join(args)}: {r.returncode}\n{r.stdout}{r.stderr}"
        return r

    def json(self, *args):
        return json.loads(self.run(*args, "--json").stdout)

    def key(self, scope="admin"):
        return self.json("api-key", "create", f"k{uuid.uuid4().hex[:6]}", "--scope", scope)["key"]

    def api(self, method, path, key=None, **kw):
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **kw.pop("headers", {})}
        return requests.request(method, self.https + path, headers=headers, verify=self.ca, timeout=20, **kw)

    def node(self, name):
        return next(n for n in self.json("node", "ls")["nodes"] if n["name"] == name)

    def replicas(self, app):
        return self.json("ps", app)["items"]

    def ready_replicas(self, app):
        return [r for r in self.replicas(app) if r["state"] == "ready"]

    def deploy(self, app="hello", *args, host=None, replicas=2, image=None, check=True):
        return self.run("deploy", app, "--image", image or self.image, "--replicas", str(replicas), "--port", "8080",
                        "--domain", host or f"{app}.example.test", *args, check=check)

    # --- the front door ---

    def session(self, host):
        """A requests session that reaches <host> through the TLS front door, its certificate verified by the front CA."""
        s = requests.Session()
        s.trust_env = False
        s.verify = self.ca
        s.mount(f"https://{host}", _Resolve(host, "127.0.0.1", self.https_port))
        return s

    def get(self, host="hello.example.test", path="/", **kw):
        with self.session(host) as s:
            return s.get(f"https://{host}{path}", timeout=kw.pop("timeout", 20), **kw)

    def raw(self, host, data, limit_s=10, tls=True):
        """Sends bytes as they are; everything that comes back until the server closes."""
        with self.connect(host, tls, limit_s) as s:
            s.sendall(data)
            out = b""
            while True:
                try:
                    got = s.recv(65536)
                except (ConnectionResetError, ssl.SSLError, socket.timeout):
                    break
                if not got:
                    break
                out += got
            return out

    def connect(self, host, tls=True, limit_s=10):
        s = socket.create_connection(("127.0.0.1", self.https_port if tls else self.http_port), limit_s)
        if not tls:
            return s
        ctx = ssl.create_default_context(cafile=self.ca)
        return ctx.wrap_socket(s, server_hostname=host)


@contextlib.contextmanager
def cluster_over(engines, image, directory, *options):
    """A cluster with a worker on each of <engines>' machines."""
    c = Cluster(directory, image, engines)
    try:
        c.start(*options)
        for k, e in enumerate(engines.all, 1):
            c.worker(f"worker-{k}", engine=e)
        yield c
    finally:
        c.close()


class _Resolve(requests.adapters.HTTPAdapter):
    """curl --resolve for requests: connects to another address, keeps Host, SNI and the name that is verified."""

    def __init__(self, host, ip, port):
        self.host, self.ip, self.port = host, ip, port
        super().__init__(pool_maxsize=64)

    def init_poolmanager(self, *args, **kw):
        super().init_poolmanager(*args, server_hostname=self.host, assert_hostname=self.host, **kw)

    def send(self, request, **kw):
        request.headers["Host"] = self.host
        request.url = request.url.replace(f"https://{self.host}", f"https://{self.ip}:{self.port}", 1)
        return super().send(request, **kw)


@pytest.fixture(scope="session")
def image():
    """The sample app's image, made once from the static program; no registry."""
    tag = f"temps-sample:{uuid.uuid4().hex[:10]}"
    subprocess.run([str(ROOT / "tests" / "sample" / "image.sh"), tag, str(SAMPLE_APP)], check=True, timeout=120, stdout=subprocess.DEVNULL)
    yield tag
    docker("rmi", "-f", tag, check=False)


@pytest.fixture(scope="session")
def engines(tmp_path_factory, image):
    """Two workers' machines with engines of their own."""
    from engines import Engines

    with Engines(tmp_path_factory.mktemp("engines"), image) as e:
        yield e


@pytest.fixture(scope="module")
def module_cluster(tmp_path_factory, image):
    """One cluster for all tests of a file."""
    c = Cluster(tmp_path_factory.mktemp("module"), image)
    try:
        yield c.start()
    finally:
        c.close()


@pytest.fixture
def new_cluster(tmp_path, image):
    """A function that makes clusters; all of them are closed at the end."""
    made = []

    def make(*options, start=True):
        directory = tmp_path / f"c{len(made)}"
        directory.mkdir()
        c = Cluster(directory, image)
        made.append(c)
        return c.start(*options) if start else c

    yield make
    problems = []
    for c in made:
        try:
            c.close()
        except AssertionError as e:
            problems.append(str(e))
    assert not problems, "\n".join(problems)


@pytest.fixture
def cluster(new_cluster):
    return new_cluster()


def pytest_configure(config):
    # A test that goes without a certificate says verify=False.
    config.addinivalue_line("filterwarnings", "ignore::urllib3.exceptions.InsecureRequestWarning")


def pytest_collection_modifyitems(items):
    """What waits for 90 s comes last: it began when the session did, see test_offline.py."""
    items.sort(key=lambda item: item.path.name == "test_offline.py")


@pytest.fixture(scope="session", autouse=True)
def silence(request, tmp_path_factory, image, engine):
    """The cluster of test_offline.py: its agent is killed before the first test, and somebody looks at it meanwhile."""
    if not any(item.path.name == "test_offline.py" for item in request.session.items):
        yield None
        return
    import test_offline

    with test_offline.silenced(Cluster(tmp_path_factory.mktemp("offline"), image)) as seen:
        yield seen


@pytest.fixture(scope="session", autouse=True)
def engine():
    """A missing engine is a failure, not a skip."""
    r = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, timeout=30, check=False)
    assert r.returncode == 0, f"no Docker Engine answers: {r.stderr}"
    for program in (TEMPS, SAMPLE_APP):
        assert program.exists(), f"{program} is not built; run ./test.sh"
    yield
    # The engine ends what it was asked for after the asker is gone: a container may come when its cluster was removed.
    for c in Cluster.all:
        c.remove_containers()
