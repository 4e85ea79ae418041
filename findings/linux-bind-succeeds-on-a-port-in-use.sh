#!/bin/bash
# Linux (seen with 6.18): two processes both bind(2) the same TCP address and port, with nothing but
# SO_REUSEADDR; only listen(2) tells the second, and a third that binds without SO_REUSEADDR is refused at once.
#
# A server tries its addresses before it gives up its old ones ("is this port free?"), or binds as root and
# listens once its privileges are dropped.  It sets SO_REUSEADDR, as every server does so as to start again beside
# connections in TIME_WAIT.  Expected: bind() of an address in use fails with EADDRINUSE: two servers that
# begin at the same time exclude each other there.  Seen: as long as neither listens yet both bind() calls succeed;
# the first listen() wins, the second gets EADDRINUSE, at a place where many programs no longer expect it (after
# fork, after the change of user, behind "configuration is valid").  Once one listens, bind() fails as expected.
#
# Exit status 0: it is so; 1: it has changed.  Needs python3 (Debian 12), the loopback interface.
set -euo pipefail
uname -sr
python3 - <<'P'
import errno
import socket
import sys


def begin(port, reuse=True):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
    try:
        s.bind(("127.0.0.1", port))
    except OSError as e:
        return s, errno.errorcode[e.errno]
    return s, "OK"


def listens(s):
    try:
        s.listen()
    except OSError as e:
        return errno.errorcode[e.errno]
    return "OK"


first, one = begin(0)
port = first.getsockname()[1]
second, two = begin(port)
plain, three = begin(port, reuse=False)
seen = {"bind": one, "bind of a second": two, "bind of a third, without SO_REUSEADDR": three,
        "listen of the second": listens(second), "listen of the first": listens(first)}
late, four = begin(port)
seen["bind beside one that listens"] = four
for what, result in seen.items():
    print(f"{what}: {result}")
sys.exit(list(seen.values()) != ["OK", "OK", "EADDRINUSE", "OK", "EADDRINUSE", "EADDRINUSE"])
P
