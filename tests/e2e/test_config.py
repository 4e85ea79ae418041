"""teald -t: what is accepted, what is said about the rest, and that a check
touches nothing."""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from helpers import libconfig, samples, scale
from helpers.certificates import Authority
from helpers.people import needs_root

pytestmark = pytest.mark.nosan      # samples, the manual and messages; broken ones are parsed under sanitizers in test_config_broken.py

SERVICE = '''
  {{ name = "{name}"; listen = "127.0.0.1:{port}";
    green: {{ backends = ["127.0.0.1:10080"]; }};
    blue:  {{ backends = ["127.0.0.1:11080"]; }}; {more} }}'''


def teald(*args, cwd=None):
    return subprocess.run([str(scale.BUILD / "teald"), *map(str, args)], cwd=cwd, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=scale.patience())


def config(folder, *services, top=""):
    path = folder / "teal.conf"
    path.write_text(f'state_dir = "{folder}/state"; admin: {{ socket = "{folder}/a.sock"; }};\n{top}\n'
                    f'services = ({",".join(services)}\n);\n')
    return path


def shop(name="shop", port=18080, more=""):
    return SERVICE.format(name=name, port=port, more=more)


@pytest.fixture
def public():
    """A folder where other users may look."""
    with tempfile.TemporaryDirectory(prefix="teal-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


def test_sixteen_thousand_services(tmp_path):
    """Names, listeners and what they share are looked at once each, and the last is
    compared with all others."""
    def one(n, name=None, listen=None):
        return ('{ name = "%s"; listen = "%s"; green: { backends = ["10.0.0.1:80"]; }; blue: { backends = ["10.0.0.2:80"]; }; }'
                % (name or f"s{n}", listen or f"127.{n >> 8}.{n & 255}.1:80"))
    many = [one(n) for n in range(16000)]
    assert teald("-t", "-c", config(tmp_path, *many)).returncode == 0
    r = teald("-t", "-c", config(tmp_path, *many, one(16000, name="s7")))
    assert r.returncode == 2 and '"s7"' in r.stderr, r.stderr
    r = teald("-t", "-c", config(tmp_path, *many, one(16000, listen="127.0.7.1:80")))
    assert r.returncode == 2 and "127.0.7.1:80" in r.stderr and '"s7"' in r.stderr, r.stderr


@pytest.mark.parametrize("path", [p for p in sorted((scale.REPO / "conf").glob("*.conf"))
                                  if "\nservices = (" in p.read_text()], ids=lambda p: p.name)
def test_every_sample_is_accepted_without_a_word(path, public):
    copy = public / "teal.conf"
    if path.name == "teal-redis.conf":      # it names users and a password file
        copy.write_text(samples.teal_redis(public))
    elif path.name == "teal-sni.conf":
        copy.write_text(samples.teal_sni())
    else:
        copy.write_text(path.read_text().replace("build/demo/", f"{public}/"))
    # As the package makes them: readable for the user that serves.
    for made in public.rglob("*"):
        if user := re.search(r'^user = "(\w+)"', copy.read_text(), re.M) if os.getuid() == 0 else None:
            shutil.chown(made, user[1])
    r = teald("-t", "-c", copy)
    assert (r.returncode, r.stderr) == (0, "")


def test_the_production_samples_are_among_them():
    for name in ("teal.conf", "teal-kernel.conf", "teal-redis.conf"):
        assert "\nservices = (" in (scale.REPO / "conf" / name).read_text()


def test_the_example_of_the_manual_is_accepted(tmp_path):
    manual = (scale.REPO / "conf/man/teal.conf.5").read_text()
    example = re.search(r"^\.Sh EXAMPLES.*?^\.Bd.*?\n(.*?)^\.Ed", manual, re.M | re.S)[1]
    (tmp_path / "teal.conf").write_text(example)
    r = teald("-t", "-c", tmp_path / "teal.conf")
    assert (r.returncode, r.stderr) == (0, "")


def test_the_manual_knows_every_key():
    manual = (scale.REPO / "conf/man/teal.conf.5").read_text()
    keys = {k for p in (scale.REPO / "src/model").glob("config*.c") for k in re.findall(r'KEY\("(\w+)"', p.read_text())}
    assert len(keys) > 80
    assert not {k for k in keys if not re.search(rf"(?<![\w-]){k}(?![\w-])", manual)}


def test_the_manual_knows_every_option_of_teald():
    manual = (scale.REPO / "conf/man/teald.8").read_text()
    options = re.findall(r"^  (?:-\w, )?--([\w-]+)", teald("--help").stdout, re.M)
    assert len(options) > 7
    assert [o for o in options if not re.search(rf"^\.It Fl .*-{o}\b", manual, re.M)] == []


def test_the_manual_says_which_right_a_command_needs():
    manual = (scale.REPO / "conf/man/teal.conf.5").read_text()
    table = (scale.REPO / "src/proto/admin_command_table.c").read_text()
    commands = re.findall(r'^\t\[ADMIN_\w+\] = \{ ADMIN_\w+, "(\w+)", "[^"]*",\s*ADMIN_RIGHT_(\w+),', table, re.M)
    assert len(commands) > 20
    for command, right in commands:
        listed = (r"^\.Cm whoami , help\nand\n\.Cm version\n" if right == "NONE" else
                  rf"^\.It Li \\\(dq{right.lower()}\\\(dq\n(?:the rest of\n)?\.Cm .*")
        assert re.search(rf"\b{command}\b", re.search(listed, manual, re.M)[0]), (command, right)


def sources():
    return {p: p.read_text() for p in (scale.REPO / "src").rglob("*.c")}


def test_the_manual_knows_every_ending_and_event():
    manual = (scale.REPO / "conf/man/teald.8").read_text()
    endings = re.findall(r'X\(END_\w+, *"(\w+)"', (scale.REPO / "include/model/ending.h").read_text())
    events = {e for text in sources().values() for e in re.findall(r'(?:LOG_(?:DEBUG|INFO|WARN|ERROR)\(|BUS_EMIT\([^;]*?)\s*"(\w+\.\w+)"', text)}
    assert len(endings) > 40 and len(events) > 40
    assert not [w for w in [*endings, *sorted(events)] if not re.search(rf"(?<![\w.-]){re.escape(w)}(?![\w-])", manual)]


def test_every_line_of_a_service_has_its_labels():
    lines = [(p.name, m) for p, text in sources().items()
             for m in re.findall(r"\bLOG_(?:DEBUG|INFO|WARN|ERROR)\(.*?\);", text, re.S) if 'LS("service"' in m]
    assert len(lines) > 10
    assert [line for line in lines if "labels_json" not in line[1]] == []


def test_no_label_can_hide_a_field_of_our_own_log_lines(tmp_path):
    fields = {k for p, text in sources().items() if not {"tealctl", "tealbench"} & set(p.parts)
              for k in re.findall(r'\bL[SUIFBTR]\("(\w+)"', text)} | {"time", "level", "event", "Host", "PID"}
    assert len(fields) > 20
    for fields in [sorted(fields)[i:i + 30] for i in range(0, len(fields), 30)]:
        conf = config(tmp_path, shop(more="labels: {" + " ".join(f'{k} = "x";' for k in fields) + "};"))
        r = teald("-t", "-c", conf)
        assert r.returncode == 2
        assert [k for k in fields if f'labels.{k}: every log line has a "{k}" already' not in r.stderr] == []


def test_a_check_binds_nothing_and_writes_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        before = set(tmp_path.iterdir())
        conf = config(tmp_path, shop(port=busy.getsockname()[1]))
        r = teald("-t", "-c", conf)
        assert (r.returncode, r.stderr) == (0, "")
        assert set(tmp_path.iterdir()) - before == {conf}


@pytest.mark.parametrize("test_only", [["-t"], []], ids=["check", "start"])
def test_all_errors_come_at_once_sorted_and_nothing_starts(tmp_path, test_only):
    conf = config(tmp_path, shop(more="retries = 2.5;"), shop("shop", 18080, 'engine = "kernel"; mode = "http"; lisen = 1;'),
                  top="workers = -1; user = \"no-such-user\";")
    r = teald(*test_only, "-c", conf)
    assert r.returncode == 2 and r.stdout == ""
    lines = r.stderr.splitlines()
    assert all(line.startswith(f"{conf}:") for line in lines), r.stderr
    numbers = [int(line[len(str(conf)) + 1:].split(":")[0]) for line in lines]
    assert numbers == sorted(numbers)
    for words in ["workers: -1 is out of range", 'user: there is no user "no-such-user"',
                  'service "shop": retries: expected a whole number',
                  'service "shop": name: the service at', "clashes with 127.0.0.1:18080, listen of service \"shop\"",
                  "engine: \"kernel\" cannot do mode = \"http\"", 'unknown key "lisen"; did you mean "listen"?']:
        assert sum(words in line for line in lines) == 1, (words, r.stderr)
    assert len(lines) == 7
    assert set(tmp_path.iterdir()) == {conf}


def test_warnings_are_told_and_the_file_is_accepted(tmp_path):
    conf = config(tmp_path, shop().replace(":11080", ":10080"))
    r = teald("-t", "-c", conf)
    assert r.returncode == 0
    assert r.stderr.splitlines() == [
        f'{conf}:6: service "shop": green and blue share the backend 127.0.0.1:10080: '
        "a flip changes nothing there (warning)"]


def test_included_files_are_found_beside_their_file_and_named(tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/shop.conf").write_text(shop(more="retries = 5000;"))
    conf = config(tmp_path, '\n@include "conf.d/shop.conf"')
    r = teald("-t", "-c", "teal.conf", cwd=tmp_path)
    assert r.returncode == 2
    assert r.stderr == 'conf.d/shop.conf:4: service "shop": retries: 5000 is out of range: 0 to 100\n'
    (tmp_path / "conf.d/shop.conf").write_text(shop())
    assert teald("-t", "-c", conf, cwd="/").returncode == 0
    (tmp_path / "conf.d/shop.conf").unlink()
    r = teald("-t", "-c", conf, cwd="/")
    assert r.returncode == 2
    assert r.stderr == f"{conf}:4: @include: {tmp_path}/conf.d/shop.conf cannot be read: No such file or directory (nothing else was checked yet)\n"


def test_a_file_that_is_not_there(tmp_path):
    r = teald("-t", "-c", "nowhere.conf", cwd=tmp_path)
    assert (r.returncode, r.stdout) == (2, "")
    assert r.stderr == "nowhere.conf: cannot be read: No such file or directory\n"
    r = teald("-t", "-c", tmp_path)
    assert (r.returncode, r.stderr) == (2, f"{tmp_path}: is a folder, not a file\n")


def test_standard_input_can_be_a_pipe(tmp_path):
    conf = config(tmp_path, shop())
    r = subprocess.run([str(scale.BUILD / "teald"), "-t", "-c", "/dev/stdin"], input=conf.read_text(),
                       capture_output=True, text=True, timeout=scale.patience())
    assert (r.returncode, r.stderr) == (0, "")


def test_what_is_found_later_names_the_included_file_too(tmp_path):
    """Names, certificates and former names are looked at once all files are read."""
    (tmp_path / "conf.d").mkdir()
    part = tmp_path / "conf.d/shop.conf"
    conf = config(tmp_path, '\n@include "conf.d/shop.conf"')

    def said(text):
        part.write_text(text)
        return teald("-t", "-c", "teal.conf", cwd=tmp_path).stderr

    at = 'conf.d/shop.conf:2: service "shop": '
    assert said(shop().replace("127.0.0.1:10080", "nowhere.invalid:80")).startswith(f"{at}green: host ")
    assert said(shop(more='tls: { certificates = ({ cert = "/nowhere.pem"; }); };')).startswith("conf.d/shop.conf:4: service \"shop\": ")
    assert said(shop(more='backend_tls: { verify = true; ca = "/nowhere.pem"; };')).startswith(f"{at}")
    twice = shop("a", 18081, 'rename = "old";') + "," + shop("b", 18082, 'rename = "old";')
    assert "rename: the service at conf.d/shop.conf:2 was \"old\" already" in said(twice)
    conf.write_text(f'state_dir = "{tmp_path}/state";\n@include "conf.d/shop.conf"\n')
    assert said('\nstate_dir = "/x";') == \
        "conf.d/shop.conf:2: state_dir is set a second time; the first is at teal.conf:1 (nothing else was checked yet)\n"


# ---- as the user that serves ----

def site(folder, **top):
    page = folder / "503.html"
    page.write_text("soon\n")
    conf = folder / "teal.conf"
    conf.write_text(libconfig.dumps({"state_dir": f"{folder}/state", **top, "services": [
        {"name": "shop", "mode": "http", "listen": "127.0.0.1:18080", "backends": ["127.0.0.1:10080"],
         "tls": {"certificates": [Authority(folder).issue("shop.example")]}, "error_page": [{"status": 503, "file": str(page)}]}]}))
    os.chmod(folder / "shop.example.pem", 0o644)
    return conf, page, folder / "shop.example.key"


@needs_root
@pytest.mark.parametrize("by_option", [True, False], ids=["--user", "user"])
def test_what_the_service_s_user_cannot_read_is_an_error(public, by_option):
    """root reads all; teald as its user, after its start or from the beginning, does not."""
    conf, page, key = site(public, **({} if by_option else {"user": "nobody"}))
    how = ["-t", "--user=nobody", "-c", conf] if by_option else ["-t", "-c", conf]
    r = teald(*how)
    assert r.returncode == 2 and "shop.example.key as nobody" in r.stderr
    os.chown(key, 65534, 65534)
    (public / "state").mkdir()
    os.chown(public / "state", 65534, 65534)
    r = teald(*how)
    assert (r.returncode, r.stderr) == (0, "")
    os.chmod(page, 0o600)
    r = teald(*how)
    assert str(page) in r.stderr and "Permission denied" in r.stderr
    # root has read it, and nobody would, for a reload.
    assert r.returncode == (2 if by_option else 0)
    assert ("so a reload would fail, which reads it as nobody (warning)" in r.stderr) is not by_option
    os.chmod(page, 0o644)
    os.chown(public / "state", 0, 0)
    os.chmod(public / "state", 0o755)
    r = teald(*how)
    assert r.returncode == 2 and f'state_dir "{public}/state" cannot be used by user "nobody"' in r.stderr and "chown" in r.stderr


@needs_root
def test_a_state_dir_that_is_not_there(public):
    conf, _, key = site(public)
    os.chown(key, 65534, 65534)
    r = teald("-t", "--user=nobody", "-c", conf)
    assert r.returncode == 0 and f'state_dir "{public}/state" is not there, and user "nobody" cannot make it' in r.stderr
    # root would make it.
    r = teald("-t", "-c", conf)
    assert (r.returncode, r.stderr) == (0, "")


def test_a_state_dir_without_a_folder_above_it_or_that_is_none(tmp_path):
    conf = config(tmp_path, shop())
    text = conf.read_text()
    conf.write_text(text.replace(f"{tmp_path}/state", f"{tmp_path}/far/away"))
    r = teald("-t", "-c", conf)
    assert r.returncode == 0 and "is not there, and neither is the folder above it" in r.stderr
    conf.write_text(text.replace(f"{tmp_path}/state", str(conf)))
    r = teald("-t", "-c", conf)
    assert r.returncode == 2 and f'state_dir "{conf}" is not a folder' in r.stderr
    conf.write_text(text)
    (tmp_path / "state").mkdir()
    (tmp_path / "state/teal.state").write_text("torn")
    r = teald("-t", "-c", conf)
    assert r.returncode == 2 and "teal.state" in r.stderr


def test_another_user_is_for_a_check_and_for_root(tmp_path):
    conf = config(tmp_path, shop())
    r = teald("--user=nobody", "-c", conf)
    assert r.returncode == 2 and "--user goes with -t" in r.stderr
    r = teald("-t", "--user=no-such-user", "-c", conf)
    assert r.returncode == 2 and 'there is no user "no-such-user"' in r.stderr
