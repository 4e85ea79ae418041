"""Pools that reach a cluster's API by a kubeconfig, or with a client certificate (helpers/kube_api.py stands in for the API)."""
import json
import subprocess

import pytest
import yaml

from helpers import libconfig
from helpers import reload as reloads
from helpers import upgrade as upgrades
from helpers.kubectl import Kubectl
from helpers.scale import BUILD, until
from test_node_watch import READY, Cluster, nodes, pool, wait_peers, node


@pytest.fixture
def cluster(tmp_path, ports, closing):
    return Cluster(tmp_path, ports, closing)


def settings(k, **keys):
    s = k.settings()
    s["node_pools"]["main"]["kubernetes"] = {"selector": "role=worker"} | keys
    return s


def checked(t):
    t.conf.write_text(libconfig.dumps(t.settings))
    return subprocess.run([str(BUILD / "teald"), "-t", "-c", str(t.conf)], capture_output=True, text=True)


def test_files_as_kubectl_writes_them(teal, cluster, tmp_path):
    """kubectl config makes one, merges and flattens it; the pool follows what it says, whatever it is replaced by."""
    k, path = cluster, tmp_path / "kube.config"
    ctl = Kubectl(tmp_path, str(path))
    ctl("config", "set-cluster", "prod", f"--server={k.api.url}", f"--certificate-authority={k.api.ca}", "--embed-certs=true")
    ctl("config", "set-credentials", "teal", "--token=t0ken")
    ctl("config", "set-context", "teal@prod", "--cluster=prod", "--user=teal")
    ctl("config", "set-context", "other", "--cluster=prod", "--user=nobody")
    ctl("config", "use-context", "teal@prod")
    t = teal(**settings(k, kubeconfig=str(path)))
    wait_peers(t, "abc")
    assert pool(t)["watch"]["server"] == k.api.url and nodes(t) == {n: READY for n in "abc"}

    # As JSON, and as other tools make it: minified, without --raw there is nothing to log in with.
    k.wait_watch()
    whole = ctl("config", "view", "--raw", "--flatten", "--minify", "-o", "json").stdout
    k.api.tokens = {"an0ther"}
    path.write_text(whole.replace("t0ken", "an0ther"))
    k.api.cut()
    k.wait_watch(2)
    k.api.objects.create(node("d"))
    wait_peers(t, "abcd")
    path.write_text(ctl("config", "view").stdout)
    k.api.cut()
    t.wait_log("nodes.watch_failed", pool="main")
    assert "make the file with --raw" in pool(t)["watch"]["problem"] and wait_peers(t, "abcd") is None

    # Rotated to another server of the cluster, and then another context.
    path.write_text(whole.replace("t0ken", "an0ther"))
    t.wait_log("nodes.watch_recovered", pool="main")
    keys = settings(k, kubeconfig=str(path), context="none")["node_pools"]
    reloads.rewrite(t, node_pools=keys)
    r = reloads.reload(t)
    t.wait_log("nodes.watch_failed", 2, pool="main")
    assert f'{path}:' in pool(t)["watch"]["problem"] and 'no context "none"; it has: teal@prod' in pool(t)["watch"]["problem"], r
    reloads.rewrite(t, node_pools=settings(k, kubeconfig=str(path), context="teal@prod", server=[k.api.url])["node_pools"])
    reloads.reload(t)
    wait_peers(t, "abcd")
    until(lambda: pool(t)["watch"]["up"], "the API tells again")


def test_client_certificates_as_keys_and_in_a_kubeconfig(teal, cluster, tmp_path):
    """kubeadm's admin.conf has the certificate and key in itself, minikube's names files beside it."""
    k = cluster
    own = k.authority.issue("teal", "teal", subject="teal")
    k.api.show(k.authority.issue("kube-api", "cluster.test"), client_ca=k.api.ca)
    path = tmp_path / "kube" / "admin.conf"
    path.parent.mkdir()
    ctl = Kubectl(tmp_path, str(path))
    ctl("config", "set-cluster", "kubernetes", f"--server={k.api.url}", f"--certificate-authority={k.api.ca}",
        "--tls-server-name=cluster.test")
    ctl("config", "set-credentials", "admin", f"--client-certificate={own['cert']}", f"--client-key={own['key']}")
    ctl("config", "set-context", "admin", "--cluster=kubernetes", "--user=admin")
    ctl("config", "use-context", "admin")
    path.write_text(path.read_text().replace(f"{tmp_path}/", "../"))    # relative to the file, as kubectl takes them
    assert yaml.safe_load(path.read_text())["users"][0]["user"]["client-key"] == "../teal.key"
    t = teal(start=False, **settings(k, kubeconfig=str(path)))
    t.start(supervised=True)
    wait_peers(t, "abc")
    path.write_text(ctl("config", "view", "--raw", "--flatten").stdout)
    assert "client-key-data" in path.read_text()
    upgrades.upgrade(t)
    k.wait_watch(2)
    k.api.objects.create(node("d"))
    wait_peers(t, "abcd")
    # The same without a kubeconfig, which has to name a server that the certificate is of.
    k.api.show(k.authority.issue("kube-api", "127.0.0.1"), client_ca=k.api.ca)
    reloads.rewrite(t, node_pools=settings(k, server=k.api.url, ca=k.api.ca, **own)["node_pools"])
    reloads.reload(t)
    k.wait_watch(3)
    k.api.objects.delete("Node", "d")
    wait_peers(t, "abc")


@pytest.mark.nosan
def test_what_teal_does_not_do_is_named_by_the_check(teal, cluster, tmp_path):
    k = cluster
    path = tmp_path / "kube.config"
    ctl = Kubectl(tmp_path, k.api.kubeconfig(path, "t0ken"))
    t = teal(start=False, **settings(k, kubeconfig=str(path)))
    assert checked(t).returncode == 0 and "kubernetes" not in checked(t).stderr
    path.chmod(0o644)
    assert f"kubernetes.kubeconfig: every user can read {path} (mode 0644); chmod 0640 it" in checked(t).stderr
    path.chmod(0o600)
    ctl("config", "set-credentials", "test", "--exec-command=aws", "--exec-api-version=client.authentication.k8s.io/v1")
    assert f"{path}:" in checked(t).stderr and "exec: Teal runs no program for credentials" in checked(t).stderr
    ctl("config", "set-cluster", "test", f"--server={k.api.url}", "--insecure-skip-tls-verify=true")
    assert "insecure-skip-tls-verify: Teal asks no server that it cannot verify" in checked(t).stderr
    path.write_text(json.dumps({"clusters": []}))
    assert f"{path}:1: it has no current-context; name one with kubernetes.context" in checked(t).stderr
    assert checked(t).returncode == 0
