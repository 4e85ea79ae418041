"""The proxies under comparison: how each is configured and started.

A proxy is started for one kind of work and gets its doors, each forwarding to
one light backend: for TCP echo, source (sends what is asked for) and sink
(counts what it gets), for HTTP one that answers requests.  All are
single-threaded, write no logs, add no headers they need not, and keep the
sizes their makers chose, unless a comment here says otherwise.
"""

import os
import shutil
import socket
import subprocess
import time

import measure

# kind: its doors, each with the mode of the backend behind it
KINDS = {
    "tcp": {"echo": "echo", "source": "source", "sink": "sink"},
    "http": {"http": "http"},
}
# Idle backend connections a proxy may keep: more than any scenario uses at once.
POOL = 256


class Failed(Exception):
    pass


def exchange(address, send, expect, timeout=2.0):
    """One question and answer; the truth about 'is it forwarding yet'."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout) as s:
            s.settimeout(timeout)
            s.sendall(send)
            if not send.startswith(b"GET "):
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

    def __init__(self, work, kind, backends, port, connections):
        self.work = os.path.join(work, f"{self.name}-{kind}")
        self.kind = kind
        self.doors = KINDS[kind]
        self.backends = {door: backends[mode] for door, mode in self.doors.items()}
        self.ports = {door: port + i for i, door in enumerate(self.doors)}
        self.connections = connections
        self.processes = []
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
        for i, command in enumerate(self.commands()):
            with open(os.path.join(self.work, f"output{i}"), "wb") as log:
                self.processes.append(
                    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     preexec_fn=measure.on_core(core)))
        for door in self.doors:
            self.wait_for(door, *question(door, self.backends[door]))

    def wait_for(self, door, send, expect):
        deadline = time.monotonic() + 10
        while not exchange(self.address(door), send, expect):
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


def question(door, backend):
    """What to send to a door, and how the answer begins."""
    if door == "source":
        return b"3\n", source_start(backend)
    return {"echo": (b"ready?", b"ready?"), "sink": (b"abc", b"3\n"),
            "http": (b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n",
                     b"HTTP/1.1 200 OK")}[door]


def source_start(address):
    """The first three bytes of a source's pattern, from the source itself."""
    host, _, port = address.rpartition(":")
    got = b""
    with socket.create_connection((host, int(port)), 5) as s:
        s.sendall(b"3\n")
        while len(got) < 3:
            got += s.recv(3)
    return got


class Teal(Proxy):
    name = "teal"
    program = "teald"

    def commands(self):
        keys = {"tcp": "", "http": " forwarded = false;"}[self.kind]
        services = ",\n".join(
            f'''  {{ name = "{door}"; mode = "{self.kind}"; listen = "{self.address(door)}"; initial = "green";
    max_connections = {self.connections};{keys}
    green: {{ backends = ["{self.backends[door]}"]; }};
    blue: {{ backends = ["{self.backends[door]}"]; }};
    health: {{ type = "tcp"; }}; }}''' for door in self.doors)
        state = os.path.join(self.work, "state")
        shutil.rmtree(state, ignore_errors=True)
        os.makedirs(state)
        conf = self.write("teal.conf", f'''workers = 1;
state_dir = "{state}";
admin: {{ socket = "{state}/admin.sock"; }};
observe: {{ listen = "127.0.0.1:{max(self.ports.values()) + 1}"; }};
log: {{ level = "warn"; access = false; }};
stop: {{ timeout = 1.0; }};
services = (
{services}
);
''')
        return [[self.program, "-c", conf]]


