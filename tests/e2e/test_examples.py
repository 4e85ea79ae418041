"""conf/examples: files of real sites, as HAProxy and nginx had them, each served by the real program."""
import socket
import ssl
import subprocess

import pytest

from helpers import libconfig
from helpers.backends import Backend
from helpers.certificates import Authority
from helpers.clients import Client
from helpers.daemon import Daemon
from helpers.http1 import Http, Reader, requests_of, site
from helpers.rsyslog import CONF as RSYSLOG
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


class ApiServers:
    """Of all hosts: by TLS, /readyz without a token, and anything else answered with the host's name."""

    def __init__(self, authority, *names):
        paths = authority.issue(names[0], *names)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(paths["cert"], paths["key"])
        self.ready = set(HOSTS)

    def behave(self, conn, b):
        reader = Reader(conn := self.context.wrap_socket(conn, server_side=True))
        while (head := reader.head()) is not None:
            status = "200 OK" if head.target != "/readyz" or b.name in self.ready else "500 Internal Server Error"
            conn.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(b.name)}\r\n\r\n{b.name}".encode())


class Kubectl:
    """A client that verifies the API server through the balancer, and stays."""

    def __init__(self, authority, port):
        context = ssl.create_default_context(cafile=str(authority.pem))
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="kubernetes")

    def ask(self):
        self.sock.sendall(b"GET /version HTTP/1.1\r\nHost: kubernetes\r\n\r\n")
        reader = Reader(self.sock)
        return reader.exactly(int(reader.head().get("Content-Length"))).decode()


def test_the_api_servers_of_a_cluster(example, ports, closing, tmp_path):
    authority = Authority(tmp_path)
    api = ApiServers(authority, "kubernetes", "kubernetes.default")
    ports_of = {6443: ports.hold(), 9345: ports.hold()}
    for host in HOSTS:
        for port in ports_of.values():
            closing.add(Backend(host, port, api.behave, host=host).start())
    listen = {name: ports.hold() for name in ("apiserver", "supervisor")}
    t = example("kubernetes-api", [
        ("/etc/teal/kubernetes-ca.crt", str(authority.pem)),
        *((f"10.0.0.2{i + 1}", h) for i, h in enumerate(HOSTS)),
        ("0.0.0.0:6443", f"127.0.0.1:{listen['apiserver']}"), ("0.0.0.0:9345", f"127.0.0.1:{listen['supervisor']}"),
        *((f"port = {old};", f"port = {new};") for old, new in ports_of.items())])
    until(lambda: up(t, "apiserver") == up(t, "supervisor") == set(HOSTS), "all are up")
    t.rest()

    def peers(name):
        return {Kubectl(authority, listen[name]).ask() for _ in range(6)}
    assert peers("apiserver") == peers("supervisor") == set(HOSTS)
    watch = Kubectl(authority, listen["apiserver"])
    first = watch.ask()
    t.ok("node", "drain", "control", first)
    assert peers("apiserver") == peers("supervisor") == set(HOSTS) - {first}
    assert watch.ask() == first
    # One that accepts connections and is not ready is no API server; the port where nodes join goes on.
    second = min(set(HOSTS) - {first})
    api.ready.discard(second)
    t.wait_log("backend.down", service="apiserver", reason="HTTP status 500")
    until(lambda: peers("apiserver") == set(HOSTS) - {first, second}, "the one that is ready has it all")
    assert up(t, "supervisor") == set(HOSTS)


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


def test_dns_and_syslog_on_a_host_that_may_not_forward(example, ports, closing, tmp_path):
    """Real servers, senders and questions, without namespaces or rights; a flip moves all three."""
    listen, log = ports.hold(), ports.hold()
    pairs = [("10.0.0.1:53", f"127.0.0.1:{listen}"), ("10.0.0.1:514", f"127.0.0.1:{log}")]
    syslogs = {}
    for color, dns, syslog in (("green", 53, 10514), ("blue", 5353, 11514)):
        for n in (1, 2):
            folder = tmp_path / f"{color}{n}"
            folder.mkdir()
            at = ports.hold()
            pairs.append((f'"10.0.0.2{n}:{dns}"', f'"127.0.0.1:{at}"'))
            closing.add(Daemon(folder, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
                               "--user=root", f"--pid-file={folder}/pid", "--bind-interfaces", "--listen-address=127.0.0.1",
                               f"--port={at}", f"--txt-record=who.example,{color}"))
            at = ports.hold()
            pairs.append((f'"10.0.0.3{n}:{syslog}"', f'"127.0.0.1:{at}"'))
            folder = tmp_path / f"syslog-{color}{n}"
            folder.mkdir()
            (folder / "conf").write_text(
                RSYSLOG.format(folder=folder, kind="udp", module="", input=f'address="127.0.0.1" port="{at}"') +
                f'module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="{at}")\n')
            closing.add(Daemon(folder, "rsyslogd", "-n", "-f", folder / "conf", "-i", folder / "pid"))
            syslogs[color, n] = folder / "messages"
    t = example("dns-syslog", pairs)
    until(lambda: all(c["healthy"] == 2 for n in ("dns", "dns-tcp", "syslog") for c in t.status(n)["colors"].values()),
          "all servers are up")

    def answer(*how):
        return subprocess.run(["dig", "+short", "+tries=5", *how, "-p", str(listen), "@127.0.0.1", "who.example", "TXT"],
                              capture_output=True, text=True).stdout.strip()

    def lands(text):
        """The color of a server whose file has that line of a real sender."""
        subprocess.run(["logger", "--server", "127.0.0.1", "--port", str(log), "--udp", text], check=True)

        def there():
            return next((color for (color, _), path in syslogs.items() if path.exists() and text in path.read_text()), None)
        return until(there, f"{text!r} is in a file")
    for color in ("green", "blue"):
        assert (answer(), answer("+tcp"), lands(f"one for {color}")) == (f'"{color}"', f'"{color}"', color)
        if color == "green":
            for name in ("dns", "dns-tcp", "syslog"):
                t.ok("flip", name, "blue")
