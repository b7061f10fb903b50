"""Certificates of one's own, from files and stored ones, their renewal, and what plain listeners do."""
import signal
import socket
import ssl
import subprocess

import pytest
import requests

from conftest import poll
from test_front import Upstream, field, ok


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True, timeout=60)


class Authority:
    def __init__(self, directory):
        self.dir = directory
        self.pem = str(directory / "ca.pem")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(directory / "ca.key"),
                "-out", self.pem, "-days", "30", "-subj", "/CN=own authority")

    def issue(self, cert, key, *names, algorithm=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        request, names = str(self.dir / "request.pem"), ",".join(f"DNS:{n}" for n in names)
        extensions = self.dir / "extensions"
        extensions.write_text(f"subjectAltName={names}\n")
        openssl("req", "-new", "-newkey", *algorithm, "-nodes", "-keyout", str(key), "-out", request, "-subj", "/CN=own")
        openssl("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", str(self.dir / "ca.key"), "-CAcreateserial", "-days", "20",
                "-extfile", str(extensions), "-out", str(cert))


@pytest.fixture
def own(new_cluster, tmp_path):
    """A front door with a certificate of its own authority for two names, and a route to an upstream for several hosts."""
    authority = Authority(tmp_path)
    cert, key = tmp_path / "own.pem", tmp_path / "own.key"
    authority.issue(cert, key, "own.example.test", "*.wild.example.test")
    c = new_cluster("--docker-host", "none", "--cert", str(cert), "--key", str(key), "--access-log", str(tmp_path / "access.log"))
    up = Upstream(ok())
    for host in ("own.example.test", "*.wild.example.test", "plain.example.test"):
        c.run("route", "add", host, up.at)
    c.authority, c.cert, c.key_file = authority, cert, key
    yield c
    up.close()


def peer(c, name, ca):
    with socket.create_connection(("127.0.0.1", c.https_port), 10) as s:
        with ssl.create_default_context(cafile=ca).wrap_socket(s, server_hostname=name) as t:
            return t.getpeercert()


def test_which_certificate_is_served(own):
    assert ("DNS", "own.example.test") in peer(own, "own.example.test", own.authority.pem)["subjectAltName"]
    assert ("DNS", "*.wild.example.test") in peer(own, "any.wild.example.test", own.authority.pem)["subjectAltName"]
    # A routed host that it does not name gets one from the front CA.
    assert peer(own, "plain.example.test", own.ca)["subjectAltName"] == (("DNS", "plain.example.test"),)
    with pytest.raises(ssl.SSLCertVerificationError):
        peer(own, "own.example.test", own.ca)
    sources = {c["source"] for c in own.json("cert", "ls")["items"]}
    assert sources == {"file", "front-ca"}


def test_sighup_takes_a_new_certificate_and_keeps_a_good_one(own, tmp_path):
    before = peer(own, "own.example.test", own.authority.pem)["serialNumber"]
    with own.session("own.example.test") as open_before:
        open_before.verify = own.authority.pem
        assert open_before.get("https://own.example.test/", timeout=10).status_code == 200
        own.authority.issue(own.cert, own.key_file, "own.example.test")
        (tmp_path / "access.log").rename(tmp_path / "access.log.1")
        own.process.popen.send_signal(signal.SIGHUP)
        after = poll("the new one", lambda: (lambda n: n if n != before else None)(
            peer(own, "own.example.test", own.authority.pem)["serialNumber"]), 10)
        # Nothing was reloaded: the connection is the same, and the log goes on in a new file.
        assert open_before.get("https://own.example.test/again", timeout=10).status_code == 200
    poll("logged in the new file", lambda: "/again" in (tmp_path / "access.log").read_text(), 5)
    own.cert.write_text("broken")
    own.process.popen.send_signal(signal.SIGHUP)
    poll("it says so", lambda: str(own.cert) in own.process.text() and "left as they were" in own.process.text(), 10)
    assert peer(own, "own.example.test", own.authority.pem)["serialNumber"] == after


def test_changed_files_are_read_again_without_being_told(own):
    before = peer(own, "own.example.test", own.authority.pem)["serialNumber"]
    own.authority.issue(own.cert, own.key_file, "own.example.test")
    poll("the new one", lambda: peer(own, "own.example.test", own.authority.pem)["serialNumber"] != before, 20)


def cert_file(authority, directory, name, *names, **kw):
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    authority.issue(cert, key, *names, **kw)
    return "--cert", str(cert), "--key", str(key)


def test_stored_certificates(own, tmp_path):
    c, authority = own, own.authority
    for host in ("rsa.example.test", "*.stored.example.test"):
        c.run("route", "add", host, "http://127.0.0.1:9")
    c.run("cert", "add", "one", *cert_file(authority, tmp_path, "one", "plain.example.test", "*.stored.example.test"))
    c.run("cert", "add", "rsa", *cert_file(authority, tmp_path, "rsa", "rsa.example.test", algorithm=("rsa:2048",)))
    assert ("DNS", "plain.example.test") in peer(c, "plain.example.test", authority.pem)["subjectAltName"]
    assert ("DNS", "*.stored.example.test") in peer(c, "any.stored.example.test", authority.pem)["subjectAltName"]
    assert ("DNS", "rsa.example.test") in peer(c, "rsa.example.test", authority.pem)["subjectAltName"]
    # A file of the administrator's comes first.
    c.run("cert", "add", "late", *cert_file(authority, tmp_path, "late", "own.example.test", "late.example.test"))
    assert ("DNS", "late.example.test") not in peer(c, "own.example.test", authority.pem)["subjectAltName"]

    # Renewed under an open connection; nothing shows the key.
    before = peer(c, "plain.example.test", authority.pem)["serialNumber"]
    with c.session("plain.example.test") as kept:
        kept.verify = authority.pem
        assert kept.get("https://plain.example.test/", timeout=10).status_code == 200
        c.run("cert", "add", "one", *cert_file(authority, tmp_path, "one", "plain.example.test"))
        assert kept.get("https://plain.example.test/", timeout=10).status_code == 200
    assert peer(c, "plain.example.test", authority.pem)["serialNumber"] != before
    with pytest.raises(ssl.SSLCertVerificationError):   # the successor names it no more
        peer(c, "any.stored.example.test", authority.pem)
    listed = {i["id"]: i for i in c.json("cert", "ls")["items"] if i["source"] == "store"}
    assert set(listed) == {"one", "rsa", "late"}
    assert listed["one"]["names"] == ["plain.example.test"] and 18 <= listed["one"]["days_left"] <= 20 and not listed["one"]["ends_soon"]
    assert "PRIVATE" not in str(listed) and "PRIVATE" not in c.process.text()
    assert b"PRIVATE KEY" not in b"".join(f.read_bytes() for f in (c.data / "store").iterdir() if f.is_file())

    c.restart()
    assert ("DNS", "rsa.example.test") in peer(c, "rsa.example.test", authority.pem)["subjectAltName"]
    c.run("cert", "rm", "one")
    assert peer(c, "plain.example.test", c.ca)["subjectAltName"] == (("DNS", "plain.example.test"),)
    assert "no certificate is stored under this name" in c.run("cert", "rm", "one", check=False).stderr


def test_certificates_that_are_refused(own, tmp_path):
    a = cert_file(own.authority, tmp_path, "a", "a.example.test")
    b = cert_file(own.authority, tmp_path, "b", "b.example.test")
    r = own.run("cert", "add", "x", *a[:2], *b[2:], check=False)
    assert r.returncode == 1 and "do not belong together" in r.stderr
    r = own.run("cert", "add", "x", "--cert", a[3], "--key", a[3], check=False)
    assert r.returncode == 1 and "certificate: expected PEM" in r.stderr
    locked = tmp_path / "locked.key"
    openssl("ec", "-in", a[3], "-aes128", "-passout", "pass:x", "-out", locked)
    for key in (locked, a[1]):
        r = own.run("cert", "add", "x", *a[:2], "--key", str(key), check=False)
        assert r.returncode == 1 and "without a passphrase" in r.stderr
    assert own.run("cert", "add", "../x", *a, check=False).returncode == 1
    assert own.run("cert", "add", "x", "--cert", a[1], check=False).returncode == 2
    body = {"cert": open(a[1]).read(), "key": open(a[3]).read()}
    assert own.api("PUT", "/api/certs/x", key=own.key("write"), json=body).status_code == 403
    admin = own.key()
    assert own.api("PUT", "/api/certs/x", key=admin, json=body | {"key": 7}).status_code == 400
    assert own.api("PUT", "/api/certs/x", key=admin, json=body).status_code == 204
    assert own.api("DELETE", "/api/certs/x", key=own.key("read")).status_code == 403
    # From a pipe, so that it lies nowhere.
    own.run("cert", "add", "piped", *a[:3], "-", input=body["key"])
    assert {i["id"] for i in own.json("cert", "ls")["items"] if i["source"] == "store"} == {"x", "piped"}


def other_address():
    """An address of this machine that is not a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("198.51.100.1", 9))
        return s.getsockname()[0]


def test_plain_listeners(new_cluster):
    c = new_cluster("--docker-host", "none", "--address", "0.0.0.0:0")
    up = Upstream(ok())
    c.run("route", "add", "app.example.test", up.at)
    key = c.key("read")
    auth = {"Authorization": f"Bearer {key}"}
    port = c.ready_json["http"][1].rsplit(":", 1)[1]

    def plain(at, host=None, path="/api/apps"):
        return requests.get(f"http://{at}:{port}{path}", headers={**auth, **({"Host": host} if host else {})}, timeout=10,
                            allow_redirects=False)

    assert plain("127.0.0.1").status_code == 200
    assert plain("127.0.0.1", "localhost").status_code == 200
    # From elsewhere a key must not travel in the clear.
    r = plain(other_address())
    assert r.status_code == 308 and r.headers["Location"].startswith("https://"), r.headers
    for at in ("127.0.0.1", other_address()):
        r = plain(at, "app.example.test", "/x?y=1")
        assert r.status_code == 308 and r.headers["Location"] == f"https://app.example.test:{c.https_port}/x?y=1"
        assert plain(at, "nobody.example.test").status_code == 404
    # A challenge for a token that we do not hold is the app's.
    assert plain("127.0.0.1", "app.example.test", "/.well-known/acme-challenge/token").text == "ok"
    assert up.requests[-1].startswith("GET /.well-known/acme-challenge/token ")
    up.close()


def test_console_host_and_trusted_proxy(new_cluster):
    c = new_cluster("--docker-host", "none", "--console-host", "console.example.test", "--trusted-proxy", "127.0.0.0/8")
    assert c.get("console.example.test", "/health").json()["status"] == "ok"
    up = Upstream(ok())
    c.run("route", "add", "app.example.test", up.at)
    c.get("app.example.test", headers={"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"})
    assert field(up.requests[0], "X-Forwarded-For") == ["192.0.2.7, 127.0.0.1"]
    assert field(up.requests[0], "X-Forwarded-Proto") == ["http"]
    up.close()
