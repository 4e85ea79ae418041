"""`tealctl export`: a service in the words of Kubernetes, taken by the real kubectl and the API stand-in."""
import pytest
import yaml

from helpers.certificates import Authority
from helpers.kube_api import KubeApi
from helpers.kubectl import Kubectl
from helpers.teald import service
from helpers.topology import possible

NODES = ("127.0.0.1", "127.0.0.2")

# What the API's reference requires, and allows, of what is printed: fields of each kind of object in it.
FIELDS = {
    "Service": {"type", "ports"}, "Gateway": {"gatewayClassName", "listeners", "addresses"},
    "HTTPRoute": {"parentRefs", "hostnames", "rules"}, "TLSRoute": {"parentRefs", "hostnames", "rules"},
    "TCPRoute": {"parentRefs", "rules"}, "UDPRoute": {"parentRefs", "rules"},
    "ports": {"name", "protocol", "port", "nodePort"}, "listeners": {"name", "protocol", "port", "tls", "allowedRoutes"},
    "addresses": {"type", "value"}, "parentRefs": {"name"}, "backendRefs": {"name", "port", "weight"},
    "rules": {"backendRefs", "matches"}, "matches": {"path"}}


def check_fields(name, value):
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and name in FIELDS:
            assert set(item) <= FIELDS[name], (name, item)
        if isinstance(item, dict):
            for key, inner in item.items():
                check_fields(key, inner)


@pytest.fixture
def exported(teal, ports, tmp_path, closing):
    """exported(kind, name): the objects, by kind and name, that are printed, and that a cluster has taken."""
    api = closing.add(KubeApi(ports.hold()))
    kubectl = Kubectl(tmp_path, api.kubeconfig(tmp_path / "kubeconfig"))

    def make(t, kind, name):
        text = t.tealctl("export", kind, name, check=0).stdout
        kubectl("apply", "--dry-run=server", "-f", "-", stdin=text)
        kubectl("apply", "-f", "-", stdin=text)
        found = {}
        for obj in yaml.safe_load_all(text):
            check_fields(obj["kind"], obj["spec"])
            assert obj["metadata"]["annotations"]["teal/service"] == name
            taken = api.objects.get(obj["kind"], obj["metadata"]["name"], "default")
            assert all(taken["spec"][k] == v for k, v in obj["spec"].items())
            found[obj["kind"], obj["metadata"]["name"]] = obj["spec"]
        return found
    return make


def colors(port=30080):
    return {"green": [f"{n}:{port}" for n in NODES], "blue": [f"{n}:{port + 1}" for n in NODES]}


def test_an_http_service(teal, ports, exported, tmp_path):
    a, b, plain = (ports.hold() for _ in range(3))
    certificate = Authority(tmp_path).issue("shop.example")
    t = teal(services=[
        service("Web_Shop", listen=f"127.0.0.1:{a}", mode="http", hosts=["shop.example", "*.shop.example"],
                tls={"certificates": [certificate]}, plain_listen=f"127.0.0.1:{plain}", **colors()),
        service("api", listen=f"0.0.0.0:{b}", mode="http", hosts=["shop.example"], paths=["/api", "/v2"], **colors(30180))])
    t.ok("flip", "Web_Shop", "blue", "--force")
    objects = exported(t, "gateway", "Web_Shop")
    gateway, route = objects["Gateway", "web-shop"], objects["HTTPRoute", "web-shop"]
    assert [(l["name"], l["protocol"], l["port"]) for l in gateway["listeners"]] == [(f"main-{a}", "HTTPS", a)]
    assert "Not described: what plain_listen" in t.tealctl("export", "gateway", "Web_Shop").stdout
    assert gateway["listeners"][0]["tls"] == {"mode": "Terminate", "certificateRefs": [{"name": "web-shop-tls"}]}
    assert gateway["addresses"][0] == {"type": "IPAddress", "value": "127.0.0.1"}
    assert route["parentRefs"] == [{"name": "web-shop"}] and route["hostnames"] == ["shop.example", "*.shop.example"]
    # The active color has all of it.
    assert route["rules"] == [{"backendRefs": [{"name": "web-shop-green", "port": 30080, "weight": 0},
                                               {"name": "web-shop-blue", "port": 30081, "weight": 1}]}]
    services = exported(t, "service", "Web_Shop")
    assert {n: s["ports"] for (_, n), s in services.items()} == {
        f"web-shop-{c}": [{"name": "main", "protocol": "TCP", "port": p, "nodePort": p}]
        for c, p in (("green", 30080), ("blue", 30081))}
    api = exported(t, "gateway", "api")
    assert "addresses" not in api["Gateway", "api"]
    assert [m["path"] for m in api["HTTPRoute", "api"]["rules"][0]["matches"]] == [
        {"type": "PathPrefix", "value": "/api"}, {"type": "PathPrefix", "value": "/v2"}]


