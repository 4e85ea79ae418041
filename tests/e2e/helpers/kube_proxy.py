"""kube-proxy, as far as a load balancer asks it, and written from the documentation of
Kubernetes, for there is no cluster here: kubernetes.io, "Virtual IPs and Service Proxies"
and "Create an External Load Balancer", KEP-1669 (terminating endpoints) and KEP-3836 (nodes
that leave). Two servers of a node: the health of kube-proxy itself (port 10256 there), and
for each Service with externalTrafficPolicy Local its healthCheckNodePort."""
import contextlib
import json
import time

from .backends import Backend
from .http1 import Reader


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class _Answers(Backend):
    def __init__(self, name, port, host):
        super().__init__(name, port, self._behave, host=host)
        self.asked = 0

    def _behave(self, conn, _):
        reader = Reader(conn)
        with contextlib.suppress(ConnectionError):
            while (head := reader.head()) is not None:
                with self.lock:
                    self.asked += 1
                status, headers, body = self.answer(head.target)
                text = json.dumps(body).encode()
                lines = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"} | headers
                conn.sendall(f"HTTP/1.1 {status}\r\n".encode()
                             + b"".join(f"{k}: {v}\r\n".encode() for k, v in lines.items())
                             + f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text)
                return


OK, AWAY = "200 OK", "503 Service Unavailable"


class KubeProxy(_Answers):
    """The health of a node: well, and eligible until its Node object is being deleted."""
    well = eligible = True

    def answer(self, target):
        fine = self.well and (self.eligible or target != "/healthz")     # /livez is of kube-proxy alone
        return (OK if fine else AWAY), {}, {"lastUpdated": now(), "currentTime": now(), "nodeEligible": self.eligible}


class ServiceHealth(_Answers):
    """The healthCheckNodePort of a Service on a node. header: versions before 1.29 say it in the body alone."""
    endpoints, well, header = 1, True, True

    def answer(self, target):
        headers = {"X-Load-Balancing-Endpoint-Weight": self.endpoints} if self.header else {}
        return (OK if self.endpoints > 0 and self.well else AWAY), headers, {
            "service": {"namespace": "shop", "name": "web"}, "localEndpoints": self.endpoints,
            "serviceProxyHealthy": self.well}
