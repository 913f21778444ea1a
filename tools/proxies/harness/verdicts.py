"""What must hold where the proxy asks an application who may read: `may_read.py`.

Each check takes a `Stage` and raises if something is wrong.
"""

import json
import time

from client import PATIENCE_S, Exchange, get, publish, wait_for_subscribers

ANN, BOB, STRANGER = ({"Cookie": f"theme=dark; session={name}"} for name in ("s-ann", "s-bob", "s-eve"))

# An event must be through within this.
SOON_S = 1
# Verdicts are kept for so long, and a little.
KEPT_S = 6


def status(stage, path, headers=None):
    return get(stage.port, stage.prefix + path, headers=headers).status


def polls(stage):
    publish(stage, "user/42/mail", "hello")
    answer = get(stage.port, f"{stage.prefix}/poll/user/42/mail?limit=1", headers=ANN)
    assert answer.status == 200, answer.status
    texts = [message["data"] for message in json.loads(answer.content)["messages"]]
    assert texts == ["hello"], texts
    found = [status(stage, "/poll/user/42/mail", headers) for headers in (BOB, STRANGER, None)]
    assert found == [403, 401, 401], found
    found = [status(stage, "/poll/news", headers) for headers in (BOB, STRANGER)]
    assert found == [200, 401], found


def streams(stage):
    for technique in ("sse", "ndjson", "frame", "long-poll"):
        path = f"/{technique}/user/42/{technique}"
        with Exchange(stage.port, stage.prefix + path, headers=ANN) as exchange:
            wait_for_subscribers(stage, f"user/42/{technique}", 1, PATIENCE_S)
            publish(stage, f"user/42/{technique}", "at once")
            exchange.head(SOON_S)
            exchange.until(b"at once", SOON_S)
        found = status(stage, path, BOB)
        assert found == 403, found


# Names that the application could take for other channels than encke does.
DOUBTFUL = {
    "user/43/x,user/42/mail": 404,
    "user/43/x%2Cuser/42/mail": 404,
    "user/43/x%252Cuser/42/mail": 404,
    "user/43/../42/mail": 403,
    "user/43/%2e%2e/42/mail": 403,
    "user/43/%252e%252e/42/mail": 404,
    "user%2F42%2Fmail": 403,
    "user/43/..%2f42/mail": 403,
    "user/43/x%3Fchannel=news": 404,
    "user/43/x%26channel=news": 404,
    "user/43/x%00/../../42/mail": 400,
    "user/42/mail?channel=news": 403,
}


def doubtful_names(stage):
    """A neighbour does not get through by any spelling."""
    publish(stage, "user/42/mail", "secret")
    for name, wanted in DOUBTFUL.items():
        for technique in ("poll", "ndjson"):
            answer = get(stage.port, f"{stage.prefix}/{technique}/{name}", headers=BOB)
            assert answer.status == wanted, f"{name}: {answer.status}, not {wanted}"
            assert b"secret" not in answer.content, name


def nothing_else(stage):
    for path in ("/channels", "/metrics", "/connections?sub=a", "/publish/a", "/healthz", "/"):
        for headers in (ANN, None):
            found = status(stage, path, headers)
            assert found == 404, f"{path}: {found}"
    found = get(stage.port, "/may-read?channel=news", headers=ANN).status
    assert found == 404, found


def questions(stage):
    """How often the application was asked."""
    return (stage.directory / "application.log").read_text().count("GET /may-read")


def kept_verdicts(stage):
    before = questions(stage)
    for _ in range(30):
        assert status(stage, "/poll/user/42/kept", ANN) == 200
        assert status(stage, "/poll/user/42/kept", BOB) == 403
    asked = questions(stage) - before
    # Once for each of the two, and once more if the time was over meanwhile.
    assert 2 <= asked <= 4, asked


def application_away(stage):
    stage.stop_application()
    time.sleep(KEPT_S)
    answer = get(stage.port, f"{stage.prefix}/sse/user/42/away", headers=ANN)
    assert (answer.status, answer.content) == (200, b"retry: 3000\n\n"), answer.content
    found = status(stage, "/poll/user/42/away", ANN)
    assert found == 500, found
    stage.start_application()
    found = status(stage, "/poll/user/42/away", ANN)
    assert found == 200, found


CHECKS = [
    ("polls: one's own channel, and not the neighbour's", polls),
    ("streams: one's own channel at once, and not the neighbour's", streams),
    ("names that can be read in two ways: nothing of the neighbour's", doubtful_names),
    ("nothing but receiving: not reachable", nothing_else),
    ("verdicts are kept: the application is not asked for each poll", kept_verdicts),
    ("the application is away: refused, and an EventSource is told to come back", application_away),
]
