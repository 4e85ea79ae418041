"""The places of observe.listen: requests that never come whole and readers that
do not read leave the others theirs, and readiness first of all."""
import socket

import pytest

from helpers.scale import patience, until

WAITING, REPLIES = 128, 64  # as teald(8) says


def ask(teal, path):
    with socket.create_connection(teal.observe, patience()) as s:
        s.settimeout(patience())
        s.sendall(b"GET %s HTTP/1.1\r\nHost: teal\r\nConnection: close\r\n\r\n" % path)
        data = b""
        while more := s.recv(1 << 16):
            data += more
    return int(data.split()[1])


def hog(teal, closing, said, rcvbuf=None):
    s = closing.add(socket.socket())
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(patience())
    s.connect(teal.observe)
    s.sendall(said)
    return s


@pytest.mark.parametrize("said", [b"G", b"GET /readyz HTTP/1.1\r\nHost: a\r\n", b""], ids=["a byte", "half a head", "nothing"])
def test_half_requests_leave_room_for_whole_ones(web, closing, said):
    """Twice as many as there are places; those cut off come again at once."""
    teal = web()
    def come():
        try:
            return hog(teal, closing, said)
        except OSError:
            return None
    hogs = [come() for _ in range(2 * WAITING)]
    for _ in range(30):
        for i, s in enumerate(hogs):
            try:
                if s is None or s.recv(1, socket.MSG_DONTWAIT) == b"":
                    hogs[i] = come()
            except BlockingIOError:
                pass
            except OSError:
                hogs[i] = come()
        assert ask(teal, b"/readyz") == 200
        assert ask(teal, b"/healthz") == 200
        assert ask(teal, b"/metrics") == 200


def test_replies_that_are_not_read_leave_room(web, closing, ports, backend):
    """Each reader that takes nothing makes way for the next, and none of them
    is in the way of readiness."""
    teal = web()
    for _ in range(2 * REPLIES):
        hog(teal, closing, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 40, rcvbuf=2048)
    for _ in range(20):
        assert ask(teal, b"/readyz") == 200
    assert ask(teal, b"/metrics") in (200, 503)  # 503: none of them has had its grace yet
    until(lambda: ask(teal, b"/metrics") == 200, "a place for another scraper")
