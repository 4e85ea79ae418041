"""Checks and the gate's connects trouble no server: real ones that count, log or
shut out who connects and says nothing, or leaves in the middle of an answer."""
import json
import os
import shutil
import socket
import subprocess
import tempfile

import pytest

from helpers.certificates import Authority
from helpers.scale import patience, until
from helpers.teald import service
from helpers.topology import possible

CHECKS = 150    # more than max_connect_errors, 100


# ---- MariaDB shuts out hosts that connect and leave ----

class MariaDB:
    """In the namespace of the nodes, at all their addresses; files in a folder of its own."""

    def __init__(self, topology):
        self.place = topology.nodes
        self.folder = tempfile.mkdtemp(prefix="teal-mariadb-", dir="/tmp")
        self.process = None
        data = f"--datadir={self.folder}/data"
        try:
            made = subprocess.run(["mariadb-install-db", "--no-defaults", "--user=root", data, "--skip-test-db",
                                   "--auth-root-authentication-method=normal"], capture_output=True, text=True)
            assert made.returncode == 0, made.stdout + made.stderr
            # It shuts out by host: addresses have names here.
            self._write("hosts", "".join(f"{a} {n}.internal\n" for n, a in (("lb", topology.INSIDE), ("c", topology.CLIENT))))
            self._write("init", "CREATE USER app@'%' IDENTIFIED BY 'pw';\nGRANT ALL ON *.* TO app@'%';\n")
            own_hosts = ("unshare", "-m", "sh", "-c", f'mount --bind {self.folder}/hosts /etc/hosts && exec "$@"', "sh")
            self.process = subprocess.Popen(
                [*self.place.prefix, *own_hosts, "mariadbd", "--no-defaults", "--user=root", data,
                 f"--socket={self.folder}/s", "--port=3306", "--bind-address=0.0.0.0", f"--pid-file={self.folder}/pid",
                 f"--init-file={self.folder}/init", f"--log-error={self.folder}/err", "--performance-schema=ON",
                 "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve=0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
            until(self._answers, "MariaDB answers", every=0.1)
        except BaseException:
            self.close()
            raise

    def _write(self, name, text):
        with open(f"{self.folder}/{name}", "w") as f:
            f.write(text)

    def _answers(self):
        assert self.process.poll() is None, open(f"{self.folder}/err").read()[-1000:]
        return os.path.exists(f"{self.folder}/s") and self.ask("select 1", check=False).returncode == 0

    def ask(self, query, check=True):
        r = subprocess.run(["mariadb", "--no-defaults", f"--socket={self.folder}/s", "-uroot", "-N", "-e", query],
                           capture_output=True, text=True, timeout=patience())
        assert not check or r.returncode == 0, r.stderr
        return r

    def troubles(self):
        """Failed connects, and what is held against hosts."""
        aborted = self.ask("show global status like 'Aborted_connects'").stdout.split()[1]
        hosts = self.ask("select ip, sum_connect_errors, count_host_blocked_errors from performance_schema.host_cache "
                         "where sum_connect_errors > 0 or count_host_blocked_errors > 0").stdout.split()
        return int(aborted), hosts

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder)


@pytest.fixture
def mariadb(topology, closing):
    return closing.add(MariaDB(topology))


@pytest.mark.nosan
@pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables")
def test_mariadb_shuts_out_no_balancer(topology, mariadb, teal):
    t = teal(services=[service(listen=f"{topology.VIP}:3306", green=[f"{topology.node(1)}:3306"],
                               blue=[f"{topology.node(2)}:3306"],
                               health={"type": "tcp", "interval": 0.05, "timeout": 60.0})], place=topology.hop)

    def client():
        return subprocess.run([*topology.clients.prefix, "mariadb", "--no-defaults", "-h", topology.VIP, "-u", "app", "-ppw",
                               "-N", "-e", "select 'in'", "--skip-ssl"], capture_output=True, text=True, timeout=patience())

    def checked(color):
        return t.metrics().get("teal_backend_checks_total", color=color, result="passed")

    def untroubled():
        """Again, should this machine have kept teald from a CPU for a fifth of a second: then the kernel ends a
        connect for it, and MariaDB sees one, which 99 others would have to follow."""
        before, n = mariadb.troubles(), checked("blue")
        until(lambda: checked("blue") >= n + CHECKS, "checks", every=0.1)
        for color in ("blue", "green") * 5:
            assert t.ok("flip", "web", color)["changed"]     # the gate connects
        return mariadb.troubles() == before
    until(untroubled, "checks and gates that MariaDB does not hear of")
    assert client().stdout == "in\n"

    # Whose connects it sees is shut out, and all clients with it.
    def leave():
        for _ in range(CHECKS):
            socket.create_connection((topology.node(1), 3306)).close()
    topology.hop.do(leave)
    until(lambda: "is blocked" in client().stderr, "it shuts the balancer out")
    aborted, hosts = mariadb.troubles()
    assert aborted > 0 and topology.INSIDE in hosts


# ---- Node logs who ends a connection by a reset ----

NODE = """
const [tls, https, fs] = [require('tls'), require('https'), require('fs')];
const [port, asked, cert, key] = process.argv.slice(1);
const files = {cert: fs.readFileSync(cert), key: fs.readFileSync(key)};
const say = (what, e) => console.log(JSON.stringify({what, error: String(e && e.code || e)}));
let count = 0;
const server = asked === 'http'
  ? https.createServer(files, (q, a) => { q.on('aborted', () => say('aborted')); a.on('close', () => a.writableFinished || say('cut'));
                                          a.write('x'.repeat(50000)); setImmediate(() => a.end('x'.repeat(50000))); })
  : tls.createServer(files);
server.on('tlsClientError', e => say('tlsClientError', e));
server.on('clientError', (e, s) => { say('clientError', e); s.destroy(); });
server.on('secureConnection', s => { s.on('error', e => say('socket', e)); if (asked !== 'http') s.resume(); count++; });
server.listen(+port, '127.0.0.1', () => console.log('ready'));
process.stdin.on('data', () => { console.log(JSON.stringify({count})); });
"""


class Node:
    def __init__(self, port, asked, files):
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(["node", "-e", NODE, "--", str(port), asked, files["cert"], files["key"]],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def words(self):
        """What it has logged until now; the last: how many came."""
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        words = []
        while not words or "count" not in words[-1]:
            words.append(json.loads(self.process.stdout.readline()))
        return words

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("asked", ["nothing", "http"])
def test_node_logs_nothing(teal, ports, closing, tmp_path, asked):
    files = Authority(tmp_path).issue("node.example")
    nodes = [closing.add(Node(ports.hold(), asked, files)) for _ in range(2)]
    health = {"interval": 0.05, "timeout": 60.0} | ({"type": "http", "path": "/"} if asked == "http" else {"type": "tcp"})
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[nodes[0].address], blue=[nodes[1].address], mode="http",
                               health=health, backend_tls={"verify": False})])
    until(lambda: t.metrics().get("teal_backend_checks_total", color="blue", result="passed") >= 40, "checks")
    assert t.ok("flip", "web", "blue")["changed"]
    for node in nodes:
        *complaints, end = node.words()
        assert end["count"] > 1 and complaints == []
