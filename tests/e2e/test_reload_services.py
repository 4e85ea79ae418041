"""Services that come, go, get another name, another port or other backends while teald
serves; nobody else notices."""
import os
import resource
import socket
import threading

import pytest

from helpers.backends import receive_stream, stream_on_request
from helpers.certificates import Authority, connect, subject, trusting
from helpers.ports import listener
from helpers.reload import change, reload, rewrite
from helpers.scale import sanitizer, scaled, until
from helpers.teald import service


def add(teal, *services):
    rewrite(teal, services=teal.settings["services"] + list(services))


def remove(teal, name):
    gone = [s for s in teal.settings["services"] if s["name"] == name]
    rewrite(teal, services=[s for s in teal.settings["services"] if s["name"] != name])
    return gone[0]


def new_service(ports, backend, name="pay", **keys):
    return service(name, listen=f"127.0.0.1:{ports.hold()}", green=[backend(f"{name}-green")],
                   blue=[backend(f"{name}-blue")], **keys)


def test_a_service_comes(web, ports, backend):
    teal = web()
    kept = teal.connect().echo()
    add(teal, new_service(ports, backend))
    r = reload(teal)
    assert r.event("planned")["added"] == ["pay"] and r.event("planned")["unchanged"] == 1
    assert until(lambda: teal.connect("pay"), "it is listened on").peer == "pay-green"
    assert teal.ok("flip", "pay", "blue")["epoch"] == 2 or teal.status("pay")["active"] == "blue"
    assert teal.connect("pay").peer == "pay-blue"
    kept.echo()
    assert teal.metrics().get("teal_service_active", service="pay", color="blue") == 1
    assert teal.stop() == 0


def test_a_service_goes_and_comes_back_with_its_epoch(web, ports, backend):
    teal = web(clock=True)
    add(teal, new_service(ports, backend, drain={"timeout": 100.0, "idle": 0.0}, health={"type": "none"}, idle_timeout=0))
    reload(teal)
    address = teal.address("pay")
    until(lambda: teal.connect("pay").peer == "pay-green", "it serves")
    teal.ok("flip", "pay", "blue")
    epoch = teal.status("pay")["epoch"]
    kept = teal.connect("pay").echo()
    gone = remove(teal, "pay")
    assert reload(teal).event("planned")["removed"] == ["pay"]
    assert teal.ctl("status", "pay")["error"] == "unknown_service"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    kept.echo()
    teal.connect().echo()
    # It is another one now that has the name; the old one drains beside it.
    add(teal, gone)
    reload(teal)
    fresh = until(lambda: teal.connect("pay"), "it is back")
    assert fresh.peer == "pay-blue"
    assert teal.status("pay")["epoch"] == epoch
    kept.echo()
    teal.clock.move(101)
    assert kept.read_end()[0] == b""
    fresh.echo()
    teal.wait_log("tcp.session", 1, service="pay", end="drained")


def test_another_name_keeps_what_is_the_services(web):
    teal = web()
    teal.ok("flip", "web", "blue")
    epoch = teal.status()["epoch"]
    kept = teal.connect().echo()
    rewrite(teal, services=[s | {"name": "shop", "rename": "web"} for s in teal.settings["services"]])
    r = reload(teal)
    assert r.event("planned")["renamed"] == [{"service": "shop", "was": "web"}]
    assert "> service shop (was web)" in r.event("planned")["lines"]
    s = teal.status("shop")
    assert (s["active"], s["epoch"], s["colors"]["blue"]["connections"]) == ("blue", epoch, 1)
    assert teal.ctl("status", "web")["error"] == "unknown_service"
    assert teal.connect("shop").peer == "blue"
    teal.ok("flip", "shop", "green")
    kept.echo()
    assert reload(teal)["changed"] is False
    kept.echo().close()
    teal.wait_log("tcp.session", 1, service="shop", color="blue")
    assert teal.restart().status("shop")["active"] == "green"


