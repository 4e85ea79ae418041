"""TLS as others see it: a scanner, and a browser."""
import json
import shutil
import subprocess

import pytest

from helpers.certificates import Authority
from helpers.http1 import site
from helpers.scale import patience
from helpers.teald import service


@pytest.fixture
def https(teal, backend, ports, tmp_path):
    ca = Authority(tmp_path)
    files = ca.issue("shop", "shop.example", days=80, crl="http://shop.example/list.crl")
    teal = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", mode="http", green=[backend("green", site)],
                                  blue=[backend("blue", site)], tls={"certificates": [files]})])
    teal.ca = ca
    return teal


@pytest.mark.soak
@pytest.mark.nosan
@pytest.mark.timeout(600)
def test_testssl_finds_nothing_serious(https, tmp_path):
    assert shutil.which("testssl"), "tools/install-deps installs testssl.sh"
    found = tmp_path / "found.json"
    subprocess.run(["testssl", "--warnings", "off", "--color", "0", "--ip", "127.0.0.1", "--add-ca", str(https.ca.pem), "--jsonfile",
                    str(found), "-q", "https://shop.example:%d" % https.address()[1]], capture_output=True, timeout=550)
    all_of_it = json.loads(found.read_text())
    worse = {f["id"]: f["finding"] for f in all_of_it if f["severity"] in ("HIGH", "CRITICAL", "FATAL")}
    assert worse == {}
    told = {f["id"]: f["finding"] for f in all_of_it}
    for old in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
        assert "not offered" in told[old]
    for new in ("TLS1_2", "TLS1_3"):
        assert told[new].startswith("offered")


@pytest.mark.nosan
def test_chromium(https, tmp_path):
    port = https.address()[1]
    page = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium",
                           "--ignore-certificate-errors", f"--host-resolver-rules=MAP shop.example 127.0.0.1",
                           "--dump-dom", f"https://shop.example:{port}/"], capture_output=True, text=True, timeout=2 * patience())
    assert "green" in page.stdout, page.stderr[-2000:]
    line = https.wait_log("http.request", sni="shop.example")
    assert (line["tls"], line["status"]) == ("TLSv1.3", 200)
