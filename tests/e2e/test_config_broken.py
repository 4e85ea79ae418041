"""Broken configurations: each names its line and its reason, all at once, and
nothing is started."""
import re
import subprocess

import pytest

from helpers import scale

GOOD = '''\
workers = 1;
state_dir = "{dir}/state";
admin: {{ socket = "{dir}/a.sock"; }};
observe: {{ listen = "127.0.0.1:19180"; }};
log: {{ level = "info"; access = true; }};
node_pools: {{ main = ["127.0.0.1", "127.0.0.2"]; }};
services = (
  {{ name = "shop";
    listen = "127.0.0.1:18080";
    preview = "127.0.0.1:18081";
    nodes = "main";
    green: {{ port = 10080; }};
    blue:  {{ port = 11080; }};
    balance = "round_robin";
    health: {{ type = "tcp"; interval = 2.0; timeout = 1.0; rise = 2; fall = 3; }};
    flip:   {{ min_healthy = "50%"; }};
    drain:  {{ timeout = 30.0; idle = 5.0; spread = 0.0; }};
    connect_timeout = 2.0;
    max_connections = 100;
  }} );
'''

# (what is replaced, by what, words that the complaint must have[, the line])
BROKEN = {
    "syntax": ('workers = 1;', 'workers = = 1;', ["workers.*expected a value"]),
    "unclosed_string": ('"50%"', '"50%', ["never closed"]),
    "unknown_key": ('workers = 1;', 'wrokers = 1;', ["wrokers"]),
    "unknown_service_key": ('    connect_timeout = 2.0;', '    conect_timeout = 2.0;', ['shop', "conect_timeout"]),
    "unknown_nested_key": ("fall = 3;", "fal = 3;", ["shop", "fal"]),
    "string_for_number": ("connect_timeout = 2.0", 'connect_timeout = "2 s"', ["shop", "connect_timeout"]),
    "number_for_string": ('name = "shop"', "name = 7", ["name"]),
    "number_for_bool": ("access = true", "access = 3.5", ["access"]),
    "negative_time": ("connect_timeout = 2.0", "connect_timeout = -2.0", ["shop", "connect_timeout"]),
    "negative_limit": ("max_connections = 100", "max_connections = -1", ["shop", "max_connections"]),
    "bad_port": ("127.0.0.1:18080", "127.0.0.1:99999", ["shop", "99999"]),
    "port_zero": ("port = 10080", "port = 0", ["shop", "port"]),
    "no_port": ('"127.0.0.1:18080"', '"127.0.0.1"', ["shop", "127.0.0.1"]),
    "bad_address": ('"127.0.0.1:18080"', '"127.0.0.300:18080"', ["shop", "127.0.0.300"]),
    "unclosed_bracket": ('"127.0.0.1:18080"', '"[::1:18080"', ["shop", "::1"]),
    "bad_balance": ('"round_robin"', '"leastconn"', ["shop", "leastconn"]),
    "bad_color": ('    balance', '    initial = "red"; balance', ["shop", "red"]),
    "bad_mode": ('    balance', '    mode = "tpc"; balance', ["shop", "tpc"]),
    "no_blue": ("    blue:  {{ port = 11080; }};\n", "", ["shop", "blue"]),
    "no_listen": ('    listen = "127.0.0.1:18080";\n', "", ["shop", "listen"]),
    "no_name": ('name = "shop";', "", ["name"]),
    "empty_name": ('name = "shop"', 'name = ""', ["name"]),
    "odd_name": ('name = "shop"', 'name = "sh op*"', ["name"]),
    "unknown_pool": ('nodes = "main"', 'nodes = "mian"', ["shop", "mian"]),
    "no_backends": ("green: {{ port = 10080; }}", "green: {{ backends = []; }}", ["shop", "green"]),
    "bad_percent": ('"50%"', '"500%"', ["shop", "500%|min_healthy"]),
    "bad_quorum": ('"50%"', '"half"', ["shop", "half|min_healthy"]),
    "preview_is_listen": ("127.0.0.1:18081", "127.0.0.1:18080", ["shop", "18080"]),
    "observe_is_listen": ("127.0.0.1:19180", "127.0.0.1:18080", ["18080"]),
    "bad_level": ('"info"', '"chatty"', ["level|chatty"]),
    "bad_health": ('type = "tcp"', 'type = "ping"', ["shop", "ping"]),
    "rise_zero": ("rise = 2", "rise = 0", ["shop", "rise"]),
    "interval_zero": ("interval = 2.0", "interval = 0.0", ["shop", "interval"]),
    "unknown_user": ("workers = 1;", 'workers = 1; user = "no-such-user-here";', ["no-such-user-here"]),
    "unknown_group": ("a.sock\";", 'a.sock"; group = "no-such-group";', ["no-such-group"]),
    "bad_socket_mode": ("a.sock\";", 'a.sock"; mode = "0999";', ["mode|0999"]),
    "http_key_in_tcp": ('    balance', '    max_body = "1MiB"; balance', ["shop", "max_body", 'mode = "http"']),
    "hosts_in_tcp": ('    balance', '    hosts = "shop.example"; balance', ["shop", "hosts", 'mode = "http"']),
    "sni_in_http": ('    balance', '    mode = "http"; sni = "shop.example"; balance', ["shop", "sni", 'mode = "tcp"']),
    "host_with_port": ('    balance', '    mode = "http"; hosts = "shop.example:80"; balance', ["shop", "without port"]),
    "host_twice": ('    balance', '    mode = "http"; hosts = ["shop.example", "Shop.example."]; balance',
                   ["shop", "listed twice"]),
    "star_is_no_host": ('    balance', '    mode = "http"; hosts = ["*"]; balance', ["shop", "default = true"]),
    "odd_preview_header": ('    balance', '    mode = "http"; preview_header = "a b"; preview_allow = "::/0"; balance',
                           ["shop", "preview_header", "a b"]),
    "tiny_head": ('    balance', '    mode = "http"; max_header_size = 100; balance',
                  ["shop", "max_header_size: 100 bytes are out of range"]),
    "plain_without_tls": ('    balance', '    plain_listen = ":18082"; balance', ["shop", "plain_listen", "tls"]),
    "kernel_reads_no_http": ('    balance', '    mode = "http"; engine = "kernel"; balance', ["shop", "kernel", "requests"]),
    "kernel_retries_nothing": ('    balance', '    engine = "kernel"; retries = 2; balance', ["shop", "retries", "kernel"]),
    "kernel_counts_nobody": ('    balance = "', '    engine = "kernel"; balance = "least_conn"; # "', ["balance", "least_conn"]),
    "redis_nowhere": ("workers = 1;", 'workers = 1; store: { type = "redis"; };', ["redis", "url", "sentinels"]),
    "redis_password": ("workers = 1;", 'workers = 1; store: { type = "redis"; url = "redis://u:p@h/0"; };',
                       ["store.url", "password_file"]),
    "tls_no_file": ('    balance', '    tls: { certificates = ( { cert = "a"; key = "b"; } ); }; balance',
                    ["shop", "cannot read", "a: No such file"]),
    "tls_no_certificates": ('    balance', '    tls: { profile = "modern"; }; balance', ["shop", "tls", "certificates"]),
    "tls_whose_word": ('    balance', '    tls: { certificates = ( { cert = "a"; } ); client_verify = "optional"; }; balance',
                       ["shop", "client_verify", "client_ca"]),
    "tls_key_alone": ('    balance', '    backend_tls: { key = "k"; }; balance', ["shop", "backend_tls.key", "cert"]),
    "udp_has_no_tls": ('    balance', '    mode = "udp"; backend_tls: { verify = false; }; balance', ["shop", "backend_tls", "mode"]),
    "no_services": ("services = (", "unservices = (", ["services"]),
    "same_key_twice": ("workers = 1;", "workers = 1; workers = 2;", ["workers|duplicate|syntax"]),
}