def test_a_port_moves_to_another_service_without_a_refused_connect(web, ports, backend, farm, load):
    a, b = farm("a"), farm("b")
    teal = web(green=[a], blue=[a])
    spare = f"127.0.0.1:{ports.hold()}"
    port = teal.settings["services"][0]["listen"]
    add(teal, service("other", listen=spare, green=[b], blue=[b]))
    reload(teal)
    until(lambda: teal.connect("other").peer == "b", "both serve")
    crowd = load(teal, 8).more(50)
    asked = []
    for i in range(scaled(60, 6)):
        listens = (spare, port) if i % 2 == 0 else (port, spare)
        rewrite(teal, services=[s | {"listen": l} for s, l in zip(teal.settings["services"], listens)])
        r = reload(teal)
        asked.append((r, "b" if i % 2 == 0 else "a"))
        crowd.more(30)
    sessions = crowd.finish()
    assert [s for s in sessions if s.error] == []
    ends = [r.began for r, _ in asked[1:]] + [float("inf")]
    for (r, name), end in zip(asked, ends):
        wrong = [s for s in sessions if s.begun > r.at and s.ended < end and s.name != name]
        assert not wrong, (name, wrong[:3])


def test_a_port_that_is_taken_changes_nothing(web, ports, backend):
    teal = web()
    kept = teal.connect().echo()
    with listener("127.0.0.1") as taken:
        add(teal, new_service(ports, backend, name="first"))
        add(teal, service("pay", listen="127.0.0.1:%d" % taken.getsockname()[1], green=[teal.green], blue=[teal.blue]))
        r = teal.ctl("reload")
        assert (r["ok"], r["error"], r["changed"]) == (False, "config", False), r
        assert str(taken.getsockname()[1]) in r["message"]
        with pytest.raises(ConnectionRefusedError):
            teal.connect("first")
        assert [s["name"] for s in teal.ok("status")["services"]] == ["web"]
    kept.echo()
    reload(teal)
    until(lambda: teal.connect("pay").peer == "green", "the port is free now")


def test_a_new_timeout_holds_for_connections_that_are_there(web):
    teal = web(clock=True, idle_timeout=36000.0)
    c = teal.connect().echo()
    change(teal, idle_timeout=50.0)
    reload(teal)
    teal.clock.move(1)
    c.echo()
    teal.clock.move(51)
    assert c.read_end()[0] == b""
    assert teal.connect().echo().alive


def test_backends_come_and_go_and_the_others_keep_their_connections(web, backend):
    teal = web()
    kept, more = teal.connect().echo(), backend("more")
    since = teal.status()["colors"]["green"]["backends"][0]["since"]
    change(teal, green={"backends": [teal.green.address, more.address]})
    r = reload(teal)
    assert any("green.backends +" in l for l in r.event("planned")["lines"])
    until(lambda: {teal.connect().peer for _ in range(4)} == {"green", "more"}, "both are used")
    assert teal.status()["colors"]["green"]["backends"][0]["since"] == since
    change(teal, green={"backends": [more.address]})
    reload(teal)
    for _ in range(4):
        assert teal.connect().peer == "more"
    kept.echo()


def test_health_terms_change_and_verdicts_stay(web):
    teal = web()
    change(teal, health={"interval": 0.1, "timeout": 20.0, "rise": 1, "fall": 1})
    reload(teal)
    assert teal.status()["colors"]["green"]["healthy"] == 1
    teal.green.stop()
    until(lambda: teal.status()["colors"]["green"]["healthy"] == 0, "the new terms are asked by")


