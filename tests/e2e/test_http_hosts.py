"""Services share listeners, and each request goes to the one its Host names."""
import contextlib

import pytest

from helpers.backends import Backend
from helpers.http1 import Http, requests_of, site
from helpers.scale import until
from helpers.teald import service


@pytest.fixture
def site_of(backend):
    """site_of("shop"): (green, blue), each answering with its name."""
    def make(name) -> tuple[Backend, Backend]:
        return tuple(backend(f"{name}-{color}", site) for color in ("green", "blue"))
    return make


@pytest.fixture
def street(teal, site_of, ports):
    """street(shop={"hosts": …}, rest={"default": True}): a running teald whose
    services share one listener and one preview; .shop, .rest are (green, blue)."""
    def make(top=None, start=True, **houses):
        listen, preview = (f"127.0.0.1:{ports.hold()}" for _ in range(2))
        sites = {name: site_of(name) for name in houses}
        t = teal(services=[service(name, green=sites[name][:1], blue=sites[name][1:], mode="http",
                                   **{"listen": listen, "preview": preview} | keys)
                           for name, keys in houses.items()], start=start, **(top or {}))
        for name, pair in sites.items():
            setattr(t, name, pair)
        t.client = lambda key="listen", name=next(iter(houses)): Http(t.address(name, key=key))
        return t
    return make


HOUSES = {"shop": {"hosts": ["shop.example", "*.shop.example", "[2001:db8::1]", "192.0.2.7"]},
          "pay": {"hosts": ["pay.example", "www.shop.example", "*.eu.shop.example"]}}


def asked(*sites):
    return sum(len(requests_of(b)) for pair in sites for b in pair)


@pytest.mark.tsan
@pytest.mark.parametrize("host, whose", [
    ("shop.example", "shop"), ("pay.example", "pay"),
    ("a.shop.example", "shop"), ("a.b.shop.example", "shop"), ("eu.shop.example", "shop"),
    ("www.shop.example", "pay"),            # by its full name, whatever patterns say
    ("a.eu.shop.example", "pay"),           # the longest pattern
    ("b.www.shop.example", "shop"),
    ("SHOP.Example", "shop"), ("shop.example.", "shop"), ("shop.example:8080", "shop"), ("Pay.Example.:80", "pay"),
    ("[2001:db8::1]", "shop"), ("[2001:DB8:0:0::1]:8080", "shop"), ("192.0.2.7:80", "shop"),
    ("elsewhere.example", "rest"), ("example", "rest"), ("myshop.example", "rest"), ("shop.example.org", "rest"),
    ("[2001:db8::2]", "rest"), ("192.0.2.8", "rest"),
])
def test_the_host_says_whose_request_it_is(street, host, whose):
    t = street(**HOUSES, rest={"default": True})
    with t.client() as c:
        answer = c.ask(host=host)
    assert (answer.status, answer.body.decode()) == (200, f"{whose}-green")


def test_an_absolute_target_counts_and_the_host_beside_it_does_not(street):
    t = street(**HOUSES, rest={"default": True})
    with t.client() as c:
        assert c.ask("http://pay.example/x?y", host="shop.example").body == b"pay-green"
        assert c.ask("http://PAY.example.:99", host="elsewhere.example").body == b"pay-green"
        assert c.ask("http://elsewhere.example/", host="shop.example").body == b"rest-green"
    r = requests_of(t.pay[0])[0]
    assert r.target == "/x?y" and r.all("Host") == ["pay.example"]


def test_http_1_0_without_host_is_the_default_s(street):
    t = street(**HOUSES, rest={"default": True})
    with t.client() as c:
        assert c.ask(host=None, version="1.0").body == b"rest-green"
    with t.client() as c:
        assert c.ask(host="pay.example", version="1.0").body == b"pay-green"


def test_what_is_nobody_s_gets_421_and_reaches_no_backend(street):
    t = street(**HOUSES)
    for host, version in (("elsewhere.example", "1.1"), ("example", "1.1"), (None, "1.0"), ("www.pay.example", "1.1")):
        with t.client() as c:
            assert c.ask(host=host, version=version).status == 421
    assert asked(t.shop, t.pay) == 0


def test_one_connection_may_ask_all_of_them_in_turn(street):
    t = street(**HOUSES, rest={"default": True})
    with t.client() as c:
        for _ in range(3):
            for host, name in (("shop.example", "shop"), ("pay.example", "pay"), ("x", "rest")):
                assert c.ask(host=host).body.decode() == f"{name}-green"
    # Also all at once, without waiting for answers.
    with t.client() as c:
        c.send("".join(f"GET /{i} HTTP/1.1\r\nHost: {h}\r\n\r\n"
                       for i, h in enumerate(["shop.example", "pay.example", "x", "pay.example"])))
        assert [c.response().body for _ in range(4)] == [b"shop-green", b"pay-green", b"rest-green", b"pay-green"]


def test_a_flip_of_one_leaves_the_others_alone(street):
    t = street(**HOUSES, rest={"default": True})
    with t.client() as c:
        for host in ("shop.example", "pay.example", "x"):
            c.ask(host=host)
        t.ok("flip", "shop", "blue")
        # The same connection, each to its service's active color.
        assert [c.ask(host=h).body for h in ("shop.example", "pay.example", "x")] == \
            [b"shop-blue", b"pay-green", b"rest-green"]
        t.ok("flip", "pay", "blue")
        t.ok("rollback", "shop")
        assert [c.ask(host=h).body for h in ("shop.example", "pay.example", "x")] == \
            [b"shop-green", b"pay-blue", b"rest-green"]
    # Whom the flips did not concern kept its connection to the backend.
    assert len({r.connection for r in requests_of(t.rest[0])}) == 1 and requests_of(t.rest[1]) == []


