"""A client that sees when bytes arrive, and the control surface of an encke.

Owns sockets. Every wait in it has an end.
"""

import http.client
import json
import select
import socket
import struct
import time

PATIENCE_S = 10


class Exchange:
    """One GET whose answer is taken as it comes."""

    def __init__(self, port, path, connection=None, headers=None):
        self.connection = connection or connect(port)
        self.socket = self.connection.sock
        self.response = None
        self.received = b""
        self.connection.request("GET", path, headers=headers or {})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def is_answered(self):
        """Whether a byte of an answer has arrived."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def head(self, seconds):
        self.socket.settimeout(seconds)
        self.response = self.connection.getresponse()
        return self.response.status

    def until(self, wanted, seconds):
        """Reads on until `wanted` is in what was received since the last call; returns that."""
        deadline = time.monotonic() + seconds
        while wanted not in self.received:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = self.response.read1(1 << 16)
            if not piece:
                raise EOFError(f"ended before {wanted[:40]!r} came: {self.received[-200:]!r}")
            self.received += piece
        received, self.received = self.received, b""
        return received

    def body(self, seconds):
        self.socket.settimeout(seconds)
        return json.loads(self.response.read())

    def close(self):
        if self.response:
            self.response.close()
        self.connection.close()


class Upload:
    """A request to publish by lines, through the proxy, with a body in chunks that goes on."""

    def __init__(self, stage, channel, query):
        self.connection = connect(stage.port)
        self.connection.putrequest("POST", f"{stage.prefix}/publish/{channel}?{query}")
        self.connection.putheader("Authorization", f"Bearer {stage.token(channel)}")
        self.connection.putheader("Transfer-Encoding", "chunked")
        self.connection.endheaders()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def write(self, text):
        self.connection.send(f"{len(text):x}\r\n{text}\r\n".encode())

    def finish(self):
        """Ends the body; the answer."""
        self.connection.send(b"0\r\n\r\n")
        self.connection.sock.settimeout(PATIENCE_S)
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise AssertionError(f"answered {response.status}: {content!r}")
        return json.loads(content)


class Socket:
    """A WebSocket, and the frames that have come."""

    def __init__(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.received = b""
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def take(self, length, deadline):
        while len(self.received) < length:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise EOFError(f"ended after {self.received[-200:]!r}")
            self.received += piece
        taken, self.received = self.received[:length], self.received[length:]
        return taken

    def head(self, seconds):
        """The head of the answer to the handshake."""
        deadline, head = time.monotonic() + seconds, b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1, deadline)
        return head.decode()

    def object(self, seconds):
        """The next object; pings and heartbeats are passed over."""
        deadline = time.monotonic() + seconds
        while True:
            first, length = self.take(2, deadline)
            if length == 126:
                length, = struct.unpack(">H", self.take(2, deadline))
            elif length == 127:
                length, = struct.unpack(">Q", self.take(8, deadline))
            payload = self.take(length, deadline)
            if first == 0x89:
                continue
            if first != 0x81:
                raise EOFError(f"a frame {first:#x}: {payload!r}")
            found = json.loads(payload)
            if found.keys() != {"cursor"}:
                return found

    def send(self, command):
        """Sends a command of less than 126 bytes."""
        payload = json.dumps(command).encode()
        self.socket.sendall(struct.pack(">BB", 0x81, 0x80 | len(payload)) + bytes(4) + payload)


def connect(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.connect()
    return connection


def get(port, path, method="GET", body=None, headers=None):
    """A whole answer, with its body in `content`."""
    connection = connect(port)
    fields = {"Content-Type": "text/plain"} if body else {}
    try:
        connection.request(method, path, body, {**fields, **(headers or {})})
        response = connection.getresponse()
        response.content = response.read()
        return response
    finally:
        connection.close()


def publish(stage, channel, text):
    response = get(stage.control_port, f"/publish/{channel}", "POST", text)
    if response.status != 200:
        raise RuntimeError(f"publishing: {response.status} {response.content!r}")


def subscribers(stage, channel):
    response = get(stage.control_port, f"/channels/{channel}")
    return 0 if response.status == 404 else json.loads(response.content)["subscribers"]["total"]


def metric(stage, name):
    for line in get(stage.control_port, "/metrics").content.decode().splitlines():
        if line.split(" ")[0] == name:
            return float(line.split(" ")[1])
    raise RuntimeError(f"no metric {name}")


def wait_for_subscribers(stage, channel, wanted, seconds):
    """Waits until encke says so; how long that took."""
    began = time.monotonic()
    while (found := subscribers(stage, channel)) != wanted:
        if time.monotonic() - began > seconds:
            raise AssertionError(f"{found} subscribers after {seconds} s, not {wanted}")
        time.sleep(0.02)
    return time.monotonic() - began
