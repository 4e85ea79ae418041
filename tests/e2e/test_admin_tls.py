"""The admin listener: who gets in by a certificate or a token and who does not, what becomes of connections when
that changes, and clients that mean no good."""
import datetime
import json
import os
import socket
import ssl

import pytest

from helpers.callers import Listener
from helpers.certificates import Authority, hello, replace, trusting
from helpers.reload import change, reload, rewrite
from helpers.scale import until
from helpers.upgrade import gone

READS = {"services": ["*"], "allow": ["read"]}
ALL = {"services": ["*"], "allow": ["read", "flip", "node", "admin"]}
# The only way in that needs nothing else.
JOB = [{"cn": "job", **ALL}]


@pytest.fixture
def listener(tmp_path, ports):
    return Listener(tmp_path, ports.hold())


@pytest.fixture
def remote(web, listener):
    """remote(roles, admin={…}): a teald that listens."""
    def make(roles=JOB, admin=(), supervised=False, start=True, **keys):
        teal = web(start=False, top={"admin": {**listener.settings, "roles": list(roles), **dict(admin)}}, **keys)
        if start:
            teal.start(supervised=supervised)
        return teal
    return make


def refused(teal, result, n=1):
    """So many were, in the metric; the last line of the log about it."""
    teal.wait_metric(n, "teal_admin_tls_connections_total", result=result)
    return teal.wait_log("admin.refused", result=result)


def settings(teal, **admin):
    """The file, with other settings of the section admin."""
    rewrite(teal, admin={k: v for k, v in (teal.settings["admin"] | admin).items() if v is not None})


def test_tealctl_by_a_certificate_and_by_a_token(remote, listener):
    job, token = listener.ca.issue("job"), listener.token("ci-shop")
    teal = remote([{"cn": "job", **ALL}, {"token": "ci-shop", **READS}])
    p = listener.tealctl("flip", "web", "blue", "--reason=deploy 1", own=job)
    assert (p.returncode, p.stderr) == (0, ""), p
    assert teal.status()["active"] == "blue"
    line = teal.wait_log("audit", command="flip")
    assert (line["user"], line["subject"], line["result"]) == ("cn:job", "CN=job", "ok")
    assert line["peer"].startswith("127.0.0.1:") and "uid" not in line and "pid" not in line
    entry, = teal.ok("history", "web")["history"]
    assert (entry["by"], entry["reason"]) == ("cn:job", "deploy 1") and "uid" not in entry
    # The token may only look.
    assert listener.tealctl("active", "web", token=token).stdout == "blue\n"
    p = listener.tealctl("flip", "web", "green", token=token)
    assert (p.returncode, p.stderr) == (3, 'tealctl: denied: token:ci-shop may not flip "web": no role grants "flip" on it\n')
    assert teal.wait_log("audit", result="denied")["user"] == "token:ci-shop"
    me = json.loads(listener.tealctl("whoami", "--json", token=token).stdout)
    assert (me["user"], me["subject"], me["everywhere"]) == ("token:ci-shop", None, ["read"]) and "uid" not in me
    # All of it by the environment, as a job has it.
    env = {"TEAL_SOCKET": "tls://%s:%d" % listener.address, "TEAL_CA": str(listener.ca.pem), "TEAL_TOKEN": token}
    p = teal.tealctl("-s", env["TEAL_SOCKET"], "idle", "web", env=env)
    assert (p.returncode, p.stdout) == (0, "green\n"), p
    status = json.loads(listener.tealctl("status", "--json", own=job).stdout)["admin"]
    assert status["listeners"] == 1 and status["connections"] == 1 and status["refused"] == 0
    until(lambda: teal.ok("status")["admin"]["connections"] == 0, "all have gone")


