"""What single backends have served: one of them, or all? And scrapes of some services, or without backends."""
import pytest

from helpers.http1 import Http, Reader
from helpers.prometheus import Metrics
from helpers.reload import reload, rewrite
from helpers.scale import until
from helpers.teald import service
from helpers.upgrade import upgraded


def statuses(conn, backend):
    """Answers /404 with 404, and so on; "sick" answers 500."""
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        reader.body_of(m)
        backend.note(conn, b"x")
        status = "500" if backend.name == "sick" else m.target[1:]
        conn.sendall(f"HTTP/1.1 {status} As asked\r\nContent-Length: 3\r\n\r\nabc".encode())


def of(m, backend):
    return {k: m.get("teal_backend_requests_total", backend=backend.address, **{"class": k}) for k in ("2xx", "4xx", "5xx")}


def ask(teal, *targets, name="web"):
    with Http(teal.address(name)) as c:
        return [c.ask(t).status for t in targets]


def counted(teal, n):
    """Metrics, once so many requests are over: an answer is counted after it was sent."""
    until(lambda: teal.metrics().get("teal_requests_total", service="web") == n, f"{n} requests")
    return teal.metrics()


def test_one_backend_or_all(web, backend):
    well, sick = backend("well", statuses), backend("sick", statuses)
    teal = web(green=[well, sick], mode="http", health={"type": "none"}, top={"workers": 2})
    for _ in range(10):
        ask(teal, "/200", "/200", "/404", "/404")
    m = counted(teal, 40)
    w, s = of(m, well), of(m, sick)
    assert w["5xx"] == 0 and s["2xx"] == s["4xx"] == 0 and s["5xx"] == 20 and w["2xx"] + w["4xx"] == 20
    for b in (well, sick):
        assert m.get("teal_backend_first_byte_seconds_count", backend=b.address) == 20
        assert m.get("teal_backend_retries_total", backend=b.address) == 0
    # What a color has moved, its backends have moved.
    for direction in ("in", "out"):
        assert m.get("teal_backend_bytes_total", color="green", direction=direction) == \
            m.get("teal_bytes_total", service="web", color="green", direction=direction)
    # Those of blue have served nothing.
    assert {dict(l)["color"] for _, l in m.families["teal_backend_requests_total"].samples} == {"green"}


def test_a_retry_is_charged_to_the_backend_that_failed(web, backend):
    dead, well = backend("dead", start=False), backend("well", statuses)
    teal = web(green=[dead, well], mode="http", health={"type": "none"}, top={"workers": 1})
    assert ask(teal, *["/200"] * 6) == [200] * 6
    m = counted(teal, 6)
    n = m.get("teal_retries_total", service="web", color="green")
    assert n > 0 and m.get("teal_backend_retries_total", backend=dead.address) == n
    assert m.get("teal_backend_retries_total", backend=well.address) == 0


def test_sessions_are_counted_by_their_bytes(web):
    teal = web()
    with teal.connect() as c:
        c.echo(b"x" * 1000)
    teal.wait_metric(1, "teal_connections_total", service="web", end="done")
    m = teal.metrics()
    assert m.get("teal_backend_bytes_total", backend=teal.green.address, direction="in") == 1000
    assert m.get("teal_backend_bytes_total", backend=teal.green.address, direction="out") == \
        m.get("teal_bytes_total", service="web", color="green", direction="out")
    assert not m.families["teal_backend_requests_total"].samples