def test_tcp_services(teal, ports, exported, tmp_path):
    a, b, c, d, e = (ports.hold() for _ in range(5))
    (tmp_path / "tenants").write_text("one.tenant.example\n")
    t = teal(services=[
        service("tcp", listen=[f"127.0.0.1:{a}", f"[::1]:{a}"], **colors()),
        service("passed", listen=f"127.0.0.1:{b}", sni=["a.example"], **colors(40080)),
        service("mapped", listen=f"127.0.0.1:{e}", sni_map=str(tmp_path / "tenants"), **colors()),
        service("no", listen=f"127.0.0.1:{d}", **colors()),
        {"name": "one", "listen": f"127.0.0.1:{c}", "backends": [f"{n}:30500" for n in NODES]}])
    tcp = exported(t, "gateway", "tcp")
    assert [l["protocol"] for l in tcp["Gateway", "tcp"]["listeners"]] == ["TCP"]
    assert [x["value"] for x in tcp["Gateway", "tcp"]["addresses"]] == ["127.0.0.1", "::1"]
    assert [r["weight"] for r in tcp["TCPRoute", "tcp"]["rules"][0]["backendRefs"]] == [1, 0]
    passed = exported(t, "gateway", "passed")
    assert passed["Gateway", "passed"]["listeners"][0]["tls"] == {"mode": "Passthrough"}
    assert passed["TLSRoute", "passed"]["hostnames"] == ["a.example"]
    assert "hostnames" not in exported(t, "gateway", "mapped")["TLSRoute", "mapped"]
    assert "Not described: the names of sni_map" in t.tealctl("export", "gateway", "mapped").stdout
    # What YAML takes for something else than a name is one.
    assert exported(t, "gateway", "no")["TCPRoute", "no"]["parentRefs"] == [{"name": "no"}]
    # A port that a cluster has to be told of.
    assert "--service-node-port-range" in t.tealctl("export", "service", "passed").stdout
    assert "--service-node-port-range" not in t.tealctl("export", "service", "tcp").stdout
    # Without colors there is one Service.
    assert list(exported(t, "service", "one")) == [("Service", "one")]
    assert exported(t, "gateway", "one")["TCPRoute", "one"]["rules"] == [{"backendRefs": [{"name": "one", "port": 30500}]}]


@pytest.mark.skipif(not possible(), reason="needs root, network namespaces and nftables")
def test_a_udp_service(topology, teal, exported):
    t = teal(place=topology.hop, services=[service(
        listen=f"{topology.VIP}:53", mode="udp", engine="kernel", health={"type": "none"},
        green=[f"{topology.node(n)}:30053" for n in (1, 2)], blue=[f"{topology.node(n)}:30054" for n in (1, 2)])])
    objects = exported(t, "gateway", "web")
    assert objects["Gateway", "web"]["listeners"][0]["protocol"] == "UDP" and ("UDPRoute", "web") in objects
    assert [s["ports"][0]["protocol"] for s in exported(t, "service", "web").values()] == ["UDP", "UDP"]


def test_what_cannot_be_described_is_said(teal, ports, tmp_path):
    t = teal(services=[
        service("odd", listen=f"unix:{tmp_path}/odd.sock", green=["127.0.0.1:30080", "127.0.0.2:30081"],
                blue=["127.0.0.1:30082"]),
        service("local", listen=f"unix:{tmp_path}/local.sock", **colors())])

    def refused(*words, status=2):
        r = t.tealctl("export", *words, check=None)
        assert r.returncode == status and not r.stdout, r
        return r.stderr
    assert "green's backends have the ports 30080 and 30081" in refused("service", "odd")
    assert "listens at Unix sockets only" in refused("gateway", "local")
    assert "there is no service" in refused("gateway", "nothing")
    assert "it is gateway or service" in refused("ingress", "odd")
    assert "needs a kind and a service" in refused("gateway")
    assert "unknown option --all" in refused("gateway", "odd", "--all")
    assert "has no --json" in refused("gateway", "odd", "--json")
    assert "gateway|service" in t.tealctl("export", "--help").stdout == t.tealctl("help", "export").stdout
