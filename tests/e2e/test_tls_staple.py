"""What a certificate's authority says of it, stapled: by openssl's own OCSP
responder, as clients see it, and as it changes meanwhile."""
import datetime
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from helpers.certificates import Authority, replace
from helpers.scale import patience, until
from helpers.teald import service

NOW = datetime.datetime.utcnow


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path)


def certificate_of(files):
    with open(files["cert"], "rb") as f:
        return x509.load_pem_x509_certificate(f.read())


def by_responder(ca, files, folder):
    """The answer of a real responder, which has a list of what its authority issued."""
    c = certificate_of(files)
    key = folder / "ca.key"
    key.write_bytes(ca.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                         serialization.NoEncryption()))
    serial = f"{c.serial_number:x}"
    (folder / "index.txt").write_text("V\t%s\t\t%s\tunknown\t/CN=web.example\n" % (
        c.not_valid_after.strftime("%y%m%d%H%M%SZ"), ("0" + serial if len(serial) % 2 else serial).upper()))
    question, answer = folder / "question.der", folder / "answer.der"
    subprocess.run(["openssl", "ocsp", "-issuer", ca.pem, "-cert", files["cert"], "-no_nonce", "-reqout", question],
                   check=True, capture_output=True)
    subprocess.run(["openssl", "ocsp", "-index", folder / "index.txt", "-CA", ca.pem, "-rsigner", ca.pem, "-rkey", key,
                    "-reqin", question, "-respout", answer, "-ndays", "1"], check=True, capture_output=True)
    return answer.read_bytes()


def made(ca, files, status=ocsp.OCSPCertStatus.GOOD, signer=None, hours=(-5, 24)):
    """One that a responder would not give: (since, until) in hours from now."""
    begins, ends = (NOW() + datetime.timedelta(hours=h) for h in hours)
    signer = signer or ca
    revoked = begins if status == ocsp.OCSPCertStatus.REVOKED else None
    builder = ocsp.OCSPResponseBuilder().add_response(
        certificate_of(files), ca.certificate, hashes.SHA1(), status, begins, ends, revoked, None)
    return builder.responder_id(ocsp.OCSPResponderEncoding.NAME, signer.certificate).certificates(
        [signer.certificate]).sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.fixture
def stapling(teal, backend, ports, ca, tmp_path):
    """stapling(content) -> a service with that staple; .staple is the file."""
    def make(content, chain=True):
        files = ca.issue("web.example")
        if chain:
            with open(files["cert"], "ab") as f:
                f.write(ca.pem.read_bytes())
        staple = tmp_path / "staple.der"
        staple.write_bytes(content(files) if callable(content) else content)
        t = teal(services=[service(listen=f"127.0.0.1:{ports.hold()}", green=[backend("green")], blue=[backend("blue")],
                                   tls={"certificates": [files | {"ocsp": str(staple)}]})])
        t.files, t.staple = files, staple
        return t
    return make


def seen(teal, ca, *more):
    """What s_client says of the staple."""
    out = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % teal.address(), "-servername", "web.example", "-CAfile",
                          str(ca.pem), "-verify_return_error", "-status", *more], input="", capture_output=True, text=True, timeout=patience()).stdout
    if "OCSP response: no response sent" in out:
        return None
    return {line.split(":", 1)[0].strip(): line.split(":", 1)[1].strip() for line in out.splitlines() if ":" in line}


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_responder_s_answer_is_stapled(stapling, ca, tmp_path, version):
    teal = stapling(lambda files: by_responder(ca, files, tmp_path))
    found = seen(teal, ca, version)
    assert (found["OCSP Response Status"], found["Cert Status"]) == ("successful (0x0)", "good")
    listed, = teal.ok("certs")["certificates"]
    assert listed["stapled"] is True and listed["problem"] is None
    # Nobody is told who did not ask.
    out = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % teal.address(), version, "-tlsextdebug"], input="",
                         capture_output=True, text=True, timeout=patience()).stdout
    assert "status request" not in out


def test_a_newer_answer_is_picked_up(stapling, ca, tmp_path):
    teal = stapling(lambda files: made(ca, files, hours=(-5, 1)))
    before = seen(teal, ca)["Next Update"]
    replace(teal.staple, by_responder(ca, teal.files, tmp_path), mode=0o644)
    until(lambda: seen(teal, ca)["Next Update"] != before, "the new one is stapled")


BAD = {
    "revoked": (lambda ca, files, stranger: made(ca, files, ocsp.OCSPCertStatus.REVOKED), "revoked or unknown"),
    "of_another": (lambda ca, files, stranger: made(ca, ca.issue("other.example")), "about another certificate"),
    "of_a_stranger": (lambda ca, files, stranger: made(ca, files, signer=stranger), "not signed by the certificate's authority"),
    "rubbish": (lambda ca, files, stranger: b"rubbish", "no answer of an OCSP server"),
    "try_later": (lambda ca, files, stranger: b"\x30\x03\x0a\x01\x03", "no answer of an OCSP server"),
    "over": (lambda ca, files, stranger: made(ca, files, hours=(-24, -1)), "for a time that is over"),
    "empty": (lambda ca, files, stranger: b"", "no answer of an OCSP server"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_good_is_not_stapled(stapling, ca, tmp_path, kind):
    make, why = BAD[kind]
    teal = stapling(lambda files: make(ca, files, Authority(tmp_path, "Stranger")))
    assert seen(teal, ca) is None   # but served all the same
    assert why in teal.wait_log("certs.no_staple")["reason"]
    listed, = teal.ok("certs")["certificates"]
    assert listed["stapled"] is False and why in listed["problem"]


def test_without_the_authority_s_certificate_clients_judge(stapling, ca):
    teal = stapling(lambda files: made(ca, files), chain=False)
    assert seen(teal, ca)["Cert Status"] == "good"