def test_a_drain_and_a_flip_go_on_through_a_reload(web):
    teal = web(clock=True, drain={"timeout": 1000.0, "idle": 0.0})
    old = teal.connect().echo()
    teal.ok("flip", "web", "blue")
    teal.clock.move(500)
    change(teal, retries=1)
    reload(teal)
    with teal.admin() as a:
        a.send("flip", "web", "green", "--wait=none")
        reload(teal)
        assert a.reply()["ok"]
    old.echo()
    teal.ok("flip", "web", "blue")
    teal.clock.move(999)
    old.echo()
    teal.clock.move(2)
    assert old.read_end()[0] == b""


def test_another_certificate_and_a_missing_one(web, tmp_path, closing):
    ca = Authority(tmp_path)
    teal = web(tls={"certificates": [ca.issue("first.example")]})
    tls = closing.add(connect(teal.address(), trusting(ca), "first.example"))
    change(teal, tls={"certificates": [{"cert": str(tmp_path / "none.pem")}]})
    r = teal.ctl("reload")
    assert r["error"] == "config" and "none.pem" in r["errors"][0]["message"], r
    assert r["errors"][0]["line"] > 0
    change(teal, tls={"certificates": [ca.issue("second.example")]})
    reload(teal)
    assert "second.example" in subject(closing.add(connect(teal.address(), trusting(ca), "second.example")))
    assert subject(tls) != ""
    assert tls.fileno() >= 0


