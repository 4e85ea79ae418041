"""The proxies under comparison: how each is configured and started.

A proxy is started for one kind of work and gets its doors, each forwarding to
one light backend: for TCP echo, source (sends what is asked for) and sink
(counts what it gets), for HTTP one that answers requests.  All are
single-threaded, write no logs, add no headers they need not, and keep the
sizes their makers chose, unless a comment here says otherwise.
"""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

import measure

# kind: its doors, each with the mode of the backend behind it
KINDS = {
    "tcp": {"echo": "echo", "source": "source", "sink": "sink"},
    "http": {"http": "http", "rich": "http-rich"},
    "tls": {"https": "http"},
    "h2c": {"h2c": "http"},
    "h2": {"h2": "http"},
    "grpc": {"grpc": "grpc"},
}
# What is spoken by TLS, and what by HTTP/2: with prior knowledge, or by ALPN.
SECURE, HTTP2, KNOWN = ("tls", "h2"), ("h2c", "h2", "grpc"), ("h2c", "grpc")
# The preface of a client of HTTP/2 (RFC 9113, 3.4), and how a server's SETTINGS begin.
HELLO, SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", b"\0\0"
# Idle backend connections a proxy may keep: more than any scenario uses at once.
POOL = 1024
# What TLS is agreed with, the same for all: left alone, each takes another
# cipher, HAProxy a curve that costs clients a second round, and the others
# send two tickets where one will do.
SUITE, CURVE, TICKETS = "TLS_AES_128_GCM_SHA256", "X25519", 1


class Failed(Exception):
    pass


def exchange(address, send, expect, timeout=2.0, tls=False, udp=False):
    """One question and answer; the truth about 'is it forwarding yet'."""
    host, _, port = address.rpartition(":")
    if udp:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)  # what is lost is asked for again
            try:
                s.sendto(send, (host, int(port)))
                return s.recv(100).startswith(expect)
            except OSError:
                return False
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        with contextlib.ExitStack() as stack:
            s = stack.enter_context(socket.create_connection((host, int(port)), timeout))
            if tls:
                s = stack.enter_context(trusting.wrap_socket(s))
            s.settimeout(timeout)
            s.sendall(send)
            if not send.startswith((b"GET ", b"PRI ")):
                s.shutdown(socket.SHUT_WR)
            got = b""
            while len(got) < len(expect):
                piece = s.recv(64)
                if not piece:
                    return False
                got += piece
            return got.startswith(expect)
    except OSError:
        return False


