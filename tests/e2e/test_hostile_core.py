"""Hostile peers and bad moments: endings of every kind at once, last words
before a reset, flips while stopping, descriptors eaten by bulk.  Whatever
happened, nothing may be left of it."""
import contextlib
import itertools
import os
import socket
import subprocess
import threading
import time

import pytest

from helpers.backends import greet_and_echo, pattern, reset
from helpers.scale import dice, patience, scaled, until
from helpers.teald import service


# ---- any mix of endings leaves nothing behind ----

COUNT = itertools.count()


def kind_of(teal, fd):
    """What a descriptor is; one that was just closed is nothing."""
    try:
        return os.readlink(f"/proc/{teal.pid}/fd/{fd}")
    except FileNotFoundError:
        return ""


def pipes_of(teal):
    return sum(kind_of(teal, fd).startswith("pipe:") for fd in os.listdir(f"/proc/{teal.pid}/fd"))


def whimsical(conn, backend):
    """Does to each connection one of the things that backends do."""
    r = dice(f"{backend.name} {next(COUNT)}")
    what = r.choice(("echo", "echo", "reset", "close", "half", "mute", "hose", "greet_reset"))
    conn.settimeout(10)
    if what == "echo":
        greet_and_echo(conn, backend)
    elif what == "reset":
        reset(conn)
    elif what == "close":
        conn.sendall(b"bye\n")
    elif what == "half":
        conn.sendall(b"half\n")
        conn.shutdown(socket.SHUT_WR)
        while conn.recv(1 << 16):
            pass
    elif what == "mute":
        backend.released.wait(r.random())
    elif what == "hose":
        end = time.monotonic() + r.random()
        while time.monotonic() < end:
            conn.send(pattern(3))
    else:
        conn.sendall(b"well\n")
        reset(conn)


class Whimsical(threading.Thread):
    """Clients that connect one after the other and end in all the ways there are."""

    def __init__(self, address, seed, rounds):
        super().__init__(daemon=True)
        self.address, self.random, self.rounds = address, dice(seed), rounds
        self.start()

    def connect(self):
        if isinstance(self.address, str):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(5)
            s.connect(self.address)
            return s
        return socket.create_connection(self.address, 5)

    def run(self):
        for _ in range(self.rounds):
            try:
                s = self.connect()
            except OSError:
                continue
            try:
                self.live(s, self.random)
            except OSError:
                pass
            finally:
                s.close()

    @staticmethod
    def live(s, r):
        s.settimeout(0.3)
        what = r.choice(("talk", "talk", "reset", "leave", "half", "upload", "download", "stall"))
        if what == "talk":
            s.sendall(b"x" * r.choice((1, 100, 70000)))
            s.recv(4096)
        elif what == "reset":
            s.sendall(b"y")
            reset(s)
        elif what == "half":
            s.shutdown(socket.SHUT_WR)
            while s.recv(1 << 16):
                pass
        elif what == "upload":
            for _ in range(r.randrange(12)):
                s.sendall(pattern(5)[:300_000])
        elif what == "download":
            for _ in range(r.randrange(40)):
                s.recv(1 << 18)
            if r.random() < 0.5:
                reset(s)
        elif what == "stall":
            time.sleep(r.random() * 0.3)


def nothing_left(teal, idle_fds):
    def settled():
        m = teal.metrics()
        left = {n: m.get(n) for n in ("teal_connections", "teal_backend_connections", "teal_draining_connections")}
        # Pipes are kept for the next bulk, never more than the pools hold.
        pipes = pipes_of(teal)
        seen.update(left, fds=teal.fds() - pipes)
        return not any(left.values()) and teal.fds() - pipes <= idle_fds + 2
    seen = {}
    try:
        until(settled, "nothing left")
    except AssertionError:
        raise AssertionError(f"left behind: {seen}, idle it had {idle_fds}") from None


