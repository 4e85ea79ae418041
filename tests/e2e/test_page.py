"""The status page in a real Chromium: live, readable, and nothing else gets in."""
import subprocess

import pytest

from helpers.browser import CONTRASTS, Browser
from helpers.forty import BAD, DEAD, DRAINED, DRAINS, LOCKED, NODES, Forty
from helpers.scale import until
from helpers.tealbench import TEALBENCH, Running, Serve
from helpers.teald import service

pytestmark = pytest.mark.nosan  # the browser's time, not ours
EVIL = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>&amp;\"'"


@pytest.fixture(scope="module")
def chromium():
    b = Browser()
    b.look()
    yield b
    b.close()


def test_a_flip_shows_itself_and_its_drain_counts_down(web, chromium):
    teal = web(drain={"timeout": 600.0, "idle": 0.0})
    old = [teal.connect().echo() for _ in range(3)]
    page = chromium.open(teal)
    page.until_text(".badge", "green@1")
    until(lambda: page.texts(".green.conn") == ["3"], "three connections are shown")
    assert page.text("#drains") == ""
    page.run("""window.seen = [];
        new MutationObserver(() => window.seen.push(document.querySelector(".badge").innerText))
            .observe(document.querySelector(".badge"), { childList: true, characterData: true, subtree: true });""")

    teal.ok("flip", "web", "blue", "--reason=release 43")
    page.until_text(".badge", "blue@2")
    until(lambda: page.texts(".n.active.blue.up") == ["1/1"], "its cells are the tinted ones")
    page.until_text(".notes", "green drains, 3 sessions left, cut in")
    assert "release 43" in page.until_text("#flips li", "blue@2")
    page.until_text("#drains", "3 of 3 sessions left")
    until(lambda: page.run("return document.querySelectorAll('.spark .flip-head.blue').length") == 1, "a mark for it")
    left = page.run("return +document.querySelector('#drains .until').innerText.match(/(\\d+) s/)[1]")
    until(lambda: page.run("return +document.querySelector('#drains .until').innerText.match(/(\\d+) s/)[1]") < left,
          "the deadline comes nearer")
    old.pop().close()
    page.until_text("#drains", "2 of 3 sessions left")
    for c in old:
        c.close()
    until(lambda: page.text("#drains") == "", "the drain is over")
    page.until_text("#flips li", "drained in")
    assert "blue@2" in page.run("return window.seen") and page.run("return window.sameDocument")

    refused = teal.ctl("flip", "web", "green", "--expect=green@1")
    assert refused["error"] == "conflict"
    page.until_text("#flips li", "refused: conflict")
    assert page.text("#said").startswith("web: flip to green refused")
    assert page.complaints() == []


def test_texts_from_outside_stay_texts_and_nobody_else_is_asked(web, chromium):
    teal = web()
    page = chromium.open(teal)
    teal.ok("flip", "web", "blue", f"--reason={EVIL}")
    teal.ok("lock", "web", f"--reason={EVIL}")
    page.until_text("#flips", EVIL)
    page.until_text(".notes .lock", EVIL)
    page.run("document.querySelector('.open').click()")
    page.until_text(".what-is", EVIL)
    page.driver.refresh()       # and out of a snapshot
    page.until_text("#flips", EVIL)
    page.until_text(".notes .lock", EVIL)
    assert page.run("return [typeof window.pwned, document.images.length, document.scripts.length]") == ["undefined", 0, 1]
    # Had it got in, the policy would have stopped it.
    page.run("const s = document.createElement('script'); s.textContent = 'window.pwned = 2'; document.body.append(s);"
             "const i = new Image(); i.src = 'http://127.0.0.2:1/x.png'; document.body.append(i);")
    assert page.run("return typeof window.pwned") == "undefined"
    blocked = until(lambda: page.complaints(), "the policy complains")
    assert all("Content Security Policy" in c for c in blocked), blocked
    ours = "http://%s:%d/" % teal.observe
    asked = page.requests()
    assert asked and all(u.startswith((ours, "data:")) for u in asked if "127.0.0.2" not in u), asked
    assert not any("127.0.0.2" in u for u in asked) or blocked


