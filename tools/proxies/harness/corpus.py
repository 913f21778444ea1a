"""The requests of tests/corpus: their bytes, and whether they end. The format is told there.

The answers to them are not read: what a proxy makes of a request decides what encke is asked.
"""

import pathlib
import re
from typing import NamedTuple

DIRECTORY = pathlib.Path(__file__).resolve().parents[3] / "tests" / "corpus"

BYTES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|\((.*?)\*(\d+)\)|(.))")


class Case(NamedTuple):
    name: str
    request: bytes
    # Whether something may follow on the connection: else it has not ended, or not been answered.
    ends: bool


def cases():
    return [case for path in sorted(DIRECTORY.glob("*.http")) for case in read(path)]


def read(path):
    found, section, prefix = [], "", b""
    for line in path.read_text().splitlines():
        sign, rest = line[:1], line[2:]
        if sign == "[":
            section, prefix = line.strip("[]"), b""
        elif sign == "^":
            prefix += sent(rest)
        elif sign == ":":
            found.append(Case(f"{path.stem}: {section}: {rest}", prefix, True))
        elif sign == ">":
            found[-1] = found[-1]._replace(request=found[-1].request + sent(rest))
        elif line in ("< nothing", "< held"):
            found[-1] = found[-1]._replace(ends=False)
        elif sign not in ("", "#", "<", "!"):
            raise ValueError(f"{path.name}: {line}")
    return found


def sent(line):
    """A line as it is sent: with a line end, unless it says otherwise."""
    if line.endswith("\\") and not line.endswith("\\\\"):
        return unescaped(line[:-1])
    return unescaped(line) + b"\r\n"


def unescaped(text):
    out, at = b"", 0
    for escape in ESCAPE.finditer(text):
        out += text[at:escape.start()].encode()
        digits, repeated, count, other = escape.groups()
        if digits:
            out += bytes.fromhex(digits)
        elif count:
            out += unescaped(repeated) * int(count)
        else:
            out += BYTES[other]
        at = escape.end()
    return out + text[at:].encode()
