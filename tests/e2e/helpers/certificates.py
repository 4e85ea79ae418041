"""Certificates made by a test for itself, as files, and TLS clients for them."""
import datetime
import ipaddress
import os
import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from . import scale

NOW = datetime.datetime.utcnow


def _san(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """Signs certificates into a folder; .pem is its own."""

    def __init__(self, folder, name="Test CA"):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name)
            .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(NOW() - datetime.timedelta(days=10))
            .not_valid_after(NOW() + datetime.timedelta(days=100))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .sign(self.key, hashes.SHA256()))
        self.pem = folder / f"{name.replace(' ', '-')}.pem"
        self.pem.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def make(self, *names, days=30, kind="EC", subject=None, crl=None):
        """(certificate, key) in PEM.  crl: where it could be looked up whether it was revoked."""
        key = ec.generate_private_key(ec.SECP256R1()) if kind == "EC" else rsa.generate_private_key(65537, 2048)
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject or names[0])])
        builder = (
            x509.CertificateBuilder().subject_name(who).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW() - datetime.timedelta(days=9))
            .not_valid_after(NOW() + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([_san(n) for n in names]), critical=False))
        if crl is not None:
            builder = builder.add_extension(x509.CRLDistributionPoints([x509.DistributionPoint(
                [x509.UniformResourceIdentifier(crl)], None, None, None)]), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return (certificate.public_bytes(serialization.Encoding.PEM),
                key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption()))

    def revoke(self, *settings, days=30):
        """CRL.pem: those certificates, as issue() gave them, are revoked; every further call says which ones anew."""
        builder = (x509.CertificateRevocationListBuilder().issuer_name(self.name)
                   .last_update(NOW() - datetime.timedelta(days=9)).next_update(NOW() + datetime.timedelta(days=days)))
        for own in settings:
            with open(own["cert"], "rb") as f:
                serial = x509.load_pem_x509_certificate(f.read()).serial_number
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial)
                .revocation_date(NOW() - datetime.timedelta(hours=1)).build())
        path = self.folder / f"{self.pem.stem}-CRL.pem"
        replace(path, builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def issue(self, name, *names, **how):
        """Files NAME.pem and NAME.key; returns them as teald's settings."""
        certificate, key = self.make(*(names or (name,)), **how)
        replace(self.folder / f"{name}.pem", certificate)
        replace(self.folder / f"{name}.key", key)
        return {"cert": str(self.folder / f"{name}.pem"), "key": str(self.folder / f"{name}.key")}


def replace(path, data, mode=0o600):
    """As tools that care do it: another file, then a rename over it."""
    new = path.with_suffix(".new")
    new.touch(mode)
    new.write_bytes(data)
    os.rename(new, path)


def trusting(authority, own=None, alpn=None, **settings):
    """An SSLContext that believes the authority; own: what it shows."""
    context = ssl.create_default_context(cafile=str(authority.pem))
    if own is not None:
        context.load_cert_chain(own["cert"], own["key"])
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    for key, value in settings.items():
        setattr(context, key, value)
    return context


def connect(address, context, name, session=None, **how):
    """A TLS connection; raises what ssl raises."""
    sock = socket.create_connection(address, scale.patience())
    try:
        return context.wrap_socket(sock, server_hostname=name, session=session, **how)
    except BaseException:
        sock.close()
        raise


def subject(tls):
    """Whose certificate was shown."""
    return tls.getpeercert()["subject"][0][0][1]


def hello(name=None, pad=0):
    """The bytes of a ClientHello, by OpenSSL itself; pad: about so much longer."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with_alpn = [f"p{i:05d}-{'x' * 200}" for i in range(pad // 208)]
    if with_alpn:
        context.set_alpn_protocols(with_alpn)
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def in_records(record, size):
    """The same handshake message in records of so many bytes."""
    body = record[5:]
    return b"".join(b"\x16\x03\x01" + len(body[i:i + size]).to_bytes(2, "big") + body[i:i + size]
                    for i in range(0, len(body), size))
