"""A gRPC server for test_grpc.py: grpc_server.py PORT NAME. Messages are plain bytes. Prints its port once it serves."""
import concurrent.futures
import sys
import threading
import time

import grpc

HOLDERS = 200  # calls of /t/Hold that must be under way together before one is answered


class Service:
    def __init__(self, name):
        self.name, self.cancelled = name, 0
        self.together = threading.Barrier(HOLDERS)

    def unary(self, request, context):
        context.send_initial_metadata((("x-server", self.name),))
        context.set_trailing_metadata((("x-echo-bin", dict(context.invocation_metadata()).get("x-echo-bin", b"")),))
        return request

    def who(self, request, context):
        return self.name.encode()

    def collect(self, requests, context):
        return str(sum(len(r) for r in requests)).encode()

    def count(self, request, context):
        for i in range(int(request)):
            yield str(i).encode()

    def chat(self, requests, context):
        for r in requests:
            yield b"re: " + r

    def big(self, request, context):
        n, size = map(int, request.split())
        for _ in range(n):
            yield b"x" * size

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like this: 100%")

    def crash(self, request, context):
        raise RuntimeError

    def fail_late(self, request, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "gone")

    def hold(self, request, context):
        self.together.wait(30)
        return b"together"

    def sleep(self, request, context):
        """Until it is cancelled."""
        gone = threading.Event()
        context.add_callback(gone.set)
        if not gone.wait(30):
            return b"nobody cancelled"
        self.cancelled += 1
        return b""

    def silence(self, request, context):
        time.sleep(float(request))
        yield b"after all"

    def cancellations(self, request, context):
        return str(self.cancelled).encode()


class Handler(grpc.GenericRpcHandler):
    def __init__(self, service):
        self.methods = {
            "/t/Unary": grpc.unary_unary_rpc_method_handler(service.unary),
            "/t/Who": grpc.unary_unary_rpc_method_handler(service.who),
            "/t/Collect": grpc.stream_unary_rpc_method_handler(service.collect),
            "/t/Count": grpc.unary_stream_rpc_method_handler(service.count),
            "/t/Chat": grpc.stream_stream_rpc_method_handler(service.chat),
            "/t/Big": grpc.unary_stream_rpc_method_handler(service.big),
            "/t/Fail": grpc.unary_unary_rpc_method_handler(service.fail),
            "/t/Crash": grpc.unary_unary_rpc_method_handler(service.crash),
            "/t/FailLate": grpc.unary_stream_rpc_method_handler(service.fail_late),
            "/t/Hold": grpc.unary_unary_rpc_method_handler(service.hold),
            "/t/Sleep": grpc.unary_unary_rpc_method_handler(service.sleep),
            "/t/Silence": grpc.unary_stream_rpc_method_handler(service.silence),
            "/t/Cancellations": grpc.unary_unary_rpc_method_handler(service.cancellations),
        }

    def service(self, details):
        return self.methods.get(details.method)


def main():
    port, name = sys.argv[1:]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(HOLDERS + 32), options=(
        ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)))
    server.add_generic_rpc_handlers((Handler(Service(name)),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print(bound, flush=True)
    server.wait_for_termination()


main()
