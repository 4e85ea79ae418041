"""conf/Containerfile and conf/teal-pod.yml: what they name is there, and what they give teald suffices."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest
import yaml

from helpers.reload import change
from helpers.scale import REPO, until

POD = yaml.safe_load((REPO / "conf/teal-pod.yml").read_text())["spec"]["template"]["spec"]
FILE = (REPO / "conf/Containerfile").read_text()


@pytest.mark.nosan
def test_what_the_samples_name_is_what_is_installed(tmp_path):
    def words(instruction):
        return json.loads(re.search(rf"^{instruction} (\[.*\])$", FILE, re.M)[1])
    subprocess.run(["make", "-C", REPO, "-s", "install", f"DESTDIR={tmp_path}", "PREFIX=/usr", "CONFDIR=/etc/teal"], check=True)
    container, = POD["containers"]
    assert (tmp_path / words("ENTRYPOINT")[0].lstrip("/")).exists()
    for args in (words("CMD"), container["args"]):
        assert args[0] == "-c" and (tmp_path / args[1].lstrip("/")).exists(), args
    # The places that its file uses are volumes, or they end with the container.
    file = (REPO / "conf/teal.conf").read_text()
    mounts = [m["mountPath"] for m in container["volumeMounts"]]
    for path in (re.search(r'state_dir = "(.*?)"', file)[1], os.path.dirname(re.search(r'socket = "(.*?)"', file)[1])):
        assert path in mounts
    port = int(re.search(r'observe: { listen = "127.0.0.1:(\d+)"', file)[1])
    assert [container[p]["httpGet"]["port"] for p in ("readinessProbe", "livenessProbe")] == [port] * 2
    notice, timeout = map(float, re.search(r"stop: { notice = ([\d.]+); timeout = ([\d.]+)", file).groups())
    assert POD["terminationGracePeriodSeconds"] > notice + timeout


@pytest.mark.skipif(os.geteuid() != 0, reason="wants namespaces: needs root")
def test_the_pods_capabilities_suffice(web):
    """As process 1 with them alone: port 81, another user, a reload to port 82, a crash, the end."""
    caps = ",".join("+" + c.lower() for c in POD["containers"][0]["securityContext"]["capabilities"]["add"])
    folder = pathlib.Path(tempfile.mkdtemp(prefix="teal-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        teal = web(start=False, listen="127.0.0.1:81", health={"type": "none"}, top={
            "user": "nobody", "state_dir": f"{folder}/state", "admin": {"socket": f"{folder}/run/admin.sock"}})
        (folder / "run").mkdir()
        teal.conf = folder / "teal.conf"
        teal.start(supervised=True, ready=False, prefix=(
            "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", 'ip link set lo up; exec "$@"', "sh",
            "setpriv", "--inh-caps=-all", f"--bounding-set=-all,{caps}"))
        teal.wait_log("teald.serving")
        inside = pathlib.Path(f"/proc/{teal.pid}/task/{teal.pid}/children").read_text().split()[0]
        enter = ["nsenter", "-t", inside, "-n", "-p"]

        def answers(port):
            return subprocess.run([*enter, "sh", "-c", f"printf '' | socat -t1 - TCP:127.0.0.1:{port}"], capture_output=True,
                                  text=True).returncode == 0
        assert answers(81)
        change(teal, listen="127.0.0.1:82")
        os.kill(int(inside), 1)
        teal.wait_log("reload.applied", changed=True)
        assert answers(82) and not answers(81)
        before = teal.serving()
        subprocess.run([*enter, "kill", "-KILL", str(before)], check=True)
        until(lambda: teal.log_lines_now("teald.serving")[1:], "another serves")
        assert answers(82)
        os.kill(int(inside), 15)
        assert teal.wait() == 0
    finally:
        shutil.rmtree(folder)
