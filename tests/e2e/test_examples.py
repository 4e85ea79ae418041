"""conf/examples: files of real sites, as HAProxy and nginx had them, each served by the real program."""
import pytest

from helpers import libconfig
from helpers.backends import Backend
from helpers.clients import Client
from helpers.http1 import Http, requests_of, site
from helpers.samples import CONF, replace
from helpers.scale import until

pytestmark = pytest.mark.nosan
HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")


@pytest.fixture
def example(teal, monkeypatch):
    """example("patroni", [(old, new), ...]): a running teald on that file."""
    def make(name, pairs):
        t = teal(start=False, services=[])
        text = replace((CONF / f"examples/{name}.conf").read_text(), [
            ("/var/lib/teal", str(t.state_dir)), ("/run/teal/admin.sock", t.admin_path),
            ("127.0.0.1:9180", "%s:%d" % t.observe), *pairs])
        monkeypatch.setattr(libconfig, "dumps", lambda settings: text)
        t.start()
        assert t.stderr() == ""  # nothing to warn of
        return t
    return make


def up(t, name):
    """The backends of a service without colors that are up, by host."""
    return {b["address"].split(":")[0] for b in t.status(name)["colors"][""]["backends"] if b["state"] == "up"}


def test_a_site_of_one_version(example, backend, ports):
    app = [backend(n, site) for n in ("a", "b")]
    static, (mail, spare) = backend("static", site), (backend("mail"), backend("spare"))
    web, smtp = ports.hold(), ports.hold()
    t = example("haproxy-site", [
        ("10.0.0.11:8080", app[0].address), ("10.0.0.12:8080", app[1].address), ("10.0.0.13:8080", static.address),
        ("10.0.0.14:2525", mail.address), ("10.0.0.15:2525", spare.address),
        ("0.0.0.0:80", f"127.0.0.1:{web}"), ("0.0.0.0:25", f"127.0.0.1:{smtp}")])
    until(lambda: t.status("app")["colors"][""]["healthy"] == 2, "both are up")
    t.rest()
    with Http(("127.0.0.1", web)) as c:
        assert {c.ask(host="www.example").body for _ in range(6)} <= {b"a", b"b"}
        assert c.ask(host="static.example").body == b"static" and c.ask(host="else.example").body in (b"a", b"b")
    assert requests_of(static)
    with Client(("127.0.0.1", smtp)) as c:
        assert c.peer in ("mail", "spare")
    for name in ("app", "static", "mail"):
        assert t.ctl("flip", name, "blue")["error"] == "unsupported"


def test_the_api_servers_of_a_cluster(example, ports, closing):
    ports_of = {6443: ports.hold(), 9345: ports.hold()}
    servers = [closing.add(Backend(h, p, host=h).start()) for h in HOSTS for p in ports_of.values()]
    listen = {name: ports.hold() for name in ("apiserver", "supervisor")}
    t = example("kubernetes-api", [
        *((f"10.0.0.2{i + 1}", h) for i, h in enumerate(HOSTS)),
        ("0.0.0.0:6443", f"127.0.0.1:{listen['apiserver']}"), ("0.0.0.0:9345", f"127.0.0.1:{listen['supervisor']}"),
        *((f"port = {old};", f"port = {new};") for old, new in ports_of.items())])
    until(lambda: up(t, "apiserver") == up(t, "supervisor") == set(HOSTS), "all are up")
    t.rest()

    def peers(name):
        return {Client(("127.0.0.1", listen[name])).echo().peer for _ in range(6)}
    assert peers("apiserver") == peers("supervisor") == set(HOSTS)
    watch = Client(("127.0.0.1", listen["apiserver"])).echo()
    t.ok("node", "drain", "control", watch.peer)
    assert peers("apiserver") == peers("supervisor") == set(HOSTS) - {watch.peer}
    watch.echo()
    assert len(servers) == 6


def test_the_leader_of_a_database(example, ports, closing):
    """Who was the leader loses its clients, and is written to no more."""
    sql, rest = ports.hold(), ports.hold()
    leader = [HOSTS[0]]

    def patroni(conn, b):
        while data := conn.recv(1 << 16):
            path = data.split(b" ")[1]
            good = (b.name in leader) == (path == b"/leader")
            conn.sendall(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % (b"200 OK" if good else b"503 Service Unavailable"))
    for h in HOSTS:
        closing.add(Backend(h, sql, host=h).start())
        closing.add(Backend(h, rest, patroni, host=h).start())
    writes, reads = ports.hold(), ports.hold()
    t = example("patroni", [
        *((f"10.0.0.3{i + 1}", h) for i, h in enumerate(HOSTS)),
        ("port = 5432; health_port = 8008;", f"port = {sql}; health_port = {rest};"),
        ("0.0.0.0:5000", f"127.0.0.1:{writes}"), ("0.0.0.0:5001", f"127.0.0.1:{reads}")])
    until(lambda: up(t, "leader") == {HOSTS[0]} and up(t, "replicas") == set(HOSTS[1:]), "it is known who is what")
    t.rest()
    session = Client(("127.0.0.1", writes)).echo()
    assert session.peer == HOSTS[0]
    assert {Client(("127.0.0.1", reads)).echo().peer for _ in range(6)} == set(HOSTS[1:])
    leader[0] = HOSTS[2]
    until(lambda: up(t, "leader") == {HOSTS[2]}, "another one leads")
    assert session.read_end()[0] == b""
    t.rest()
    assert Client(("127.0.0.1", writes)).echo().peer == HOSTS[2]
