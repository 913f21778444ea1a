"""Whether a proxy and encke agree on where every request ends.

The proxy marks each request that it passes on with a word that no client can know, so the marks
count what the proxy means to have asked; a request smuggled in a body has none. Between the two a
relay keeps what was said. Judged are the relay's records, and what clients were answered.
"""

import re
import secrets
import socket
import time

import wire

PATIENCE_S = 10
# A client whose request is not taken for a whole one leaves, if the proxy does not end it before.
LEAVES_S = 2


class Judge:
    """One proxy, tried with every case."""

    def __init__(self, port, relay, secret):
        self.port = port
        self.relay = relay
        self.mark = re.compile(rb"\r\nX-Seq: *" + secret.encode() + rb"-[0-9A-Za-z_@-]*-([^\r\n]*)\r\n",
                               re.IGNORECASE)
        self.failures = []
        self.requests = self.answers = self.refusals = self.cut = 0

    def try_case(self, case):
        self.relay.case = case.name
        own = call()
        follow = asking(own) if case.ends else b""
        answered = talk(self.port, case.request + follow, LEAVES_S if case.ends else 0)
        calls = re.findall(rb"/\*\*/(c[0-9a-f]{16})\(", answered)
        if calls not in ([], [own]) or calls and not answered.partition(own)[2].startswith(b"("):
            self.fail(case.name, f"answers of others: {answered!r}")
        if calls and b"\r\nHTTP/1." in answered.partition(b"/**/" + own)[2]:
            self.fail(case.name, f"more behind the last answer: {answered!r}")
        # Whoever comes next, over the connections to encke that are kept.
        for _ in range(2):
            own = call()
            answered = talk(self.port, asking(own), PATIENCE_S)
            is_own = answered.count(b"/**/") == 1 and b"/**/" + own in answered
            if not is_own or not answered.startswith(b"HTTP/1.1 200 "):
                self.fail(case.name, f"the next client is answered {answered!r}")

    def try_page(self):
        """A page publishes to its own origin, which has a port: encke compares that with Host."""
        self.relay.case = "a page on a port of its own"
        for host in ("127.0.0.1", "localhost"):
            own = f"{host}:{self.port}"
            request = (f"POST /publish/page HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n"
                       "Content-Length: 1\r\nConnection: close\r\n\r\nx")
            answered = talk(self.port, request.encode(), PATIENCE_S)
            if not answered.startswith(b"HTTP/1.1 200 "):
                self.fail(self.relay.case, f"of {own} is answered {answered!r}")

    def judge_records(self):
        """To be called when the relay has finished."""
        for record in self.relay.records:
            self.judge_record(record)

    def judge_record(self, record):
        sent, answered = bytes(record.sent), bytes(record.answered)
        marks = list(self.mark.finditer(sent))
        answers, error = read_answers(answered, [mark[1] for mark in marks])
        self.requests += len(marks)
        self.answers += len(answers)
        self.refusals += sum(answer.start_line[1] >= b"400" for answer in answers)
        try:
            if error:
                raise Fault(len(answers), f"encke's answer is not whole: {error}")
            self.judge_count(sent, marks, answers)
            judge_ends(sent, marks, answers)
        except Fault as fault:
            place = max(min(fault.place, len(marks) - 1), 0)
            where = marks[place].start() if marks else 0
            self.fail(record.case_at(where), f"{fault}\n    sent: {sent[max(where - 500, 0):where + 500]!r}"
                                             f"\n    answered at last: {answered[-500:]!r}")

    def judge_count(self, sent, marks, answers):
        """encke answers each request once; but not one that the proxy broke off or a client left,
        nor any after an answer that closes the connection."""
        missing = len(marks) - len(answers)
        if missing < 0:
            raise Fault(len(marks) - 1, f"{len(answers)} answers to {len(marks)} requests")
        if missing == 0 or answers and closes(answers[-1]):
            return
        if missing > 1 or not is_cut(sent, marks):
            raise Fault(len(answers), f"{len(answers)} answers to {len(marks)} requests, and the last does not close")
        self.cut += 1

    def fail(self, name, reason):
        self.failures.append(f"{name}: {reason}")


class Fault(Exception):
    """Where the two do not agree: at which request of a connection, and how."""

    def __init__(self, place, reason):
        super().__init__(reason)
        self.place = place


def is_cut(sent, marks):
    """Whether the last request is not whole; or is a poll that is held, whose client has left."""
    if b" /long-poll/" in sent[max(0, marks[-1].start() - 400):marks[-1].start()]:
        return True
    at = 0
    try:
        for _ in marks:
            at = wire.request(sent, at).end
    except wire.Unfinished:
        return True
    except wire.Malformed:
        pass
    return False


def read_answers(answered, methods):
    """The answers that are whole, and what is wrong with the next."""
    answers, at = [], 0
    while at < len(answered):
        method = methods[len(answers)] if len(answers) < len(methods) else b"GET"
        try:
            answer = wire.answer(answered, at, method)
        except (wire.Malformed, wire.Unfinished) as error:
            return answers, error
        answers.append(answer)
        at = answer.end
    return answers, None


def judge_ends(sent, marks, answers):
    """Each request ends, for the strict reader, where the next one with a mark begins. Where the
    proxy passes on what that reader refuses, encke must refuse it too, and close."""
    at = 0
    for place, mark in enumerate(marks):
        is_last = place == len(marks) - 1
        try:
            request = wire.request(sent, at)
        except wire.Unfinished:
            if is_last:
                return
            raise Fault(place, "another request follows one that is not whole") from None
        except wire.Malformed as error:
            if len(answers) == place + 1 and closes(answers[place]):
                return
            raise Fault(place, f"passed on malformed ({error}) and not refused") from None
        if not at <= mark.start() < request.end:
            raise Fault(place, "it ends before its mark")
        at = request.end
    if sent[at:].strip(b"\r\n") and not (answers and closes(answers[-1])):
        raise Fault(len(marks) - 1, f"behind the last request: {sent[at:at + 100]!r}")


def closes(answer):
    return answer.says(b"connection", b"close")


def call():
    return f"c{secrets.token_hex(8)}".encode()


def asking(own):
    """A request whose answer nobody else gets."""
    return b"GET /poll/x?callback=" + own + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def talk(port, request, seconds):
    """What is answered until the other side closes, or until the client has waited enough."""
    answered = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        try:
            connection.sendall(request)
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                if not (piece := connection.recv(1 << 16)):
                    break
                answered += piece
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass  # A proxy that refuses may cut the connection.
    return answered
