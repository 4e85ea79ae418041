"""The samples of conf/, made to fit this machine: they name users, files and
addresses it does not have."""
import hashlib
import re

from . import scale

CONF = scale.REPO / "conf"
NOBODYS = "#" + "0" * 64     # the hash that stands for "put in your own"


def replace(text, pairs):
    for old, new in pairs:
        assert old in text, f"the sample has no {old}"
        text = text.replace(old, new)
    return text


def teal_redis(folder):
    """teal-redis.conf with users and groups that every Debian has."""
    secret = folder / "redis.pass"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    return replace((CONF / "teal-redis.conf").read_text(), [
        ('\nuser = "teal";', '\nuser = "daemon";'), ('"ci-shop"', '"games"'), ('"ci-pay"', '"man"'),
        ('"deploy"', '"users"'), ('"sre"', '"staff"'), ("/etc/teal/redis.pass", str(secret))])


def teal_sni():
    """teal-sni.conf likewise."""
    return replace((CONF / "teal-sni.conf").read_text(), [
        ('\nuser = "teal";', '\nuser = "daemon";'), ('"deploy"', '"users"'), ('"ci-acme"', '"games"'), ('"ci-globex"', '"man"')])


def redis_acl(passwords):
    """redis-acl.conf with these passwords by user, and a default user who may do
    everything with the password "default"."""
    text = (CONF / "redis-acl.conf").read_text()
    for user, password in passwords.items():
        line = re.search(rf"^user {user} on {NOBODYS} .*$", text, re.M)[0]
        text = text.replace(line, line.replace(NOBODYS, "#" + hashlib.sha256(password.encode()).hexdigest()))
    return replace(text, [("user default off", "user default on >default allkeys allchannels +@all")])
