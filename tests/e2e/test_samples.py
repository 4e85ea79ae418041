"""Samples of conf/ that other programs speak through: nginx and curl by TLS passthrough, rsyslog and a DNS server
over the kernel engine."""
import subprocess

import pytest

from helpers import certificates, libconfig
from helpers.daemon import Daemon
from helpers.rsyslog import CONF as RSYSLOG
from helpers.samples import CONF, replace, teal_sni
from helpers.scale import until

pytestmark = pytest.mark.nosan


def start(t, text, monkeypatch):
    """A teald on a file that is not made of settings."""
    monkeypatch.setattr(libconfig, "dumps", lambda settings: text)
    t.start()


NGINX = """
daemon off; pid {folder}/pid; error_log stderr;
events {{ }}
http {{
	access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
	uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
	server {{
		listen 127.0.0.1:{port} ssl proxy_protocol;
		ssl_certificate {folder}/../{name}.pem; ssl_certificate_key {folder}/../{name}.key;
		location / {{ return 200 "{who} $proxy_protocol_addr\\n"; }}
	}}
}}
"""


def test_tenants_behind_one_address(teal, ports, closing, tmp_path, monkeypatch):
    """conf/teal-sni.conf: each name reaches its tenant's nginx, with the tenant's certificate; a flip is one tenant's."""
    authority = certificates.Authority(tmp_path)
    listen, preview = ports.hold(), ports.hold()
    pairs = [("0.0.0.0:443", f"127.0.0.1:{listen}"), ("127.0.0.1:10443\"", f"127.0.0.1:{preview}\"")]
    for tenant, places in {"acme": ["10.1.0.11", "10.1.0.12"], "globex": ["10.2.0.11"]}.items():
        authority.issue(tenant, f"{tenant}.example", f"api.{tenant}.example")
        for color, port in (("green", 8443), ("blue", 9443)):
            own = []
            for i, place in enumerate(places):
                folder = tmp_path / f"nginx-{tenant}-{color}-{i}"
                folder.mkdir()
                own.append(ports.hold())
                (folder / "conf").write_text(NGINX.format(folder=folder, port=own[-1], name=tenant, who=f"{tenant} {color}"))
                closing.add(Daemon(folder, "nginx", "-c", folder / "conf"))
                pairs.append((f"{place}:{port}", f"127.0.0.1:{own[-1]}"))
    t = teal(start=False, services=[])
    text = replace(teal_sni(), pairs + [
        ("/var/lib/teal", str(t.state_dir)), ("/run/teal/admin.sock", t.admin_path), ('\nuser = "daemon";', ""),
        ("127.0.0.1:9180", "%s:%d" % t.observe)])
    start(t, text, monkeypatch)
    until(lambda: all(c["healthy"] == c["total"] for n in ("acme", "globex") for c in t.status(n)["colors"].values()),
          "every nginx is up")

    def ask(name, port=listen):
        return subprocess.run(["curl", "--silent", "--show-error", "--cacert", str(authority.pem), "--connect-to",
                               f"{name}:443:127.0.0.1:{port}", f"https://{name}/"], capture_output=True, text=True)
    assert ask("acme.example").stdout == "acme green 127.0.0.1\n"
    assert ask("api.globex.example").stdout == "globex green 127.0.0.1\n"
    assert ask("acme.example", preview).stdout == "acme blue 127.0.0.1\n"
    t.ok("flip", "acme", "blue")
    assert ask("api.acme.example").stdout == "acme blue 127.0.0.1\n"
    assert ask("globex.example").stdout == "globex green 127.0.0.1\n"
    stranger = ask("initech.example")
    assert stranger.returncode != 0 and "unrecognized name" in stranger.stderr


def kernel_sample(t, topology, pairs):
    return replace((CONF / "teal-syslog-dns.conf").read_text(), [
        ("/var/lib/teal", str(t.state_dir)), ("/run/teal/admin.sock", t.admin_path), ("127.0.0.1:9180", "%s:%d" % t.observe),
        ("10.0.0.1:", f"{topology.VIP}:")] + pairs)


def test_syslog_and_dns_by_the_kernel(topology, teal, closing, tmp_path, monkeypatch):
    """conf/teal-syslog-dns.conf: real senders, servers and questions; a flip moves both, and servers see clients."""
    ips = {"10.0.0.21": topology.node(21), "10.0.0.22": topology.node(22), "10.0.0.31": topology.node(31),
           "10.0.0.32": topology.node(32)}
    syslogs = {}
    for color, port in (("green", 10514), ("blue", 11514)):
        for n in (31, 32):
            at = topology.node(n)
            folder = tmp_path / f"r{port}{n}"
            folder.mkdir()
            (folder / "conf").write_text(
                RSYSLOG.format(folder=folder, kind="udp", module="", input=f'address="{at}" port="{port}"') +
                f'module(load="imtcp")\ninput(type="imtcp" address="{at}" port="{port}")\n')
            closing.add(Daemon(folder, "rsyslogd", "-n", "-f", folder / "conf", "-i", folder / "pid", place=topology.nodes))
            syslogs[color, n] = folder / "messages"
    for color, port in (("green", 53), ("blue", 5353)):
        for n in (21, 22):
            folder = tmp_path / f"d{port}{n}"
            folder.mkdir()
            closing.add(Daemon(folder, "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
                               "--user=root", f"--pid-file={folder}/pid", "--bind-interfaces", f"--listen-address={topology.node(n)}",
                               f"--port={port}", f"--txt-record=who.example,{color}", place=topology.nodes))
    t = teal(start=False, services=[], place=topology.hop)
    start(t, kernel_sample(t, topology, list(ips.items())), monkeypatch)
    until(lambda: all(c["healthy"] == 2 for n in ("syslog", "syslog-tcp", "dns", "dns-tcp")
                      for c in t.status(n)["colors"].values()), "all servers are up")

    def answer(*how):
        return topology.clients.run("dig", "+short", "+tries=5", *how, f"@{topology.VIP}", "who.example", "TXT").strip()

    def lands(color, text, *how):
        """A line of a real sender is in the file of a server of that color; whom that saw."""
        topology.clients.run("logger", "--server", topology.VIP, "--port", "514", *how, text)

        def there():
            for (its, _), path in syslogs.items():
                if path.exists() and text in path.read_text():
                    return its
        assert until(there, f"{text!r} is in a file") == color
    assert answer() == '"green"' and answer("+tcp") == '"green"'
    lands("green", "one by udp", "--udp")
    lands("green", "one by tcp", "--tcp", "--octet-count")
    for name in ("dns", "dns-tcp", "syslog", "syslog-tcp"):
        t.ok("flip", name, "blue")
    assert answer() == '"blue"' and answer("+tcp") == '"blue"'
    lands("blue", "two by udp", "--udp")
    lands("blue", "two by tcp", "--tcp", "--octet-count")
