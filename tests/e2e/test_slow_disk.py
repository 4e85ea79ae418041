"""Files that cannot be read now, for their disk does not answer: what else there is
to do is done, and teald ends when it is told to."""
import os

import pytest

from helpers.certificates import Authority
from helpers.hanging_file import HangingFile, needs_hanging_files
from helpers.scale import until
from helpers.teald import service

pytestmark = needs_hanging_files


@pytest.fixture
def stage(teal, backend, ports, tmp_path):
    """Services a, b, c and d, each with a certificate of its own."""
    ca = Authority(tmp_path)
    b = backend("green"), backend("blue")
    files = {n: ca.issue(f"{n}.example") for n in "abcd"}
    t = teal(services=[service(n, listen=f"127.0.0.1:{ports.hold()}", green=[b[0]], blue=[b[1]],
                               tls={"certificates": [files[n]]}) for n in "abcd"])
    t.ca, t.files = ca, files
    return t


def told(teal, event):
    return [l["service"] for l in teal.log_lines_now(event)]


def test_the_others_certificates_do_not_wait(stage, closing):
    teal = stage
    hanging = {n: closing.add(HangingFile(teal.files[n]["key"])) for n in "abc"}
    with teal.admin() as a:
        a.send("certs", "reload")
        for n in "abc":
            until(lambda n=n: hanging[n].has_a_reader(), "its file is being opened")
            teal.wait_log("certs.slow", service=n)
        # While all three hang, that of the fourth changes.
        teal.ca.issue("d.example")
        until(lambda: told(teal, "certs.shown").count("d") == 2, "the new one is shown")
        assert all(told(teal, "certs.shown").count(n) == 1 for n in "abc")
        assert told(teal, "certs.slow") == ["a", "b", "c"]
        for n in "abc":
            hanging[n].close()
        r = a.reply()
        assert r["ok"] and r["services_refused"] == 0
    # And so are theirs, now that they can be read.
    teal.ca.issue("a.example")
    until(lambda: told(teal, "certs.shown").count("a") == 2, "the new one is shown")


# At the end the leak sanitizer stops all threads, and waits for the one that the kernel holds.
@pytest.mark.nosan
def test_teald_ends_all_the_same(stage, closing):
    teal = stage
    hanging = closing.add(HangingFile(teal.files["a"]["key"]))
    a = closing.add(teal.admin())
    a.send("certs", "reload")
    until(hanging.has_a_reader, "its file is being opened")
    assert teal.stop() == 0


@pytest.mark.nosan
def test_so_it_does_without_the_password_of_redis(fleet, redis, closing, tmp_path):
    server = redis(requirepass="correct-horse", password="correct-horse")
    (tmp_path / "pass").write_text("correct-horse")
    os.chmod(tmp_path / "pass", 0o600)
    f = fleet(1, server=server, store={"password_file": str(tmp_path / "pass")})
    hanging = closing.add(HangingFile(str(tmp_path / "pass")))
    # Another password is asked for: it may be in the file by now.
    server("CONFIG", "SET", "requirepass", "battery-staple")
    server("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    until(hanging.has_a_reader, "it looks")
    assert f[0].stop() == 0
