"""Health checks: up only after a passed one, down after `fall`, and what
happens when nobody is left."""
from helpers.scale import until


def states(teal, color="green", service="web"):
    return {b["address"]: b["state"] for b in teal.status(service)["colors"][color]["backends"]}


def test_not_up_before_the_first_passed_check(web, black_hole, backend):
    """A backend that does not answer yet is no candidate."""
    live, hole = backend("live"), black_hole()
    teal = web(green=[live, hole], health={"interval": 0.3, "timeout": 300.0, "rise": 1, "fall": 3},
               connect_timeout=3600.0)
    until(lambda: states(teal)[live.address] == "up", "the live one is up")
    teal.rest()
    assert states(teal)[hole.address] != "up"
    for _ in range(10):
        assert teal.connect().peer == "live"
    assert teal.metrics().get("teal_backend_up", service="web", color="green", backend=hole.address) == 0


def test_down_after_fall_and_up_again_after_rise(web, backend):
    a, b = backend("a"), backend("b")
    teal = web(clock=True, green=[a, b], health={"interval": 800.0, "timeout": 300.0, "rise": 3, "fall": 2})
    teal.clock.pass_until(lambda: set(states(teal).values()) == {"up"}, "both up", step=100)
    b.stop()
    teal.clock.pass_until(lambda: states(teal)[b.address] == "down", "down", step=100)
    assert {teal.connect().peer for _ in range(10)} == {"a"}
    line = teal.wait_log("backend.down", backend=b.address)
    assert line["service"] == "web" and "refused" in str(line.values())

    def passed():
        return teal.metrics().get("teal_backend_checks_total", backend=b.address, result="passed")
    before = passed()
    b.start()
    for n in range(1, 4):
        assert states(teal)[b.address] == "down"
        teal.clock.pass_until(lambda: passed() - before >= n, "a check", step=100)
    until(lambda: states(teal)[b.address] == "up", "up again, after three passed checks")
    teal.wait_log("backend.up", 2, backend=b.address)
    until(lambda: {teal.connect().peer for _ in range(6)} == {"a", "b"}, "both are used")


def test_one_failed_check_is_not_yet_down(web, backend):
    a, b = backend("a"), backend("b")
    teal = web(green=[a, b], health={"interval": 30.0, "timeout": 1.0, "rise": 1, "fall": 3})
    until(lambda: set(states(teal).values()) == {"up"}, "both up")
    since = teal.status()["colors"]["green"]["backends"]
    assert [x["state"] for x in since] == ["up", "up"]
    assert not teal.log_lines("backend.down")


def test_state_changes_are_logged_and_streamed(web):
    teal = web()
    with teal.admin() as a:
        a.send("events", "web")
        until(lambda: teal.status()["colors"]["blue"]["healthy"] == 1, "up")
        teal.status()  # the stream is on
        teal.blue.stop()
        while True:
            o = a.object()
            if o.get("backend") == teal.blue.address and "down" in str(o):
                break
    teal.wait_log("backend.down", backend=teal.blue.address)


def test_all_down_are_still_tried(web):
    teal = web(when_all_down="try", health={"interval": 0.1, "timeout": 20.0, "rise": 1000, "fall": 1})
    assert teal.connect().peer == "green"
    teal.green.stop()
    until(lambda: set(states(teal).values()) == {"down"}, "down")
    teal.rest()
    with teal.connect() as c:
        assert c.read_end()[0] == b""
    assert teal.wait_log("tcp.session", end="connect")["backend"] == teal.green.address
    # It is back, but not up for a while yet (rise = 1000): tried all the same.
    teal.green.start()
    assert states(teal)[teal.green.address] == "down"
    assert teal.connect().echo().peer == "green"


def test_all_down_are_refused_with_reject(web):
    teal = web(when_all_down="reject", health={"interval": 0.1, "timeout": 20.0, "rise": 1000, "fall": 1})
    assert teal.connect().peer == "green"
    teal.green.stop()
    until(lambda: set(states(teal).values()) == {"down"}, "down")
    teal.rest()
    teal.green.start()
    with teal.connect() as c:
        assert c.read_end()[0] == b""
    m = teal.wait_metric(1, "teal_rejected_total", service="web", reason="no_backend")
    assert teal.green.sessions == 0
    teal.wait_metric(0, "teal_connections", service="web")


