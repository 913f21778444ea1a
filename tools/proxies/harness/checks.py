"""What must hold through every proxy.

Each check takes a `Stage` and raises if something is wrong. Channels are named for the check, so
that none sees the messages of another.
"""

import functools
import json
import pathlib
import shutil
import socket
import subprocess
import time

import targets
import verdicts
from client import (PATIENCE_S, Exchange, Socket, Upload, connect, get, metric, publish, subscribers,
                    wait_for_subscribers)

# An event, and the first byte of a stream, must be through within this.
SOON_S = 1
HELD_S = 1.5
LEFT_S = 2
BACK_S = 4
AWAY_S = 2
STREAMS = ("sse", "ndjson", "frame")


def of(target):
    """The checks of a target, with their names, in order."""
    if target.asks_application:
        yield from verdicts.CHECKS
        return
    yield "poll", poll
    yield "poll: two on one connection", polls_on_one_connection
    yield "long poll: held, and answered by an event", long_poll
    yield "long poll: early=1: the head comes before the event", early_head
    for technique in STREAMS:
        yield f"{technique}: first byte and events at once", functools.partial(stream, technique=technique)
    yield "message of 1 MiB: poll", large_poll
    yield "message of 1 MiB: sse", large_stream
    for technique in ("long-poll", "long-poll-early", *STREAMS):
        within = target.departures.get(technique, LEFT_S)
        name = f"{technique}: departure of the client noticed within {within} s"
        yield name, functools.partial(departure, technique=technique, within=within)
    yield "lines: each published when its line end is written", lines_as_they_come
    yield "lines: more than a body may have", many_lines
    yield "WebSocket: messages at once, and a command", web_socket
    yield "WebSocket: message of 1 MiB", large_on_web_socket
    yield f"WebSocket: departure of the client noticed within {LEFT_S} s", web_socket_departure
    yield "WebSocket: idle for longer than the proxy's timeout", idle_web_socket
    yield "streams: idle for longer than the proxy's timeout", idle_streams
    if shutil.which("node"):
        yield "the JavaScript client: every message once, by each transport", javascript_client
    if target.recipe:
        if target.cuts_long_holds:
            yield "long poll: cut if the proxy's timeout is shorter than the hold", cut_hold
        yield "connections to encke: kept for further polls", upstream_keep_alive
    for name, request in DOUBTFUL.items():
        yield f"smuggling: {name}", functools.partial(smuggling, request=request)
    yield "the control surface: not reachable", no_control
    if target.access_log:
        yield "tokens in a query: not logged", functools.partial(no_token_logged, log=target.access_log)
    yield "encke starts again: the proxy finds it", restart
    if target.keeps_event_sources:
        yield "encke is away: an EventSource is told to come back", away


def poll(stage):
    publish(stage, "poll", "there")
    answer = get(stage.port, f"{stage.prefix}/poll/poll")
    expect(answer.status, 200)
    expect(texts(json.loads(answer.content)), ["there"])
    expect(answer.getheader("Cache-Control"), "no-store, no-transform")


def polls_on_one_connection(stage):
    connection = connect(stage.port)
    own_socket = connection.sock
    for number in range(2):
        publish(stage, f"twice-{number}", f"number {number}")
        connection.request("GET", f"{stage.prefix}/poll/twice-{number}")
        answer = connection.getresponse()
        expect(texts(json.loads(answer.read())), [f"number {number}"])
        expect(connection.sock is own_socket, True)
    connection.close()


def long_poll(stage):
    with Exchange(stage.port, f"{stage.prefix}/long-poll/held?hold=2.5") as exchange:
        wait_for_subscribers(stage, "held", 1, PATIENCE_S)
        time.sleep(HELD_S)
        expect(exchange.is_answered(), False)
        publish(stage, "held", "at last")
        expect(exchange.head(SOON_S), 200)
        expect(texts(exchange.body(SOON_S)), ["at last"])


def early_head(stage):
    with Exchange(stage.port, f"{stage.prefix}/long-poll/early?early=1&hold=2.5") as exchange:
        expect(exchange.head(SOON_S), 200)
        expect(subscribers(stage, "early"), 1)
        publish(stage, "early", "the rest")
        expect(texts(exchange.body(SOON_S)), ["the rest"])


def stream(stage, technique):
    with Exchange(stage.port, f"{stage.prefix}/{technique}/{technique}") as exchange:
        expect(exchange.head(SOON_S), 200)
        exchange.until(b"cursor", SOON_S)
        for number in range(5):
            text = f"event-{number}-of-{technique}"
            publish(stage, technique, text)
            exchange.until(text.encode(), SOON_S)


def large_text():
    return "0123456789abcdef" * (1 << 16)


def large_poll(stage):
    publish(stage, "large", large_text())
    answer = get(stage.port, f"{stage.prefix}/poll/large")
    expect(texts(json.loads(answer.content)) == [large_text()], True)


