"""Tests a server with Python's websockets: python.py http://HOST:PORT"""

import asyncio
import random
import sys
import urllib.request

import websockets.sync.client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

HTTP = sys.argv[1]
WS = HTTP.replace("http", "ws", 1)

# The largest message, in bytes.
MESSAGE_BYTES_MAX = 16 << 20
# The longest wait, in seconds. A working server comes nowhere near this time.
PATIENCE = 20

NOISE = random.Random(1).randbytes(MESSAGE_BYTES_MAX + 1)
TEXT = "0123456789 häßlich, schön \N{GRINNING FACE}\n" * 40_000

checks = []


def check(what, *args):
    """Makes a coroutine function a check, to be called with these arguments."""

    def add(function):
        checks.append((what, function, args))
        return function

    return add


def socket(target, **options):
    options = {"compression": None, "max_size": None, "proxy": None} | options
    return connect(WS + target, open_timeout=PATIENCE, **options)


async def echo(ws, *messages):
    for message in messages:
        await ws.send(message)
        got = await asyncio.wait_for(ws.recv(), PATIENCE)
        assert got == message, f"{len(message)} bytes or characters come back changed"


async def everything(**options):
    """Sends messages of all kinds and sizes. Returns the answer about extensions."""
    async with socket("/echo", **options) as ws:
        await echo(ws, "", "a", "hällo", "a" * 125, "a" * 126, TEXT[: 1 << 20])
        await echo(ws, b"", b"\0", b"\xff" * 65535, b"a" * 65536, NOISE[: 1 << 20])
        # The same message twice: the second must neither need the first nor be disturbed by it.
        await echo(ws, TEXT[:1000], TEXT[:1000], TEXT[:200_000], TEXT[:200_000])
        await echo(ws, NOISE[:MESSAGE_BYTES_MAX], bytes(MESSAGE_BYTES_MAX))
        return ws.response.headers.get("Sec-WebSocket-Extensions")


@check("messages of all kinds and sizes, without compression")
async def plain():
    assert await everything() is None


@check("messages of all kinds and sizes, with compression as it comes")
async def deflate():
    assert "permessage-deflate" in await everything(compression="deflate")


@check("compression declined with ?deflate=off")
async def deflate_off():
    async with socket("/echo?deflate=off", compression="deflate") as ws:
        assert ws.response.headers.get("Sec-WebSocket-Extensions") is None
        await echo(ws, TEXT)


def parameters():
    for bits in range(9, 16):
        yield {"server_max_window_bits": bits}
        yield {"client_max_window_bits": bits}
    yield {"server_no_context_takeover": True}
    yield {"client_no_context_takeover": True}
    yield {
        "server_no_context_takeover": True,
        "client_no_context_takeover": True,
        "server_max_window_bits": 10,
        "client_max_window_bits": 11,
    }


for offered in parameters():

    @check("compression with " + ", ".join(f"{k}={v}" for k, v in offered.items()), offered)
    async def with_parameters(offered):
        answer = await everything(extensions=[ClientPerMessageDeflateFactory(**offered)])
        bits = offered.get("server_max_window_bits")
        assert "permessage-deflate" in answer
        assert bits is None or f"server_max_window_bits={bits}" in answer


@check("a window of 8 bits is declined, and it goes on without compression")
async def eight_bits():
    factory = ClientPerMessageDeflateFactory(server_max_window_bits=8)
    assert await everything(extensions=[factory]) is None


@check("a message in fragments")
async def fragments():
    for compression in None, "deflate":
        async with socket("/echo", compression=compression) as ws:
            await ws.send(["", "in ", "many ", "", "pieces"])
            assert await ws.recv() == "in many pieces"
            await ws.send([b"\xff", NOISE[:100_000], b""])
            assert await ws.recv() == b"\xff" + NOISE[:100_000]


@check("a hundred messages at once come back in order")
async def pipelined():
    async with socket("/echo", compression="deflate") as ws:
        messages = [TEXT[:n] for n in range(0, 10_000, 100)]
        for message in messages:
            await ws.send(message)
        for message in messages:
            assert await ws.recv() == message


@check("a ping is answered")
async def ping():
    async with socket("/echo") as ws:
        for content in b"", b"ping", bytes(125):
            await asyncio.wait_for(await ws.ping(content), PATIENCE)


for code in 1000, 1001, 1011, 3000, 4999:

    @check(f"a close with {code} is answered with it", code)
    async def close(code):
        async with socket("/echo") as ws:
            await ws.close(code, "bye")
            assert ws.close_code == code, ws.close_code
            assert ws.protocol.close_rcvd.code == code


for compression in None, "deflate":

    @check(f"a message that is too large is refused, compression {compression}", compression)
    async def too_large(compression):
        # Not "async with": at its end this version aborts a closed connection, and fails.
        ws = await socket("/echo", compression=compression)
        try:
            await ws.send(bytes(MESSAGE_BYTES_MAX + 1))
            await asyncio.wait_for(ws.recv(), PATIENCE)
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1009, closed
        else:
            raise AssertionError("it was taken")
        await asyncio.wait_for(ws.wait_closed(), PATIENCE)


@check("the first subprotocol is chosen")
async def subprotocol():
    async with socket("/echo", subprotocols=["mqtt", "chat"]) as ws:
        assert ws.subprotocol == "mqtt"
    async with socket("/echo") as ws:
        assert ws.subprotocol is None


def post(room, body):
    request = urllib.request.Request(f"{HTTP}/rooms/{room}", body.encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=PATIENCE) as answer:
        return answer.read().decode()


@check("a room: members, the last messages, presence, and a post")
async def rooms():
    async def hear(ws):
        return await asyncio.wait_for(ws.recv(), PATIENCE)

    async with (
        socket("/rooms/python?presence") as watcher,
        socket("/rooms/python", compression="deflate") as one,
        socket("/rooms/python") as other,
    ):
        while await hear(watcher) != "2":
            pass
        for message in "hällo", TEXT[:5_000], b"\xff":
            await one.send(message)
            assert await hear(one) == await hear(other) == message
        answer = await asyncio.to_thread(post, "python", "from outside")
        assert answer == "2 members hear it\n", answer
        assert await hear(one) == await hear(other) == "from outside"
        async with socket("/rooms/python?last=2") as late:
            assert [await hear(late), await hear(late)] == [b"\xff", "from outside"]
            assert await hear(watcher) == "3"
        assert await hear(watcher) == "2"


@check("the client without asyncio")
async def sync():
    def talk():
        options = {"max_size": None, "proxy": None, "open_timeout": PATIENCE}
        with websockets.sync.client.connect(WS + "/echo", **options) as ws:
            for message in "", "hällo", b"\xff", TEXT, NOISE[: 1 << 20]:
                ws.send(message)
                assert ws.recv(PATIENCE) == message
            assert ws.ping("ping").wait(PATIENCE)
            ws.close(4000)
            assert ws.close_code == 4000

    await asyncio.to_thread(talk)


async def main():
    failed = 0
    for what, function, args in checks:
        try:
            await asyncio.wait_for(function(*args), 3 * PATIENCE)
            print(f"ok: {what}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED: {what}: {error!r}", flush=True)
    return failed


sys.exit(min(asyncio.run(main()), 1))
