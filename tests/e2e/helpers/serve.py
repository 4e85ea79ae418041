"""serve.py NAME HOST PORT: greets every connection with its name and echoes.

One epoll loop, so that it takes thousands of connections a second.  Ends when
its standard input does.
"""
import select
import socket
import sys


def main():
    name, host, port = sys.argv[1].encode() + b"\n", sys.argv[2], int(sys.argv[3])
    ls = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    ls.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ls.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    ls.bind((host, port))
    ls.listen(4096)
    ls.setblocking(False)
    ep, conns = select.epoll(), {}
    ep.register(ls, select.EPOLLIN)
    ep.register(sys.stdin, select.EPOLLIN)
    print("ready", flush=True)
    while True:
        for fd, events in ep.poll():
            if fd == ls.fileno():
                for _ in range(64):
                    try:
                        c, _ = ls.accept()
                    except OSError:
                        break
                    try:
                        c.send(name)
                    except OSError:
                        c.close()
                        continue
                    conns[c.fileno()] = c
                    ep.register(c, select.EPOLLIN)
            elif fd == 0:
                return
            else:
                c = conns[fd]
                try:
                    data = c.recv(65536, socket.MSG_DONTWAIT)
                    if data:
                        c.sendall(data)
                        continue
                except BlockingIOError:
                    continue
                except OSError:
                    pass
                del conns[fd]
                c.close()


main()
