"""A server of grpc.health.v1 by grpcio, in a process of its own.

	GrpcHealth(port, {"": "SERVING", "shop": "NOT_SERVING"})

.set("shop", "SERVING") holds from the next call on; a status may be one of gRPC's own instead, such as "UNAVAILABLE".
Its messages are two bytes each, written here as they are on the wire.
"""
import json
import pathlib
import subprocess
import sys

from . import scale

SERVING = {"UNKNOWN": b"\x08\x00", "SERVING": b"\x08\x01", "NOT_SERVING": b"\x08\x02", "SERVICE_UNKNOWN": b"\x08\x03", "EMPTY": b""}


class GrpcHealth:
    def __init__(self, port, states, certificate=None, host="127.0.0.1"):
        words = [host, str(port), json.dumps(states), *((str(certificate["cert"]), str(certificate["key"])) if certificate else ())]
        self.address = f"{host}:{port}"
        self._process = subprocess.Popen([sys.executable, "-m", "helpers.grpc_health", *words], text=True, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, cwd=pathlib.Path(__file__).parents[1])
        self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, "the health server ended"
        return json.loads(line)

    def set(self, service, state):
        self._process.stdin.write(json.dumps({service: state}) + "\n")
        self._process.stdin.flush()
        self._answer()

    @property
    def calls(self):
        """What was asked so far: metadata, and the peer."""
        self._process.stdin.write("{}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self):
        if self._process.poll() is None:
            self._process.stdin.close()
            self._process.wait(scale.patience())
        self._process.stdout.close()


def main(host, port, states, *certificate):
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    states, calls = json.loads(states), []

    def check(request, context):
        service = request[2:].decode() if request else ""
        calls.append({"service": service, "left": context.time_remaining()} | {k: v for k, v in context.invocation_metadata()})
        state = states.get(service)
        if state is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "")
        if state not in SERVING:
            context.abort(grpc.StatusCode[state], "told so")
        return SERVING[state]

    server = grpc.server(ThreadPoolExecutor(4))
    if states:
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)})])
    if certificate:
        cert, key = (pathlib.Path(p).read_bytes() for p in certificate)
        assert server.add_secure_port(f"{host}:{port}", grpc.ssl_server_credentials([(key, cert)])) == int(port)
    else:
        assert server.add_insecure_port(f"{host}:{port}") == int(port)
    server.start()
    print("[]", flush=True)
    for line in sys.stdin:
        states |= json.loads(line)
        print(json.dumps(calls), flush=True)
    server.stop(None).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
