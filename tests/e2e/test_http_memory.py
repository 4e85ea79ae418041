"""Where memory is out for the workers now and then (helpers/failing_memory.py), nobody gets what is another's, and
nothing is left behind. test_oracle.py does the same without TLS."""
import contextlib

import pytest

from helpers.certificates import Authority
from helpers.failing_memory import FailingMemory
from helpers.http1 import Http, Reader, trusting
from helpers.scale import scaled

ROUNDS = scaled(4000, 200)


def echo(conn, b):
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        reader.body_of(m)
        said = m.target.encode() + m.body
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))


@pytest.mark.nosan  # a sanitizer has its own memory
@pytest.mark.parametrize("permille, only_tls", [(1, False), (5, False), (1, True), (5, True), (20, True)])
def test_tls_where_memory_is_out_now_and_then(web, backend, tmp_path, permille, only_tls):
    authority, memory = Authority(tmp_path), FailingMemory(tmp_path)
    t = web(mode="http", green=[backend("green", echo)], health={"type": "none"}, start=False,
            tls={"certificates": (authority.issue("web"),)})
    t.start(env=memory.env())
    memory.fail(permille, only_tls)
    answered = 0
    for n in range(ROUNDS):
        with contextlib.suppress(OSError):
            with Http(t.address(), tls=trusting(authority.pem), server_name="web") as c:
                for k in range(3):
                    body = b"%d" % (n * k)
                    m = c.ask(f"/{n}/{k}/", method="POST", body=body)
                    if m is None:
                        break
                    assert m.status in (502, 503) or m.body == b"/%d/%d/%s" % (n, k, body)
                    answered += m.status == 200
    assert memory.failed > 0    # how many handshakes got through is chance
    memory.fail(0)
    with Http(t.address(), tls=trusting(authority.pem), server_name="web") as c:
        assert c.ask("/whole").body == b"/whole"
    for gauge in ("teal_connections", "teal_backend_connections"):
        t.wait_metric(0, gauge, service="web")


@pytest.mark.nosan  # a sanitizer has its own memory
@pytest.mark.parametrize("permille", [10, 30, 50, 100])
def test_tls_for_whose_first_handshakes_memory_was_out(web, backend, tmp_path, permille):
    """OpenSSL makes much at the first handshake, once for the process, and may not make it again where that failed."""
    authority, memory = Authority(tmp_path), FailingMemory(tmp_path)
    t = web(mode="http", green=[backend("green", echo)], health={"type": "none"}, start=False,
            tls={"certificates": (authority.issue("web"),)})
    t.start(env=memory.env())
    memory.fail(permille, only_tls=True)
    for _ in range(20):
        with contextlib.suppress(OSError):
            Http(t.address(), tls=trusting(authority.pem), server_name="web").close()
    assert memory.failed > 0
    memory.fail(0)
    with Http(t.address(), tls=trusting(authority.pem), server_name="web") as c:
        assert c.ask("/whole").body == b"/whole"