class Proxy:
    name = ""
    program = ""
    kinds = ("tcp", "http", "tls", "h2c", "h2", "grpc")

    def __init__(self, work, kind, backends, port, connections, doors=None, backends_as_given=False):
        """doors: others than the kind's; their backends may be named otherwise."""
        self.work = os.path.join(work, f"{self.name}-{kind}" + ("-" + "-".join(doors) if doors else ""))
        self.kind = kind
        self.doors = doors or KINDS[kind]
        self.backends = backends if backends_as_given else {d: backends[m] for d, m in self.doors.items()}
        self.ports = {door: port + i for i, door in enumerate(self.doors)}
        self.connections = connections
        self.processes = []
        # The path of a Unix socket is short, that of a build may be long.
        self.sockets = tempfile.mkdtemp(prefix="bench-")
        os.makedirs(self.work, exist_ok=True)

    def address(self, door):
        return f"127.0.0.1:{self.ports[door]}"

    def write(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def commands(self):
        """The processes to start; most proxies are one."""
        raise NotImplementedError

    def start(self, core):
        self.processes = []
        environment = {**os.environ, "OPENSSL_CONF": openssl_settings(self.work)} if self.kind in SECURE else None
        for i, command in enumerate(self.commands()):
            with open(os.path.join(self.work, f"output{i}"), "wb") as log:
                self.processes.append(
                    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                     preexec_fn=self.before(core)))
        for door, mode in self.doors.items():
            known = (HELLO, SETTINGS) if self.kind in KNOWN else question(mode, self.backends.get(door))
            self.wait_for(door, *known)

    def before(self, core):
        """What its processes do before they begin."""
        return measure.on_core(core)

    def wait_for(self, door, send, expect):
        deadline = time.monotonic() + 10
        while not exchange(self.address(door), send, expect, tls=self.kind in SECURE, udp=self.doors[door] == "udp"):
            for p in self.processes:
                if p.poll() is not None:
                    raise Failed(f"{self.name} ended with status {p.returncode}: {self.output()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} does not forward to {door}: {self.output()}")
            time.sleep(0.05)

    def output(self):
        return measure.read(os.path.join(self.work, "output0"))[-2000:].strip() or "(no output)"

    def pids(self):
        return [pid for p in self.processes for pid in measure.tree(p.pid)]

    def stop(self):
        for p in self.processes:
            p.terminate()
        for p in self.processes:
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        shutil.rmtree(self.sockets, ignore_errors=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def question(mode, backend):
    """What to send to a backend of that mode, and how the answer begins."""
    if mode == "source":
        return b"3\n", source_start(backend)
    return {"echo": (b"ready?", b"ready?"), "udp": (b"ready?", b"ready?"), "sink": (b"abc", b"3\n"), "hello": (b"ready?", b"green\n"),
            "http-rich": (b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 OK"),
            "http": (b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n",
                     b"HTTP/1.1 200 OK")}[mode]


def certificate(work):
    """(certificate, key, both in one file): P-256, made once a run."""
    cert, key, both = (os.path.join(work, f"{n}.pem") for n in ("cert", "key", "both"))
    if not os.path.exists(both):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-days", "7", "-subj", "/CN=bench", "-keyout", key, "-out", cert],
                       check=True, capture_output=True)
        with open(both, "w") as f:
            f.write(measure.read(cert) + measure.read(key))
    return cert, key, both


def openssl_settings(work):
    """For OPENSSL_CONF: what not every proxy can be told otherwise."""
    path = os.path.join(work, "openssl.cnf")
    with open(path, "w") as f:
        f.write(f"openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = every\n"
                f"[every]\nNumTickets = {TICKETS}\n")
    return path


def source_start(address):
    """The first three bytes of a source's pattern, from the source itself."""
    host, _, port = (address if isinstance(address, str) else address[0]).rpartition(":")
    got = b""
    with socket.create_connection((host, int(port)), 5) as s:
        s.sendall(b"3\n")
        while len(got) < 3:
            got += s.recv(3)
    return got


class Teal(Proxy):
    name = "teal"
    program = "teald"
    observe = 9  # its port, counted from the first door's

    def service(self, name, listen, green, blue, extra="", mode=None):
        keys = "" if self.kind == "tcp" else "forwarded = false;"
        if self.kind in KNOWN:
            keys += " h2c = true;"
        if self.kind == "grpc":
            keys += ' backend_protocol = "h2";'
        if self.kind in SECURE:
            cert, key, _ = certificate(self.work)
            keys += (f' tls: {{ certificates = ( {{ cert = "{cert}"; key = "{key}"; }} ); '
                     f'ciphersuites = "{SUITE}"; curves = "{CURVE}"; }};')
        return f'''  {{ name = "{name}"; mode = "{mode or ('tcp' if self.kind == 'tcp' else 'http')}"; initial = "green";
    listen = "{listen}"; {self.limits()} {keys}
    green: {{ backends = ["{green}"]; }};
    blue: {{ backends = ["{blue}"]; }};
    {extra or 'health: { type = "tcp"; };'} }}'''

    def limits(self):
        return f"max_connections = {self.connections};"

    def run_services(self, *services):
        state = os.path.join(self.work, "state")
        shutil.rmtree(state, ignore_errors=True)
        os.makedirs(state)
        self.admin = f"{self.sockets}/admin.sock"
        listed = ",\n".join(services)
        conf = self.write("teal.conf", f'''workers = 1;
state_dir = "{state}";
admin: {{ socket = "{self.admin}"; }};
observe: {{ listen = "127.0.0.1:{min(self.ports.values()) + self.observe}"; }};
log: {{ level = "warn"; access = false; }};
stop: {{ timeout = 1.0; }};
services = (
{listed}
);
''')
        return [[self.program, "-c", conf]]

    def commands(self):
        return self.run_services(*(self.service(door, self.address(door), self.backends[door], self.backends[door])
                                   for door in self.doors))


class TealBefore(Teal):
    """A former build, named by TEALD_BEFORE: what a change costs, in the same run."""
    name = "teal-before"


class HAProxy(Proxy):
    name = "haproxy"
    program = "haproxy"
    tuning = ""
    options = ""
    # smart-accept and smart-connect save it packets.  Of backend connections
    # it reuses all it can, also for a client's first request, and keeps as
    # many as it likes for as long as it likes; by itself it would close them
    # once a quarter of its descriptors were in use.
    defaults = {
        "tcp": "\tmode tcp\n\toption tcp-smart-accept\n\toption tcp-smart-connect\n",
        "http": "\tmode http\n\toption http-keep-alive\n\thttp-reuse always\n"
                "\ttimeout http-keep-alive 1h\n\toption tcp-smart-accept\n\toption tcp-smart-connect\n",
    }
    for secure in (*SECURE, *KNOWN):
        defaults[secure] = defaults["http"]
    server = {"tcp": "", "http": f" pool-max-conn {POOL} pool-purge-delay 1h"}
    for secure in (*SECURE, *KNOWN):
        server[secure] = server["http"] + (" proto h2" if secure == "grpc" else "")

    def commands(self):
        tls = " proto h2" if self.kind in KNOWN else ""
        if self.kind in SECURE:
            alpn = "h2,http/1.1" if self.kind == "h2" else "http/1.1"
            tls = f" ssl crt {certificate(self.work)[2]} ciphersuites {SUITE} curves {CURVE} alpn {alpn}"
        return self.run_doors("\n".join(f'''listen {door}
	bind {self.address(door)} backlog 4096{tls}
	server b {self.backends[door]}{self.server[self.kind]}
''' for door in self.doors))

    def run_doors(self, doors):
        conf = self.write("haproxy.cfg", f'''global
	nbthread 1
	maxconn {self.connections}
	tune.pool-low-fd-ratio 90
	tune.pool-high-fd-ratio 95
{self.tuning}
defaults
	maxconn {self.connections}
	timeout connect 5s
	timeout client 1h
	timeout server 1h
{self.defaults[self.kind]}
{self.options}
{doors}''')
        return [[self.program, "-db", "-f", conf]]


class HAProxySplice(HAProxy):
    name = "haproxy-splice"
    kinds = ("tcp", "http")
    tuning = "\ttune.pipesize 1048576\n"
    # splice-auto alone decides only when a stream is processed anew, which a
    # long transfer may never be: asked for outright, it always splices.
    options = "\toption splice-auto\n\toption splice-request\n\toption splice-response\n"


class Nginx(Proxy):
    name = "nginx"
    program = "nginx"
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"

    def stream(self, backends):
        # Without half_close a client's end would cut the answer: the sink's.
        return "\n".join(f'''	server {{
		listen {self.address(door)} backlog=4096;
		proxy_pass {address};
		proxy_timeout 1h;
		proxy_half_close on;
	}}''' for door, address in backends.items())

    def http(self, backends):
        # It closes a connection after 1,000 requests unless told otherwise,
        # and writes what a client does not take at once to disk.  With larger
        # buffers bulk is a little cheaper for it, and small answers are not
        # dearer.
        tls, http2 = "", " http2" if self.kind in HTTP2 else ""
        if self.kind in SECURE:
            cert, key, _ = certificate(self.work)
            # 1.22 does not offer TLS 1.3, whose handshakes cost more, by itself.
            tls = (f"ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {cert}; ssl_certificate_key {key}; "
                   f"ssl_conf_command Ciphersuites {SUITE}; ssl_ecdh_curve {CURVE}; ssl_session_timeout 2h;")
        return "\n".join(f'''	upstream {door} {{
		server {address};
		keepalive {POOL};
		keepalive_requests 1000000000;
		keepalive_timeout 1h;
	}}
	server {{
		listen {self.address(door)} backlog=4096{" ssl" if tls else ""}{http2};
		{tls}
		location / {{
			{f"grpc_pass grpc://{door};" if self.kind == "grpc" else f"proxy_pass http://{door};"}
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_max_temp_file_size 0;
			proxy_buffers 16 64k;
			proxy_busy_buffers_size 256k;
		}}
	}}''' for door, address in backends.items())

    def doors_text(self, backends):
        return self.stream(backends) if self.kind == "tcp" else self.http(backends)

    def commands(self):
        self.write("doors", self.doors_text({door: self.backends[door] for door in self.doors}))
        return self.run_include(os.path.join(self.work, "doors"))

    def run_include(self, doors):
        # Debian builds the stream module apart; other builds have it inside.
        module = f"load_module {self.module};" if os.path.exists(self.module) and self.kind == "tcp" else ""
        temporary = "\n".join(f"\t{n}_temp_path {self.work};" for n in
                              ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        block = f"""stream {{
	access_log off;
	include {doors};
}}""" if self.kind == "tcp" else f"""http {{
	access_log off;
	keepalive_requests 1000000000;
	keepalive_timeout 1h;
{temporary}
	include {doors};
}}"""
        conf = self.write("nginx.conf", f'''{module}
daemon off;
worker_processes 1;
worker_rlimit_nofile {2 * self.connections + 200};
pid {self.work}/pid;
error_log {self.work}/error crit;
events {{ worker_connections {2 * self.connections + 100}; accept_mutex off; }}
{block}
''')
        return [[self.program, "-p", self.work, "-c", conf, "-e", os.path.join(self.work, "error")]]


class Floor(Proxy):
    """Our bare epoll relays: no product, but what the kernel alone costs."""

    name = "floor"
    program = "floor"
    kinds = ("tcp", "http")

    def commands(self):
        program = self.program + ("-http" if self.kind == "http" else "")
        return [[program, self.address(door), self.backends[door]] for door in self.doors]


def available(build, notes):
    """The classes whose program is here; what is missing goes to notes."""
    Teal.program = os.environ.get("TEALD") or os.path.join(build, "teald-serve")
    HAProxy.program = os.environ.get("HAPROXY") or shutil.which("haproxy") or "/usr/sbin/haproxy"
    Nginx.program = os.environ.get("NGINX") or shutil.which("nginx") or "/usr/sbin/nginx"
    Floor.program = os.path.join(build, "bench", "floor")
    TealBefore.program = os.environ.get("TEALD_BEFORE") or ""
    here = [c for c in (Teal, TealBefore, HAProxy, HAProxySplice, Nginx, Floor) if os.access(c.program, os.X_OK)]
    for c in (Teal, HAProxy, Nginx):
        if c not in here:
            notes.append(f"no {c.name}: {c.program} is not there")
    if Nginx in here and not nginx_has_stream(build):
        here.remove(Nginx)
        notes.append("no nginx: it has no stream module (Debian: libnginx-mod-stream)")
    return here


def nginx_has_stream(build):
    probe = os.path.join(build, "bench", "nginx-probe.conf")
    module = f"load_module {Nginx.module};" if os.path.exists(Nginx.module) else ""
    with open(probe, "w") as f:
        f.write(f"{module}\nerror_log stderr;\npid {probe}.pid;\nevents {{}}\nstream {{}}\n")
    return subprocess.run([Nginx.program, "-t", "-q", "-c", probe, "-e", "stderr"],
                          capture_output=True).returncode == 0


def versions():
    return {
        "teal": measure.first_line(Teal.program, "--version"),
        "haproxy": measure.first_line(HAProxy.program, "-v"),
        "nginx": measure.first_line(Nginx.program, "-v"),
    }
