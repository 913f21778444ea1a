"""WebSockets of encke, used by the package `websockets` from PyPI.

Owns what such a client sees: texts, bytes, large messages, pings and closes.

    python3 clients.py ws://127.0.0.1:7711
"""

import asyncio
import json
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

BASE = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:7711"
NAME = f"python/{os.getpid()}"


async def objects():
    async with connect(f"{BASE}/ws/{NAME}", subprotocols=["other", "encke"]) as socket:
        assert socket.subprotocol == "encke"
        assert not socket.protocol.extensions
        assert "cursor" in json.loads(await socket.recv())
        await socket.send(json.dumps({"publish": NAME, "data": "ü", "ref": "a"}))
        answer = json.loads(await socket.recv())
        assert answer["ref"] == "a", answer
        message = json.loads(await socket.recv())
        assert message == {"id": answer["published"]["id"], "channel": NAME, "data": "ü"}
        await socket.send(json.dumps({"channels": []}))
        assert json.loads(await socket.recv())["channels"] == []


async def raw():
    # It cuts messages into frames itself.
    async with connect(f"{BASE}/ws/{NAME}?raw=1&publish=1", max_size=None) as socket:
        for length in (0, 125, 126, 65_535, 65_536, 1_000_000):
            await socket.send("x" * length)
            assert await socket.recv() == "x" * length
            await socket.send(b"\xff" * length)
            assert await socket.recv() == b"\xff" * length
        await socket.send(["Gr", "ü", "ße"])
        assert await socket.recv() == "Grüße"
        await (await socket.ping(b"p" * 125))


async def closes():
    async with connect(f"{BASE}/ws/{NAME}?raw=1&publish=1") as socket:
        await socket.send(b"x" * ((1 << 20) + 1))
        try:
            await socket.recv()
            raise AssertionError("it is closed")
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1009, closed
    socket = await connect(f"{BASE}/ws/{NAME}")
    await socket.close(4321, "done")
    assert socket.close_code == 4321, socket.close_code


async def main():
    for check in (objects, raw, closes):
        await asyncio.wait_for(check(), 20)
        print(f"ok  {check.__name__}")


asyncio.run(main())