def large_stream(stage):
    with Exchange(stage.port, f"{stage.prefix}/sse/large-stream") as exchange:
        exchange.head(SOON_S)
        exchange.until(b"cursor", SOON_S)
        publish(stage, "large-stream", large_text())
        publish(stage, "large-stream", "after it")
        received = exchange.until(b"after it", PATIENCE_S)
        expect(f"data: {large_text()}\n".encode() in received, True)


def departure(stage, technique, within):
    channel = f"left-{technique}"
    # Where a departure is noticed at the end of the hold, that must come before the timeout.
    hold = 60 if within == LEFT_S else targets.TIMEOUT_S - 0.2
    early = "1" if technique == "long-poll-early" else "0"
    path = f"/{technique.removesuffix('-early')}/{channel}?hold={hold}&early={early}"
    with Exchange(stage.port, stage.prefix + path):
        wait_for_subscribers(stage, channel, 1, PATIENCE_S)
    wait_for_subscribers(stage, channel, 0, within)


def idle_streams(stage):
    exchanges = [Exchange(stage.port, f"{stage.prefix}/{technique}/idle") for technique in STREAMS]
    try:
        for exchange in exchanges:
            expect(exchange.head(SOON_S), 200)
            exchange.until(b"cursor", SOON_S)
        time.sleep(targets.TIMEOUT_S + 1.5)
        publish(stage, "idle", "still-there")
        for exchange in exchanges:
            exchange.until(b"still-there", SOON_S)
    finally:
        for exchange in exchanges:
            exchange.close()


def open_socket(stage, channel):
    opened = Socket(stage.port, f"{stage.prefix}/ws/{channel}")
    head = opened.head(SOON_S)
    expect(head.split(" ")[1], "101")
    opened.object(SOON_S)
    return opened


def lines_as_they_come(stage):
    """A request whose body goes on, through proxies that must not gather it first."""
    with Upload(stage, "lines", "lines=1&end=1") as upload, \
            Exchange(stage.control_port, "/ndjson/lines") as reader:
        expect(reader.head(SOON_S), 200)
        reader.until(b"heartbeat", SOON_S)
        wait_for_subscribers(stage, "lines", 1, SOON_S)
        for number in range(3):
            upload.write(f"line {number}\n")
            reader.until(f"line {number}".encode(), SOON_S)
        upload.write("without line end")
        answer = upload.finish()
        expect([answer["published"], set(answer)], [4, {"published", "last"}])
        reader.until(b'"end":true', SOON_S)


def many_lines(stage):
    """A body may be longer than a proxy allows for others."""
    line = "x" * 9_999 + "\n"
    with Upload(stage, "many-lines", "lines=1") as upload:
        for _ in range(300):
            upload.write(line)
        expect(upload.finish()["published"], 300)


def web_socket(stage):
    with open_socket(stage, "socket") as opened:
        for number in range(5):
            publish(stage, "socket", f"event {number}")
            expect(opened.object(SOON_S)["data"], f"event {number}")
        opened.send({"channels": ["socket", "other-socket"], "ref": 1})
        answer = opened.object(SOON_S)
        expect((answer["channels"], answer["ref"]), (["socket", "other-socket"], 1))
        publish(stage, "other-socket", "followed")
        expect(opened.object(SOON_S)["data"], "followed")


def large_on_web_socket(stage):
    with open_socket(stage, "large-socket") as opened:
        publish(stage, "large-socket", large_text())
        expect(opened.object(PATIENCE_S)["data"] == large_text(), True)


def web_socket_departure(stage):
    with open_socket(stage, "left-socket"):
        wait_for_subscribers(stage, "left-socket", 1, PATIENCE_S)
    wait_for_subscribers(stage, "left-socket", 0, LEFT_S)


def idle_web_socket(stage):
    with open_socket(stage, "idle-socket") as opened:
        time.sleep(targets.TIMEOUT_S + 1.5)
        publish(stage, "idle-socket", "still there")
        expect(opened.object(SOON_S)["data"], "still there")


def javascript_client(stage):
    """Without node there is no such check. Node 20 has WebSockets only if it is asked for them."""
    script = pathlib.Path(__file__).with_name("follow.mjs")
    urls = [f"http://127.0.0.1:{stage.port}{stage.prefix}/", f"http://127.0.0.1:{stage.control_port}/"]
    asks = ["node", "-p", "typeof WebSocket"]
    has_sockets = subprocess.run(asks, capture_output=True, text=True).stdout.strip() == "function"
    options = [] if has_sockets else ["--experimental-websocket", "--no-warnings"]
    done = subprocess.run(["node", *options, script, *urls], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr)


def cut_hold(stage):
    """Shows that the timeout of the recipe is the one that counts."""
    with Exchange(stage.port, f"{stage.prefix}/long-poll/cut?hold={targets.TIMEOUT_S + 5}") as exchange:
        status = exchange.head(targets.TIMEOUT_S + 2)
        if status < 500:
            raise AssertionError(f"answered {status}")