@pytest.mark.tsan
@pytest.mark.scales
@pytest.mark.parametrize("local", [False, True], ids=["tcp", "unix"])
def test_no_mix_of_endings_leaves_anything_behind(web, backend, tmp_path, local):
    green, blue = ([backend(n, whimsical) for _ in range(2)] for n in ("green", "blue"))
    keys = {}
    if local:
        keys["listen"] = f"unix:/tmp/teal-hostile-{os.getpid()}-{id(web) & 0xffff}.sock"
    teal = web(green=green, blue=blue, top={"workers": 3}, max_connections=20, idle_timeout=2.0, connect_timeout=0.5,
               drain={"timeout": 0.3, "idle": 0.1, "spread": 0.1}, flip={"min_healthy": 1}, **keys)
    pipes = pipes_of(teal)
    idle_fds = teal.fds() - pipes
    clients = [Whimsical(teal.address(), seed, scaled(1000, 30)) for seed in range(24)]
    r, color = dice(), "green"
    while any(c.is_alive() for c in clients):
        color = {"green": "blue", "blue": "green"}[color]
        teal.ctl("flip", "web", color, "--force", f"--drain={r.choice((0, 0.1, 5))}",
                 f"--wait={r.choice(('applied', 'none', 'drained'))}", "--timeout=1")
        victim = r.choice(green + blue)
        what = r.randrange(4)
        if what == 0:
            with contextlib.suppress(OSError):  # it may have closed by itself
                victim.reset_all()
        elif what == 1:
            victim.stop()
            time.sleep(0.03)
            victim.start()
        time.sleep(r.random() * 0.1)
    for b in green + blue:
        b.released.set()
    nothing_left(teal, idle_fds)
    m = teal.metrics()
    done = sum(1 for _ in teal.sessions())
    assert done > 0
    # The places are all free again: exactly so many fit.
    for b in green + blue:
        b.released.clear()
        b.behaviour = greet_and_echo
    held = [teal.connect() for _ in range(20)]
    for c in held:
        c.echo()
    with teal.connect() as more:
        try:
            assert more.line() is None
        except ConnectionResetError:
            pass
    for c in held:
        c.close()
    nothing_left(teal, idle_fds)


# ---- last words ----

def sorry_and_reset(conn, backend):
    """Reads a little, says why it will not have the rest, and closes with most
    of it unread: the kernel makes that a reset."""
    if not conn.recv(100):
        return
    conn.sendall(b"413 too large\n")
    backend.note(conn, b"x")


def test_what_a_backend_says_before_it_resets_is_heard(web, backend):
    """The client is still uploading when the answer comes and the reset with it."""
    teal = web(green=[backend("green", sorry_and_reset)])
    heard, rounds = 0, 100
    for _ in range(rounds):
        with teal.connect() as c:
            try:
                for _ in range(50):
                    c.sock.sendall(pattern(1)[:30_000])
            except OSError:
                pass
            data = b""
            try:
                while more := c.sock.recv(4096):
                    data += more
            except ConnectionResetError:
                pass
            assert data in (b"", b"413 too large\n")
            heard += data != b""
    assert heard == rounds


# ---- cut short looks cut short ----

def test_a_download_cut_at_the_drains_deadline_looks_cut(web, backend):
    def drip(conn, b):
        while not b.released.wait(0.01):
            conn.sendall(b"z" * 1000)
    teal = web(green=[backend("green", drip)], drain={"timeout": 0.3, "idle": 0.0})
    busy = teal.connect()
    assert busy.receive(1000)
    teal.ok("flip", "web", "blue")
    assert busy.read_end()[1] == "reset"


def test_where_nothing_moves_the_end_at_the_deadline_is_polite(web):
    teal = web(clock=True, drain={"timeout": 1600.0, "idle": 0.0})
    quiet = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    teal.clock.move(1600)
    assert quiet.read_end() == (b"", "eof")


# ---- flips while stopping ----

