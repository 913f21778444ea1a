//! The responses of one connection, and the rules for every head.
//!
//! Owns these rules. Framing is read by the test client; bodies are not looked at here.

use encke_oracle::finding::Kind;
use encke_test_client::{Head, Part, ResponseReader};

use crate::rule::{broken, ensure};

/// The parts of a response's head that a client remembers.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) closes: bool,
    pub(crate) connection: Option<String>,
    pub(crate) has_keep_alive: bool,
    pub(crate) cursor: Option<String>,
    pub(crate) content_type: Option<String>,
}

impl ResponseHead {
    fn new(head: &Head<'_>) -> ResponseHead {
        let field = |name| head.field(name).map(str::to_owned);
        ResponseHead {
            status: head.status,
            closes: head.closes(),
            connection: field("connection"),
            has_keep_alive: head.count("keep-alive") > 0,
            cursor: field("encke-cursor"),
            content_type: field("content-type"),
        }
    }
}

/// A piece of a response.
pub(crate) enum Piece<'a> {
    Head(ResponseHead),
    Body(&'a [u8]),
    End,
}

/// Reads the responses of one connection.
pub(crate) struct Responses {
    reader: ResponseReader,
    /// Responses begun.
    count: usize,
}

impl Default for Responses {
    fn default() -> Responses {
        Responses {
            reader: ResponseReader::without_extensions(),
            count: 0,
        }
    }
}

impl Responses {
    /// Whether it stands between two responses.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.reader.is_at_boundary()
    }

    /// Takes bytes; `is_head(n)` says whether the n-th request was HEAD. `on` returns whether to go
    /// on.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        is_head: impl Fn(usize) -> bool,
        mut on: impl FnMut(Piece<'_>) -> bool,
    ) {
        loop {
            let part = self.reader.next(&mut bytes);
            let part = part.unwrap_or_else(|error| broken(Kind::Nonsense, error));
            let goes_on = match part {
                None => return,
                Some(Part::Interim(head)) => {
                    ensure!(head.status == 100, Nonsense, "status {}", head.status);
                    ensure!(head.fields().count() == 0, Nonsense, "fields in {head:?}");
                    true
                }
                Some(Part::Head(head)) => {
                    check_head(&head);
                    let head = ResponseHead::new(&head);
                    let answers_head = is_head(self.count);
                    self.count += 1;
                    if answers_head {
                        self.reader.skip_body();
                    }
                    on(Piece::Head(head))
                }
                Some(Part::Body(body)) => on(Piece::Body(body)),
                Some(Part::End) => on(Piece::End),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// The connection has ended; returns whether that completes a response.
    pub(crate) fn close(&mut self) -> bool {
        let end = self.reader.close();
        end.unwrap_or_else(|error| broken(Kind::Dropped, error))
    }
}

/// Checks the rules for every head.
fn check_head(head: &Head<'_>) {
    for name in [
        "date",
        "connection",
        "content-length",
        "content-type",
        "transfer-encoding",
        "encke-cursor",
    ] {
        ensure!(head.count(name) < 2, Nonsense, "{name} twice in {head:?}");
    }
    ensure!(head.count("date") == 1, Nonsense, "no date in {head:?}");
    let is_framed = head.count("content-length") + head.count("transfer-encoding") > 0;
    ensure!(
        is_framed || matches!(head.status, 101 | 204) || head.closes(),
        Nonsense,
        "a body that ends with the connection, and no Connection: close: {head:?}"
    );
}
