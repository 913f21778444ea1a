"""A relay between a proxy and encke that keeps all that it passes on.

Owns its threads and sockets. It never changes a byte.
"""

import socket
import threading

PATIENCE_S = 10


class Record:
    """One connection: what the proxy sent, what encke answered."""

    def __init__(self):
        self.sent = bytearray()
        self.answered = bytearray()
        # The length of `sent` when each case began to arrive on this connection, with its name.
        self.cases = []

    def case_at(self, place):
        """The case that a byte of `sent` belongs to."""
        names = [name for begin, name in self.cases if begin <= place]
        return names[-1] if names else "no case"


class Relay:
    """Listens on a port of its own and passes all on to another."""

    def __init__(self, port):
        self.target = port
        self.case = ""
        self.records = []
        self.threads = []
        self.open = set()
        self.lock = threading.Lock()
        self.is_ending = False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                proxy, _ = self.listener.accept()
                encke = socket.create_connection(("127.0.0.1", self.target), PATIENCE_S)
            except OSError:
                return
            encke.settimeout(None)
            for end in (proxy, encke):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            record = Record()
            with self.lock:
                self.records.append(record)
                self.open.add(encke)
            threads = [threading.Thread(target=self.forth, args=(record, proxy, encke), daemon=True),
                       threading.Thread(target=self.back, args=(record, encke, proxy), daemon=True)]
            self.threads += threads
            for thread in threads:
                thread.start()

    def forth(self, record, proxy, encke):
        while piece := receive(proxy):
            if not record.cases or record.cases[-1][1] != self.case:
                record.cases.append((len(record.sent), self.case))
            record.sent += piece
            send(encke, piece)
        shut(encke)

    def back(self, record, encke, proxy):
        while piece := receive(encke):
            record.answered += piece
            send(proxy, piece)
        shut(proxy)
        with self.lock:
            self.open.discard(encke)

    def finish(self):
        """Ends all connections as a proxy would; after that nothing more can be answered."""
        self.listener.close()
        with self.lock:
            for encke in self.open:
                shut(encke)
        for thread in self.threads[1::2]:
            thread.join(PATIENCE_S)
            if thread.is_alive():
                raise RuntimeError("encke does not end a connection")


def receive(end):
    try:
        return end.recv(1 << 16)
    except OSError:
        return b""


def send(end, piece):
    try:
        end.sendall(piece)
    except OSError:
        pass  # Whoever does not read any more will not answer either.


def shut(end):
    try:
        end.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # It is gone already.
