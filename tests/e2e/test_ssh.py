"""tealctl -s ssh://: commands for a teald on another machine, through a real
ssh and sshd, with and without the forced command for keys of machines."""
import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import threading

import pytest

from helpers import scale
from helpers.scripted import Scripted
from helpers.sshd import USER, Sshd
from helpers.terminal import Terminal

TEALCTL = str(scale.BUILD / "tealctl")

# Everything that means something to some shell.
HOSTILE = "it's a \"quoted\" $(touch /tmp/teal-was-run) `id` \\ \\\\ ; & | > < * ? ~ ! # %s {a,b} [x] $HOME =x 'é' -s --"


def clean_env(env=None):
    return {k: v for k, v in os.environ.items() if not k.startswith("TEAL_S")} | (env or {})


def run(*args, env=None):
    return subprocess.run([TEALCTL, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=clean_env(env), timeout=4 * scale.patience())


# ---- what is asked of ssh; a stand-in does ----

@pytest.fixture
def stub(tmp_path):
    """stub(shell code): an `ssh` that notes its arguments; .args() are they."""
    def make(code=""):
        script, noted = tmp_path / "ssh", tmp_path / "args"
        script.write_text(f'#!/bin/sh\nfor a; do printf "%s\\0" "$a"; done >{noted}\n{code}\n')
        script.chmod(0o755)
        make.args = lambda: noted.read_text().split("\0")[:-1]
        return {"TEAL_SSH": str(script)}
    return make


STATUS = '{"ok":true,"service":"shop","color":"blue"}'


@pytest.mark.parametrize("address, to, port, sock", [
    ("ssh://lb", "lb", None, None),
    ("ssh://ci-shop@lb.example", "ci-shop@lb.example", None, None),
    ("ssh://ci-shop@lb:2222", "ci-shop@lb", "2222", None),
    ("ssh://ci-shop@lb/", "ci-shop@lb", None, None),
    ("ssh://ci-shop@lb/run/teal/b.sock", "ci-shop@lb", None, "/run/teal/b.sock"),
    ("ssh://u@10.0.0.1:22/run/a b.sock", "u@10.0.0.1", "22", "/run/a b.sock"),
    ("ssh://u@[2001:db8::1]:2222", "u@2001:db8::1", "2222", None),
    ("ssh://[fe80::1%eth0]/s", "fe80::1%eth0", None, "/s"),
])
def test_an_address_becomes_arguments(stub, address, to, port, sock):
    p = run("-s", address, "active", "shop", env=stub(f"echo '{STATUS}'"))
    assert (p.returncode, p.stdout, p.stderr) == (0, "blue\n", "")
    args = stub.args()
    i = args.index("--")
    assert args[i + 1] == to and len(args) == i + 3
    assert "BatchMode=yes" in args
    assert (args[args.index("-p") + 1] if "-p" in args else None) == port
    words = shlex.split(args[i + 2])
    assert words == ["tealctl", "--remote", *(["-s", sock] if sock else []), "active", "shop"]


@pytest.mark.parametrize("address, what", [
    ("ssh://", "the host is none"), ("ssh:///run/x", "the host is none"), ("ssh://u@", "the host is none"),
    ("ssh://-oProxyCommand=id", "the host is none"), ("ssh://u@-v", "the host is none"),
    ("ssh://@lb", "the user's name is none"), ("ssh://-l@lb", "the user's name is none"),
    ("ssh://a b@lb", "the user's name is none"), ("ssh://lb:0", "the port is none"), ("ssh://lb:", "the port is none"),
    ("ssh://lb:65536", "the port is none"), ("ssh://lb:ssh", "the port is none"), ("ssh://[::1", "the host is none"),
    ("ssh://2001:db8::1", "the host is none"), ("ssh://lb;id", "the host is none"),
    ("ssh://lb/" + "x" * 120, "the socket's path is too long"),
])
def test_what_is_no_address_is_not_tried(stub, address, what):
    env = stub("exit 77")
    p = run("-s", address, "status", env=env)
    assert (p.returncode, p.stdout) == (2, "")
    assert what in p.stderr and "ssh://[USER@]HOST[:PORT][/SOCKET]" in p.stderr
    assert not os.path.exists(env["TEAL_SSH"].replace("/ssh", "/args"))


def test_words_come_through_a_shell_as_they_are(stub):
    env = stub(r'while [ "$1" != -- ]; do shift; done; eval "set -- $3"; for a; do printf "%s\0" "$a"; done >&2')
    words = ["flip", "shop", "blue", "--reason=" + HOSTILE, "--expect=green@1"]
    p = run("-s", "ssh://lb", *words, env=env)
    assert p.stderr.split("\0")[:-1] == ["tealctl", "--remote", "flip", "shop", "blue", "--reason=" + HOSTILE,
                                         "--expect=green@1"]
    p = run("-s", "ssh://lb", "--last=3", "--", "history", "--shop", env=env)
    assert p.stderr.split("\0")[:-1] == ["tealctl", "--remote", "history", "--last=3", "--", "--shop"]
    assert not os.path.exists("/tmp/teal-was-run")


def test_TEAL_SSH_may_have_options_of_its_own(stub):
    env = stub(f"echo '{STATUS}'")
    env["TEAL_SSH"] += " -i /some/key  -o ConnectTimeout=3"
    assert run("-s", "ssh://lb", "active", "shop", env=env).returncode == 0
    args = stub.args()
    assert args[:4] == ["-i", "/some/key", "-o", "ConnectTimeout=3"]
    assert args.index("ConnectTimeout=3") < args.index("ConnectTimeout=10")     # ssh believes the first


@pytest.mark.parametrize("code, status, words", [
    ("exit 255", 9, "ssh did not reach it, or lost it (ssh://lb)"),
    ("exit 127", 9, "there is no tealctl to run there (ssh://lb)"),
    ("echo no such command >&2; exit 2", 2, "no such command"), ("echo hello", 9, "does not talk like teald"),
])
def test_watching_what_cannot_be_watched(stub, code, status, words):
    p = run("-s", "ssh://lb", "top", env=stub(code))
    assert (p.returncode, p.stdout) == (status, "") and words in p.stderr


GO = "printf '%s\\n' '{\"event\":\"reached\"}'; read go || exit 99; "


@pytest.mark.parametrize("code, command, status, words", [
    ("exit 255", "status", 9, "ssh did not reach lb"),
    ("exit 255", "flip shop blue", 9, "ssh did not reach lb"),
    ("kill -9 $$", "status", 9, "the ssh connection was lost"),
    ("kill -9 $$", "flip shop blue", 9, "the ssh connection was lost"),
    ("exit 127", "flip shop blue", 9, "there is no tealctl on lb"),
    ("echo said why >&2; exit 4", "flip shop blue", 4, "said why"),
    ("exit 0", "status", 9, "before its answer was complete"),
    ("echo hello", "status", 9, "does not talk like teald"),
    ("echo hello", "flip shop blue", 9, "does not talk like teald"),
    ('echo \'{"event":"hello"}\'', "flip shop blue", 9, "does not talk like teald"),
    # From here on the command may have reached teald.
    (GO + "exit 255", "flip shop blue", 11, "unknown"),
    (GO + "exit 255", "lock shop --reason=x", 11, "unknown"),
    (GO + 'echo \'{"event":"checked"}\'; kill -9 $$', "flip shop blue", 11, "unknown"),
    (GO + 'echo \'{"event":"committed","epoch":2}\'; exit 255', "flip shop blue", 8, "stored, but not confirmed"),
    (GO + 'echo \'{"event":"applied","epoch":2}\'; exit 255', "flip shop blue --wait=drained", 6, "is applied"),
    (GO + "exit 8", "flip shop blue", 8, ""),
    (GO + "exit 0", "flip shop blue", 11, "unknown"),
    # A whole answer is one, whatever ssh says then.
    (GO + 'echo \'{"ok":true,"service":"s","active":"blue","epoch":2,"changed":true}\'; exit 255', "flip shop blue", 0, ""),
    (GO + 'echo \'{"ok":false,"error":"locked","message":"m","changed":false}\'; exit 13', "flip shop blue", 13, "locked: m"),
    ('echo \'{"ok":false,"error":"denied","message":"no","right":"flip"}\'; exit 3', "flip shop blue", 3, "denied: no"),
])
def test_how_it_ends_when_the_way_breaks(stub, code, command, status, words):
    p = run("-s", "ssh://lb", *command.split(), env=stub(code))
    assert p.returncode == status, (p.stdout, p.stderr)
    assert words in p.stderr and '"event"' not in p.stdout


def test_without_ssh_that_is_said(tmp_path):
    p = run("-s", "ssh://lb", "status", env={"TEAL_SSH": str(tmp_path / "none")})
    assert (p.returncode, p.stdout) == (9, "")
    assert p.stderr == f"tealctl: cannot run {tmp_path}/none: No such file or directory; is the OpenSSH client installed?\n"


# ---- through a real sshd ----

@pytest.fixture
def sshd(ports, closing):
    return closing.add(Sshd(ports.hold()))


@pytest.fixture
def lb(sshd, web):
    """A running teald that knows the user, and .ssh(words): tealctl from afar."""
    roles = [{"user": USER, "services": ["web"], "allow": ["read", "flip"]}]
    teal = web(start=False, top={"admin": {"mode": "0666", "roles": roles}})
    teal.start(prefix=sshd.inside())
    teal.url = f"ssh://{USER}@lb{teal.admin_path}"
    teal.ssh = lambda *words: run("-s", teal.url, *words, env=sshd.env)
    return teal


def test_it_looks_as_if_teald_were_here(lb):
    p = lb.ssh("whoami")
    assert (p.returncode, p.stderr) == (0, "")
    assert p.stdout.startswith(f"{USER}\t4711\t") and "service\tweb\tread,flip\n" in p.stdout
    for words in (["active", "web"], ["idle", "web"], ["drain", "web"], ["history", "web"], ["help", "flip"]):
        here, there = lb.tealctl(*words), lb.ssh(*words)
        assert (there.returncode, there.stdout, there.stderr) == (here.returncode, here.stdout, here.stderr)
    p = lb.ssh("flip", "web", "blue", "--wait=drained")
    assert (p.returncode, p.stderr) == (0, "")
    steps = [l.split("\t")[0] for l in p.stdout.splitlines()]
    assert [x for x in steps if x != "draining"] == ["checked", "committed", "applied", "drained", "flipped"]
    assert lb.connect().peer == "blue" and lb.status()["changed_by"] == USER


def test_watching_from_afar(lb, sshd, closing):
    # On a busy machine the way there alone may take longer than a teald that is well.
    p = scale.until(lambda: (p := lb.ssh("top", "--interval=0.1")).returncode != 9 and p, "teald answers from afar")
    assert (p.returncode, p.stderr) == (0, "")
    assert re.fullmatch(r"top\tweb\ttcp\tgreen\t1\t1\t1\t0\t0.0\t.*\tunlocked\t0.0\t.*\n", p.stdout)
    t = closing.add(Terminal(TEALCTL, "-s", lb.url, "top", "--interval=0.2", env=clean_env(sshd.env)))
    t.until("> web", "● green")
    lb.ok("flip", "web", "blue")
    t.until("■ blue")
    t.press("\r")
    t.until("web (tcp): blue is active", lb.blue.address)
    lb.stop()
    assert t.end() == 9 and "teald closed the connection" in t.text


def test_json_is_what_teald_said(lb):
    p = lb.ssh("--json", "flip", "web", "blue")
    assert (p.returncode, p.stderr) == (0, "")
    objects = [json.loads(l) for l in p.stdout.splitlines()]
    assert [o.get("event") for o in objects] == ["checked", "committed", "applied", None]
    assert objects[-1]["ok"] and objects[-1]["active"] == "blue"


def test_exit_statuses_come_through(lb):
    def status(*words):
        p = lb.ssh(*words)
        return p.returncode, p.stderr
    assert status("flip", "web", "blue", "--expect=blue")[0] == 5
    assert status("stop") == (3, f'tealctl: denied: {USER} (uid 4711) may not stop teald: no role grants "admin" on "*"\n')
    assert status("flip", "web", "pink")[0] == 2
    lb.ok("lock", "web", "--reason=freeze")
    code, text = status("flip", "web", "blue")
    assert code == 13 and text.startswith("tealctl: locked: ")
    lb.stop()
    for words in (["status"], ["flip", "web", "blue"]):
        code, text = status(*words)
        assert code == 9 and text.count("\n") == 1 and "no socket at" in text


def test_hostile_words_arrive_as_they_are(lb, sshd):
    for n, forced in enumerate((False, True)):
        if forced:
            sshd.install_forced_command(lb.admin_path)
        p = lb.ssh("flip", "web", ("blue", "green")[n], "--reason", HOSTILE)
        assert (p.returncode, p.stderr) == (0, "")
        assert lb.ok("history", "web")["history"][-1]["reason"] == HOSTILE
    assert not os.path.exists("/tmp/teal-was-run")


@pytest.mark.long
@pytest.mark.nosan  # sshd's and a shell's work
def test_a_key_of_a_machine_runs_tealctl_and_nothing_else(lb, sshd):
    sshd.install_forced_command(lb.admin_path)
    url = f"ssh://{USER}@lb"            # the socket is the forced command's to know
    p = run("-s", url, "flip", "web", "blue", "--reason=deploy 8812", env=sshd.env)
    assert (p.returncode, p.stderr) == (0, "")
    assert lb.ssh("active", "web").stdout == "blue\n"       # the same socket, asked for
    assert sshd.ssh("tealctl", "active", "web").stdout == "blue\n"
    assert sshd.ssh("tealctl active web").stdout == "blue\n"
    marker = sshd.folder / "home" / "was-here"
    for words in ([], ["id"], ["/bin/sh"], [f"touch {marker}"], [f"tealctl status; touch {marker}"],
                  [f"tealctl status\ntouch {marker}"], [f"tealctl status & touch {marker}"],
                  [f"tealctl $(touch {marker})"], [f"tealctl `touch {marker}`"], [f"tealctl \"$(touch {marker})\""],
                  [f"tealctl status >{marker}"], [f"tealctl status | tee {marker}"], ["tealctl 'status"],
                  ["tealctlx status"], ["sh -c 'tealctl status'"], ["tealctl -s /run/docker.sock status"],
                  ["tealctl --socket=ssh://elsewhere status"], ["tealctl -sssh://elsewhere status"],
                  ["tealctl status --socket /x"], ["tealctl -s"], ["tealctl --ca -- -s tls://elsewhere status"],
                  ["tealctl --token-file -- -s tls://elsewhere --token-file=/etc/hostname status"], ["internal-sftp"], ["scp -t /tmp"]):
        p = sshd.ssh(*words)
        assert (p.returncode, p.stdout) == (3, ""), (words, p.stdout, p.stderr)
        assert p.stderr.startswith("teal-forced-command: ") and "\nteal" not in p.stderr, words
    assert not marker.exists()
    # What is no command of tealctl is tealctl's to refuse.
    p = sshd.ssh("tealctl", "status", "--no-such")
    assert p.returncode == 2 and p.stderr.startswith("tealctl: ")
    # sftp asks for a subsystem: it gets the same answer, and cannot read it.
    p = subprocess.run(["sftp", "-F", str(sshd.folder / "ssh_config"), "-b", "/dev/null", "lb"],
                       capture_output=True, text=True)
    assert p.returncode == 255 and "Connection closed" in p.stderr


@pytest.mark.nosan  # a shell's work
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_forced_command_reads_quotes_as_sh_does(tmp_path, shell):
    (tmp_path / "tealctl").write_text('#!/bin/sh\nfor a; do printf "%s\\0" "$a"; done\n')
    (tmp_path / "tealctl").chmod(0o755)
    script = tmp_path / "forced"
    script.write_text((scale.REPO / "conf/ssh/teal-forced-command").read_text().replace("@BINDIR@", str(tmp_path)))
    for text in (r"tealctl status", r"  tealctl   flip  shop blue  ", r"tealctl 'a b'c\ d\'e", "tealctl '' \"\" x''y",
                 r"""tealctl "it's \"x\" \\ y" 'a"b\c' --reason='it'\''s'""", "tealctl 'two\nlines' 'tab\there'",
                 "tealctl 'gr\u00fcn \u2713' -- -s /x", r"tealctl \$HOME \*\;", "te'alct'l x=1,y@2:3%4+5/6_7-8.9"):
        p = subprocess.run([shell, script, "/s"], env={"SSH_ORIGINAL_COMMAND": text}, capture_output=True, text=True)
        assert (p.returncode, p.stderr) == (0, ""), text
        assert p.stdout.split("\0")[:-1] == ["-s", "/s", *shlex.split(text)[1:]]
    # No socket of one's own, and no file of this machine, also where tealctl takes -- for the name of a file.
    for option in ("--ca", "--cert", "--key", "--token-file"):
        for text in (f"tealctl {option} -- -s tls://elsewhere status", f"tealctl status {option}=/etc/hostname"):
            p = subprocess.run([shell, script, "/s"], env={"SSH_ORIGINAL_COMMAND": text}, capture_output=True, text=True)
            assert (p.returncode, p.stdout) == (3, "") and f"there is no {option}\n" in p.stderr, (text, p)
    big = "tealctl flip shop blue '--reason=" + "x'\\''" * 512 + "'"
    p = subprocess.run([shell, script], env={"SSH_ORIGINAL_COMMAND": big}, capture_output=True, text=True)
    assert p.stdout.split("\0")[-2] == "--reason=" + "x'" * 512
    p = subprocess.run([shell, script], env={"SSH_ORIGINAL_COMMAND": "tealctl " + "x" * 40000}, capture_output=True)
    assert p.returncode == 3


def test_a_wrong_key_or_host_is_9_and_changes_nothing(lb, sshd, ports):
    (sshd.folder / "keys" / USER).write_text("")
    p = lb.ssh("flip", "web", "blue")
    assert p.returncode == 9 and "Permission denied" in p.stderr
    assert p.stderr.endswith(f"tealctl: ssh did not reach {USER}@lb, or lost it\n")
    p = run("-s", f"ssh://{USER}@127.0.0.1:{ports.hold()}", "status", env=sshd.env)
    assert p.returncode == 9 and "refused" in p.stderr
    (sshd.folder / "known_hosts").write_text("")
    p = lb.ssh("flip", "web", "blue")
    assert p.returncode == 9 and "Host key verification failed" in p.stderr
    assert lb.status()["epoch"] == 1


def test_no_tealctl_there(lb, sshd):
    os.unlink(sshd.folder / "bin" / "tealctl")
    p = lb.ssh("flip", "web", "blue")
    assert p.returncode == 9 and p.stderr.endswith(f"tealctl: there is no tealctl on {USER}@lb to run\n")


def test_events_stream_and_leave_nothing_behind(lb, sshd):
    p = subprocess.Popen([TEALCTL, "-s", lb.url, "events"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                         env=clean_env(sshd.env))
    assert "events.listening" in p.stdout.readline()
    assert len(sshd.running("tealctl")) == 1
    lb.ok("lock", "web", "--reason=seen from afar")
    assert "service.locked" in (line := p.stdout.readline()) and "seen from afar" in line
    p.send_signal(signal.SIGINT)
    assert p.wait(scale.patience()) == -signal.SIGINT
    p.stdout.close()
    # No further event tells the tealctl there that nobody listens.
    scale.until(lambda: not sshd.running("tealctl"), "the tealctl there has ended")


@pytest.fixture
def scripted(closing):
    folder = tempfile.mkdtemp(prefix="teal-", dir="/tmp")
    os.chmod(folder, 0o755)

    def make(script):
        s = closing.add(Scripted(folder + "/s", script))
        os.chmod(s.path, 0o666)
        return s
    yield make
    closing.close()
    os.rmdir(folder)


def begin(sshd, s, *words):
    return subprocess.Popen([TEALCTL, "-s", f"ssh://lb{s.path}", *words], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_env(sshd.env))


def ended(p):
    out, err = p.communicate(timeout=2 * scale.patience())
    return p.returncode, out, err


def test_a_connection_cut_after_the_command_went_out_is_told_from_one_before(sshd, scripted):
    hold = threading.Event()
    try:
        s = scripted({"version": [hold], "flip shop blue": [{"event": "checked"}, {"event": "committed", "epoch": 2}, hold],
                      "lock shop --reason=x": [hold]})
        # teald has not even greeted: nothing was sent, and nothing will be.
        p = begin(sshd, s, "flip", "shop", "blue")
        scale.until(lambda: s.lines == ["version"], "teald is greeted")
        sshd.cut()
        status, _, text = ended(p)
        assert status == 9 and "ssh did not reach lb" in text
        scale.until(lambda: not sshd.running("tealctl"), "the tealctl there has ended")
        assert s.commands == []

        s.script["version"] = [{"ok": True, "version": "1"}]
        p = begin(sshd, s, "flip", "shop", "blue")
        assert p.stdout.readline().startswith("checked") and p.stdout.readline().startswith("committed")
        sshd.cut()
        status, _, text = ended(p)
        assert status == 8 and "the flip is stored, but not confirmed" in text

        p = begin(sshd, s, "lock", "shop", "--reason=x")
        scale.until(lambda: "lock shop --reason=x" in s.commands, "the lock is sent")
        sshd.cut()
        status, _, text = ended(p)
        assert status == 11 and "whether anything changed is unknown" in text
    finally:
        hold.set()


def test_interrupted_before_teald_was_reached_nothing_is_sent(sshd, scripted):
    hold = threading.Event()
    s = scripted({"version": [hold, {"ok": True, "version": "1"}], "flip shop blue": []})
    p = begin(sshd, s, "flip", "shop", "blue")
    scale.until(lambda: s.lines == ["version"], "teald is greeted")
    p.send_signal(signal.SIGINT)
    assert ended(p)[0] == -signal.SIGINT
    hold.set()
    scale.until(lambda: not sshd.running("tealctl"), "the tealctl there has ended")
    assert s.commands == []
