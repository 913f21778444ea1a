"""The cases of Autobahn's test suite, against a server that sends every message back.

Owns a client for the suite's cases: frames of any kind, and what came back. The cases are those of
the package `autobahntestsuite` from PyPI, which are Python 2: they are converted when they are
first used, with texts as their bytes. Compression, limits and performance are not run.

    python3 -m venv VENV && VENV/bin/pip install --no-deps autobahntestsuite
    VENV/bin/python autobahn.py 'ws://127.0.0.1:7711/ws/autobahn{}?raw=1&publish=1' [CASE…]

`{}` stands for the number of the case, so that the cases do not hear each other. Needs lib2to3, which
Python has up to version 3.12.
"""

import asyncio
import binascii
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import types
from importlib.util import find_spec
from urllib.parse import urlsplit

CATEGORIES = ("1", "2", "3", "4", "5", "6", "7", "10")
CONCURRENT = 40


def octets(value):
    """The bytes of a payload, which the cases write as a text of characters below 256."""
    return value.encode("latin-1") if isinstance(value, str) else bytes(value)


def normal(value):
    if isinstance(value, (list, tuple)):
        return tuple(normal(each) for each in value)
    return octets(value) if isinstance(value, (str, bytes)) else value


def convert(folder):
    """Converts the cases to Python 3."""
    source = os.path.join(os.path.dirname(find_spec("autobahntestsuite").origin), "case")
    target = os.path.join(folder, "autobahncases")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "lib2to3", "-w", "-n", "--no-diffs", target],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
    )
    for name in os.listdir(target):
        path = os.path.join(target, name)
        with open(path, "rb") as file:
            text = file.read().decode("latin-1")
        text = re.sub(r"coding[=:]\s*[-\w.]+", "", text)
        text = text.replace("(object, Case, )", "(Case, )").replace(".tostring()", ".tobytes().decode('latin-1')")
        text = text.replace("len(self.payload) / self", "len(self.payload) // self")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


class Utf8Validator:
    """As much of the original as the cases use."""

    def reset(self):
        pass

    def validate(self, text):
        try:
            octets(text).decode("utf-8")
            return (True, True)
        except UnicodeDecodeError:
            return (False, False)


class Protocol:
    """The client's end of one connection, as the cases see it."""

    STATE_CLOSED, STATE_CONNECTING, STATE_CLOSING, STATE_OPEN = range(4)
    CLOSE_STATUS_CODE_NORMAL = 1000
    CLOSE_STATUS_CODE_PROTOCOL_ERROR = 1002
    CLOSE_STATUS_CODE_INVALID_PAYLOAD = 1007

    def __init__(self, url):
        self.url = urlsplit(url)
        self.state = self.STATE_CONNECTING
        self.factory = types.SimpleNamespace(isServer=False)
        self.connectionWasOpen = self.closedByMe = self.failedByMe = False
        self.droppedByMe = self.wasClean = False
        self.localCloseCode = self.localCloseReason = None
        self.remoteCloseCode = self.remoteCloseReason = None
        self.autoFragmentSize = 0
        self.txFrameStats = {}
        self.mask_at = 0
        self.tasks = []

    async def run(self, case):
        self.case = case
        self.reader, self.writer = await asyncio.open_connection(self.url.hostname, self.url.port)
        target = f"{self.url.path}?{self.url.query}"
        self.writer.write(
            f"GET {target} HTTP/1.1\r\nHost: {self.url.netloc}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.state, self.connectionWasOpen = self.STATE_OPEN, True
        case.onOpen()
        try:
            await asyncio.wait_for(self.hear(), 30)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self.state = self.STATE_CLOSED
        for task in self.tasks:
            task.cancel()
        self.writer.close()
        case.onConnectionLost(self.failedByMe)

    async def hear(self):
        message, opcode_of_message = b"", 1
        while True:
            first, second = await self.reader.readexactly(2)
            length = second & 0x7F
            assert second < 0x80 and first & 0x70 == 0, "a wrong frame"
            if length == 126:
                length, = struct.unpack(">H", await self.reader.readexactly(2))
            elif length == 127:
                length, = struct.unpack(">Q", await self.reader.readexactly(8))
            payload = await self.reader.readexactly(length)
            opcode = first & 0xF
            if opcode == 8:
                self.hear_close(payload)
            elif opcode == 9:
                self.case.onPing(payload)
            elif opcode == 10:
                self.case.onPong(payload)
            else:
                opcode_of_message = opcode or opcode_of_message
                message += payload
                if first & 0x80:
                    self.case.onMessage(message, opcode_of_message == 2)
                    message = b""

    def hear_close(self, payload):
        if len(payload) >= 2:
            self.remoteCloseCode, = struct.unpack(">H", payload[:2])
            self.remoteCloseReason = payload[2:].decode()
        self.wasClean = True
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(self.remoteCloseCode or 1000, is_reply=True)
        self.case.onClose(True, self.remoteCloseCode, self.remoteCloseReason)

    def write(self, data, chopsize=None):
        if self.state == self.STATE_CLOSED or self.writer.is_closing():
            return
        for start in range(0, len(data), chopsize or len(data) or 1):
            self.writer.write(data[start:start + (chopsize or len(data))])

    def header(self, opcode, fin, rsv, length):
        first = (0x80 if fin else 0) | rsv << 4 | opcode
        self.txFrameStats[opcode] = self.txFrameStats.get(opcode, 0) + 1
        if length < 126:
            return struct.pack(">BB", first, 0x80 | length)
        if length < 1 << 16:
            return struct.pack(">BBH", first, 0xFE, length)
        return struct.pack(">BBQ", first, 0xFF, length)

    def masked(self, payload):
        self.mask = os.urandom(4)
        return self.mask + bytes(byte ^ self.mask[at % 4] for at, byte in enumerate(payload))

    def sendFrame(self, opcode, payload="", fin=True, rsv=0, mask=None, payload_len=None,
                  chopsize=None, sync=False):
        payload = octets(payload)
        if payload_len:
            payload = (payload * payload_len)[:payload_len]
        header = self.header(opcode, fin, rsv, len(payload))
        self.write(header + self.masked(payload), chopsize)

    def sendMessage(self, payload, isBinary=False, fragmentSize=None):
        payload = octets(payload)
        size = fragmentSize or self.autoFragmentSize or max(len(payload), 1)
        parts = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
        for number, part in enumerate(parts):
            opcode = 0 if number else 2 if isBinary else 1
            self.sendFrame(opcode, part, fin=number + 1 == len(parts))

    def beginMessage(self):
        pass

    def beginMessageFrame(self, length):
        self.write(self.header(1, True, 0, length))
        self.mask, self.mask_at = os.urandom(4), 0
        self.write(self.mask)

    def sendMessageFrameData(self, payload):
        payload = octets(payload)
        at = self.mask_at
        self.write(bytes(byte ^ self.mask[(at + n) % 4] for n, byte in enumerate(payload)))
        self.mask_at += len(payload)

    def endMessage(self):
        pass

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False, is_reply=False):
        self.state = self.STATE_CLOSING
        self.closedByMe = not (isReply or is_reply)
        self.localCloseCode, self.localCloseReason = code, reasonUtf8
        payload = b"" if code is None else struct.pack(">H", code) + octets(reasonUtf8 or "")
        self.sendFrame(8, payload)

    def sendClose(self, code=None, reason=None):
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, reason)

    def failConnection(self):
        if self.state != self.STATE_CLOSED:
            self.failedByMe = self.droppedByMe = True
            self.writer.close()

    def later(self, delay, function):
        async def wait():
            await asyncio.sleep(delay)
            if self.state != self.STATE_CLOSED:
                function()
        self.tasks.append(asyncio.ensure_future(wait()))

    def continueLater(self, delay, function, tag=None):
        self.later(delay, function)

    def killAfter(self, delay):
        # The cases are many at once, and the machine may be busy.
        self.later(delay + 10, self.failConnection)

    def closeAfter(self, delay):
        self.later(delay, self.sendClose)