def test_a_page_that_lost_its_teald_says_so_and_finds_it_again(web, chromium):
    teal = web()
    page = chromium.open(teal)
    assert page.text("#alarm") == ""
    teal.kill()
    page.until_text("#alarm", "The connection to teald is lost. What you see is")
    assert "lost, shown as of" in page.text("#live-text")
    assert page.run("return document.body.classList.contains('stale')")
    teal.start()
    page.until_text("#live-text", "live")
    assert page.text("#alarm") == "" and not page.run("return document.body.classList.contains('stale')")
    teal.ok("flip", "web", "blue")
    page.until_text(".badge", "blue@2")
    assert page.run("return window.sameDocument"), "it was loaded anew"
    assert all("ERR_CONNECTION" in c or "ERR_INCOMPLETE" in c for c in page.complaints())


def test_the_fleet_and_what_is_done_elsewhere(fleet, chromium):
    lb1, lb2 = fleet(2)
    page = chromium.open(lb1)
    page.until_text("#fleet-sum", "all 2 here")
    until(lambda: page.text("#fleet").count("✓ ready") == 2, "both are ready")
    assert "this one" in page.text("#fleet")
    assert "✓ store redis" in page.text("#store")
    lb2.ok("flip", "web", "blue", "--reason=from lb2")
    page.until_text(".badge", "blue@2")
    page.until_text("#flips li", "from lb2")
    lb2.kill()
    page.until_text("#fleet-sum", "▲ 1 of 2 missing")
    assert "✕ missing" in page.text("#fleet")
    assert page.complaints() == []


def test_where_http_is_spoken_it_is_requests(teal, ports, closing, chromium):
    green, blue = closing.add(Serve("--name=green")), closing.add(Serve("--name=blue"))
    t = teal(services=[service("shop", mode="http", listen=f"127.0.0.1:{ports.hold()}", green=[green], blue=[blue])])
    chromium.look()
    page = chromium.open(t)
    page.until_text(".heads", "Req/s")
    slow = closing.add(t.connect("shop"))
    slow.sock.sendall(b"GET /delay/600000 HTTP/1.1\r\nHost: shop\r\n\r\n")
    until(lambda: t.status("shop")["colors"]["green"]["connections"] == 1, "a request is under way")
    with subprocess.Popen([TEALBENCH, "load", "--target=%s:%d" % t.address("shop"), "--path=/status/500", "--rate=50",
                           "--connections=2", "--duration=600"], stdout=subprocess.DEVNULL) as load:
        try:
            # More than the two connections: they are requests.
            until(lambda: float((page.texts(".green.rate") or ["0"])[0]) > 2, "requests per second of green")
            page.until_text(".notes .bad", "green: 100 % answered with 5xx")
            t.ok("flip", "shop", "blue", "--drain=600")
            page.until_text("#drains", "WebSocket")
            until(lambda: float(page.texts(".blue.rate")[0]) > 2, "and of blue")

            def records():
                found = t.tealctl("top", "--interval=0.2", check=0).stdout.split("\t")
                assert found[:4] == ["top", "shop", "http", "blue"]
                return float(found[21]) > 2 and float(found[25]) > 0.9
            until(records, "and in tealctl top")
        finally:
            load.terminate()
    assert page.complaints() == []


def test_latency_is_drawn_and_the_page_remembers_over_an_upgrade(teal, ports, closing, chromium):
    green, blue = (closing.add(Serve(f"--name={c}")) for c in ("green", "blue"))
    t = teal(start=False, log={"level": "info", "access": False},
             services=[service("shop", mode="http", listen=f"127.0.0.1:{ports.hold()}", green=[green], blue=[blue])])
    t.start(supervised=True)
    closing.add(Running("%s:%d" % t.address("shop"), "--mode=http", "--rate=50", "--connections=2"))
    chromium.look()
    page = chromium.open(t)
    t.ok("flip", "shop", "blue", "--reason=deploy 8812")
    for _ in range(3):
        assert t.ctl("flip", "shop", "green", "--expect=green", "--reason=too late")["error"] == "conflict"
    page.until_text("#flips", "refused 3 times: conflict")
    page.run("document.querySelector('.open').click()")
    for graph in ("To the first byte, p99", "To the first byte, p50"):
        until(lambda: graph in page.texts(".big h4"), graph)
    axes = "return [...document.querySelectorAll('.big .axis')].filter((a) => a.textContent.includes(' ms')).length"
    until(lambda: page.run(axes) == 2, "axes in milliseconds")

    known = "const k = state.services[0].history.p99; return k ? [k[1].filter((v) => v !== null).length, state.points, state.sampled] : null"
    until(lambda: page.run(known)[0] >= 5, "some seconds of it")
    _, points, sampled = page.run(known)
    line = "return state.services[0].history.p99[1].slice(0, arguments[0])"
    before = page.run(line, points)
    old = page.run("return state.teald.pid")
    t.ok("upgrade")
    until(lambda: page.run("return state.teald.pid") not in (None, old) and page.run(known)[2] > sampled, "the next process is shown")
    # The points of before stand where they stood, and those of the new process behind them.
    until(lambda: page.run(known)[1] > points, "further points")
    after = page.run(line, points)
    assert after[:len(before) - 2] == before[:len(before) - 2]
    text = " ".join(page.text("#flips").split())
    assert "refused 3 times: conflict" in text and "deploy 8812" in text and text.count("shop to blue") == 1, text
    assert page.run("return window.sameDocument")


