"""One node of a cluster, as a process: HTTP on many ports of one address, an answer for each
request; on the ports behind a dash every fiftieth answer is a 500.

    python3 node.py HOST PORT... - PORT...

Commands on stdin, a line each: "close PORT" stops listening there.  It ends with its stdin.
"""
import asyncio
import sys

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nbad\n"


class Answers(asyncio.Protocol):
    seen = 0

    def __init__(self, bad):
        self.bad, self.data = bad, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        while b"\r\n\r\n" in self.data:     # requests without bodies
            self.data = self.data.partition(b"\r\n\r\n")[2]
            Answers.seen += self.bad
            self.transport.write(BAD if self.bad and Answers.seen % 50 == 0 else GOOD)


async def main(host, good, bad):
    loop = asyncio.get_running_loop()
    servers = {port: await loop.create_server(lambda b=port in bad: Answers(b), host, port, backlog=1024)
               for port in good + bad}
    print("ready", flush=True)
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        servers.pop(int(line[1])).close()
        print("closed", flush=True)

if __name__ == "__main__":
    words = sys.argv[2:]
    dash = words.index("-")
    asyncio.run(main(sys.argv[1], [int(w) for w in words[:dash]], [int(w) for w in words[dash + 1:]]))
