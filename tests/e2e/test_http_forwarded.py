"""Whom backends are told the client is, and whose word is believed."""
import re

import pytest

from helpers.http1 import Http, requests_of, site


@pytest.fixture
def told(web, backend):
    """told(headers, **keys): the request as the backend got it."""
    def ask(headers=(), host="web.example:81", source=None, **keys):
        t = web(mode="http", green=[backend("green", site)], blue=[backend("blue", site)], **keys)
        with Http(t.address(), source=source) as c:
            ask.answer = c.ask(host=host, headers=headers)
            assert ask.answer.status == 200
        return requests_of(t.green)[0]
    return ask


CLAIMS = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example"),
          ("Forwarded", "for=203.0.113.9;proto=https")]


def test_the_client_is_told_without_being_asked(told):
    r = told()
    assert r.all("X-Forwarded-For") == ["127.0.0.1"]
    assert r.all("X-Forwarded-Proto") == ["http"]
    assert r.all("X-Forwarded-Host") == ["web.example:81"]
    assert r.all("Forwarded") == r.all("Via") == []


def test_claims_of_strangers_are_replaced(told):
    r = told(CLAIMS + [("X-Real-IP", "203.0.113.9"), ("x_forwarded_for", "203.0.113.9")])
    assert r.all("X-Forwarded-For") == ["127.0.0.1"] and r.all("X-Forwarded-Proto") == ["http"]
    assert r.all("X-Forwarded-Host") == ["web.example:81"]
    assert not [k for k, v in r.headers if "203.0.113.9" in v or "evil" in v], r.headers


def test_trusted_proxies_are_believed_and_we_come_behind(told):
    r = told(CLAIMS, forwarded_trust=["127.0.0.0/8"])
    assert ", ".join(r.all("X-Forwarded-For")) == "203.0.113.9, 127.0.0.1"
    assert r.all("X-Forwarded-Proto") == ["https"] and r.all("X-Forwarded-Host") == ["evil.example"]


def test_trust_goes_by_address(told):
    r = told(CLAIMS, forwarded_trust=["127.0.0.2"], source=("127.0.0.3", 0))
    assert r.all("X-Forwarded-For") == ["127.0.0.3"]


def test_off_means_hands_off(told):
    r = told(CLAIMS, forwarded=False)
    assert [(k, v) for k, v in r.headers if "orwarded" in k] == CLAIMS


def test_the_standard_header(told):
    r = told(CLAIMS, forwarded_header=True)
    assert len(r.all("Forwarded")) == 1
    assert dict(p.split("=", 1) for p in r.get("Forwarded").split(";"))["for"].strip('"') == "127.0.0.1"
    assert "203.0.113.9" not in r.get("Forwarded") and "proto=http" in r.get("Forwarded")


def test_via_only_when_asked(told):
    assert re.match(r"1\.1 \S+$", told(via=True).get("Via"))


def test_request_ids_are_made_and_kept(told):
    made = told().get("X-Request-Id")
    assert re.fullmatch(r"[\w-]{8,64}", made)
    assert told.answer.get("X-Request-Id") in (made, None)
    assert told([("X-Request-Id", "deploy-8812")]).all("X-Request-Id") == ["deploy-8812"]
    odd = told([("X-Request-Id", "a b\"c")]).all("X-Request-Id")
    assert len(odd) == 1 and odd[0] != 'a b"c'


def test_request_ids_can_be_had_without(told):
    assert told(request_id=False).all("X-Request-Id") == []
    assert told([("X-Request-Id", "x y")], request_id=False).all("X-Request-Id") == ["x y"]
