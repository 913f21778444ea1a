"""HTTP/1.1 as it stands on the wire: strict readers of requests and of answers.

Each is as short as the grammar is, and shares nothing with encke or a proxy: they are the third
opinion.
"""

import re

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") [^\x00-\x20\x7f]+ HTTP/1\.[01]\r\n")
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [^\r\n]*\r\n")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\r\n")
SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\r\n]*)?\r\n")


class Malformed(Exception):
    """Bytes that are not what they should be."""


class Unfinished(Exception):
    """Bytes that end before they should."""


class Message:
    """One request or answer, and where it ends."""

    def __init__(self, start_line, fields, end):
        self.start_line = start_line
        self.fields = fields
        self.end = end
        self.body = b""

    def values(self, name):
        return [value for known, value in self.fields if known.lower() == name]

    def says(self, name, word):
        return any(word == part.strip().lower() for value in self.values(name) for part in value.split(b","))


def head(data, at, pattern):
    """A head from its first line on, and its end."""
    start_line = line(data, at, pattern, "first line")
    found, end = fields(data, start_line.end())
    return Message(start_line, found, end)


def fields(data, at):
    """Fields up to the empty line, and the end of that."""
    found = []
    while not data.startswith(b"\r\n", at):
        field = line(data, at, FIELD, "field")
        found.append(field.groups())
        at = field.end()
    return found, at + 2


def line(data, at, pattern, name):
    match = pattern.match(data, at)
    if match:
        return match
    if b"\n" in data[at:]:
        raise Malformed(f"no {name}: {data[at:at + 60]!r}")
    raise Unfinished(name)


def request(data, at):
    """The request that begins at `at`."""
    message = head(data, at, REQUEST_LINE)
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Malformed("framed twice")
    if codings:
        if codings[0].lower() != b"chunked":
            raise Malformed(f"coding {codings[0]!r}")
        chunked(data, message)
    elif lengths:
        counted(data, message, lengths[0])
    return message


def answer(data, at, method):
    """The final answer that begins at `at`, after those that go before it (1xx)."""
    while True:
        message = head(data, at, STATUS_LINE)
        status = int(message.start_line[1])
        if status >= 200:
            break
        at = message.end
    lengths = message.values(b"content-length")
    if method == b"HEAD" or status in (204, 304):
        pass
    elif message.says(b"transfer-encoding", b"chunked"):
        chunked(data, message)
    elif lengths:
        counted(data, message, lengths[0])
    else:
        message.body, message.end = data[message.end:], len(data)
    return message


def counted(data, message, length):
    if not length.isdigit():
        raise Malformed(f"length {length!r}")
    start, message.end = message.end, message.end + int(length)
    if message.end > len(data):
        raise Unfinished("a body")
    message.body = data[start:message.end]


def chunked(data, message):
    at = message.end
    while True:
        size_line = line(data, at, SIZE, "chunk")
        at, size = size_line.end(), int(size_line[1], 16)
        if size == 0:
            break
        message.body += data[at:at + size]
        at += size + 2
        if len(data) < at:
            raise Unfinished("a chunk")
        if data[at - 2:at] != b"\r\n":
            raise Malformed("a chunk that does not end")
    _, message.end = fields(data, at)