def test_the_wrong_certificates_are_refused_and_told_why(remote, listener, tmp_path):
    jane, ca = listener.ca.issue("jane", subject="job"), listener.ca
    teal = remote(admin={"tls": {**listener.settings["tls"], "crl": str(ca.revoke(jane))}})
    stranger = Authority(tmp_path, "Stranger")
    cases = [(stranger.issue("job"), "unknown ca", "unable to get local issuer certificate"),
             (ca.issue("old", days=-1, subject="job"), "certificate expired", "certificate has expired"),
             (jane, "certificate revoked", "certificate revoked")]
    for n, (own, told, why) in enumerate(cases, 1):
        p = listener.tealctl("status", own=own)
        assert p.returncode == 3 and p.stdout == "" and told in p.stderr, p
        refused(teal, "certificate", n)
    # The log has the first at once, and counts those that follow.
    assert "unable to get local issuer" in teal.wait_log("admin.refused", result="certificate")["why"]
    assert teal.log_lines("audit") == []
    # None at all.
    p = listener.tealctl("status")
    assert p.returncode == 3 and "has shown no client certificate" in p.stderr
    # And the server's own is looked at by tealctl.
    p = listener.tealctl("status", own=listener.ca.issue("job"), ca=stranger.pem)
    assert p.returncode == 9 and "--ca=FILE names the authority" in p.stderr


def test_without_tokens_a_certificate_is_required_in_the_handshake(remote, listener):
    teal = remote(start=False)
    del teal.settings["admin"]["token_file"]
    teal.start()
    p = listener.tealctl("status")
    assert p.returncode == 3 and "certificate required" in p.stderr, p
    assert "no certificate" in refused(teal, "certificate")["why"]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        a = listener.connect(maximum_version=ssl.TLSVersion.TLSv1_2)
        a.object()


def test_the_wrong_tokens_are_refused_and_told_why(remote, listener):
    good, old, lost = listener.token("ci"), listener.token("old", "until=2020-01-31"), listener.token("lost")
    text = listener.token_file.read_text()
    listener.token_file.write_text("# of this site\n\n" + "".join(l for l in text.splitlines(True) if not l.startswith("lost ")))
    teal = remote([{"token": ["ci", "old", "lost"], **READS}])
    for n, (token, why) in enumerate([(lost, "is unknown here"), ("teal_" + "0" * 64, "is unknown here"),
                                      (good[:-1], "is unknown here"), (old, "has expired")], 1):
        p = listener.tealctl("status", token=token)
        assert p.returncode == 3 and why in p.stderr, p
        refused(teal, "token", n)
    assert all(t not in json.dumps(teal.logs) for t in (good, old, lost))
    # By hand: what is no token first, one too long, and commands that follow a good one at once.
    for line in (b"status\n", b"x" * 200, b"auth \n", b"GET / HTTP/1.1\r\n\r\n"):
        with listener.connect() as a:
            a.sock.sendall(line)
            reply = a.object()
            assert (reply["ok"], reply["error"]) == (False, "denied"), reply
            assert a.object() is None
    with listener.connect() as a:
        a.sock.sendall(f"auth {good}\r\nversion\nactive web\n".encode())
        assert a.object() == {"ok": True, "user": "token:ci"}
        assert a.reply()["ok"] and a.reply()["color"] == "green"


def test_names_of_a_certificate(remote, listener):
    """cn is the only common name there is; san are the others; a pattern reaches over all of a name."""
    roles = [{"cn": "deploy-*", "services": ["web"], "allow": ["read"]},
             {"san": ["runner.ci.example", "10.0.0.*"], "services": ["web"], "allow": ["flip"]}]
    teal = remote(roles)
    for own, name, rights in [
            (listener.ca.issue("a", "x.example", subject="deploy-web"), "cn:deploy-web", ["read"]),
            (listener.ca.issue("b", "RUNNER.ci.example", subject="other"), "cn:other", ["flip"]),
            (listener.ca.issue("c", "10.0.0.7", subject="deploy-"), "cn:deploy-", ["read", "flip"]),
            # What looks like a pattern in a certificate is none.
            (listener.ca.issue("d", "*.example", subject="*"), "cn:*", []),
            (listener.ca.issue("e", "deploy-web", subject="runner.ci.example"), "cn:runner.ci.example", [])]:
        with listener.connect(own) as a:
            me = a.command("whoami")
            assert (me["user"], me["rights"]) == (name, rights)
            assert (a.command("active", "web")["ok"]) == ("read" in rights)
    assert teal.running


