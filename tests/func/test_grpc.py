"""gRPC from a real client to real servers through the front door: TLS and HTTP/2 on one side, HTTP/2 in clear text on the other."""
import contextlib
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

import grpc
import pytest

from conftest import poll

SERVER = pathlib.Path(__file__).with_name("grpc_server.py")
MIB = 1 << 20


class Server:
    def __init__(self, name="a", port=0):
        self.name = name
        self.popen = subprocess.Popen([sys.executable, str(SERVER), str(port), name], stdout=subprocess.PIPE, text=True)
        line = self.popen.stdout.readline()
        assert line, "the server did not start"
        self.port = int(line)
        self.at = f"http://127.0.0.1:{self.port}"

    def connections(self):
        """How many the front door has open to it."""
        tcp = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
        rows = [line.split() for line in tcp]
        return sum(r[2].endswith(f":{self.port:04X}") and r[3] == "01" for r in rows)

    def kill(self):
        self.popen.kill()
        self.popen.wait(10)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    from conftest import Cluster
    c = Cluster(tmp_path_factory.mktemp("grpc"))
    c.start("--docker-host", "none")
    yield c
    c.close()


class Stub:
    """Calls by name, bytes in and out."""

    def __init__(self, channel):
        self.channel = channel
        for name in ("Unary", "Who", "Fail", "Hold", "Sleep", "Cancellations", "Crash", "Missing"):
            setattr(self, name, channel.unary_unary(f"/t/{name}"))
        for name in ("Count", "Big", "FailLate", "Silence"):
            setattr(self, name, channel.unary_stream(f"/t/{name}"))
        self.Collect = channel.stream_unary("/t/Collect")
        self.Chat = channel.stream_stream("/t/Chat")


def dial(front, host):
    """A connection to the front door of its own; its certificate is verified."""
    trust = grpc.ssl_channel_credentials(pathlib.Path(front.ca).read_bytes())
    return grpc.secure_channel(f"127.0.0.1:{front.https_port}", trust, options=(
        ("grpc.ssl_target_name_override", host), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
        ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)))


@pytest.fixture
def serve(front):
    """serve(server, …) → (host, stub): a route to servers, and a channel to the front door."""
    open_now = contextlib.ExitStack()

    def make(*servers, policies=()):
        host = f"g{os.urandom(4).hex()}.example.test"
        for s in servers:
            open_now.callback(s.kill)
        extra = [a for p in policies for a in ("--policy", p)]
        front.run("route", "add", host, *[s.at for s in servers], "--protocol", "h2c", *extra)
        channel = dial(front, host)
        open_now.callback(channel.close)
        return host, Stub(channel)

    with open_now:
        yield make


def status_of(call):
    with pytest.raises(grpc.RpcError) as e:
        r = call()
        if not isinstance(r, bytes):
            list(r)
    return e.value.code(), e.value.details()


def test_every_kind_of_call(serve):
    _, stub = serve(Server())
    reply, call = stub.Unary.with_call(b"hello", metadata=(("x-echo-bin", b"\x00\xff"),), timeout=20)
    assert reply == b"hello"
    assert ("x-server", "a") in call.initial_metadata()
    assert dict(call.trailing_metadata())["x-echo-bin"] == b"\x00\xff"
    assert stub.Unary(b"", timeout=20) == b""
    assert stub.Collect((b"x" * n for n in range(50)), timeout=20) == b"1225"
    assert stub.Collect(iter(()), timeout=20) == b"0"
    assert list(stub.Count(b"100", timeout=20)) == [str(i).encode() for i in range(100)]
    assert list(stub.Count(b"0", timeout=20)) == []
    assert list(stub.Chat((str(i).encode() for i in range(20)), timeout=20)) == [f"re: {i}".encode() for i in range(20)]


def test_a_conversation_goes_back_and_forth(serve):
    """Each word is said only after the answer to the one before."""
    _, stub = serve(Server())
    answered = threading.Semaphore(1)

    def words():
        for i in range(10):
            assert answered.acquire(timeout=20)
            yield str(i).encode()

    got = []
    for reply in stub.Chat(words(), timeout=30):
        got.append(reply)
        answered.release()
    assert got == [f"re: {i}".encode() for i in range(10)]


def test_errors_keep_status_and_message(serve):
    _, stub = serve(Server())
    assert status_of(lambda: stub.Fail(b"", timeout=20)) == (grpc.StatusCode.FAILED_PRECONDITION, "not like this: 100%")
    assert status_of(lambda: stub.Missing(b"", timeout=20))[0] == grpc.StatusCode.UNIMPLEMENTED
    assert status_of(lambda: stub.Crash(b"", timeout=20))[0] == grpc.StatusCode.UNKNOWN  # its message ends with a blank
    replies, got = stub.FailLate(b"", timeout=20), []
    with pytest.raises(grpc.RpcError) as e:
        for r in replies:
            got.append(r)
    assert got == [b"one"] and (e.value.code(), e.value.details()) == (grpc.StatusCode.DATA_LOSS, "gone")


def test_deadlines_and_cancellation_reach_the_server(serve):
    _, stub = serve(Server())
    assert status_of(lambda: stub.Sleep(b"", timeout=0.3))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    poll("the server sees the deadline", lambda: stub.Cancellations(b"", timeout=20) == b"1")
    call = stub.Sleep.future(b"", timeout=30)
    assert stub.Unary(b"x", timeout=20) == b"x"
    call.cancel()
    poll("the server sees the cancellation", lambda: stub.Cancellations(b"", timeout=20) == b"2")


