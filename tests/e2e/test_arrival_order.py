"""First come, first served: what becomes ready while teald looks elsewhere
reaches the backend in the order in which it was sent."""
from helpers.certificates import Authority, trusting
from helpers.hold import stopped
from helpers.scale import scaled
from helpers.teald import service

CLIENTS = 20


def push(n):
    return b"RPUSH order %d\r\n" % n


def story(teal, redis, ports, meet, **keys):
    """meet(t): all clients, who have sent their numbers in order."""
    r = redis()
    t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[r], blue=[r], **keys)], workers=1)
    for _ in range(scaled(100)):
        r("DEL", "order")
        clients = meet(t)
        answers = []
        for c in clients:
            with c.makefile("rb") as f:
                answers.append(f.readline())
            c.close()
        assert answers == [b":%d\r\n" % n for n in range(1, CLIENTS + 1)]
        assert r("LRANGE", "order", "0", "-1") == [str(n) for n in range(CLIENTS)]


def test_new_connections(teal, redis, ports):
    def meet(t):
        clients = []
        with stopped(t):
            for n in range(CLIENTS):
                clients.append(t.connect().sock)
                clients[-1].sendall(push(n))
        return clients
    story(teal, redis, ports, meet)


def test_connections_that_are_there(teal, redis, ports):
    def meet(t):
        clients = [t.connect().sock for _ in range(CLIENTS)]
        for c in clients:
            c.sendall(b"PING\r\n")
            assert c.recv(100) == b"+PONG\r\n"
        with stopped(t):
            for n, c in enumerate(clients):
                c.sendall(push(n))
        return clients
    story(teal, redis, ports, meet)


def test_connections_by_tls(teal, redis, ports, tmp_path):
    authority = Authority(tmp_path)
    context = trusting(authority, check_hostname=False)

    def meet(t):
        clients = [context.wrap_socket(t.connect().sock) for _ in range(CLIENTS)]
        for c in clients:
            c.sendall(b"PING\r\n")
            assert c.recv(100) == b"+PONG\r\n"
        with stopped(t):
            for n, c in enumerate(clients):
                c.sendall(push(n))
        return clients
    story(teal, redis, ports, meet, tls={"certificates": (authority.issue("web"),)})
