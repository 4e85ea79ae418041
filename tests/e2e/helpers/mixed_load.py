"""mixed_load.py PAUSE: clients of TCP, of HTTP with kept connections and of WebSockets, one for each line "KIND NAME HOST PORT" of
standard input up to an empty one.

What each does again and again: tcp, a connection with three messages echoed; http, a request; websocket, a stream with three
messages; PAUSE seconds between any two messages. A further line is answered with "enough" once each has ended what it began
after it. When standard input ends, what has begun is finished, and one JSON list is printed:
[[kind, name, begun, ended, way, error], ...], begun and ended by CLOCK_MONOTONIC, way: "NODE HOP" as helpers/pods.py has
it, null where nothing had been answered."""
import asyncio
import json
import os
import sys
import time

PAUSE = float(sys.argv[1])
PATIENCE = 120.0    # only a hang takes so long
MESSAGE = b"x" * 100
results, state = [], {"over": False}


class Client:
    def __init__(self, kind, name, host, port):
        self.kind, self.name, self.address, self.kept, self.begun = kind, name, (host, int(port)), None, 0.0
        self.since_asked = asyncio.Event()
        self.asked = 0.0

    async def run(self):
        while not state["over"]:
            self.begun, self.way, error = time.monotonic(), None, None
            try:
                await asyncio.wait_for(getattr(self, self.kind)(), PATIENCE)
            except (OSError, EOFError, asyncio.IncompleteReadError, asyncio.TimeoutError, AssertionError) as e:
                error = f"{type(e).__name__}: {e}"
                self.kept = None
            results.append([self.kind, self.name, self.begun, time.monotonic(), self.way, error])
            if self.begun > self.asked:
                self.since_asked.set()
            await asyncio.sleep(PAUSE)

    async def tcp(self):
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            self.way = (await reader.readuntil(b"\n")).decode().strip()
            await self.messages(reader, writer, MESSAGE, MESSAGE)
        finally:
            writer.close()

    async def messages(self, reader, writer, said, heard):
        for _ in range(3):
            writer.write(said)
            got = await reader.readexactly(len(heard))
            assert got == heard, f"{got!r} instead of an echo"
            await asyncio.sleep(PAUSE)

    async def http(self):
        if self.kept is None:
            self.kept = await asyncio.open_connection(*self.address)
        reader, writer = self.kept
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        body = await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 200 "), (head + body).decode()
        self.way = body.decode().strip()
        if b"connection: close" in head.lower():
            writer.close()
            self.kept = None

    async def websocket(self):
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 "), head.decode()
            self.way = next(line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"X-Way:")).decode().strip()
            frame = bytes([0x81, len(MESSAGE)]) + MESSAGE
            await self.messages(reader, writer, bytes([0x81, 0x80 | len(MESSAGE)]) + bytes(4) + MESSAGE, frame)
            writer.write(bytes([0x88, 0x82]) + bytes(4) + b"\x03\xe8")
            got = await reader.read(100)
            assert got[:1] == b"\x88", f"{got!r} instead of a close"
        finally:
            writer.close()


async def main():
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    clients = []
    while words := (await lines.readline()).split():
        clients.append(Client(*(w.decode() for w in words)))
    tasks = [asyncio.create_task(c.run()) for c in clients]
    while await lines.readline():
        for c in clients:
            c.asked = time.monotonic()
            c.since_asked.clear()
        for c in clients:
            await c.since_asked.wait()
        os.write(2, b"enough\n")
    state["over"] = True
    await asyncio.gather(*tasks)
    json.dump(results, sys.stdout)


asyncio.run(main())