def test_streams_of_untouched_services_live_through_all_of_it(teal, ports, backend, closing):
    """Streams that are in the middle, and connections that speak now and then, while everything else is
    reloaded; afterwards teald has no more descriptors than before."""
    size = scaled(1 << 30, 8 << 20)
    source, plain = backend("stream", stream_on_request), backend("plain")
    t = teal(services=[service("still", listen=f"127.0.0.1:{ports.hold()}", green=[source], blue=[source]),
                       service("quiet", listen=f"127.0.0.1:{ports.hold()}", green=[plain], blue=[plain]),
                       new_service(ports, backend, "busy")])
    spare = f"127.0.0.1:{ports.hold()}"
    results, go = [], threading.Event()

    def take(seed):
        with socket.create_connection(t.address("still")) as s:
            s.sendall(b"%d %d\n" % (seed, size))
            results.append(receive_stream(s, size, size // 2, go.wait))
    readers = [threading.Thread(target=take, args=(seed,), daemon=True) for seed in range(3)]
    for r in readers:
        r.start()
    until(lambda: t.status("still")["colors"]["green"]["connections"] == 3, "they run")
    talkers = [closing.add(t.connect("quiet")).echo() for _ in range(5)]
    still, quiet, busy = t.settings["services"]

    def one(i):
        other = dict(busy, listen=spare if i % 3 == 0 else busy["listen"], retries=i % 5,
                     drain={"timeout": 0.0}, labels={"project": str(i)})
        rewrite(t, services=[still, quiet, other] if i % 7 else [still, quiet])
        reload(t)
    for i in range(10):
        one(i)
    fds, rss = t.fds(), t.rss()
    for i in range(scaled(1000, 50)):
        one(i)
        talkers[i % 5].echo()
    go.set()
    for r in readers:
        r.join()
    assert sorted(source.sent) == sorted(digest for _, digest in results)
    assert [n for n, _ in results] == [size] * 3
    one(9)
    until(lambda: t.fds() <= fds, "no descriptor is left over")
    if sanitizer() is None:  # which keep what was freed
        assert t.rss() < rss * 1.5 + (8 << 20)


@pytest.mark.parametrize("supervised", (False, True))
def test_the_file_of_a_unix_socket_goes_with_its_service_and_with_a_reload_that_fails(web, ports, backend, supervised):
    teal = web(start=False).start(supervised=supervised)
    path = f"/tmp/teal-reload-{os.getpid()}-{os.urandom(4).hex()}"
    before = teal.settings["services"]
    new = new_service(ports, backend, name="local") | {"listen": f"unix:{path}"}
    with listener("127.0.0.1") as taken:
        add(teal, new, new_service(ports, backend) | {"listen": "127.0.0.1:%d" % taken.getsockname()[1]})
        assert teal.ctl("reload")["error"] == "config"
        assert not os.path.exists(path)
    rewrite(teal, services=before + [new])
    reload(teal)
    assert os.path.exists(path)
    rewrite(teal, services=before)
    reload(teal)
    until(lambda: not os.path.exists(path), "its file has gone")


def test_a_reload_without_descriptors_changes_nothing(web, ports, backend):
    teal = web()
    kept = teal.connect().echo()
    before = teal.settings["services"]
    soft, hard = resource.prlimit(teal.pid, resource.RLIMIT_NOFILE)
    add(teal, *(new_service(ports, backend, name=f"s{i}") for i in range(20)))
    reload(teal, "--dry-run")
    teal.rest()
    fds = teal.fds()
    # The file is read, and some sockets are opened.
    resource.prlimit(teal.pid, resource.RLIMIT_NOFILE, (fds + 12, hard))
    with teal.admin() as a:
        a.send("reload")
        r = a.reply()
    assert (r["ok"], r["error"], r["changed"]) == (False, "config", False), r
    assert "open files" in r["message"], r
    resource.prlimit(teal.pid, resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: teal.fds() <= fds, "what was opened is closed")
    kept.echo()
    reload(teal)
    until(lambda: all(teal.connect(f"s{i}").peer == f"s{i}-green" for i in range(20)), "all serve")
    rewrite(teal, services=before)
    reload(teal)
    kept.echo()


def test_who_waited_for_a_service_that_goes_may_ask_at_once_for_what_has_come(web, ports, backend):
    """The next line of a client is run by the answer to the one before, which is given by the reload itself."""
    teal = web()
    before = teal.settings["services"]
    add(teal, new_service(ports, backend, drain={"timeout": 3600.0, "idle": 0.0}, health={"type": "none"}))
    reload(teal)
    kept = until(lambda: teal.connect("pay"), "it serves")
    node = backend("node")
    with teal.admin() as a:
        a.sock.sendall(b"flip pay blue --wait=drained\nnode list farm\nnode drain farm 127.0.0.9\nnode add farm 127.0.0.2\n")
        until(lambda: teal.status("pay")["drain"], "it drains")
        rewrite(teal, node_pools={"farm": ["127.0.0.1"]},
                services=before + [{"name": "new", "mode": "tcp", "listen": f"127.0.0.1:{ports.hold()}", "nodes": "farm",
                                    "green": {"port": node.port}, "blue": {"port": node.port}}])
        reload(teal)
        assert a.reply()["error"] == "unknown_service"
        assert [n["host"] for n in a.reply()["pools"][0]["nodes"]] == ["127.0.0.1"]
        assert a.reply()["error"] == "usage"
        assert a.reply()["ok"]
    kept.close()


def test_many_that_speak_tls_come_in_one_reload(web, closing, ports, backend, tmp_path):
    """Each with a certificate of its own name, at one address: what is told of one does not walk over the others."""
    n = scaled(3000, 100)
    ca = Authority(tmp_path)
    crowd, other, at = backend("crowd"), backend("other"), f"127.0.0.1:{ports.hold()}"
    certificate = ca.issue("crowd", *(f"s{i}.example" for i in range(0, n, max(1, n // 20))))
    teal = web()
    add(teal, *(service(f"s{i}", listen=at, green=[crowd], blue=[other], health={"type": "none"}, sni=[f"s{i}.example"],
                        tls={"certificates": [certificate]}) for i in range(n)))
    reload(teal)
    address = at.split(":")
    for name in ("s0.example", f"s{max(1, n // 20)}.example"):
        closing.add(until(lambda: connect((address[0], int(address[1])), trusting(ca), name), "it is served"))
    until(lambda: len(teal.log_lines_now("certs.shown")) == n, "each certificate is told of once")
    rewrite(teal, services=teal.settings["services"][:1])
    reload(teal)
