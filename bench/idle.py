#!/usr/bin/env python3
"""Opens COUNT TLS connections to PORT on 127.0.0.1, asks each for one small answer, says "ready", and keeps them until its input ends."""
import socket
import ssl
import sys


def main():
    port, host, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    kept = []
    for _ in range(count):
        tls = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=host)
        tls.sendall(request)
        if not tls.recv(65536).startswith(b"HTTP/1.1 200"):
            sys.exit("no 200")
        kept.append(tls)
    print("ready", flush=True)
    sys.stdin.read()


main()
