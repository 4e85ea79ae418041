"""Other people's proxies, as processes: HAProxy and nginx.

	haproxy("listen in\\n  bind 127.0.0.1:80\\n  server s 127.0.0.1:81", ports=[80])
	nginx(http="server { … }", stream="server { … }", ports=[80])

Both return once their ports (or Unix paths) answer.
"""
import os
import pathlib
import socket
import subprocess

from . import scale

STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"


class Peer:
    """A program in the foreground, with its words kept in folder/NAME.out."""

    def __init__(self, folder, name, command, answers):
        self._out = open(folder / f"{name}.out", "ab+")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._out)
        try:
            for at in answers:
                scale.until(lambda: self._answers(at), f"{name} answers at {at}", every=0.02)
        except BaseException:
            self.close()
            raise

    def _answers(self, at):
        assert self._process.poll() is None, self.words()
        with socket.socket(socket.AF_UNIX if isinstance(at, str) else socket.AF_INET) as s:
            return s.connect_ex(at if isinstance(at, str) else ("127.0.0.1", at)) == 0

    def words(self):
        self._out.seek(0)
        return self._out.read().decode(errors="replace")

    def close(self):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._out.close()


def haproxy(folder, sections, ports):
    conf = pathlib.Path(folder) / "haproxy.cfg"
    conf.write_text("global\n  maxconn 200\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n"
                    "  timeout client 60s\n  timeout server 60s\n" + sections + "\n")
    return Peer(pathlib.Path(folder), "haproxy", ["haproxy", "-db", "-f", str(conf)], ports)


def nginx(folder, ports, http="", stream=""):
    folder = pathlib.Path(folder)
    conf = folder / "nginx.conf"
    paths = "".join(f"{w}_temp_path {folder}/{w};" for w in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf.write_text(
        (f"load_module {STREAM};\n" if stream and os.path.exists(STREAM) else "")
        + f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice;\n"
        "worker_processes 1; events { worker_connections 200; }\n"
        + (f"http {{ access_log off; {paths}\n{http}\n}}\n" if http else "")
        + (f"stream {{\n{stream}\n}}\n" if stream else ""))
    return Peer(folder, "nginx", ["nginx", "-p", str(folder), "-c", str(conf)], ports)
