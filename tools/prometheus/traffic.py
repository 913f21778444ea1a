"""Makes every kind of thing happen to an encke, so that every metric moves.

What is waited for is always something that can be seen: an answer, a closed connection, a metric.
"""

import json
import select
import signal
import socket
import struct
import subprocess
import threading

# For each thing that is waited for. Only a failure takes as long.
PATIENCE_S = 20

BIG = 300 << 10
BIG_MESSAGE = b"x" * BIG

# Limits low enough to be reached, with addresses that the test knows.
OPTIONS = [
    "--stdin=stdin",
    "--listen=127.0.0.1:0",
    "--listen=unix:encke.sock",
    "--log=info",
    "--max-connections-per-address=2",
    "--max-channels=20",
    "--history-messages=2",
    "--history-total-bytes=1M",
    f"--max-body-bytes={BIG}",
    f"--max-batch-bytes={BIG}",
    f"--max-buffer-bytes={BIG + (20 << 10)}",
    "--stream-max-bytes=1M",
    "--idle-timeout=300ms",
    "--write-timeout=2s",
    "--drain-delay=1h",
]


class Encke:
    """An encke that runs in a directory, and the metrics that it showed."""

    def __init__(self, binary, directory):
        options = [option.replace("unix:", f"unix:{directory}/") for option in OPTIONS]
        self.path = f"{directory}/encke.sock"
        self.process = subprocess.Popen([binary, *options], env={}, stdin=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.port = self.find_port()
        # Nobody reads on otherwise, and encke would wait.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        # The highest value that each series ever had.
        self.highest = {}

    def find_port(self):
        port = None
        for line in self.process.stderr:
            _, _, address = line.decode().partition("listening on 127.0.0.1:")
            if address:
                port = int(address)
            if b"at most" in line:
                return port
        raise AssertionError("encke did not start")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def connect(self):
        """A connection by the unix socket, to which no limit of addresses applies."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(PATIENCE_S)
        client.connect(self.path)
        return client

    def connect_tcp(self):
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)

    def ask(self, method, path, body=b""):
        """Status and body of a request with a connection of its own."""
        with self.connect() as client:
            send(client, method, path, body, "Connection: close\r\n")
            with client.makefile("rb") as stream:
                head, _, rest = stream.read().partition(b"\r\n\r\n")
            return int(head.split()[1]), rest

    def park(self, path):
        """A connection that waits for an event of its channel: its head has come."""
        client = self.connect()
        send(client, "GET", path)
        read_head(client)
        return client

    def publish(self, channel, body=b"hello"):
        return self.ask("POST", f"/publish/{channel}", body)[0]

    def scrape(self):
        """What /metrics says; remembers the values."""
        status, text = self.ask("GET", "/metrics")
        expect(status == 200, f"/metrics: {status}")
        for line in text.decode().splitlines():
            if not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                self.highest[series] = max(self.highest.get(series, 0), float(value))
        return text.decode()

    def scrape_until_moved(self, series):
        """Scrapes until a value is seen that no request can bring about for certain."""
        for _ in range(5_000):
            self.scrape()
            if self.highest[series] > 0:
                return
        raise AssertionError(f"{series} does not move")


def send(client, method, path, body=b"", fields=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: encke\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    client.sendall(head.encode() + body)


def read_head(client):
    """Reads up to the body and not into it, so that who does not read on is slow."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        expect(byte, "the connection ended in a head")
        head += byte
    return head


def wait_for_end(client):
    """Waits until encke has closed a connection, without reading from it."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    expect(poll.poll(PATIENCE_S * 1_000), "the connection stays open")


def read_to_end(client):
    while client.recv(1 << 16):
        pass


def expect(is_so, otherwise):
    if not is_so:
        raise AssertionError(otherwise)


# What happens, in this order. The later parts leave little memory.


def requests_of_every_kind(encke):
    expect(encke.publish("news") == 200, "publish")
    status, batch = encke.ask("GET", "/poll/news")
    expect(status == 200 and len(json.loads(batch)["messages"]) == 1, batch)
    for method, path, status in [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/channels", 200),
        ("GET", "/channels/nobody", 404),
        ("GET", "/nowhere", 404),
        ("DELETE", "/poll/news", 405),
    ]:
        expect(encke.ask(method, path)[0] == status, f"{method} {path}")


def receivers_of_every_kind(encke):
    paths = ["/long-poll/all?early=1", "/sse/all", "/ndjson/all", "/frame/all"]
    receivers = [encke.park(path) for path in paths]
    encke.scrape()
    expect(encke.publish("all") == 200, "publish")
    for receiver in receivers:
        with receiver:
            read = b""
            while b"hello" not in read:
                more = receiver.recv(1 << 16)
                expect(more, read)
                read += more


def holds_that_expire(encke):
    status, batch = encke.ask("GET", "/long-poll/quiet?hold=0.01")
    expect(status == 200 and json.loads(batch)["messages"] == [], batch)


def gaps_and_evictions(encke):
    for _ in range(4):
        encke.publish("news")
    _, batch = encke.ask("GET", "/poll/news?since=unknown-1")
    expect(json.loads(batch)["gap"], batch)


def ends_of_every_kind(encke):
    # broken
    with encke.connect_tcp() as client:
        send(client, "GET", "/sse/news")
        read_head(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # idle
    with encke.connect() as client:
        send(client, "GET", "/healthz")
        wait_for_end(client)
    # stray
    with encke.park("/ndjson/news") as client:
        client.sendall(b"x" * (64 << 10))
        wait_for_end(client)


def connections_without_a_place(encke):
    first, second = encke.connect_tcp(), encke.connect_tcp()
    with first, second, encke.connect_tcp() as third:
        send(third, "GET", "/poll/news")
        wait_for_end(third)


def channels_without_a_place(encke):
    statuses = {encke.publish(f"channel-{number}") for number in range(25)}
    expect(statuses == {200, 503}, statuses)
    for number in range(25):
        encke.ask("DELETE", f"/channels/channel-{number}")


def streams_that_are_recycled(encke):
    with encke.park("/ndjson/news") as client:
        reading = threading.Thread(target=read_to_end, args=(client,))
        reading.start()
        for _ in range(500):
            encke.publish("news", BIG_MESSAGE)
            if not reading.is_alive():
                return
        raise AssertionError("a stream does not end")


def readers_that_stall(encke):
    """Each holds a message that is half sent, until there is no room for another."""
    readers = []
    while not ended(encke, "no-room"):
        readers.append(encke.park("/ndjson/news"))
        expect(encke.publish("news", BIG_MESSAGE) == 200, "what readers hold costs no history")
        expect(len(readers) < 100, "every reader finds room")
    for reader in readers:
        wait_for_end(reader)
        reader.close()


def answers_without_room(encke):
    """Each leaves half an answer in the buffers, until there is no room for another."""
    readers, before = [], ended(encke, "no-room")
    while ended(encke, "no-room") == before:
        readers.append(encke.connect())
        send(readers[-1], "GET", "/poll/news")
        expect(len(readers) < 500, "every answer finds room")
    for reader in readers:
        reader.close()


def ended(encke, cause):
    encke.scrape()
    return encke.highest[f'encke_connections_ended_total{{cause="{cause}"}}']


def producers_that_are_faster(encke):
    enough = threading.Event()

    def produce():
        while not enough.is_set():
            encke.process.stdin.write(b"line\n" * 1_000)

    producing = threading.Thread(target=produce)
    producing.start()
    try:
        encke.scrape_until_moved("encke_queue_messages")
        encke.scrape_until_moved("encke_busy_ratio")
    finally:
        enough.set()
        producing.join()


def drains(encke):
    encke.process.send_signal(signal.SIGTERM)
    encke.scrape_until_moved("encke_draining")
    expect(encke.ask("GET", "/readyz")[0] == 503, "draining")
    encke.scrape()


ALL = [
    requests_of_every_kind,
    receivers_of_every_kind,
    holds_that_expire,
    gaps_and_evictions,
    ends_of_every_kind,
    connections_without_a_place,
    channels_without_a_place,
    streams_that_are_recycled,
    readers_that_stall,
    answers_without_room,
    producers_that_are_faster,
    drains,
]