def check(folder, text, *options):
    conf = folder / "teal.conf"
    conf.write_text(text)
    return subprocess.run([str(scale.BUILD / "teald"), *options, "-c", str(conf)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=2 * scale.patience())


def good(folder):
    return GOOD.format(dir=folder)


def test_the_unbroken_one_passes(tmp_path):
    p = check(tmp_path, good(tmp_path), "-t")
    assert p.returncode == 0, p.stderr
    assert not (tmp_path / "a.sock").exists() and not (tmp_path / "state").exists()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_names_line_and_reason(tmp_path, name):
    old, new, words = BROKEN[name]
    old = old.replace("{{", "{").replace("}}", "}")
    new = new.replace("{{", "{").replace("}}", "}")
    text = good(tmp_path)
    assert text.count(old) >= 1, "the break does not fit the good one"
    broken = text.replace(old, new, 1)
    for options in (["-t"], []):
        p = check(tmp_path, broken, *options)
        assert p.returncode == 2, (p.returncode, p.stderr)
        assert p.stdout == ""
        complaints = p.stderr.splitlines()
        assert complaints
        for c in complaints:
            assert re.match(r"\S*teal\.conf(:\d+)?: ", c), f"not a complaint: {c!r}"
        for w in words:
            assert re.search(w, p.stderr), f"{w} is not in: {p.stderr}"
        # The line: where the change begins, or (something missing) where its
        # owner begins.
        at = next((i for i, (a, b) in enumerate(zip(text.splitlines(), broken.splitlines()), 1) if a != b), 1)
        lines = [int(m) for m in re.findall(r"teal\.conf:(\d+):", p.stderr)]
        if name == "no_services":
            continue
        assert lines, p.stderr
        near = {at, at + 1} | ({8, 9, 10} if name.startswith(("no_", "preview", "observe")) else set())
        assert near & set(lines), f"line {at} expected: {p.stderr}"
        assert not (tmp_path / "a.sock").exists() and not (tmp_path / "state").exists(), "something was started"


def test_all_errors_at_once(tmp_path):
    text = good(tmp_path)
    for old, new in (("workers = 1;", "workers = \"many\";"), ('"round_robin"', '"lest_conn"'), ("rise = 2", "rise = 0"),
                     ("max_connections = 100", "max_conections = 100"), ('nodes = "main"', 'nodes = "mian"')):
        text = text.replace(old, new, 1)
    p = check(tmp_path, text, "-t")
    assert p.returncode == 2
    for word in ("workers", "lest_conn", "rise", "max_conections", "mian"):
        assert word in p.stderr, p.stderr
    lines = [int(m) for m in re.findall(r"teal\.conf:(\d+): (?!.*\(warning\))", p.stderr)]
    assert len(lines) == 5 and lines == sorted(lines), p.stderr


def test_two_services_with_one_name_or_one_listener(tmp_path):
    text = good(tmp_path)
    block = text[text.index("  { name"):text.rindex("}") + 1]
    p = check(tmp_path, text.replace(block, block + ",\n" + block), "-t")
    assert p.returncode == 2
    assert re.search(r'same name', p.stderr) and "shop" in p.stderr
    twin = block.replace('"shop"', '"other"').replace("18081", "18082")
    p = check(tmp_path, text.replace(block, block + ",\n" + twin), "-t")
    assert p.returncode == 2 and "18080" in p.stderr and "other" in p.stderr and "shop" in p.stderr
    wild = twin.replace("127.0.0.1:18080", "0.0.0.0:18080")
    p = check(tmp_path, text.replace(block, block + ",\n" + wild), "-t")
    assert p.returncode == 2 and "18080" in p.stderr


def sharers(folder, first, second):
    """Two services on one listener, each with keys of its own."""
    text = good(folder)
    block = text[text.index("  { name"):text.rindex("}") + 1]
    one = block.replace("    balance", f"    {first} balance")
    two = block.replace('"shop"', '"pay"').replace("18081", "18082").replace("    balance", f"    {second} balance")
    return check(folder, text.replace(block, one + ",\n" + two), "-t")


@pytest.mark.parametrize("first, second, words", [
    ('mode = "http";', 'mode = "http"; hosts = "pay.example";', "each needs hosts or default = true"),
    ('sni = "shop.example";', '', "each needs sni or default = true"),
    ('sni = "shop.example";', 'mode = "http"; hosts = "pay.example";', "both must be of one mode"),
    ('mode = "http"; hosts = "*.shop.example";', 'mode = "http"; hosts = ["pay.example", "*.SHOP.example"];',
     'hosts: "*.shop.example" is also that of service "shop"'),
    ('mode = "http"; default = true;', 'mode = "http"; default = true;', 'default: so is service "shop"'),
    ('mode = "http"; default = true; max_headers = 20;', 'mode = "http"; hosts = "pay.example";', "max_headers: differs"),
    ('mode = "http"; default = true;', 'mode = "http"; hosts = "pay.example"; tcp: { backlog = 7; };',
     "tcp.backlog: differs"),
    ('mode = "http"; default = true;',
     'mode = "http"; hosts = "pay.example"; proxy_protocol: { accept_from = "10.0.0.0/8"; };', "accept_from: differs"),
])
def test_services_that_cannot_share_a_listener(tmp_path, first, second, words):
    p = sharers(tmp_path, first, second)
    complaints = p.stderr.splitlines()
    assert p.returncode == 2 and len(complaints) == 1, p.stderr
    assert words in complaints[0] and 'service "pay"' in complaints[0] and 'service "shop" at' in complaints[0]


def test_services_that_share_a_listener(tmp_path):
    p = sharers(tmp_path, 'mode = "http"; hosts = ["shop.example", "*.shop.example", "[::1]"];',
                'mode = "http"; default = true; max_body = 5;')
    assert (p.returncode, p.stderr) == (0, "")


def test_both_colors_on_one_address_is_only_a_warning(tmp_path):
    p = check(tmp_path, good(tmp_path).replace("port = 11080", "port = 10080"), "-t")
    assert p.returncode == 0
    assert "warning" in p.stderr.lower() and "shop" in p.stderr


def test_a_missing_or_unreadable_file(tmp_path):
    p = subprocess.run([str(scale.BUILD / "teald"), "-t", "-c", str(tmp_path / "nope.conf")], capture_output=True,
                       text=True)
    assert p.returncode == 2 and "nope.conf" in p.stderr and "No such file" in p.stderr
    p = subprocess.run([str(scale.BUILD / "teald"), "-t", "-c", str(tmp_path)], capture_output=True, text=True)
    assert p.returncode == 2 and p.stderr


def test_no_configuration_is_too_odd_to_be_refused_politely(tmp_path):
    """Bytes cut off anywhere, or turned: an answer, never a crash."""
    text = good(tmp_path)
    for n in range(0, len(text), max(1, len(text) // scale.scaled(400, 40))):
        for odd in (text[:n], text[:n] + "\x01" + text[n:], text[:n] + '"' + text[n:]):
            p = check(tmp_path, odd, "-t")
            assert p.returncode in (0, 2), (p.returncode, p.stderr, odd)
            assert (p.returncode == 0) or p.stderr
