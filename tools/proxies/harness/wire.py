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
    start_line = pattern.match(data, at)
    if not start_line:
        if b"\n" in data[at:]:
            raise Malformed(f"no first line: {data[at:at + 60]!r}")
        raise Unfinished("a first line")
    at, fields = start_line.end(), []
    while not data.startswith(b"\r\n", at):
        field = FIELD.match(data, at)
        if not field:
            if b"\n" in data[at:]:
                raise Malformed(f"no field: {data[at:at + 60]!r}")
            raise Unfinished("a head")
        fields.append(field.groups())
        at = field.end()
    return Message(start_line, fields, at + 2)


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
        size_line = SIZE.match(data, at)
        if not size_line:
            if b"\n" in data[at:]:
                raise Malformed(f"no chunk: {data[at:at + 60]!r}")
            raise Unfinished("a chunk")
        at = size_line.end()
        size = int(size_line[1], 16)
        if size == 0:
            break
        message.body += data[at:at + size]
        at += size
        if len(data) < at + 2:
            raise Unfinished("a chunk")
        if data[at:at + 2] != b"\r\n":
            raise Malformed("a chunk that does not end")
        at += 2
    while not data.startswith(b"\r\n", at):
        trailer = FIELD.match(data, at)
        if not trailer:
            if b"\n" in data[at:]:
                raise Malformed(f"no trailer: {data[at:at + 60]!r}")
            raise Unfinished("trailers")
        at = trailer.end()
    message.end = at + 2