def test_the_other_color_never_steps_in(web):
    """All of green is down, blue is well: still nobody is sent to blue."""
    teal = web(health={"interval": 0.1, "timeout": 1.0, "rise": 1, "fall": 1})
    teal.green.stop()
    until(lambda: set(states(teal).values()) == {"down"}, "down")
    for _ in range(5):
        with teal.connect() as c:
            assert c.read_end()[0] == b""
    assert teal.blue.sessions == 0


def test_a_silent_backend_is_timed_out(web, backend, black_hole):
    hole = black_hole()
    teal = web(green=[backend("live"), hole], health={"interval": 0.1, "timeout": 0.2, "rise": 1, "fall": 2})
    line = teal.wait_log("backend.down", backend=hole.address)
    assert "timed out" in str(line.values())


def test_a_refused_connection_hurries_the_next_check(web, backend):
    """Traffic notices first; the check does not wait for its interval."""
    a, b = backend("a"), backend("b")
    teal = web(green=[a, b], health={"interval": 3600.0, "timeout": 20.0, "rise": 1, "fall": 1})
    until(lambda: set(states(teal).values()) == {"up"}, "both up")
    b.stop()
    for _ in range(4):
        assert teal.connect().peer == "a"
    until(lambda: states(teal)[b.address] == "down", "noticed")


def test_health_port_is_what_is_checked(web, backend):
    traffic, health = backend("traffic"), backend("health", start=False)
    host = "127.0.0.1"
    green = {"port": traffic.port, "health_port": health.port}
    teal = web(start=False, nodes=[host])
    teal.settings["services"][0]["green"] = green
    teal.settings["services"][0]["blue"] = {"port": teal.blue.port}
    teal.start()
    until(lambda: set(states(teal).values()) == {"down"}, "its health port refuses")
    health.start()
    until(lambda: set(states(teal).values()) == {"up"}, "its health port answers")
    assert teal.connect().echo().peer == "traffic"


def test_health_none_is_up_at_once(web, backend):
    teal = web(green=[backend("dead", start=False)], health={"type": "none"})
    assert set(states(teal).values()) == {"up"}


def test_checks_do_not_count_as_traffic(web):
    teal = web(health={"interval": 0.05, "timeout": 1.0, "rise": 1, "fall": 2})

    def checks():
        return teal.metrics().get("teal_backend_checks_total", color="green", result="passed")
    until(lambda: checks() >= 10, "checked often")

    def unseen():
        """Ten that the server does not see, for they say nothing. It sees one that the kernel ends for us, since
        our thread had to wait for a CPU for a fifth of a second."""
        seen, n = teal.green.accepted, checks()
        until(lambda: checks() >= n + 10, "ten more")
        return teal.green.accepted == seen
    until(unseen, "ten in a row that the server does not see")
    m = teal.metrics()
    assert m.get("teal_connections_total", service="web") == 0
    assert m.get("teal_bytes_total", service="web") == 0
    assert not teal.sessions()


def test_http_checks_ask_for_a_path_and_judge_the_status(web, backend):
    """Accepting connections is not enough: the application has to say 2xx or 3xx."""
    said, heard = {"status": 200}, []

    def application(conn, b):
        head = b""
        while b"\r\n\r\n" not in head:
            more = conn.recv(4096)
            if not more:
                return
            head += more
        heard.append(head.decode())
        conn.sendall(b"HTTP/1.1 %d Whatever\r\nContent-Length: 2\r\n\r\nok" % said["status"])

    app, other = backend("app", application), backend("other", application)
    teal = web(green=[app], blue=[other], health={"type": "http", "path": "/ready?deep=1", "host": "shop.example",
                                                  "expect": "200,204", "interval": 0.1, "timeout": 60.0,
                                                  "rise": 2, "fall": 2})
    until(lambda: states(teal)[app.address] == "up", "the application says that it is well")
    assert heard[0].startswith("GET /ready?deep=1 HTTP/1.1\r\n") and "\r\nHost: shop.example\r\n" in heard[0]
    said["status"] = 503
    until(lambda: states(teal)[app.address] == "down", "it says that it is not")
    assert "HTTP status 503" in teal.wait_log("backend.down", backend=app.address)["reason"]
    until(lambda: states(teal, "blue")[other.address] == "down", "nor is the other color")
    refused = teal.ctl("flip", "web", "blue")
    assert refused["error"] == "unhealthy" and "HTTP status 503" in refused["message"]
    said["status"] = 204
    until(lambda: states(teal)[app.address] == "up", "well again")
