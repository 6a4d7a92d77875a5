"""A runtime for tests: HTTP over plain sockets, up in a tenth of a second, with no model.

    /health           200, or 503 with --never-ready
    /v1/completions   {"release", "pid"}
    /echo             the request's body, and its head's lines as header x-head
    /stream?n=5&ms=20 a stream of n events, ms apart, the first at once
    /bytes?n=1000     n bytes, with content-length
    /partial?n=1000   the first half of n bytes, then the connection is cut
    /slow?ms=500      {"release"} after a while
    /old              no framing at all: the body ends with the connection
    /kill             ends this process without an answer
    /hung             how many requests were hung up on by whoever asked

Anything else answers so too, but with --status; both after --slow-ms, and not more than --dies-after
times.

SIGTERM: finishes what it has, and exits with 0.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import urllib.parse

HUNG = 0
ASKED = 0


def counted():
    global ASKED
    ASKED += 1
    return ASKED


async def body_of(reader, headers):
    if headers.get("transfer-encoding") == "chunked":
        data = b""
        while size := int(await reader.readline(), 16):
            data += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return data
    return await reader.readexactly(int(headers.get("content-length", 0)))


async def answer(options, reader, writer, path, query, head, body):
    global HUNG

    def whole(data, status=200, kind="application/json", extra=""):
        lines = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n{extra}\r\n"
        writer.write(lines.encode() + data)

    number = int(query.get("n", 5))
    me = json.dumps({"release": options.release, "pid": os.getpid()}).encode()
    if path == "/health":
        whole(b"{}", 503 if options.never_ready else 200)
    elif path == "/echo":
        whole(
            body,
            kind="application/octet-stream",
            extra=f"x-head: {json.dumps(head)}\r\nconnection: keep-alive\r\n",
        )
    elif path == "/stream":
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for index in range(number):
            event = f"data: {options.release} {index}\n\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(int(query.get("ms", 20)) / 1000)
            if reader.at_eof():
                HUNG += 1
                return
        writer.write(b"0\r\n\r\n")
    elif path == "/bytes":
        whole(b"x" * number)
    elif path == "/partial":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % number + b"x" * (number // 2))
        await writer.drain()
        writer.close()
    elif path == "/slow":
        for _ in range(int(query.get("ms", 500)) // 10):
            await asyncio.sleep(0.01)
            if reader.at_eof():
                HUNG += 1
                return
        whole(me)
    elif path == "/old":
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + me)
        await writer.drain()
        writer.close()
    elif path == "/kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif path == "/hung":
        whole(str(HUNG).encode())
    elif options.dies_after and counted() > options.dies_after:
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        await asyncio.sleep(options.slow_ms / 1000)
        whole(me, 200 if path == "/v1/completions" else options.status)


async def serve(options):
    open_requests = 0
    stop = asyncio.Event()

    async def connection(reader, writer):
        nonlocal open_requests
        try:
            while not stop.is_set():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
                open_requests += 1
                try:
                    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:])}
                    url = urllib.parse.urlsplit(head[0].split()[1])
                    query = dict(urllib.parse.parse_qsl(url.query))
                    if headers.get("x-early"):
                        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly")
                        await writer.drain()
                        return
                    body = await body_of(reader, headers)
                    await answer(options, reader, writer, url.path, query, head, body)
                    if head[0].startswith("HEAD"):
                        pass
                    await writer.drain()
                finally:
                    open_requests -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", options.port, limit=1 << 26)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("listening", server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - what the test reads
    await stop.wait()
    server.close()
    while open_requests:
        await asyncio.sleep(0.01)


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--release", default="m@1.0.0")
parser.add_argument("--never-ready", action="store_true")
parser.add_argument("--fail", action="store_true")
parser.add_argument("--status", type=int, default=200)
parser.add_argument("--slow-ms", type=int, default=0)
parser.add_argument("--dies-after", type=int, default=0)
arguments = parser.parse_args()
if arguments.fail:
    sys.exit("The adapter does not fit its base.")
asyncio.run(serve(arguments))