def test_large_messages_both_ways(serve):
    _, stub = serve(Server())
    big = os.urandom(20 * MIB)
    assert stub.Unary(big, timeout=60) == big
    assert stub.Collect((big[:MIB] for _ in range(20)), timeout=60) == str(20 * MIB).encode()
    assert [len(m) for m in stub.Big(b"10 %d" % (2 * MIB), timeout=60)] == [2 * MIB] * 10


def test_many_calls_share_few_connections(front, serve):
    """None is answered before all have come; a client's connection has room for 128 of them."""
    server = Server()
    host, stub = serve(server)
    with dial(front, host) as other:
        calls = [s.Hold.future(b"", timeout=60) for s in (stub, Stub(other)) for _ in range(100)]
        assert all(c.result() == b"together" for c in calls)
    assert 1 <= server.connections() <= 3


def test_calls_at_random_beside_each_other(serve):
    """Large and small, cancelled, abandoned: each one's end is its own doing."""
    _, stub = serve(Server("a"), Server("b"))
    wrong = []

    def one(r):
        size = r.choice([0, 1, 50000, 2 * MIB])
        kind = r.randrange(5)
        if kind == 0:
            assert len(stub.Unary(b"x" * size, timeout=60)) == size
        elif kind == 1:
            assert stub.Collect((b"x" * size for _ in range(5)), timeout=60) == str(5 * size).encode()
        elif kind == 2:
            assert [len(m) for m in stub.Chat((b"x" * min(size, 50000) for _ in range(10)), timeout=60)] == [min(size, 50000) + 4] * 10
        elif kind == 3:
            replies = stub.Big(b"20 100000", timeout=60)
            next(replies)
            replies.cancel()
        else:
            assert status_of(lambda: stub.Collect((b"x" * size for _ in range(1000)), timeout=0.02))[0] == grpc.StatusCode.DEADLINE_EXCEEDED

    def many(seed):
        r = random.Random(seed)
        try:
            for _ in range(25):
                one(r)
        except (grpc.RpcError, AssertionError) as e:
            wrong.append((seed, e))

    threads = [threading.Thread(target=many, args=(seed,)) for seed in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not wrong, wrong[0]


def test_a_slow_reader_stops_nobody_else(serve):
    _, stub = serve(Server())
    slow = stub.Big(b"64 %d" % MIB, timeout=120)
    assert len(next(slow)) == MIB
    for i in range(50):  # on the same two connections
        assert stub.Unary(b"x" * 10000, timeout=20) == b"x" * 10000
        assert len(list(stub.Count(b"10", timeout=20))) == 10
    assert sum(len(m) for m in slow) == 63 * MIB


def test_how_long_a_call_may_take_to_begin(serve):
    """As long as it likes, unless the policy says otherwise."""
    _, stub = serve(Server())
    assert list(stub.Silence(b"1", timeout=30)) == [b"after all"]
    _, limited = serve(Server(), policies=["head-timeout=300ms"])
    assert status_of(lambda: limited.Silence(b"5", timeout=30))[0] == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_killed_server_is_unavailable_and_comes_back(serve):
    server = Server()
    _, stub = serve(server)
    replies = stub.Chat(iter_of(threading.Event(), b"x"), timeout=30)
    assert next(replies) == b"re: x"
    under_way = stub.Sleep.future(b"", timeout=30)
    assert stub.Unary(b"x", timeout=20) == b"x"
    server.kill()
    assert under_way.exception(20).code() == grpc.StatusCode.UNAVAILABLE
    assert status_of(lambda: replies)[0] == grpc.StatusCode.UNAVAILABLE
    assert status_of(lambda: stub.Unary(b"x", timeout=20))[0] == grpc.StatusCode.UNAVAILABLE
    again = Server("b", server.port)
    try:
        poll("it is found again", lambda: answers(stub, b"b"))
    finally:
        again.kill()


def iter_of(until, first):
    yield first
    until.wait(20)


def answers(stub, want):
    try:
        return stub.Who(b"", timeout=20) == want
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.UNAVAILABLE
        return False


def test_another_server_takes_over_without_a_failed_call(front, serve):
    """Calls go on while the route moves from one server to the next; a stream that is under way ends where it began."""
    first, second = Server("first"), Server("second")
    host, stub = serve(first)
    stop, failed, who = threading.Event(), [], set()

    def ask():
        while not stop.is_set():
            try:
                who.add(stub.Who(b"", timeout=20))
            except grpc.RpcError as e:
                failed.append(e)

    said = threading.Event()
    stream = stub.Chat(iter_and(said, b"begun", b"ends"), timeout=30)
    assert next(stream) == b"re: begun"
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    try:
        poll("the first is asked", lambda: who == {b"first"})
        front.run("route", "set", host, second.at)
        poll("the second is asked", lambda: b"second" in who)
        time.sleep(0.3)
        who.clear()
        poll("the second alone is asked", lambda: who == {b"second"})
    finally:
        stop.set()
        for t in threads:
            t.join(20)
    said.set()
    assert list(stream) == [b"re: ends"]
    assert not failed, failed[0]
    poll("nothing is open to the first", lambda: first.connections() == 0)
    first.kill()
    second.kill()


def iter_and(when, first, last):
    yield first
    when.wait(20)
    yield last