def test_what_is_shown_stands_in_the_address(teal, backend, ports, chromium):
    green = backend("green")
    t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[green], blue=[green])
                       for n in ("zoo", "art", "pay", "shop")])
    t.ok("lock", "pay", "--reason=freeze")
    held = [t.connect("shop").echo() for _ in range(2)]
    chromium.look()
    page = chromium.open(t)

    def names(*wanted):
        until(lambda: page.texts(".service:not([hidden]) .name") == list(wanted), f"{wanted} in that order")
    # What needs a person or has work comes first.
    names("pay", "shop", "zoo", "art")
    page.run("document.querySelector('[data-sort=name]').click()")
    names("art", "pay", "shop", "zoo")
    assert page.run("return document.querySelector('[data-sort=name]').parentElement.getAttribute('aria-sort')") == "ascending"
    page.run("document.querySelector('[data-sort=name]').click()")
    names("zoo", "shop", "pay", "art")
    page.run("document.querySelector('[data-show=attention]').click()")
    page.until_text("#none", "✓ Nothing needs attention.")
    page.run("document.querySelector('[data-show=draining]').click()")
    page.until_text("#none", "Nothing drains.")
    page.run("document.querySelector('[data-show=all]').click()")
    page.run("document.querySelector('.open').click()")
    page.until_text(".detail", "How each color answers")
    assert page.run("return location.hash") == "#sort=-name&open=zoo"
    page.driver.back()
    until(lambda: page.text(".detail") == "", "it is closed again")
    page.driver.back()
    page.until_text("#none", "Nothing drains.")
    page.driver.back()
    page.until_text("#none", "✓ Nothing needs attention.")
    page.driver.back()
    names("zoo", "shop", "pay", "art")

    # A link leads there.
    page.driver.get("about:blank")
    page.driver.get("http://%s:%d/#show=locked&q=127.0.0.1&open=pay" % t.observe)
    names("pay")
    page.until_text(".detail", "locked by root")
    assert page.run("return document.querySelector('#filter').value") == "127.0.0.1"
    page.press("/", "zzz")
    page.until_text("#none", "No locked service has")
    assert "q=127.0.0.1zzz" in page.run("return location.hash")

    # The columns are explained until they are understood, once for each browser.
    assert "tinted" in page.text("#legend")
    page.run("document.querySelector('#understood').click()")
    page.driver.refresh()
    page.until_text("#none", "No locked service has")
    assert page.text("#legend") == ""
    page.run("document.querySelector('#explain').click()")
    page.until_text("#legend", "tinted")
    for c in held:
        c.close()
    assert page.complaints() == []


def test_a_bad_day_of_forty_services(tmp_path, closing, chromium):
    scene = closing.add(Forty(tmp_path))
    chromium.look("light", 1440, 1080)
    page = chromium.open(scene.teal)
    page.run("document.querySelector('#understood').click()")
    page.until_text("#sum-state", "✓ all 40 well")
    page.until_text("#nodes-sum", "all 4 up")
    scene.load().spoil()
    # One dead node is one line, and that of the release that answers badly is another; 38 rows are calm.
    page.until_text("#sum-state", "▲ 1 of 40 and 1 node need attention")
    page.until_text("#nodes-sum", "▲ 1 of 4 down, 1 drained")
    assert page.texts("#nodes li .host") == [DEAD, DRAINED, *NODES[:2]]
    assert page.texts("#nodes li .up") == ["0/80 up", "80/80 up", "80/80 up", "80/80 up"]
    until(lambda: page.texts(".service .name")[:3] == [BAD, DRAINS, LOCKED], "what needs a person, drains or is locked stands first")
    assert len(page.run("return [...document.querySelectorAll('.service')].filter((e) => e.getBoundingClientRect().bottom <= innerHeight)")) == 40
    page.until_text(".service.warn .notes", "% answered with 5xx")
    page.until_text("#flips", "· 5xx 0 % → ")

    page.run("document.querySelector('.service .open').click()")
    page.until_text(".quality", "in the minute before the flip at")
    rows = page.texts(".quality tbody tr")
    assert "green" in rows[2] and "blue since that flip" in rows[3], rows
    until(lambda: "Answered with 5xx, per second" in page.texts(".big h4"), "a graph of them")
    assert page.run("return document.querySelectorAll('.big .axis text').length") >= 6
    page.run("document.querySelector('.service .open').click()")

    # Without a way back it is not well.
    for host in NODES[:2]:
        scene.kill(host, DRAINS, "green")
    page.until_text("#sum-state", "▲ 2 of 40 and 1 node need attention")
    until(lambda: "no way back: green has 0/3 backends healthy, 2 needed" in " ".join(page.texts(".notes")), "the row says so")
    assert page.complaints() == []


