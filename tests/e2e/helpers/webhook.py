"""A receiver of events: a real HTTP server that keeps what it is sent, and answers as a test says."""
import hashlib
import hmac
import http.server
import json
import ssl
import threading

from . import ports, scale


def verify(secret, header, body):
    """As a receiver checks X-Teal-Signature; the signed time."""
    parts = dict(p.split("=", 1) for p in header.split(","))
    want = hmac.new(secret.encode(), f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(want, parts["v1"]), header
    return int(parts["t"])


class Post:
    def __init__(self, path, headers, body, status):
        self.path, self.headers, self.body, self.status = path, headers, body, status
        self.json = json.loads(body)

    @property
    def event(self):
        return self.json["event"]


class Webhook:
    """.posts: what came, with what it was answered.  .answer: a status, or a function of a Post
    before its answer that returns one, or raw bytes instead of an answer."""

    def __init__(self, port, answer=204, *, certificate=None, key=None, host="127.0.0.1"):
        self.posts, self.answer = [], answer
        self.headers = {}  # of answers
        self._news = threading.Condition()
        self.port = port
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                outer._post(self)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def server_bind(self):
                self.socket.close()
                self.socket = ports.listener(*self.server_address)

            def server_activate(self):
                pass  # it listens

            def handle_error(self, request, client_address):
                pass  # a client that gives up

        self.server = Server((host, port), Handler)
        self.scheme = "http"
        if certificate:
            self.scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path="/in", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.port}{path}"

    def _post(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        post = Post(handler.path, handler.headers, body, None)
        post.status = self.answer(post) if callable(self.answer) else self.answer
        with self._news:
            self.posts.append(post)
            self._news.notify_all()
        if isinstance(post.status, bytes):
            handler.wfile.write(post.status)
            handler.close_connection = True
            return
        handler.send_response(post.status)
        for k, v in self.headers.items():
            handler.send_header(k, v)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def taken(self, **fields):
        """Events that were answered with 2xx."""
        with self._news:
            return [p for p in self.posts if isinstance(p.status, int) and 200 <= p.status < 300
                    and all(p.json.get(k) == v for k, v in fields.items())]

    def wait(self, n=1, taken=True, **fields):
        """Until n such events have come; returns the n-th."""
        def there():
            found = self.taken(**fields) if taken else \
                [p for p in self.posts if all(p.json.get(k) == v for k, v in fields.items())]
            return found[n - 1] if len(found) >= n else None
        return scale.until(there, f"{n} events {fields}")

    def close(self):
        self.server.shutdown()
        self.server.server_close()
