"""Log lines on their way to BigQuery: every line that teald can write is one
JSON line, whatever a client sent, and a row of the schema; fluentd.conf takes
each to its project's data set.

That every line of every test fits is checked where the log is read
(helpers/teald.py).  fluentd itself is not in Debian: its configuration is read
here as fluentd reads it, and the Ruby in it is run by Ruby.
"""
import json
import re
import socket
import subprocess

import pytest

from helpers import schema
from helpers.libconfig import dumps
from helpers.samples import CONF
from helpers.scale import BUILD, REPO, dice, patience, scaled, until
from helpers.teald import service

TYPES = {"S": "STRING", "T": "STRING", "U": "INTEGER", "I": "INTEGER", "F": "FLOAT", "B": "BOOLEAN"}


# ---- the schema ----

@pytest.mark.nosan
def test_the_schema_is_one_that_bigquery_takes():
    fields = json.loads((CONF / "bigquery-schema.json").read_text())
    names = [f["name"] for f in fields]
    assert len({n.lower() for n in names}) == len(names)
    for f in fields:
        assert set(f) == {"name", "type", "mode", "description"}, f
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,299}", f["name"])
        assert not re.match(r"(?i)_(table|file|partition)|_row_timestamp|__root__|_colidentifier", f["name"])
        assert f["type"] in schema.FITS and f["mode"] in ("NULLABLE", "REQUIRED", "REPEATED")
        assert 0 < len(f["description"]) <= 1024
    assert [n for n, c in schema.columns().items() if c["mode"] == "REQUIRED"] == ["time", "level", "event"]


@pytest.mark.nosan
def test_each_field_in_the_source_has_its_column():
    """Fields as the code names them, LS("name", ...), by the type of the macro."""
    wrong = []
    for path in sorted((REPO / "src").rglob("*.c")):
        if "tealctl" in path.parts or "tealbench" in path.parts:
            continue
        text = path.read_text()
        fields = re.findall(r'\bL([STUIFB])\("(\w+)"', text)
        fields += [("F", name) for name in re.findall(r'\baccess_seconds\("(\w+)"', text)]
        for kind, name in fields:
            column = schema.columns().get(name)
            if column is None or column["type"] != TYPES[kind]:
                wrong.append(f"{path.name}: {name} is {TYPES[kind]}, the schema says {column and column['type']}")
    assert not wrong, "\n".join(wrong) + "\nadd it to conf/bigquery-schema.json"


@pytest.mark.nosan
def test_no_label_can_spoil_a_column(tmp_path):
    """A label is a text: one named like a column of another type is refused."""
    others = [n for n, c in schema.columns().items() if c["type"] != "STRING" or c["mode"] == "REQUIRED"]
    for name in others + ["labels", "dataset", "tried"]:
        conf = tmp_path / "teal.conf"
        conf.write_text(dumps({"state_dir": "/tmp", "services": [service(
            listen="127.0.0.1:1", green=["127.0.0.1:2"], blue=["127.0.0.1:3"], labels={name: "x"})]}))
        p = subprocess.run([BUILD / "teald", "-t", "-c", conf], capture_output=True, text=True, timeout=patience())
        assert p.returncode == 2 and f"labels.{name}: every log line has" in p.stderr, (name, p.stderr)


# ---- what a client may send ----

ODD = ['"', "\\", "\n", "\r", "\t", "\0", "\x1b[31m", "\x7f", "\u2028", "\u202e", "é", "\U0001f6a6", "{", "}", "<", ",",
       "\\u0000", "\\", " "]


def odd_bytes(rng, n):
    """Random bytes, rich in what JSON and terminals mind."""
    out = b""
    while len(out) < n:
        out += rng.choice(ODD).encode() if rng.random() < 0.6 else rng.randbytes(rng.randrange(1, 5))
    return out[:n]


def proxy_v2(rng):
    """A PROXY header of version 2, well formed or nearly, full of odd bytes."""
    tlvs = b""
    for _ in range(rng.randrange(4)):
        value = odd_bytes(rng, rng.randrange(120))
        tlvs += bytes([rng.choice((1, 2, 3, 4, 5, 0x20, 0x30, 0xea, rng.randrange(256)))])
        tlvs += len(value).to_bytes(2, "big") + value
    family = rng.choice((0x11, 0x11, 0x21, 0x31, 0x00, rng.randrange(256)))
    body = rng.randbytes({0x11: 12, 0x21: 36, 0x31: 216}.get(family, 0)) + tlvs
    return (b"\r\n\r\n\0\r\nQUIT\n" + bytes([rng.choice((0x21, 0x21, 0x20, rng.randrange(256))), family]) +
            len(body).to_bytes(2, "big") + body)