def test_totals_go_on_when_a_backend_goes_and_comes_back(web, backend):
    one, two = backend("one", statuses), backend("two", statuses)
    teal = web(green=[one, two], mode="http", health={"type": "none"}, top={"workers": 1})
    ask(teal, *["/200"] * 4)
    assert of(counted(teal, 4), one)["2xx"] == 2
    web_ = teal.settings["services"][0]

    def listed(*backends):
        rewrite(teal, services=[web_ | {"green": {"backends": [b.address for b in backends]}}])
        reload(teal)
    listed(two)
    assert f'backend="{one.address}"' not in teal.http("/metrics")[1]
    ask(teal, "/200")
    listed(one, two)
    assert of(counted(teal, 5), one)["2xx"] == 2
    ask(teal, *["/200"] * 4)
    m = counted(teal, 9)
    assert of(m, one)["2xx"] + of(m, two)["2xx"] == 9 and of(m, one)["2xx"] > 2


def test_totals_go_on_in_the_next_process(web, backend):
    one = backend("one", statuses)
    teal = web(green=[one], mode="http", start=False).start(supervised=True)
    ask(teal, "/200", "/404", "/200")
    before = counted(teal, 3)
    for _ in range(2):
        upgraded(teal)
    m = teal.metrics()
    for name in ("teal_backend_requests_total", "teal_backend_bytes_total", "teal_backend_first_byte_seconds_count",
                 "teal_backend_first_byte_seconds_sum", "teal_backend_retries_total"):
        assert m.get(name, backend=one.address) == before.get(name, backend=one.address), name
    ask(teal, "/200")
    assert of(counted(teal, 4), one) == {"2xx": 3, "4xx": 1, "5xx": 0}


def backend_families(m):
    return {n for n in m.families if n.startswith("teal_backend_")}


def test_series_of_backends_can_be_left_out(web, backend):
    teal = web(green=[backend("one", statuses)], mode="http")
    ask(teal, "/200")
    assert len(backend_families(counted(teal, 1))) > 8
    rewrite(teal, observe=teal.settings["observe"] | {"backend_metrics": False})
    reload(teal)
    m = teal.metrics()
    assert not backend_families(m) and m.get("teal_backends_healthy", service="web", color="green") == 1
    rewrite(teal, observe=teal.settings["observe"] | {"backend_metrics": True})
    reload(teal)
    # What was served meanwhile counts.
    assert of(teal.metrics(), teal.green)["2xx"] == 1


@pytest.fixture
def three(teal, backend, ports):
    return teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[backend(f"g{n}")], blue=[backend(f"b{n}")])
                          for n in ("shop", "pay-eu", "pay-us")])


def services_of(text):
    return {dict(labels).get("service") for f in Metrics(text).families.values() for _, labels in f.samples}


@pytest.mark.parametrize("query, names", [
    ("?service=shop", {"shop"}),
    ("?service=pay-*", {"pay-eu", "pay-us"}),
    ("?service=shop&service=pay-us", {"shop", "pay-us"}),
    ("?x=1&service=pay%2Deu&y", {"pay-eu"}),
    ("?service=*", {"shop", "pay-eu", "pay-us"}),
    ("?service=none-*", set()),
])
def test_a_scrape_of_some_services_is_of_them_alone(three, query, names):
    code, body = three.http("/metrics" + query)
    assert code == 200 and services_of(body) == names


@pytest.mark.parametrize("query", ["?service=shopp", "?service=", "?service=shop&service=lost", "?service=%", "?service=a%00b",
                                   "?service=" + "x" * 3000])
def test_a_name_that_is_none_is_said(three, query):
    code, body = three.http("/metrics" + query)
    assert code == 404 and "no such service" in body
    assert three.http("/metrics?service=shop")[0] == 200


def test_a_scrape_names_so_many_and_no_more(three):
    """Main looks for each of them at every service, family by family."""
    assert services_of(three.http("/metrics?" + "&".join(["service=pay-*"] * 31 + ["service=shop"]))[1]) == {"pay-eu", "pay-us", "shop"}
    code, body = three.http("/metrics?" + "&".join(["service=pay-*"] * 33))
    assert code == 404 and "at most 32 services" in body


def test_others_than_service_change_nothing(three):
    assert services_of(three.http("/metrics?services=shop")[1]) >= {"shop", "pay-eu", "pay-us", None}
