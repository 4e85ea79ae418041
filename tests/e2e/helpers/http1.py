"""HTTP/1.1 by hand, byte by byte: a client that sends what it is told, and a
backend that keeps what it got."""
import ssl

from .clients import Client


class Message:
    """A request or response as it came: .start is its first line, .headers a
    list of (name, value) in order, .body without framing."""

    def __init__(self, start, headers, body=b"", trailers=()):
        self.start, self.headers, self.body, self.trailers = start, headers, body, list(trailers)

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def get(self, name, default=None):
        return next(iter(self.all(name)), default)

    # Of a response.
    @property
    def status(self):
        return int(self.start.split()[1])

    # Of a request.
    @property
    def method(self):
        return self.start.split()[0]

    @property
    def target(self):
        return self.start.split()[1]

    def __repr__(self):
        return f"<{self.start!r} {self.headers} {self.body[:80]!r}>"


class Reader:
    """Messages from a socket; what comes behind them stays for the next."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b""

    def _more(self):
        data = self.sock.recv(1 << 16)
        self.rest += data
        return bool(data)

    def line(self):
        while b"\n" not in self.rest:
            if not self._more():
                raise ConnectionError(f"the end within a line: {self.rest[:200]!r}")
        line, self.rest = self.rest.split(b"\n", 1)
        assert line.endswith(b"\r"), f"a line without CR: {line!r}"
        return line[:-1].decode("latin-1")

    def exactly(self, n):
        while len(self.rest) < n:
            if not self._more():
                raise ConnectionError(f"the end after {len(self.rest)} of {n} bytes")
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def fields(self):
        fields = []
        while line := self.line():
            name, _, value = line.partition(":")
            fields.append((name, value.strip(" \t")))
        return fields

    def head(self):
        """None at the end."""
        while not self.rest:
            if not self._more():
                return None
        return Message(self.line(), self.fields())

    def chunks(self):
        body = b""
        while size := int(self.line().split(";")[0], 16):
            body += self.exactly(size)
            assert self.line() == ""
        return body, self.fields()

    def body_of(self, m, to_end=False):
        if "chunked" in (m.get("Transfer-Encoding") or "").lower():
            m.body, m.trailers = self.chunks()
        elif m.get("Content-Length") is not None:
            m.body = self.exactly(int(m.get("Content-Length")))
        elif to_end:
            while self._more():
                pass
            m.body, self.rest = self.rest, b""
        return m


class Http(Client):
    """A client connection.  tls: an ssl context, with server_name."""

    def __init__(self, address, timeout=None, source=None, tls=None, server_name=None):
        super().__init__(address, timeout, source)
        self._reader = Reader(self.sock)
        if tls is not None:
            self.greet(tls, server_name)

    def greet(self, tls, server_name):
        """TLS from now on."""
        self.sock = tls.wrap_socket(self.sock, server_hostname=server_name)
        self._reader = Reader(self.sock)
        return self

    def send(self, raw):
        self.sock.sendall(raw if isinstance(raw, bytes) else raw.encode("latin-1"))
        return self

    def response(self, method="GET"):
        """The next answer that is no interim one; None at the end."""
        while (m := self._reader.head()) is not None:
            if m.status >= 200:
                bodyless = method == "HEAD" or m.status in (204, 304)
                return m if bodyless else self._reader.body_of(m, to_end=True)
            if m.status == 101:
                return m
        return None

    def ask(self, target="/", host="web", method="GET", headers=(), body=None, version="1.1"):
        """One request, and its answer."""
        lines = [f"{method} {target} HTTP/{version}"]
        lines += [f"Host: {host}"] * (host is not None)
        lines += [f"{k}: {v}" for k, v in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines) + "\r\n\r\n")
        if body:
            self.send(body)
        return self.response(method)

    @property
    def ended(self):
        """The other side has closed, after all that was read."""
        try:
            return not self._reader.rest and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


def chunked(body, size=1000):
    pieces = [body[i:i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def trusting(ca=None):
    """A context for Http(tls=…) that trusts that CA, or everybody."""
    context = ssl.create_default_context(cafile=ca)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def site(conn, backend):
    """Answers every request with the backend's name, once it is whole;
    requests_of(backend) are those that were, m.connection tells over which
    connection."""
    reader = Reader(conn)
    while (m := reader.head()) is not None:
        backend.note(conn, b"x")
        reader.body_of(m)
        m.connection = id(reader)
        with backend.lock:
            vars(backend).setdefault("requests", []).append(m)
        body = b"" if m.method == "HEAD" else backend.name.encode()
        conn.sendall(b"HTTP/1.1 200 OK\r\nX-Backend: %s\r\nContent-Length: %d\r\n\r\n%s"
                     % (backend.name.encode(), len(backend.name), body))


def requests_of(backend):
    """What a site was asked so far."""
    with backend.lock:
        return list(vars(backend).get("requests", []))


def authority(address):
    """("::1", 80) as it stands in Host."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
