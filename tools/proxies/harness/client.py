"""A client that sees when bytes arrive, and the control surface of an encke.

Owns sockets. Every wait in it has an end.
"""

import http.client
import json
import select
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
