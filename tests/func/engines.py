"""Two machines on one: Docker Engines of their own, each in a network namespace with its own bridge, socket, data and exec root. The
control plane stays outside, with the machine's own engine, and reaches each over a veth pair; cut or frozen, an engine is like a
machine that is. Whoever may not make namespaces fails here: nothing is skipped."""
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time
import uuid

from conftest import poll


def run(*args, check=True, text=None, limit_s=30):
    r = subprocess.run(args, input=text, capture_output=True, text=True, timeout=limit_s, check=False)
    assert not check or r.returncode == 0, f"{' '.join(args)}: {r.returncode}\n{r.stdout}{r.stderr}"
    return r.stdout


def free_net():
    """The first three numbers of a /24 that this machine has no address in."""
    taken = {a["local"].rsplit(".", 1)[0] for link in json.loads(run("ip", "-j", "-4", "addr")) for a in link["addr_info"]}
    return random.choice([net for net in (f"10.{a}.{b}" for a in range(241, 250) for b in range(256)) if net not in taken])


def processes_with(text):
    """The ids of the processes with <text> in an argument."""
    out = []
    for p in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in p.read_bytes() and int(p.parent.name) != os.getpid():
                out.append(int(p.parent.name))
    return out


def children(pid):
    with contextlib.suppress(OSError):
        return [int(p) for t in pathlib.Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]
    return []


class Engine:
    """A machine: a namespace, the address in it, and a Docker Engine that is ours to kill."""

    def __init__(self, directory, host_ip, ip):
        self.dir, self.host_ip, self.ip = pathlib.Path(directory), host_ip, ip
        self.dir.mkdir()
        self.id = uuid.uuid4().hex[:8]
        self.namespace, self.link = f"temps-{self.id}", f"tmps{self.id}"
        self.url = f"unix://{self.dir}/docker.sock"
        self.enter = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        self.popen = None
        self.cut_s = None  # when it was cut off last, by the monotonic clock

    def open(self):
        host, ns = self.host_ip, self.namespace
        run("ip", "netns", "add", ns)
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", ns)
        run("ip", "addr", "add", host, "peer", self.ip, "dev", self.link)
        run("ip", "link", "set", self.link, "up")
        run("ip", "-n", ns, "-b", "-",
            text=f"link set lo up\naddr add {self.ip} peer {host} dev eth0\nlink set eth0 up\nroute add default via {host}\n")
        self.begin()

    def begin(self):
        """Starts the daemon, without waiting for it."""
        assert not self.popen
        # Who was killed leaves these, and takes whoever has its number now for itself.
        for pid in (self.dir / "pid", self.dir / "exec" / "containerd" / "containerd.pid"):
            pid.unlink(missing_ok=True)
        with open(self.dir / "log", "ab") as log:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.enter, "dockerd", "--data-root", f"{self.dir}/data",
                 "--exec-root", f"{self.dir}/exec", "--pidfile", f"{self.dir}/pid",
                 "--host", self.url], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def wait(self):
        def answers():
            assert self.popen.poll() is None, (self.dir / "log").read_text()[-3000:]
            return self.docker("version", "--format", "{{.Server.Version}}", check=False)
        poll(f"the engine of {self.namespace} answers", answers, 20)
        return self

    def docker(self, *args, check=True, limit_s=60):
        return run("docker", "--host", self.url, *args, check=check, limit_s=limit_s).strip()

    def running(self):
        return self.docker("ps", "--no-trunc", "--quiet").split()

    def load(self, image):
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save:
            subprocess.run(["docker", "--host", self.url, "load"], stdin=save.stdout, check=True, timeout=60, stdout=subprocess.DEVNULL)

    # --- what goes wrong with it ---

    def kill(self):
        """kill -9 of the daemon, which takes its containerd along; shims and containers live on."""
        self.popen.kill()
        self.popen.wait(10)
        self.popen = None

    def stop(self):
        """SIGTERM: it stops its containers first."""
        self.popen.terminate()
        self.popen.wait(30)
        self.popen = None

    def freeze(self):
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.popen.send_signal(signal.SIGCONT)

    def cut(self, what_comes, what_goes):
        """ARP goes on in any case, as behind a router."""
        self.heal()
        self.cut_s = time.monotonic()
        run(*self.enter, "nft", "-f", "-", text=f"""table ip cut {{
            chain in {{ type filter hook prerouting priority raw; iifname "eth0" {what_comes}; iifname "eth0" drop; }}
            chain out {{ type filter hook postrouting priority raw; oifname "eth0" {what_goes}; oifname "eth0" drop; }}
        }}""")

    def drop(self):
        """The network to it fails silently: nothing comes, nothing goes."""
        self.cut("drop", "drop")

    def reject(self):
        """The machine answers every segment with a reset and nothing else, as a rebooted one or a firewall does."""
        self.cut("meta l4proto tcp reject with tcp reset", "tcp flags & rst == rst accept")

    def heal(self):
        run(*self.enter, "nft", "delete", "table", "ip", "cut", check=False)

    def close(self):
        """Whatever state it is in: containers, daemon, shims, mounts, namespace and data go."""
        with contextlib.suppress(Exception):
            self.heal()
            self.thaw()
        with contextlib.suppress(Exception):
            if not self.popen:
                self.begin().wait()
            if ids := self.docker("ps", "-aq").split():
                self.docker("rm", "-f", *ids)
            self.kill()
        left = processes_with(str(self.dir))
        for pid in [c for p in left for c in children(p)] + left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.popen:
            self.popen.wait(10)
        poll("its processes are gone", lambda: not processes_with(str(self.dir)), 10)  # a zombie has no arguments
        for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(self.dir)):
                run("umount", "--lazy", line.split()[1], check=False)
        for cid in (self.dir / "data" / "containers").glob("*"):
            for group in pathlib.Path("/sys/fs/cgroup").glob(f"*/docker/{cid.name}"):
                with contextlib.suppress(OSError):
                    group.rmdir()
        run("ip", "netns", "delete", self.namespace, check=False)
        run("ip", "link", "delete", self.link, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


class Engines:
    """All machines but this one, which is <host> to them."""

    def __init__(self, directory, image, n=2):
        assert os.geteuid() == 0, "network namespaces need root"
        net = free_net()
        self.host = f"{net}.1"
        self.all = [Engine(directory / f"engine-{k}", self.host, f"{net}.{k + 2}") for k in range(n)]
        self.image = image

    def __enter__(self):
        try:
            for e in self.all:
                e.open()
            for e in self.all:
                e.wait().load(self.image)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *args):
        for e in self.all:
            e.close()