def cases(folder):
    """The cases of the suite by their numbers."""
    convert(folder)
    for name in ("autobahn", "autobahn.websocket"):
        sys.modules[name] = types.ModuleType(name)
    protocol = types.ModuleType("autobahn.websocket.protocol")
    protocol.WebSocketProtocol = Protocol
    validator = types.ModuleType("autobahn.websocket.utf8validator")
    validator.Utf8Validator = Utf8Validator
    sys.modules[protocol.__name__], sys.modules[validator.__name__] = protocol, validator
    b2a_hex = binascii.b2a_hex
    binascii.b2a_hex = lambda value: b2a_hex(octets(value)).decode()
    # Those with compression want more than is here.
    path = os.path.join(folder, "autobahncases", "__init__.py")
    with open(path) as file:
        lines = [line for line in file if not re.search(r"[Cc]ase(9|12|13)_", line)]
    with open(path, "w") as file:
        file.writelines(lines)
    sys.path.insert(0, folder)
    import autobahncases
    from autobahncases.case import Case
    Case.compare = lambda self, one, other: normal(one) == normal(other)
    found = {}
    for each in autobahncases.Cases:
        found[each.__name__.removeprefix("Case").replace("_", ".")] = each
    return found


async def run(number, case_class, url, limit):
    async with limit:
        protocol = Protocol(url.replace("{}", number))
        case = case_class(protocol)
        await protocol.run(case)
        return number, case, protocol


async def main():
    url, wanted = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        found = cases(folder)
        chosen = {
            number: case for number, case in found.items()
            if (number in wanted if wanted else number.split(".")[0] in CATEGORIES)
        }
        limit = asyncio.Semaphore(CONCURRENT)
        runs = [run(number, case, url, limit) for number, case in chosen.items()]
        results = await asyncio.gather(*runs)
    counts, failed = {}, 0
    for number, case, protocol in results:
        good = ("OK", "NON-STRICT", "INFORMATIONAL")
        passes = case.behavior in good and case.behaviorClose in good
        counts[case.behavior] = counts.get(case.behavior, 0) + 1
        if not passes or wanted:
            failed += not passes
            print(f"{number}: {case.behavior}, close {case.behaviorClose}: {case.result} {case.resultClose}")
            print(f"    received {str(case.received)[:300]}")
            print(f"    expected {str(case.expected)[:300]}, code {protocol.remoteCloseCode}")
    print(f"{len(results)} cases, {failed} failed: {counts}")
    sys.exit(failed > 0 or not results)


asyncio.run(main())