@pytest.mark.parametrize("back", [False, True])
def test_a_flip_while_stopping_does_not_put_off_the_end(web, back):
    """The stop's own deadline holds, for either color."""
    teal = web(clock=True, top={"stop": {"timeout": 1000.0}}, drain={"timeout": 3600.0, "idle": 0.0})
    c = teal.connect().echo()
    teal.signal()
    teal.wait_log("teald.draining")
    teal.ctl("flip", "web", "blue", "--wait=applied")
    if back:
        teal.ctl("flip", "web", "green", "--wait=applied")
    teal.clock.move(800)
    assert c.alive and teal.running
    teal.clock.move(200, wait=False)    # it ends
    assert teal.wait() == 0
    assert teal.wait_log("tcp.session", client="%s:%d" % c.sock.getsockname())["end"] == "stopped"
    assert teal.wait_log("teald.drained")["remaining"] == 0


def test_flips_in_line_when_it_stops_all_get_an_answer(web, closing):
    """The last one may be in the workers' hands when everything is closed."""
    teal = web()
    askers = [closing.add(teal.admin()) for _ in range(30)]
    for i, a in enumerate(askers):
        a.send("flip", "web", ("green", "blue")[i % 2], "--wait=drained")
    teal.signal()
    for a in askers:
        r = a.reply()
        assert r["ok"] or r["error"] == "internal" and "stopping" in r["message"], r
    assert teal.wait() == 0