class HAProxy(Proxy):
    name = "haproxy"
    program = "haproxy"
    tuning = ""
    options = ""
    # smart-accept and smart-connect save it packets.  Of backend connections
    # it reuses all it can, also for a client's first request, and keeps as
    # many as it likes for as long as it likes.
    defaults = {
        "tcp": "\tmode tcp\n\toption tcp-smart-accept\n\toption tcp-smart-connect\n",
        "http": "\tmode http\n\toption http-keep-alive\n\thttp-reuse always\n"
                "\ttimeout http-keep-alive 1h\n\toption tcp-smart-accept\n\toption tcp-smart-connect\n",
    }
    server = {"tcp": "", "http": f" pool-max-conn {POOL} pool-purge-delay 1h"}

    def commands(self):
        doors = "\n".join(f'''listen {door}
	bind {self.address(door)} backlog 4096
	server b {self.backends[door]}{self.server[self.kind]}
''' for door in self.doors)
        conf = self.write("haproxy.cfg", f'''global
	nbthread 1
	maxconn {self.connections}
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
    tuning = "\ttune.pipesize 1048576\n"
    # splice-auto alone decides only when a stream is processed anew, which a
    # long transfer may never be: asked for outright, it always splices.
    options = "\toption splice-auto\n\toption splice-request\n\toption splice-response\n"


class Nginx(Proxy):
    name = "nginx"
    program = "nginx"
    module = "/usr/lib/nginx/modules/ngx_stream_module.so"

    def stream(self):
        # Without half_close a client's end would cut the answer: the sink's.
        doors = "\n".join(f'''	server {{
		listen {self.address(door)} backlog=4096;
		proxy_pass {self.backends[door]};
		proxy_timeout 1h;
		proxy_half_close on;
	}}''' for door in self.doors)
        return f"stream {{\n\taccess_log off;\n{doors}\n}}\n"

    def http(self):
        # It closes a connection after 1,000 requests unless told otherwise,
        # and writes what a client does not take at once to disk.  With larger
        # buffers bulk is a little cheaper for it, and small answers are not
        # dearer.
        doors = "\n".join(f'''	upstream {door} {{
		server {self.backends[door]};
		keepalive {POOL};
		keepalive_requests 1000000000;
		keepalive_timeout 1h;
	}}
	server {{
		listen {self.address(door)} backlog=4096;
		location / {{
			proxy_pass http://{door};
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_max_temp_file_size 0;
			proxy_buffers 16 64k;
			proxy_busy_buffers_size 256k;
		}}
	}}''' for door in self.doors)
        return f"""http {{
	access_log off;
	keepalive_requests 1000000000;
	keepalive_timeout 1h;
	client_body_temp_path {self.work};
	proxy_temp_path {self.work};
	fastcgi_temp_path {self.work};
	uwsgi_temp_path {self.work};
	scgi_temp_path {self.work};
{doors}
}}
"""

    def commands(self):
        # Debian builds the stream module apart; other builds have it inside.
        module = f"load_module {self.module};" if os.path.exists(self.module) and self.kind == "tcp" else ""
        conf = self.write("nginx.conf", f'''{module}
daemon off;
worker_processes 1;
worker_rlimit_nofile {2 * self.connections + 200};
pid {self.work}/pid;
error_log {self.work}/error crit;
events {{ worker_connections {2 * self.connections + 100}; accept_mutex off; }}
{self.stream() if self.kind == "tcp" else self.http()}''')
        return [[self.program, "-p", self.work, "-c", conf, "-e", os.path.join(self.work, "error")]]


class Floor(Proxy):
    """Our bare epoll relays: no product, but what the kernel alone costs."""

    name = "floor"
    program = "floor"

    def commands(self):
        program = self.program + ("-http" if self.kind == "http" else "")
        return [[program, self.address(door), self.backends[door]] for door in self.doors]


def available(build, notes):
    """The classes whose program is here; what is missing goes to notes."""
    Teal.program = os.environ.get("TEALD") or os.path.join(build, "teald")
    HAProxy.program = os.environ.get("HAPROXY") or shutil.which("haproxy") or "/usr/sbin/haproxy"
    Nginx.program = os.environ.get("NGINX") or shutil.which("nginx") or "/usr/sbin/nginx"
    Floor.program = os.path.join(build, "bench", "floor")
    here = [c for c in (Teal, HAProxy, HAProxySplice, Nginx, Floor) if os.access(c.program, os.X_OK)]
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