def proxy_v1(rng):
    return rng.choice((b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"PROXY " + odd_bytes(rng, rng.randrange(100)) + b"\r\n",
                       odd_bytes(rng, rng.randrange(1, 200))))


def test_clients_cannot_spoil_a_line(web):
    """Whatever stands before and in the stream.  Each line is checked as it is
    read; here is looked at that there was something to check."""
    rng = dice()
    teal = web(labels={"project": "shop"}, proxy_protocol={"accept_from": ["127.0.0.0/8"], "header_timeout": 0.3})
    n = scaled(4000, 150)
    for _ in range(n):
        with teal.connect() as c:
            try:
                c.sock.sendall(rng.choice((proxy_v1, proxy_v2))(rng) + odd_bytes(rng, rng.randrange(50)))
            except OSError:
                pass
    until(lambda: teal.metrics().get("teal_connections_total") >= n and
          teal.metrics().get("teal_connections") == 0, "all over")
    m = teal.metrics()
    assert m.get("teal_connections_total", end="proxy_header") > 0 and m.get("teal_connections_total", end="done") > 0
    teal.wait_log("tcp.session", end="proxy_header")


def http_request(rng):
    """A request that is let through, or nearly, with odd bytes where a client may put them."""
    def odd(n):
        return odd_bytes(rng, rng.randrange(n)).replace(b"\r", b"").replace(b"\n", b"")
    plain = rng.random() < 0.5
    path = b"/" + (b"a%20b?q=" + bytes(rng.choice(b"abc%&=<>\\'{}|^`~") for _ in range(20)) if plain else odd(80))
    # A field's value may hold all but control characters; bytes above ASCII, too.
    text = [b'"', b"\\", b"\xff", b"\xc3", "\u00e9\u2028\u202e".encode(), b" ", b"x", b"\t", b"{", b"</script>"]
    agent = b"x" + b"".join(rng.choice(text) for _ in range(rng.randrange(90))) if plain else odd(300)
    return (rng.choice((b"GET", b"POST", b"PURGE", odd(9) or b"X")) + b" " + path + b" HTTP/1.1\r\nHost: " +
            (b"web" if plain else odd(30)) + b"\r\nUser-Agent: " + agent + b"\r\nX-Request-Id: " +
            (b"".join(rng.choice(text) for _ in range(30)) if plain else odd(60) or b"1") + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_requests_cannot_spoil_a_line(web):
    """Paths, methods, user agents and ids of any bytes.  No backend: who is let
    through gets 502 or 503, and a line all the same."""
    rng = dice()
    teal = web(mode="http", health={"type": "none"})
    teal.green.stop()
    n, statuses = scaled(4000, 200), set()
    for _ in range(n):
        with teal.connect() as c:
            c.sock.settimeout(patience())
            data = b""
            try:
                c.sock.sendall(http_request(rng))
                while more := c.sock.recv(1 << 16):
                    data += more
            except ConnectionError:
                pass
            if data.startswith(b"HTTP/1.1 "):
                statuses.add(int(data[9:12]))
    assert 400 in statuses and statuses & {502, 503}, statuses
    m = teal.metrics()
    assert m.get("teal_requests_total", service="web") > n / 2
    assert teal.stop() == 0
    agents = [l["user_agent"] for l in teal.log_lines("http.request")]
    assert len(set(agents)) > 20 and any('"' in a for a in agents)


def test_commands_cannot_spoil_a_line(web):
    rng = dice()
    teal = web()
    for _ in range(scaled(2000, 100)):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(patience())
            s.connect(teal.admin_path)
            text = odd_bytes(rng, rng.randrange(1200)).replace(b"\n", b"")
            word = rng.choice((b'lock web --reason="', b'unlock web --reason="', b'flip web blue --expect=green --reason="',
                               b'node add main "', b'flip "', b"log ", b""))
            s.sendall(word + text + rng.choice((b'"\n', b"\n")))
            s.shutdown(socket.SHUT_WR)
            data = b""
            while more := s.recv(1 << 16):
                data += more
        for raw in data.splitlines(keepends=True):
            schema.parse(raw)  # replies are JSON lines as well
    # And texts that are let through, with all that a text may hold.
    reasons = []
    for _ in range(scaled(500, 50)):
        reason = "".join(rng.choice(["x", " ", '"', "\\", "'", "{", "\u00e9", "\U0001f6a6", "\\n", "\ufffe", "<"])
                         for _ in range(rng.randrange(1, 200))).strip() or "x"
        if teal.ctl("unlock", "web", f"--reason={reason}")["ok"]:
            reasons.append(reason)
    assert teal.stop() == 0
    assert [l["reason"] for l in teal.log_lines("audit", command="unlock", result="ok")][-len(reasons):] == reasons
    assert len(reasons) > 10


# ---- fluentd ----

def fluentd(path):
    """The sections of a configuration: [(name, argument, {parameter: value}, [sections])]."""
    stack = [("", "", {}, [])]
    for raw in path.read_text().splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if m := re.fullmatch(r"</(\w+)>", line):
            assert stack[-1][0] == m[1], line
            stack.pop()
        elif m := re.fullmatch(r"<(\w+)(?: (\S+))?>", line):
            section = (m[1], m[2] or "", {}, [])
            stack[-1][3].append(section)
            stack.append(section)
        else:
            name, _, value = line.partition(" ")
            assert value and name not in stack[-1][2], line
            stack[-1][2][name] = value.strip()
    assert len(stack) == 1
    return stack[0][3]


def part(sections, name):
    found = [s for s in sections if s[0] == name]
    assert len(found) == 1, name
    return found[0]


def transform(expressions, records, tmp_path):
    """What record_transformer with enable_ruby makes of the records."""
    code = ["require 'json'; require 'socket'",
            "STDIN.each_line do |l|", "record = JSON.parse(l); new = record.dup"]
    for name, value in expressions.items():
        ruby = value[2:-1] if value.startswith("${") else value
        assert value.startswith("${") and value.endswith("}") and value.count("${") == 1 or re.fullmatch(r'".*"', value)
        code.append(f"new[{json.dumps(name)}] = ({ruby})")
    code += ["puts JSON.generate(new)", "end"]
    script = "\n".join(code).replace("/etc/fluent/bigquery-schema.json", str(CONF / "bigquery-schema.json"))
    (tmp_path / "t.rb").write_text(script)
    p = subprocess.run(["ruby", "-w", "-Eutf-8:utf-8", tmp_path / "t.rb"], input="".join(json.dumps(r) + "\n" for r in records),
                       capture_output=True, text=True, timeout=2 * patience())
    assert (p.returncode, p.stderr) == (0, "")
    return [json.loads(l) for l in p.stdout.splitlines()]


@pytest.mark.nosan
def test_fluentd_takes_each_line_to_its_project(web, tmp_path):
    conf = fluentd(CONF / "fluentd.conf")
    source, change, match = part(conf, "source"), part(conf, "filter"), part(conf, "match")
    assert source[2]["tag"] == change[1] == match[1]
    assert part(source[3], "parse")[2] == {"@type": "json", "time_key": "time", "keep_time_key": "true",
                                          "time_type": "string", "time_format": "%Y-%m-%dT%H:%M:%S.%N%z"}
    assert change[2] == {"@type": "record_transformer", "enable_ruby": "true", "auto_typecast": "true"}
    # The data set is the record's own, so the buffer must keep them apart.
    assert match[2]["@type"] == "bigquery_insert" and match[2]["dataset"] == "${dataset}"
    assert part(match[3], "buffer")[1] == "dataset"
    assert set(json.loads(match[2]["clustering_fields"])) | {match[2]["time_partitioning_field"]} <= set(schema.columns())
    assert {match[2]["schema_path"]} == set(re.findall(r'/\S+?schema\.json', (CONF / "fluentd.conf").read_text()))

    teal = web(labels={"project": "Shop-2", "team": 'the "A" team'})
    teal.connect().echo().close()
    teal.wait_log("tcp.session")
    expressions = part(change[3], "record")[2]
    rows = transform(expressions, teal.logs, tmp_path)
    assert {r["dataset"] for r in rows if r.get("service") == "web"} == {"teal_shop_2"}
    assert {r["dataset"] for r in rows if "service" not in r} == {"teal_unlabelled"}
    for line, row in zip(teal.logs, rows):
        assert json.loads(row["labels"]) == {k: v for k, v in line.items() if k == "team"}
        assert row["instance"] == socket.gethostname()
        known = {k: v for k, v in row.items() if k in schema.columns()}
        assert schema.fault(known) is None
        # Nothing is lost but what stands in labels now.
        assert {k for k in line if k not in known} <= {"team"}
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,1023}", row["dataset"])
