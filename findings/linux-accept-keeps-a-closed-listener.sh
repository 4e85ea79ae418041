#!/bin/bash
# Linux (seen with 6.18): a listening socket that is closed goes on to listen while another thread sits in accept(2)
# on it: the next client is accepted, and the port cannot be bound meanwhile.
#
# A backend is to leave: its main thread closes the listener, so that connects are refused and the balancer's
# health check finds it down.  Its acceptor thread sits in accept().  Expected: after close() returned no
# client is accepted; or accept() ends with an error.  Seen: accept() does not return, for the call holds a
# reference to the socket; the address stays in use, and the next client, a health check, say, is handed to the
# thread as if nothing had been.  Only then the socket is gone, and connects are refused.  shutdown(2) before close()
# ends accept() at once (EINVAL), and the connect after it is refused.
#
# Exit status 0: it is so; 1: it has changed.  Needs python3 (Debian 12), the loopback interface.
set -euo pipefail
uname -sr
python3 - <<'P'
import errno
import os
import socket
import sys
import threading
import time


def leave(with_shutdown):
    """What a client meets after the listener was closed; what accept() said."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen()
    address, fd, said = s.getsockname(), s.fileno(), []

    def acceptor():
        try:
            said.append("accepted " + ("a client" if socket.socket._accept(s) else ""))
        except OSError as e:
            said.append(errno.errorcode[e.errno])

    t = threading.Thread(target=acceptor)
    t.start()
    # The thread is in the system call once it sleeps: nothing else keeps it.
    while open(f"/proc/self/task/{t.native_id}/stat").read().rsplit(")", 1)[1].split()[0] != "S":
        time.sleep(0.01)
    time.sleep(0.2)  # it may have slept for the interpreter's lock before
    if with_shutdown:
        s.shutdown(socket.SHUT_RDWR)
        t.join()
    os.close(fd)
    again = socket.socket()
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        again.bind(address)
        again.listen()
        bound = "free"
    except OSError as e:
        bound = errno.errorcode[e.errno]
    again.close()
    results = []
    for _ in range(2):
        try:
            c = socket.create_connection(address, timeout=5)
            results.append("connected")
            c.close()
        except OSError as e:
            results.append(errno.errorcode.get(e.errno, str(e)))
        if not with_shutdown:
            t.join()
    s.detach()
    return bound, results, said


plain, ended = leave(False), leave(True)
print("close:              port %s; connects: %s; accept: %s" % plain)
print("shutdown and close: port %s; connects: %s; accept: %s" % ended)
sys.exit((plain, ended) != (("EADDRINUSE", ["connected", "ECONNREFUSED"], ["accepted a client"]),
                            ("free", ["ECONNREFUSED"] * 2, ["EINVAL"])))
P