def test_a_token_that_is_taken_back_ends_its_connections(remote, listener):
    keeps, goes = listener.token("keeps"), listener.token("goes")
    teal = remote([{"token": ["keeps", "goes"], **READS}])
    with listener.connect(token=keeps) as stays, listener.connect(token=goes) as leaves:
        assert stays.command("version")["ok"] and leaves.command("version")["ok"]
        kept = "".join(l for l in listener.token_file.read_text().splitlines(True) if l.startswith("keeps "))
        replace(listener.token_file, kept.encode(), 0o640)
        plan = reload(teal)
        assert plan["changed"]
        assert leaves.object() is None
        assert stays.command("version")["ok"]
    assert teal.wait_log("admin.closed", user="token:goes")
    assert listener.tealctl("status", token=goes).returncode == 3
    # Rights change under a connection that stays.
    with listener.connect(token=keeps) as a:
        assert a.command("status")["ok"]
        settings(teal, roles=[{"token": "keeps", "services": ["*"], "allow": ["flip"]}])
        reload(teal)
        assert a.command("status")["error"] == "denied"


def test_a_certificate_that_is_revoked_ends_its_connections(remote, listener):
    jane, joe = listener.ca.issue("jane", subject="job"), listener.ca.issue("joe", subject="job")
    teal = remote(admin={"tls": {**listener.settings["tls"], "crl": str(listener.ca.revoke())}})
    with listener.connect(jane) as leaves, listener.connect(joe) as stays:
        assert leaves.command("version")["ok"] and stays.command("version")["ok"]
        # Its lines that wait are not carried out.
        listener.ca.revoke(jane)
        teal.ok("certs", "reload")
        assert leaves.object() is None
        assert stays.command("status")["ok"]
    refused(teal, "certificate")
    m = teal.metrics()
    assert m.get("teal_admin_crl_expiry_seconds") and m.get("teal_admin_certificate_expiry_seconds")
    assert listener.tealctl("status", own=jane).returncode == 3
    # A file that is none changes nothing, and is told of.
    replace(listener.folder / "lb.pem", b"nothing")
    r = teal.ctl("certs", "reload")
    assert not r["ok"] and "lb.pem" in r["message"]
    assert listener.tealctl("status", own=joe).returncode == 0
    shown, = [c for c in teal.ok("certs")["certificates"] if c["service"] == "(admin)"]
    assert shown["problem"]
    # A new certificate is shown without a word being lost.
    with listener.connect(joe) as stays:
        listener.ca.issue("lb", "lb.example", "127.0.0.1", subject="the new one")
        teal.ok("certs", "reload")
        with listener.connect(joe) as a:
            assert dict(x[0] for x in a.sock.getpeercert()["subject"])["commonName"] == "the new one"
        assert stays.command("version")["ok"]


def test_a_reload_opens_and_closes_the_listener(remote, listener, ports, tmp_path):
    job = listener.ca.issue("job")
    teal = remote()
    other = ("127.0.0.1", ports.hold())
    with listener.connect(job) as a:
        settings(teal, listen=["%s:%d" % listener.address, "%s:%d" % other])
        assert reload(teal)["changed"]
        assert listener.tealctl("version", own=job, address=other).returncode == 0
        assert listener.tealctl("version", own=job).returncode == 0
        # The first goes; who is there stays.
        settings(teal, listen="%s:%d" % other)
        reload(teal)
        assert a.command("version")["ok"]
        until(lambda: socket.socket().connect_ex(listener.address) != 0, "the old address is closed")
    # What cannot be listened on refuses all of it.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings(teal, listen=["%s:%d" % other, "127.0.0.1:%d" % taken.getsockname()[1]])
        change(teal, max_connections=77)
        r = teal.ctl("reload")
        assert not r["ok"] and "admin.listen" in r["message"], r
        assert listener.tealctl("version", own=job, address=other).returncode == 0
    # Files that do not do, likewise.
    settings(teal, listen="%s:%d" % other, tls={**listener.settings["tls"], "client_ca": "/nowhere.pem"})
    r = teal.ctl("reload")
    assert not r["ok"] and any("admin.tls: cannot read /nowhere.pem" in e["message"] for e in r["errors"]), r
    # Without the listener the socket goes on.
    settings(teal, listen=None, tls=None, token_file=None)
    reload(teal)
    assert teal.ok("status")["admin"] is None
    until(lambda: socket.socket().connect_ex(other) != 0, "it is closed")
    # And it comes again, as the first time.
    settings(teal, **listener.settings)
    reload(teal)
    assert listener.tealctl("version", own=job).returncode == 0


