#!/bin/bash
# HAProxy 2.6.12 (Debian 12), `bind … tcp-ut`: a client that is alive and reads slowly is cut.
#
# Expected: tcp-ut is for peers that are gone.  HAProxy's manual speaks of "data not receiving an
# acknowledgement for the configured delay"; a client whose window is full acknowledges every probe.
# Seen: a client that pauses for longer than tcp-ut in the middle of a download, with its kernel up
# and answering all the time, gets a reset and a part of the answer; without tcp-ut the same
# pause does no harm.  The kernel (TCP_USER_TIMEOUT, tcp(7)) also counts data that waits for
# a window, so a timeout chosen to find dead peers within seconds is a limit on how long a reader
# may pause: players that buffer, terminals that are stopped, backends under load.
# Keepalive probes find dead peers without that, but not while data is in flight.
#
# Exit status 0: it is so; 1: it has changed.  Needs Debian 12, apt-get, python3; touches nothing
# outside its temporary folder; takes about twenty seconds.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
chmod 777 .	# apt downloads as a user of its own

VERSION=2.6.12-1+deb12u4
apt-get -q download "haproxy=$VERSION" liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 \
	libpcre2-8-0 libssl3 libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblzma5 libzstd1 liblz4-1 libcrypt1 >/dev/null
for package in ./*.deb; do dpkg -x "$package" root; done
lib=usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH="$PWD/root/$lib:$PWD/root/${lib#usr/}"

cat >try.py <<'PY'
import socket, subprocess, sys, threading, time

SIZE, PAUSE = 24 << 20, 8


def serve(listener):
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=answer, args=(conn,), daemon=True).start()


def answer(conn):
    conn.recv(65536)
    try:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % SIZE)
        conn.sendall(bytes(SIZE))
    except OSError:
        pass
    conn.close()


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def download(front):
    """Reads a little, pauses with its window full, and reads on: how much of the answer comes, and how it ends."""
    with socket.create_connection(("127.0.0.1", front)) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        head, _, body = s.recv(65536).partition(b"\r\n\r\n")
        got = len(body)
        time.sleep(PAUSE)
        try:
            while got < SIZE:
                data = s.recv(1 << 20)
                if not data:
                    return "end of file"
                got += len(data)
        except ConnectionResetError:
            return "reset, a part is missing"
        return "whole"


origin = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=(origin,), daemon=True).start()
for words in ("", "tcp-ut 3s"):
    front = port()
    with open("h.cfg", "w") as f:
        f.write(f"""defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen l
  bind 127.0.0.1:{front} {words}
  server s 127.0.0.1:{origin.getsockname()[1]}
""")
    p = subprocess.Popen([sys.argv[1], "-db", "-f", "h.cfg"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", front)).close()
                break
            except OSError:
                time.sleep(0.1)
        print(f"{words or 'without tcp-ut'}: {download(front)}", flush=True)
    finally:
        p.kill()
        p.wait()
PY
python3 try.py root/usr/sbin/haproxy >seen

cat >expected <<'TXT'
without tcp-ut: whole
tcp-ut 3s: reset, a part is missing
TXT
echo "haproxy $VERSION; a client reads, pauses for 8 s with a full window, and reads on:"
cat seen
diff expected seen >/dev/null || { echo "changed: this is not what was seen before"; exit 1; }
echo "as before: the user timeout cuts a client that is alive"
