"""teald -t: what is accepted, what is said about the rest, and that a check
touches nothing."""
import re
import socket
import subprocess

import pytest

from helpers import samples, scale

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
def test_every_sample_is_accepted_without_a_word(path, tmp_path):
    if path.name == "teal-redis.conf":      # it names users and a password file
        (tmp_path / "teal.conf").write_text(samples.teal_redis(tmp_path))
        path = tmp_path / "teal.conf"
    if path.name == "teal-sni.conf":
        (tmp_path / "teal.conf").write_text(samples.teal_sni())
        path = tmp_path / "teal.conf"
    r = teald("-t", "-c", path)
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
    assert r.stderr == f"{conf}:4: @include: {tmp_path}/conf.d/shop.conf cannot be read: No such file or directory\n"


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