def test_nobody_stays_once_nothing_is_accepted_any_more(remote, listener):
    """By a certificate as by a token: without the setting that let it in no connection gives commands."""
    job, token = listener.ca.issue("job"), listener.token("ci")
    teal = remote([*JOB, {"token": "ci", **READS}])
    for gone in ({"listen": None, "tls": None, "token_file": None},
                 {"tls": {k: v for k, v in listener.settings["tls"].items() if k != "client_ca"}}):
        with listener.connect(job) as a, listener.connect(token=token) as b:
            assert a.command("version")["ok"] and b.command("version")["ok"]
            settings(teal, **gone)
            assert reload(teal)["changed"]
            assert a.object() is None
            assert b.object() is None if "token_file" in gone else b.command("version")["ok"]
        assert "client_ca" in teal.wait_log("admin.closed", user="cn:job")["why"]
        settings(teal, **listener.settings)
        reload(teal)


def test_connections_and_the_listener_survive_an_upgrade(remote, listener):
    job, token = listener.ca.issue("job"), listener.token("ci")
    teal = remote([*JOB, {"token": "ci", **READS}], supervised=True)
    listener.tealctl("status")      # is refused
    refused(teal, "token")
    before = teal.serving()
    with listener.connect(job) as asks, listener.connect(job) as listens, listener.connect(token=token) as waits:
        assert waits.command("active", "web")["ok"]
        listens.send("events", "web")
        assert listens.object()["event"] == "events.listening"
        asks.send("upgrade")
        assert asks.reply()["ok"]
        after = teal.serving()
        assert after != before
        # The same connections, with the same rights, in the other process.
        assert waits.command("version")["pid"] == after
        assert waits.command("flip", "web", "blue")["error"] == "denied"
        assert asks.command("flip", "web", "blue")["ok"]
        while listens.object()["event"] != "flip.applied":
            pass
        assert teal.wait_log("audit", command="flip", result="ok")["user"] == "cn:job"
        # New ones come to it, and what was counted goes on.
        assert listener.tealctl("version", own=job).returncode == 0
        teal.wait_metric(1, "teal_admin_tls_connections_total", result="token")
        # A token is taken back there, too.
        replace(listener.token_file, b"", 0o640)
        reload(teal)
        assert waits.object() is None
    gone(before)
    teal.wait_log("upgrade.finished")


def test_the_listener_survives_a_crash(remote, listener):
    job = listener.ca.issue("job")
    teal = remote(supervised=True)
    teal.expect_status = None
    before = teal.serving()
    os.kill(before, 9)
    until(lambda: listener.tealctl("version", own=job).returncode == 0, "it listens again")
    assert teal.serving() != before
    assert teal.stop() == 0


def test_upgrade_runs_no_program_that_is_named_from_afar(remote, listener):
    job = listener.ca.issue("job")
    teal = remote(supervised=True)
    for option in ("--binary=/bin/true", "--config=/etc/passwd"):
        p = listener.tealctl("upgrade", option, own=job)
        assert p.returncode == 2 and "are for the admin socket alone" in p.stderr, p
    assert teal.ok("status")["restarts"] == 0 and len(teal.ok("status")["generations"]) == 1


def test_stop_is_answered(remote, listener):
    job = listener.ca.issue("job")
    teal = remote()
    with listener.connect(job) as a:
        assert a.command("stop") == {"ok": True, "stopping": True}
        assert a.object() is None
    assert teal.wait() == 0


def test_large_replies_and_a_polite_end(remote, listener):
    job = listener.ca.issue("job")
    teal = remote()
    for i in range(60):
        teal.ok("lock", "web", f"--reason={'x' * 250}")
        teal.ok("unlock", "web")
    with listener.connect(job, maximum_version=ssl.TLSVersion.TLSv1_3) as a:
        # Sixty times a reply of tens of kilobytes, none of which is read until all are asked for.
        for i in range(60):
            a.send("history", "web", "--last=1000")
        for i in range(60):
            assert len(a.reply()["history"]) >= 100
    # A goodbye is answered by one.
    with listener.connect(job) as a:
        a.send("active", "web")
        assert a.reply()["color"] == "green"
        assert a.sock.unwrap() is not None


