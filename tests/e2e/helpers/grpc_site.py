"""gRPC as its programs speak it: a server in a process of its own, and calls of a client, by python3-grpcio without generated code.

Run as a program it serves: grpc_site.py NAME PORT.  Method /t.T/X takes bytes and gives bytes:
Unary: NAME and what came.  Server: NAME, so many times.  Client: NAME and how many came.  Both: NAME and each as it comes.
Fail: aborts with the status that is asked for, after a message where that begins with "+".  Slow: waits for its deadline; asked "when", it says in how many seconds that is."""
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import grpc

PYTHON = "/usr/bin/python3"


def serve(name, port):
    def unary(request, context):
        context.set_trailing_metadata((("x-color", name),))
        return name + b":" + request

    def server(request, context):
        for i in range(int(request)):
            yield name + b":%d" % i

    def client(requests, context):
        return name + b":%d" % sum(1 for _ in requests)

    def both(requests, context):
        for r in requests:
            yield name + b":" + r

    def fail(request, context):
        words = request.decode()
        if words[0] == "+":
            yield name
        context.set_trailing_metadata((("x-why", "as asked"),))
        context.abort(next(c for c in grpc.StatusCode if c.name == words.lstrip("+")), "as it was asked: 100 % \u00fc")

    def slow(request, context):
        if request == b"when":
            yield b"%d" % context.time_remaining()
            return
        while context.is_active():
            context.add_callback(stop.set)
            stop.wait(1)

    import threading
    stop = threading.Event()
    of = {"Unary": grpc.unary_unary_rpc_method_handler(unary), "Server": grpc.unary_stream_rpc_method_handler(server),
          "Client": grpc.stream_unary_rpc_method_handler(client), "Both": grpc.stream_stream_rpc_method_handler(both),
          "Fail": grpc.unary_stream_rpc_method_handler(fail), "Slow": grpc.unary_stream_rpc_method_handler(slow)}
    s = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
    s.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", of),))
    assert s.add_insecure_port(f"127.0.0.1:{port}") == port
    s.start()
    print("serving", flush=True)
    sys.stdin.read()
    s.stop(None)


class GrpcSite:
    """One, for the configuration as a backend."""

    def __init__(self, name, port):
        self.name, self.address, self.host, self.port = name, f"127.0.0.1:{port}", "127.0.0.1", port
        self._process = subprocess.Popen([PYTHON, __file__, name, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"serving\n"

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


class Calls:
    """A client's channel: calls.unary(b"x"), ..."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel("%s:%d" % address, options=[("grpc.enable_retries", 0)])
        self.unary = self.channel.unary_unary("/t.T/Unary")
        self.server = self.channel.unary_stream("/t.T/Server")
        self.client = self.channel.stream_unary("/t.T/Client")
        self.both = self.channel.stream_stream("/t.T/Both")
        self.fail = self.channel.unary_stream("/t.T/Fail")
        self.slow = self.channel.unary_stream("/t.T/Slow")

    def close(self):
        self.channel.close()


if __name__ == "__main__":
    serve(sys.argv[1].encode(), int(sys.argv[2]))
