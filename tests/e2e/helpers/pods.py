"""pods.py NODE TCP HTTP BALANCER...: all pods of a node, behind every address of it, at those ports.

Each connection is told who serves it and by which way it came: "NODE HOP", where HOP is the node whose kube-proxy has sent
it on. A line "retire ADDRESS" on standard input is a pod's SIGTERM: what is idle there is closed, answers close their
connection, what is under way ends by itself. "lost HOP": that node has died, and what came by it ends, as by TCP's keepalive. "count ADDRESS": nothing. Each is answered
with how many connections the pod of that address has."""
import asyncio
import base64
import hashlib
import sys

NODE, TCP, HTTP, BALANCERS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), set(sys.argv[4:])
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

open_now, idle, retired = {}, {}, set()


def way(writer):
    peer = writer.get_extra_info("peername")[0]
    return f"{NODE} {NODE if peer in BALANCERS else peer}\n".encode()


async def counted(serve, reader, writer):
    pod = writer.get_extra_info("sockname")[0]
    open_now.setdefault(pod, set()).add(writer)
    try:
        await serve(reader, writer, pod)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        open_now[pod].discard(writer)
        idle.get(pod, set()).discard(writer)
        writer.close()


async def tcp(reader, writer, pod):
    writer.write(way(writer))
    while data := await reader.read(4096):
        writer.write(data)


async def websocket(reader, writer, head):
    key = next(line.split(b":")[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
                 + accept + b"\r\nX-Way: " + way(writer).strip() + b"\r\n\r\n")
    while True:
        first, second = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        data = await reader.readexactly(second & 127)
        writer.write(bytes([first, len(data)]) + bytes(b ^ mask[i & 3] for i, b in enumerate(data)))
        if first & 15 == 8:
            return


async def http(reader, writer, pod):
    while pod not in retired:
        idle.setdefault(pod, set()).add(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        idle[pod].discard(writer)
        if b"upgrade: websocket" in head.lower():
            return await websocket(reader, writer, head)
        body = way(writer)
        last = b"Connection: close\r\n" if pod in retired else b""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), last, body))


async def main():
    for serve, port in ((tcp, TCP), (http, HTTP)):
        await asyncio.start_server(lambda r, w, serve=serve: counted(serve, r, w), "0.0.0.0", port, backlog=1024)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    while line := await lines.readline():
        verb, pod = line.decode().split()
        if verb == "retire":
            retired.add(pod)
            for writer in list(idle.get(pod, ())):
                writer.close()
        if verb == "lost":
            for writer in [w for some in open_now.values() for w in some if w.get_extra_info("peername")[0] == pod]:
                writer.transport.abort()
        print(len(open_now.get(pod, ())), flush=True)


asyncio.run(main())
