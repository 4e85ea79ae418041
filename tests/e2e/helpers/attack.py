"""attack.py HOST PORT SOURCE N [CPU [WORDS]]: N connections from one address, as
fast as it goes, a few at a time.  Those that are greeted (or answered, when
there are words to say) are held, the others counted.
Prints {"held": …, "refused": …, "errors": …} when all have been made, and holds
on until standard input ends.  On that CPU only, when one is given.
"""
import json
import os
import socket
import sys
import threading

AT_A_TIME = 4
SAYS = b"".join(map(str.encode, sys.argv[6:7]))
IP_BIND_ADDRESS_NO_PORT = 24  # which Python's socket module does not name before 3.12


def main():
    host, port, source, n = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    if len(sys.argv) > 5:
        os.sched_setaffinity(0, {int(sys.argv[5])})
    held, count, lock = [], {"refused": 0, "errors": 0}, threading.Lock()

    def one():
        try:
            s = socket.socket()
            s.settimeout(30)
            # The port is chosen by connect(): bind() alone would take milliseconds
            # of every CPU's time once thousands are in TIME_WAIT.
            s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            s.bind((source, 0))
            s.connect((host, port))
        except OSError:
            return "errors"
        try:
            if SAYS:
                s.sendall(SAYS)
            if s.recv(100):
                held.append(s)
                return None
            outcome = "refused"
        except (ConnectionResetError, BrokenPipeError):
            outcome = "refused"
        except OSError:
            outcome = "errors"
        s.close()
        return outcome

    def many(n):
        for _ in range(n):
            outcome = one()
            if outcome:
                with lock:
                    count[outcome] += 1

    threads = [threading.Thread(target=many, args=(n // AT_A_TIME + (i < n % AT_A_TIME),)) for i in range(AT_A_TIME)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(json.dumps({"held": len(held)} | count), flush=True)
    sys.stdin.read()


main()
