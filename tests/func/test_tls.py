"""The TLS that the front door speaks, as independent clients see it: what is chosen, and what is refused."""
import re
import subprocess

import pytest

from test_certs import cert_file, own   # noqa: F401  (a fixture)


def s_client(c, *args, stdin=b"", host="own.example.test", limit_s=20):
    r = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{c.https_port}", "-servername", host, *args], input=stdin,
                       capture_output=True, timeout=limit_s)
    return (r.stdout + r.stderr).decode(errors="replace")


def spoke(text):
    """(version, cipher) of a finished handshake, or None."""
    m = re.search(r"New, (\S+), Cipher is (\S+)", text)
    return m.groups() if m and m[2] != "(NONE)" else None


TLS12 = "-tls1_2"
WEAK = "DEFAULT@SECLEVEL=0"
EC, RSA = "own.example.test", "rsa.example.test"

CHOSEN = [  # what a client offers, and what it gets
    ("the default", EC, [], "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("the client prefers 256", EC, ["-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"], "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("it has no AES in hardware", EC, ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"], "TLSv1.3",
     "TLS_CHACHA20_POLY1305_SHA256"),
    ("256 only", EC, ["-ciphersuites", "TLS_AES_256_GCM_SHA384"], "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ("X25519", EC, ["-curves", "X25519"], "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("P-256", EC, ["-curves", "P-256"], "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("a curve that needs a second try", EC, ["-curves", "P-521:P-256"], "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("1.2", EC, [TLS12], "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("1.2, 256", EC, [TLS12, "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("1.2, ChaCha20", EC, [TLS12, "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], "TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("RSA", RSA, [], "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("RSA, 1.2", RSA, [TLS12], "TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256"),
]

REFUSED = [  # old versions, no forward secrecy, CBC, SHA-1, small or odd groups, nothing at all
    ("1.1", EC, ["-tls1_1", "-cipher", WEAK]),
    ("1.0", EC, ["-tls1", "-cipher", WEAK]),
    *((f"1.2 {cipher}", host, [TLS12, "-cipher", f"{cipher}:@SECLEVEL=0"]) for host, ciphers in (
        (EC, ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-CCM8", "ECDHE-ECDSA-ARIA128-GCM-SHA256",
              "ECDHE-ECDSA-NULL-SHA", "aNULL", "AECDH-AES128-SHA", "PSK")),
        (RSA, ("AES128-GCM-SHA256", "AES128-SHA", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA",
               "NULL-SHA256", "CAMELLIA128-SHA"))) for cipher in ciphers),
    ("CCM_8", EC, ["-ciphersuites", "TLS_AES_128_CCM_8_SHA256"]),
    ("P-521", EC, ["-curves", "P-521"]),
    ("X448", EC, ["-curves", "X448"]),
    ("finite fields", EC, ["-groups", "ffdhe2048"]),
    ("SHA-1 signatures", EC, [TLS12, "-sigalgs", "ECDSA+SHA1", "-cipher", WEAK]),
    ("an unknown protocol", EC, ["-alpn", "spdy/1,http/0.9"]),
]


@pytest.fixture
def front(own, tmp_path):   # noqa: F811
    own.run("cert", "add", "rsa", *cert_file(own.authority, tmp_path, "rsa", RSA, algorithm=("rsa:2048",)))
    return own


def test_what_is_chosen_and_refused(front):
    wrong = []
    for name, host, args, version, cipher in CHOSEN:
        got = spoke(s_client(front, *args, host=host))
        if got != (version, cipher):
            wrong.append((name, got))
    for name, host, args in REFUSED:
        got = spoke(s_client(front, *args, host=host))
        if got:
            wrong.append((name, got))
    assert not wrong
    assert front.process.alive()


def test_what_a_handshake_promises(front):
    old = s_client(front, TLS12, "-tlsextdebug")
    assert "Secure Renegotiation IS supported" in old and "Extended master secret: yes" in old
    assert "Compression: NONE" in old and "Server Temp Key: X25519" in old
    new = s_client(front, "-status", "-alpn", "http/1.1")
    assert "Server Temp Key: X25519" in new and "ALPN protocol: http/1.1" in new and "OCSP response: no response sent" in new
    # Renegotiation is refused, and the connection says so instead of doing it.
    assert "no renegotiation" in s_client(front, TLS12, stdin=b"R\n").lower()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed_and_carry_no_early_data(front, tmp_path, version):
    session, request = str(tmp_path / "session"), b"GET / HTTP/1.1\r\nHost: own.example.test\r\nConnection: close\r\n\r\n"
    first = s_client(front, version, "-sess_out", session, "-ign_eof", stdin=request)
    assert "HTTP/1.1 200" in first
    again = s_client(front, version, "-sess_in", session, "-ign_eof", stdin=request)
    assert "Reused, TLS" in again and "HTTP/1.1 200" in again
    assert "Max Early Data: 0" in first or version == "-tls1_2"