def test_slow_and_hostile_clients_hold_up_nobody(remote, listener, tmp_path):
    """A hundred of them, from ten addresses; by the socket and by the listener others are served meanwhile."""
    job, stranger = listener.ca.issue("job"), Authority(tmp_path, "Stranger").issue("job")
    teal = remote(clock=True)
    greeting = hello("lb.example")
    bad = []

    def dial(source):
        s = socket.create_connection(listener.address, source_address=(source, 0))
        bad.append(s)
        return s
    try:
        with listener.connect(job, source=("127.0.0.99", 0)) as friend:
            assert friend.command("version")["ok"]
            for i in range(10):
                source = f"127.0.0.{i + 2}"
                for what in (b"", greeting[:10], greeting, b"GET / HTTP/1.1\r\n\r\n", os.urandom(3000)):
                    try:
                        dial(source).sendall(what)
                    except OSError:
                        pass        # it was closed already
                for _ in range(5):
                    dial(source)
            assert len(bad) == 100
            assert teal.ok("status")["admin"]["listeners"] == 1
            assert friend.command("active", "web")["ok"]
            # The socket answers, whatever is pending there.
            assert teal.ok("flip", "web", "blue")["ok"]
            # Where no place is free the oldest makes way, once it has had a second.
            teal.clock.move(1.5)
            with listener.connect(job, source=("127.0.0.98", 0)) as another:
                assert another.command("version")["ok"]
            # And all end when their time is over.
            teal.clock.move(6)
            until(lambda: teal.ok("status")["admin"]["pending"] == 0, "none is left")
            assert friend.command("version")["ok"]
    finally:
        for s in bad:
            s.close()
    teal.wait_log("admin.refused", result="timeout")
    teal.wait_log("admin.refused", result="handshake")
    # Refusals of a kind are told together.
    assert len(teal.log_lines("admin.refused")) < 30


def test_one_address_takes_no_more_than_its_share(remote, listener):
    job = listener.ca.issue("job")
    teal = remote()
    mine = [listener.connect(job) for _ in range(16)]
    for a in mine:
        assert a.command("version")["ok"]
    with pytest.raises((ssl.SSLError, OSError)):
        listener.connect(job).command("version")
    assert "of its address" in refused(teal, "limit")["why"]
    with listener.connect(job, source=("127.0.0.7", 0)) as other:
        assert other.command("version")["ok"]
    for a in mine:
        a.close()
    until(lambda: listener.tealctl("version", own=job).returncode == 0, "its places are free again")


def test_networks_that_are_not_let_in(remote, listener):
    job = listener.ca.issue("job")
    teal = remote(admin={"allow": ["127.0.0.8/32"]})
    assert listener.tealctl("version", own=job).returncode == 9
    assert "admin.allow" in refused(teal, "network")["why"]
    with listener.connect(job, source=("127.0.0.8", 0)) as a:
        assert a.command("version")["ok"]
    settings(teal, allow=["127.0.0.0/8"])
    reload(teal)
    assert listener.tealctl("version", own=job).returncode == 0


def test_a_token_that_expires_meanwhile(remote, listener):
    """A connection that is there is good as long as what it has shown."""
    token = listener.token("ci", "until=2037-12-31")
    teal = remote([{"token": "ci", **READS}], admin={})
    with listener.connect(token=token) as a:
        assert a.command("status")["ok"]
        replace(listener.token_file, listener.token_file.read_bytes().replace(b"2037", b"2021"), 0o640)
        reload(teal)
        assert a.object() is None
    assert "has expired" in listener.tealctl("status", token=token).stderr


