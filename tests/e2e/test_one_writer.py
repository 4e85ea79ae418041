"""One writer: every backend is checked at a port of its own, as of Patroni's REST API, where
only the primary answers GET /primary with 200.  What stands here for Patroni is a server that
says no more than that."""
from helpers.http1 import Reader
from helpers.scale import until


def patroni(conn, b):
    reader = Reader(conn)
    if (head := reader.head()) is not None:
        assert head.target == "/primary"
        status = b"200 OK" if b.leads else b"503 Service Unavailable"
        conn.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


class Node:
    def __init__(self, backend, name):
        self.database, self.api = backend(name), backend("api", patroni, start=False)
        self.api.leads = False
        self.api.start()

    def setting(self):
        return {"address": self.database.address, "health_port": self.api.port}


def test_all_sessions_go_to_the_primary_and_to_the_next_one(web, backend):
    nodes = [Node(backend, name) for name in ("pg1", "pg2", "pg3")]
    nodes[0].api.leads = True
    t = web(start=False)
    s = t.settings["services"][0]
    s |= {"health": {"type": "http", "path": "/primary", "expect": "200", "interval": 0.1, "timeout": 60.0, "rise": 1, "fall": 1},
          "on_down": "reset", "when_all_down": "refuse", "green": {"backends": [n.setting() for n in nodes]}}
    t.start()
    until(lambda: [b["state"] for b in t.status("web")["colors"]["green"]["backends"]] == ["up", "down", "down"], "one leads")
    t.rest()
    assert [b["check"] for b in t.status("web")["colors"]["green"]["backends"]] == [n.api.address for n in nodes]
    session = t.connect()
    assert session.peer == "pg1" and {t.connect().peer for _ in range(6)} == {"pg1"}

    # A switchover: nobody leads for a moment, and nobody writes.
    nodes[0].api.leads = False
    assert session.read_end()[1] == "reset"
    until(lambda: t.status("web")["colors"]["green"]["healthy"] == 0, "none leads")
    with t.connect() as c:
        assert c.read_end()[0] == b""
    nodes[1].api.leads = True
    t.wait_log("backend.up", backend=nodes[1].database.address)
    t.rest()
    until(lambda: {b["connections"] for b in t.status("web")["colors"]["green"]["backends"]} == {0}, "nothing is left")
    assert {t.connect().peer for _ in range(6)} == {"pg2"}