SLOW_NAMES = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <unistd.h>
int getpwuid_r(uid_t uid, struct passwd *p, char *text, size_t n, struct passwd **found)
{
	int (*real)(uid_t, struct passwd *, char *, size_t, struct passwd **) = dlsym(RTLD_NEXT, "getpwuid_r");
	usleep(400000);
	return real(uid, p, text, n, found);
}
"""


@pytest.mark.nosan      # a library loaded before the sanitizer's own
def test_commands_whose_user_is_still_looked_up_at_the_end(web, closing, tmp_path):
    """They never got their turn: told so, and nothing that is freed is read for it."""
    (tmp_path / "slow.c").write_text(SLOW_NAMES)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "slow.so", tmp_path / "slow.c", "-ldl"], check=True)
    teal = web(start=False)
    teal.start(prefix=("env", f"LD_PRELOAD={tmp_path}/slow.so", "MALLOC_PERTURB_=165"))
    askers = [closing.add(teal.admin()) for _ in range(10)]
    for a in askers:
        a.send("flip", "web", "blue")
    teal.signal()
    for a in askers:
        r = a.reply()
        assert (r["error"], r["changed"]) == ("internal", False) and "stopping" in r["message"], r
    assert teal.wait() == 0
    assert {l["result"] for l in teal.log_lines("audit", command="flip")} == {"internal"}


# ---- descriptors ----

LITTLE = ("prlimit", "--nofile=400:400")
if os.getuid() == 0:
    LITTLE += ("setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")


def test_bulk_does_not_eat_what_is_kept_for_the_admin_socket(web, backend, closing):
    """Stalled bulk streams sit on pipes, two descriptors each."""
    def hose(conn, b):
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        try:
            while not b.released.is_set():
                b.flowed += conn.send(pattern(7))
        except OSError:
            pass
    teal = web(green=[backend("green", hose)], top={"workers": 2}, start=False)
    teal.start(prefix=LITTLE)
    clients = []
    for _ in range(130):
        c = closing.add(socket.socket())
        c.settimeout(patience())
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        c.connect(teal.address())
        clients.append(c)

    def read_some():
        for c in clients[:60]:
            c.recv(1 << 18)
        return pipes_of(teal) >= 20
    # Some reading makes them bulk; then nobody reads any more.
    until(read_some, "many stalled streams have a pipe")
    for _ in range(5):
        read_some()
    others = [closing.add(teal.admin()) for _ in range(30)]
    for a in others:
        assert a.command("status", "web")["ok"]
    assert teal.fds() < 400


def test_many_listeners_count_as_descriptors(teal, backend, ports, closing):
    """Every worker has a socket of its own for each: they leave less to sessions."""
    b = backend("green")
    t = teal(services=[service(f"s{i}", listen=f"127.0.0.1:{ports.hold()}", green=[b], blue=[b], health={"type": "none"})
                       for i in range(20)], workers=8, start=False, clock=True)
    t.start(prefix=LITTLE)
    for _ in range(150):
        closing.add(socket.create_connection(t.address("s0"), patience()))
    t.clock.move(0.1)   # every loop had its turn
    for _ in range(5):
        with t.admin() as a:
            assert a.command("status", "s0")["ok"]


# ---- files ----

def test_a_successors_socket_file_is_left_alone(web):
    """The next one starts while this one drains: nobody answers any more, so
    the path is free to take."""
    path = f"/tmp/teal-hostile-{os.getpid()}-s.sock"
    teal = web(listen=f"unix:{path}", top={"stop": {"timeout": 20.0}}, drain={"timeout": 20.0, "idle": 0.0})
    c = teal.connect().echo()
    teal.signal()
    teal.wait_log("teald.draining")
    os.unlink(path)
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    try:
        c.close()
        assert teal.wait() == 0
        assert os.path.exists(path)
    finally:
        s.close()
        os.unlink(path)


def test_its_own_socket_file_is_removed(web):
    path = f"/tmp/teal-hostile-{os.getpid()}-o.sock"
    teal = web(listen=f"unix:{path}")
    assert teal.connect().echo().peer == "green"
    assert teal.stop() == 0
    assert not os.path.exists(path)


def test_a_path_that_is_bound_but_not_listened_on_yet_is_not_taken_away(web):
    """A teald that waits for its store has bound already; a file that nobody
    has bound is a left-over, also while connections of the past live on."""
    path = f"/tmp/teal-hostile-{os.getpid()}-b.sock"
    waiting = socket.socket(socket.AF_UNIX)
    waiting.bind(path)
    try:
        teal = web(listen=f"unix:{path}", start=False)
        status, text = teal.start_refused()
        assert status == 1 and "another process is about to listen" in text
        assert os.path.exists(path)
        # Its accepted connections go on, it does not: the path is free.
        waiting.listen()
        past = socket.socket(socket.AF_UNIX)
        past.connect(path)
        accepted, _ = waiting.accept()
        waiting.close()
        teal.start()
        assert teal.connect().echo().peer == "green"
        accepted.close()
        past.close()
        teal.stop()
    finally:
        waiting.close()
        if os.path.exists(path):
            os.unlink(path)


# ---- two at the same moment ----

def test_of_two_started_at_once_one_is_refused(web, tmp_path):
    """Neither listens yet when the other one binds."""
    for n in range(3):
        (tmp_path / str(n)).mkdir()
        first = web(start=False)
        second = web(start=False, listen=first.settings["services"][0]["listen"])
        for t in (first, second):
            t.start(ready=False)
            t.expect_status = None
        ended = until(lambda: [t for t in (first, second) if not t.running], "one of them gives up")
        other = second if ended[0] is first else first
        other.wait_ready()
        assert other.running and "another process already does" in ended[0].stderr()
        other.stop()


def test_closed_standard_descriptors_are_not_taken_for_something_else(web):
    teal = web(start=False)
    teal.start(prefix=("sh", "-c", 'exec "$0" "$@" 0<&- 1>&- 2>&-'), stdout=subprocess.DEVNULL)
    for fd in range(3):
        assert os.readlink(f"/proc/{teal.pid}/fd/{fd}") == "/dev/null"
    assert teal.ok("flip", "web", "blue")["changed"]


# ---- idle means idle ----

@pytest.mark.nosan
def test_half_closed_stalled_and_left_peers_cost_no_cpu(web, backend, closing):
    def half(conn, b):
        conn.sendall(b"half\n")
        conn.shutdown(socket.SHUT_WR)
        b.released.wait()
    def hose(conn, b):
        try:
            while not b.released.is_set():
                conn.send(pattern(7))
        except OSError:
            pass
    kinds = iter([half, hose, None] * 1000)
    def any_of(conn, b):
        kind = next(kinds)
        if kind:
            kind(conn, b)
        else:
            b.released.wait()
    teal = web(clock=True, green=[backend("green", any_of)])
    for i in range(30):
        c = closing.add(teal.connect())
        if i % 2 and i % 5:
            c.sock.shutdown(socket.SHUT_WR)
        if i % 5 == 0:
            c.sock.sendall(b"x")
            c.reset()
    # Once what was on its way is there.
    until(teal.clock.is_quiet, "no loop spins")