def upstream_keep_alive(stage):
    polls = 20
    before = metric(stage, "encke_connections_accepted_total")
    connection = connect(stage.port)
    for _ in range(polls):
        connection.request("GET", f"{stage.prefix}/poll/kept")
        connection.getresponse().read()
    connection.close()
    accepted = metric(stage, "encke_connections_accepted_total") - before
    # A few are the checks' own, and those that look after encke's health.
    if accepted > polls / 2:
        raise AssertionError(f"{accepted:.0f} connections for {polls} polls")


# Requests that two parsers may read differently. {hidden} is what one of them takes for a body.
DOUBTFUL = {
    "both lengths": "Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "two lengths": "Content-Length: 0\r\nContent-Length: {hidden_length}\r\n\r\n{hidden}",
    "unknown coding": "Transfer-Encoding: xchunked\r\nContent-Length: {hidden_length}\r\n\r\n{hidden}",
    "space before the colon": "Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{hidden}",
    "length with a sign": "Content-Length: +{hidden_length}\r\n\r\n{hidden}",
    "bare line feed in the head": "X: y\nTransfer-Encoding: chunked\r\n"
                                  "Content-Length: {length}\r\n\r\n0\r\n\r\n{hidden}",
}


def smuggling(stage, request):
    publish(stage, "hidden", "stolen")
    hidden = f"GET {stage.prefix}/poll/hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    fields = request.format(hidden=hidden, hidden_length=len(hidden), length=len("0\r\n\r\n") + len(hidden))
    answers = talk(stage.port, f"GET {stage.prefix}/poll/doubtful HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}".encode())
    # Refused; or framed anew by the proxy, and answered as the request that it then is.
    first = answers.partition(b"\r\n\r\nHTTP/1.1 ")[0]
    is_refused = not answers or b"400" <= first[9:12] < b"600"
    if not is_refused and b'"messages":[]' not in first:
        raise AssertionError(f"answered {answers!r}")
    for number in range(10):
        channel = f"after-{number}"
        publish(stage, channel, channel)
        answer = get(stage.port, f"{stage.prefix}/poll/{channel}?limit=1")
        expect(texts(json.loads(answer.content)), [channel])


def talk(port, request):
    """All that is answered until the other side closes or has nothing more to say."""
    answers = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(request)
        connection.settimeout(PATIENCE_S)
        try:
            while piece := connection.recv(1 << 16):
                answers += piece
                connection.settimeout(0.3)
        except (TimeoutError, ConnectionResetError):
            pass
    return answers


def no_control(stage):
    for method, path in (("POST", "/publish/open"), ("PUT", "/publish/open"), ("POST", "/publish"),
                         ("GET", "/channels"), ("DELETE", "/channels/open"), ("GET", "/metrics")):
        is_publish = method.startswith("P")
        answer = get(stage.port, stage.prefix + path, method, "text" if is_publish else None)
        # Who has a token may publish there.
        if answer.status != (401 if is_publish else 404):
            raise AssertionError(f"{method} {path} is answered {answer.status}")


def no_token_logged(stage, log):
    path, token = f"{stage.prefix}/poll/logged", stage.token("logged")
    expect(get(stage.port, f"{path}?since=now&token={token}").status, 200)
    text = (stage.directory / log).read_text()
    expect([path in text, token in text], [True, False])


def restart(stage):
    stage.stop_encke()
    # The proxy may have noticed or not; what it knows of encke is out of date from now on.
    if stage.prefix and status_of(get_if_answered(stage, "/poll/away")) == 200:
        raise AssertionError("without encke the answer is 200")
    stage.start_encke()
    publish(stage, "back", "here")
    answer = wait_for_200(stage, "/poll/back")
    expect(texts(json.loads(answer.content)), ["here"])


def away(stage):
    stage.stop_encke()
    # From the first moment on, and when the proxy has had time to notice.
    for _ in range(2):
        answer = get_if_answered(stage, "/sse/away")
        if answer:
            expect(answer.status, 200)
            expect(answer.getheader("Content-Type"), "text/event-stream")
            fields = {line.partition(b":")[0] for line in answer.content.splitlines()}
            expect(fields & {b"data", b"event", b"id"}, set())
        time.sleep(AWAY_S)


def wait_for_200(stage, path):
    deadline = time.monotonic() + BACK_S
    while status_of(answer := get_if_answered(stage, path)) != 200:
        if time.monotonic() > deadline:
            raise AssertionError(f"{status_of(answer)} still after {BACK_S} s")
        time.sleep(0.1)
    return answer


def get_if_answered(stage, path):
    """The answer; `None` where the connection is closed instead, which is for the client to retry
    (HAProxy does that when encke closed the connection that it had chosen)."""
    try:
        return get(stage.port, stage.prefix + path)
    except ConnectionResetError:
        return None


def status_of(answer):
    return answer.status if answer else "no answer"


def texts(batch):
    return [message["data"] for message in batch["messages"]]


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found!r}, not {wanted!r}")