def test_previews_are_shared_as_well(street):
    t = street(**HOUSES)
    with t.client("preview") as c:
        assert [c.ask(host=h).body for h in ("shop.example", "pay.example")] == [b"shop-blue", b"pay-blue"]
        assert c.ask(host="elsewhere.example").status == 421
    t.ok("flip", "pay", "blue")
    with t.client("preview") as c:
        assert [c.ask(host=h).body for h in ("shop.example", "pay.example")] == [b"shop-blue", b"pay-green"]


def test_each_has_limits_of_its_own(street):
    t = street(shop=HOUSES["shop"] | {"deny": "127.0.0.1"}, pay=HOUSES["pay"] | {"allow": "127.0.0.1"})
    with t.client() as c:
        assert [c.ask(host=h).status for h in ("pay.example", "shop.example", "pay.example")] == [200, 403, 200]
    assert asked(t.shop) == 0
    t.wait_metric(1, "teal_rejected_total", service="shop", reason="denied")


def test_each_has_its_own_places(street):
    t = street(shop=HOUSES["shop"] | {"max_connections": 1}, pay=HOUSES["pay"])
    with t.client() as first, t.client() as second:
        assert first.ask(host="shop.example").status == 200
        full = second.ask(host="shop.example")
        assert full.status == 503 and int(full.get("Retry-After")) > 0
        assert second.ask(host="pay.example").status == 200
        # Whoever asks elsewhere gives his place away.
        assert first.ask(host="pay.example").status == 200
        assert second.ask(host="shop.example").status == 200
        assert first.ask(host="shop.example").status == 503
    with t.client() as third:   # the others are gone, as soon as that is noticed
        until(lambda: third.ask(host="shop.example").status == 200, "a place")


def test_a_service_alone_by_name_lets_clients_wait(street):
    t = street(shop=HOUSES["shop"] | {"max_connections": 1, "queue_timeout": 30.0})
    with t.client() as first:
        assert first.ask(host="shop.example").status == 200     # the place is taken
        with t.client() as second:
            second.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            t.wait_metric(1, "teal_waiting_connections", service="shop")
            first.close()
            assert second.response().body == b"shop-green"


def test_one_whose_color_is_unknown_does_not_hold_up_the_others(street, redis):
    r = redis()
    r("HSET", "teal:service:pay", "color", "purple", "epoch", "1")
    t = street(start=False, top={"store": {"type": "redis", "url": r.url}},
               shop={"hosts": "shop.example"}, pay={"hosts": "pay.example", "initial": "blue"})
    t.start(ready=False)
    t.wait_log("store.bad_record", key="teal:service:pay")

    def served():
        with contextlib.suppress(OSError), t.client() as c:
            return c.ask(host="shop.example").status == 200
    until(served, "shop is served")
    with t.client() as c:
        unknown = c.ask(host="pay.example")
        assert unknown.status == 503 and c.ask(host="shop.example").body == b"shop-green"
    # Of a color that no store has told there is only what the file says.
    assert t.wait_log("http.request", service="pay", end="stale")["color"] == "blue"
    t.wait_metric(1, "teal_connections_total", service="pay", color="blue", end="stale")
    assert t.http("/readyz")[0] == 503
    r("HSET", "teal:service:pay", "color", "blue")
    with t.client() as c:
        until(lambda: c.ask(host="pay.example").status == 200, "pay is served")
        assert c.ask(host="pay.example").body == b"pay-blue"


def test_a_service_alone_on_a_listener_is_asked_its_names_too(street, ports):
    other = f"127.0.0.1:{ports.hold()}"
    t = street(shop=HOUSES["shop"], pay=HOUSES["pay"] | {"listen": other}, rest={"default": True})
    with t.client(name="pay") as c:
        assert c.ask(host="pay.example").body == b"pay-green"
        assert c.ask(host="shop.example").status == 421
    with t.client() as c:
        assert c.ask(host="pay.example").body == b"rest-green"


def test_one_service_on_two_listeners_shares_only_one(street, ports):
    shared, own = (f"127.0.0.1:{ports.hold()}" for _ in range(2))
    t = street(shop=HOUSES["shop"] | {"listen": [own, shared]}, pay=HOUSES["pay"] | {"listen": shared})
    for n, expected in ((0, [200, 421]), (1, [200, 200])):
        with Http(t.address("shop", n)) as c:
            assert [c.ask(host=h).status for h in ("shop.example", "pay.example")] == expected


def test_without_names_every_host_is_welcome(street):
    t = street(shop={})
    with t.client() as c:
        assert {c.ask(host=h).body for h in ("shop.example", "x", "[::1]", "192.0.2.1:80")} == {b"shop-green"}


def test_a_shared_unix_listener(teal, site_of, tmp_path):
    path = "unix:/tmp/" + tmp_path.name[:40] + ".sock"
    sites = {n: site_of(n) for n in ("shop", "pay")}
    t = teal(services=[service(n, listen=path, green=s[:1], blue=s[1:], mode="http", hosts=f"{n}.example")
                       for n, s in sites.items()])
    with Http(t.address("shop")) as c:
        assert [c.ask(host=f"{n}.example").body for n in sites] == [b"shop-green", b"pay-green"]


def test_the_status_tells_who_shares(street):
    t = street(**HOUSES, rest={"default": True})
    by_name = {s["name"]: s for s in t.ok("status")["services"]}
    assert by_name["shop"]["hosts"] == ["shop.example", "*.shop.example", "[2001:db8::1]", "192.0.2.7"]
    assert by_name["rest"]["hosts"] == [] and by_name["rest"]["default"] is True
    assert len({tuple(s["listen"]) for s in by_name.values()}) == 1
    text = t.tealctl("status", check=0).stdout
    assert "shop" in text and "http" in text
