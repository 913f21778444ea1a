//! The behaviour of one hostile connection, as data.

use std::time::Duration;

/// The behaviour of a connection.
pub(super) struct Script {
    /// Sent at once.
    pub(super) opening: Vec<u8>,
    /// Sent afterwards, little by little, again and again.
    pub(super) drip: Option<Drip>,
    /// Its way of reading.
    pub(super) reads: Reads,
    /// Its departure; `None`: it stays until the server ends it.
    pub(super) leaves: Option<Leaves>,
    /// Whether it connects again when it has left or was closed.
    pub(super) returns: bool,
    /// The socket's receive buffer; `None`: the system's choice.
    pub(super) receive_buffer: Option<usize>,
}

/// Something sent slowly.
pub(super) struct Drip {
    /// The text; after its end it begins anew.
    pub(super) text: Vec<u8>,
    /// Bytes sent at a time.
    pub(super) piece: usize,
    /// The time between two pieces.
    pub(super) every: Duration,
}

/// A way of reading.
#[derive(Clone, Copy)]
pub(super) enum Reads {
    /// Everything at once.
    All,
    /// Never.
    Never,
    /// A byte each time so much has passed.
    Byte(Duration),
}

/// The departure of a connection.
#[derive(Clone, Copy)]
pub(super) struct Leaves {
    /// The event before it.
    pub(super) when: When,
    /// The time from that event.
    pub(super) after: Duration,
    /// The way it ends the connection.
    pub(super) how: How,
}

/// The event before a departure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// The opening has been handed to the system.
    Sent,
    /// The first bytes have come.
    Heard,
}

/// The way a connection is ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// In order.
    Close,
    /// With a RST.
    Reset,
    /// It ends its side (FIN), and keeps the socket.
    HalfClose,
}

impl Script {
    /// Sends this, reads everything, and stays.
    pub(super) fn new(opening: impl Into<Vec<u8>>) -> Script {
        Script {
            opening: opening.into(),
            drip: None,
            reads: Reads::All,
            leaves: None,
            returns: false,
            receive_buffer: None,
        }
    }

    /// Sends a text little by little after the opening.
    pub(super) fn drips(
        mut self,
        text: impl Into<Vec<u8>>,
        piece: usize,
        every: Duration,
    ) -> Script {
        self.drip = Some(Drip {
            text: text.into(),
            piece,
            every,
        });
        self
    }

    /// Never reads, and has the least room for what comes.
    pub(super) fn deaf(mut self) -> Script {
        self.reads = Reads::Never;
        self.receive_buffer = Some(1);
        self
    }

    /// Reads a byte at a time.
    pub(super) fn sips(mut self, every: Duration) -> Script {
        self.reads = Reads::Byte(every);
        self.receive_buffer = Some(1);
        self
    }

    /// Leaves.
    pub(super) fn leaves(mut self, when: When, after: Duration, how: How) -> Script {
        self.leaves = Some(Leaves { when, after, how });
        self
    }

    /// Comes back.
    pub(super) fn returns(mut self) -> Script {
        self.returns = true;
        self
    }
}

/// A request without a body.
pub(super) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A publish.
pub(super) fn publish(channel: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST /publish/{channel} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}
