"""The gate lets nothing through that the data path refuses: checks read answers as
clients' are read."""
import ssl

import pytest

from helpers.certificates import Authority
from helpers.http1 import Http, Reader
from helpers.scale import until

BODY = b"Content-Length: 2\r\n\r\nok"
# Heads behind the status line; the reason, where it is refused, leniently and strictly.
HEADS = {
    "good": (b"X: a\r\n", None, None),
    "folded": (b"X-Policy: a;\r\n  b\r\n", "folded header line", "folded header line"),
    "control": (b"X: \x01\r\n", "control character in a header value", "control character in a header value"),
    "two lengths": (b"Content-Length: 3\r\n", "more than one Content-Length", "more than one Content-Length"),
    "equal lengths": (b"Content-Length: 2\r\n", None, "more than one Content-Length"),
    "bare LF": (b"X: a\n", None, "LF without CR"),
}


def says(head, context=None):
    def behave(conn, b):
        if context is not None:
            conn = context.wrap_socket(conn, server_side=True)
        reader = Reader(conn)
        while reader.head() is not None:
            conn.sendall(b"HTTP/1.1 200 OK\r\n" + head + BODY)
    return behave


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("answers", ["lenient", "strict"])
@pytest.mark.parametrize("kind", HEADS, ids=lambda k: k.replace(" ", "-"))
def test_a_release_is_let_in_if_its_answers_are(web, backend, tmp_path, kind, answers, tls):
    head, *reasons = HEADS[kind]
    reason = reasons[answers == "strict"]
    context, keys = None, {}
    if tls:
        authority = Authority(tmp_path)
        paths = authority.issue("in", "in.example")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(paths["cert"], paths["key"])
        keys["backend_tls"] = {"ca": str(authority.pem), "server_name": "in.example"}
    blue = backend("blue", says(head, context))
    t = web(mode="http", green=[backend("green", says(b"", context))], blue=[blue], answers=answers,
            health={"type": "http", "interval": 0.2, "rise": 1, "fall": 1}, **keys)

    def settled():
        seen = t.metrics().get("teal_backend_up", service="web", backend=blue.address)
        return t.log_lines("backend.down", backend=blue.address) if reason else seen == 1
    until(settled, "the checks have seen it")
    flip = t.ctl("flip", "web", "blue")
    with Http(t.address()) as c:
        if reason is None:
            assert flip["ok"]
            assert c.ask("/").body == b"ok"
        else:
            assert t.log_lines("backend.down", backend=blue.address)[0]["reason"] == reason
            assert not flip["ok"] and reason in str(flip)
            # What would have come of it.
            t.ok("flip", "web", "blue", "--force")
            assert c.ask("/").status == 502
            assert reason in t.wait_log("http.request", status=502)["reason"]