def test_a_stream_of_events_ends_with_what_its_client_has_shown(remote, listener):
    token = listener.token("ci", f"until={datetime.date.today() + datetime.timedelta(days=10)}")
    teal = remote([*JOB, {"token": "ci", **READS}], clock=True)
    with listener.connect(listener.ca.issue("job", days=20)) as a, listener.connect(token=token) as b, teal.admin() as local:
        for admin in (a, b, local):
            admin.send("events")
            assert admin.object()["event"] == "events.listening"
        teal.clock.move(12 * 86400)
        assert teal.wait_log("admin.closed", user="token:ci")["why"] == "the token that this connection has shown has expired"
        until(lambda: b.object() is None, "its stream has ended")
        teal.ok("flip", "web", "blue", "--reason=seen by those who may")
        until(lambda: "seen by those who may" in str(a.object()), "the other one goes on")
        teal.clock.move(10 * 86400)
        assert "certificate" in teal.wait_log("admin.closed", user="cn:job")["why"]
        until(lambda: a.object() is None, "its stream has ended")
        until(lambda: "seen by those who may" in str(local.object()), "that of the socket goes on")


def test_what_teald_t_says(remote, listener, tmp_path):
    teal = remote(start=False)
    admin = teal.settings["admin"]

    def check(**keys):
        teal.settings["admin"] = {k: v for k, v in (admin | keys).items() if v is not None}
        return teal.start_refused("-t")
    assert check()[0] == 0
    tls = listener.settings["tls"]
    for keys, told in [
            (dict(tls=None), "admin.listen: speaks TLS only"),
            (dict(tls={k: v for k, v in tls.items() if k != "client_ca"}, token_file=None), "admin.listen: whom does it let in?"),
            (dict(tls=tls | {"cert": "/nowhere.pem"}), "admin.tls: cannot read /nowhere.pem"),
            (dict(tls=tls | {"crl": tls["client_ca"]}), "there is no revocation list in PEM form in it"),
            (dict(tls={k: v for k, v in tls.items() if k != "client_ca"} | {"crl": "x.pem"}), "admin.tls.crl: of whose certificates?"),
            (dict(listen="unix:/tmp/x"), "a Unix socket is admin.socket"),
            (dict(token_file="/nowhere"), "admin.token_file: cannot read /nowhere"),
            (dict(roles=[{"cn": "x", "user": "root", **READS}]), "this one mixes them"),
            (dict(roles=[{"token": "teal_x y", **READS}]), "never the token itself")]:
        status, text = check(**keys)
        assert status == 2 and told in text, (keys, text)
    for text, told in [("ci sha256:00\n", "line 1: behind the name belongs sha256: and 64"), ("\n\nc/i x\n", "line 3: a token begins with its name"),
                       (f"a sha256:{'0' * 64} until=2021-02-30\n", "until=YYYY-MM-DD"),
                       (f"a sha256:{'0' * 64}\nb sha256:{'0' * 64}\n", "line 2: another line has the same hash")]:
        listener.token_file.write_text(text)
        status, said = check()
        assert status == 2 and told in said, said
    listener.token_file.write_text("# none yet\n")
    status, said = check(allow=[])
    assert status == 0 and "there is no token in" in said and "admin.allow: an empty list lets clients of every network" in said, said
    listener.token_file.chmod(0o666)
    status, said = check()
    assert status == 2 and "every user can write to" in said


def test_tealctl_says_what_is_wrong_with_its_own_side(remote, listener, tmp_path):
    job, token = listener.ca.issue("job"), listener.token("ci")
    teal = remote()
    run = listener.tealctl
    assert run("version", own=job, token=token).returncode == 2
    p = teal.tealctl("--cert=x", "version")
    assert p.returncode == 2 and "are for -s tls://" in p.stderr
    p = run("status", own={"cert": job["cert"], "key": listener.ca.issue("other")["key"]})
    assert p.returncode == 2 and p.stdout == "" and "key" in p.stderr, p
    p = run("version", own={"cert": "/nowhere", "key": "/nowhere"})
    assert p.returncode == 2 and "/nowhere" in p.stderr
    os.chmod(job["key"], 0o644)
    assert "chmod o=" in run("version", own=job).stderr
    for url in ("tls://", "tls://host:0", "tls://host:99999", "tls://user@host", "tls://host/path"):
        p = teal.tealctl("-s", url, "version")
        assert p.returncode == 2 and "it is tls://HOST[:PORT]" in p.stderr, (url, p)
    with socket.create_server(("127.0.0.1", 0)) as plain:
        closed = plain.getsockname()
    p = run("version", own=listener.ca.issue("job"), address=closed)
    assert p.returncode == 9 and "cannot connect" in p.stderr
