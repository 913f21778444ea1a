"""Clients of several nodes behind a proxy: each begins anew where it was, on whichever node it gets.

Owns threads, what each has received, and how each was answered. It judges what was received:
every message once, in order, and no gap.
"""

import collections
import http.client
import json
import threading
import time

from client import PATIENCE_S, connect

CHANNEL = "news"
# A connection that fails is tried again after so long.
AGAIN_S = 0.05
# Nobody waits for longer, whatever the advice of a server is: the test has no herd.
LONGEST_WAIT_S = 0.5


class Traveller(threading.Thread):
    """A client that goes on until it is stopped."""

    technique = None

    def __init__(self, port, prefix):
        super().__init__(daemon=True)
        self.port, self.prefix = port, prefix
        self.received = []
        self.cursor = None
        # What became of its requests: statuses, and "broken" for a connection that failed.
        self.answers = collections.Counter()
        self.fault = None
        self.is_stopped = threading.Event()

    def run(self):
        try:
            while not self.is_stopped.is_set():
                self.travel()
        except Exception as error:  # Whatever it is, the test has to say it.
            self.fault = f"{type(error).__name__}: {error}"

    def travel(self):
        try:
            wait_s = self.once()
        except (OSError, http.client.HTTPException):
            self.answers["broken"] += 1
            wait_s = AGAIN_S
        self.is_stopped.wait(min(wait_s, LONGEST_WAIT_S))

    def once(self):
        """One request, and how long to wait before the next."""
        raise NotImplementedError

    def take(self, message):
        if message.get("gap"):
            raise AssertionError(f"a gap after {self.received[-1:]} at {message}")
        self.received.append(int(message["data"]))

    def judge(self, count):
        """It has received the messages 1 to `count`, each once, in order."""
        if self.fault:
            raise AssertionError(f"{self.technique}: {self.fault}")
        wanted = list(range(1, count + 1))
        if self.received != wanted:
            place = next((n for n, pair in enumerate(zip(self.received, wanted)) if pair[0] != pair[1]),
                         min(len(self.received), count))
            raise AssertionError(f"{self.technique}: {self.received[place:place + 5]} in place of "
                                 f"{wanted[place:place + 5]}; {len(self.received)} of {count}")


class Poller(Traveller):
    """Polls, held or not, on one connection for as long as it lasts."""

    def __init__(self, port, prefix, technique):
        super().__init__(port, prefix)
        self.technique = technique
        self.connection = None

    def once(self):
        since = self.cursor or "earliest"
        try:
            self.connection = self.connection or connect(self.port)
            self.connection.request("GET", f"{self.prefix}/{self.technique}/{CHANNEL}?since={since}&hold=5")
            response = self.connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        self.answers[response.status] += 1
        if response.status != 200:
            return AGAIN_S
        batch = json.loads(content)
        if batch.get("gap"):
            raise AssertionError(f"a gap after {self.received[-1:]}, on {since}: {content[:200]!r}")
        for message in batch["messages"]:
            self.take(message)
        self.cursor = batch["cursor"]
        return batch.get("retry", 0) / 1000 if self.technique == "long-poll" else AGAIN_S

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Follower(Traveller):
    """Follows a stream of server-sent events, and takes the next one as an EventSource does."""

    technique = "sse"

    def __init__(self, port, prefix):
        super().__init__(port, prefix)
        self.retry_s = 0

    def once(self):
        headers = {"Last-Event-ID": self.cursor} if self.cursor else {}
        query = "" if self.cursor else "?since=earliest"
        connection = connect(self.port)
        try:
            connection.request("GET", f"{self.prefix}/sse/{CHANNEL}{query}", headers=headers)
            response = connection.getresponse()
            self.answers[response.status] += 1
            if response.status == 200:
                self.follow(response)
        finally:
            connection.close()
        return self.retry_s

    def follow(self, response):
        event = {}
        while line := response.readline():
            line = line.decode().rstrip("\r\n")
            if self.is_stopped.is_set():
                return
            if line:
                name, _, value = line.partition(":")
                event[name] = value.removeprefix(" ")
                continue
            self.dispatch(event)
            event = {}

    def dispatch(self, event):
        if "retry" in event:
            self.retry_s = int(event["retry"]) / 1000
        if event.get("event") == "gap":
            raise AssertionError(f"a gap after {self.received[-1:]}, on {self.cursor}")
        self.cursor = event.get("id", self.cursor)
        if "data" in event and "event" not in event:
            self.take(event)


class Publisher(threading.Thread):
    """Publishes 1, 2, 3 and so on, each through the next way, and repeats what is not answered 200,
    with the same key, through the one after that."""

    def __init__(self, ways, pace_s):
        """`ways`: port, prefix and token of each."""
        super().__init__(daemon=True)
        self.ways, self.pace_s = ways, pace_s
        self.published = 0
        self.answers = collections.Counter()
        self.is_stopped = threading.Event()

    def run(self):
        turn = 0
        while not self.is_stopped.wait(self.pace_s):
            number = self.published + 1
            while not self.publish(*self.ways[turn % len(self.ways)], number):
                turn += 1
                time.sleep(AGAIN_S)
            self.published = number
            turn += 1

    def publish(self, port, prefix, token, number):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain",
                   "Idempotency-Key": f"number-{number}"}
        connection = None
        try:
            connection = connect(port)
            connection.request("POST", f"{prefix}/publish/{CHANNEL}", str(number), headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            status = "broken"
        finally:
            if connection:
                connection.close()
        self.answers[status] += 1
        return status == 200


def wait_until(what, holds, seconds=PATIENCE_S):
    """Waits until `holds()`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