def test_many_services_by_keyboard_in_any_light_on_any_screen(teal, backend, ports, chromium, tmp_path):
    green, dead = backend("green"), backend("dead", start=False)
    names = [f"svc-{i:02}" for i in range(80)] + ["identity-and-access-management-for-everybody"]
    t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[green], blue=[dead if i == 7 else green])
                       for i, n in enumerate(names)])
    t.ok("flip", "svc-07", "blue", "--force")
    t.ok("lock", "svc-08", "--reason=freeze")
    chromium.look()
    page = chromium.open(t)
    page.until_text("#sum-state", "1 of 81 needs attention")
    # Only what is in sight is drawn.
    drawn = "return document.querySelectorAll('.badge').length"
    until(lambda: page.run(drawn) > 3, "the first services are drawn")
    assert page.run(drawn) < 81
    page.press("/", "svc-2")
    until(lambda: page.run("return document.querySelectorAll('.service:not([hidden])').length") == 10, "ten are left")
    page.press("\ue00c")        # escape
    until(lambda: page.run("return document.querySelectorAll('.service:not([hidden])').length") == 81, "all are back")
    page.run("document.querySelector('[data-show=locked]').click()")
    until(lambda: page.texts(".service:not([hidden]) .name") == ["svc-08"], "the locked one")
    page.run("document.querySelector('[data-show=attention]').click()")
    until(lambda: page.texts(".service:not([hidden]) .name") == ["svc-07"], "the one in need")
    page.until_text(".service.bad .notes", "✕ blue has 0/1 backends healthy")
    page.run("document.querySelector('.service:not([hidden]) .open').focus()")
    page.press("\ue007")        # enter
    page.until_text(".service:not([hidden]) .detail", "connection refused")
    assert page.run("return document.activeElement.getAttribute('aria-expanded')") == "true"
    page.run("document.querySelector('[data-show=all]').click()")

    grounds = set()
    for theme in ("light", "dark"):
        for width in (375, 1440):
            page.look(theme, width, 900)
            page.run("return new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
            page.driver.save_screenshot(str(tmp_path / f"{theme}-{width}.png"))
            assert page.run("return document.documentElement.scrollWidth") <= width
            weak = [c for c in page.run(CONTRASTS) if c[0] < 4.5]
            assert not weak, f"{theme}, {width} pixels: {weak}"
            grounds.add((theme, page.run("return getComputedStyle(document.documentElement).backgroundColor")))
    page.look()
    assert len(grounds) == 2 and len({g for _, g in grounds}) == 2
    assert page.complaints() == []


def test_a_service_without_colors_speaks_of_none(teal, backend, ports, chromium):
    one, two = backend("one"), backend("two")
    s = service(listen=f"127.0.0.1:{ports.hold()}", green=[], blue=[])
    del s["green"], s["blue"]
    teal = teal(services=[s | {"backends": [one.address, two.address]}])
    held = teal.connect().echo()
    page = chromium.open(teal)
    until(lambda: page.texts(".n.up") == ["2/2", ""], "one pair of backends")
    until(lambda: page.texts(".n.conn") == ["1", ""], "one connection is shown")
    assert page.text(".badge") == "–"
    page.run("document.querySelector('.open').click()")
    page.until_text(".detail", "Backends of web")
    assert {one.address, two.address} <= set(page.texts(".detail td.address"))
    text = page.text("#list")
    assert "green" not in text and "blue" not in text and "epoch" not in text, text
    two.stop()
    page.until_text(".notes", "1 of 2 backends not up")
    held.close()
    assert page.complaints() == []
