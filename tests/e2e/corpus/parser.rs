//! The corpus through the parser alone: the outcome of a request does not depend on its pieces.

use encke_core::http1::{Decoder, Outcome, Scan, parse};

use super::{Case, MAX_BODY_BYTES, MAX_HEAD_BYTES, cases, each};

/// The outcome of one request.
#[derive(Debug)]
enum Read {
    /// It is whole.
    Whole { body: Vec<u8>, keep_alive: bool },
    /// It is refused, for a reason of this name.
    Refused(String),
}

/// Reads requests from bytes that arrive in pieces.
#[derive(Default)]
struct Reader {
    scan: Scan,
    /// Where the request at hand, or what is left of its body, begins.
    start: usize,
    body: Option<Body>,
    requests: Vec<Read>,
}

struct Body {
    decoder: Decoder,
    bytes: Vec<u8>,
    keep_alive: bool,
}

impl Reader {
    /// Whether nothing more is to be read.
    fn is_over(&self) -> bool {
        match self.requests.last() {
            None => false,
            Some(Read::Whole { keep_alive, .. }) => !keep_alive,
            Some(Read::Refused(_)) => true,
        }
    }

    /// Takes what has arrived so far.
    fn advance(&mut self, bytes: &[u8]) {
        while !self.is_over() && self.step(bytes) {}
    }

    /// Takes a head, or what is there of a body; false where more must arrive.
    fn step(&mut self, bytes: &[u8]) -> bool {
        let rest = &bytes[self.start..];
        let Some(mut body) = self.body.take() else {
            match parse(rest, &mut self.scan, MAX_HEAD_BYTES) {
                Err(error) => self.requests.push(Read::Refused(format!("{error:?}"))),
                Ok(Outcome::Partial) => return false,
                Ok(Outcome::Complete { head, length }) => {
                    self.start += length;
                    self.scan = Scan::default();
                    self.body = Some(Body {
                        decoder: Decoder::new(head.framing),
                        bytes: Vec::new(),
                        keep_alive: head.keep_alive,
                    });
                }
            }
            return true;
        };
        match body.decoder.decode(rest, &mut body.bytes, MAX_BODY_BYTES) {
            Err(error) => self.requests.push(Read::Refused(format!("{error:?}"))),
            Ok(progress) => {
                self.start += progress.consumed;
                if !progress.done {
                    assert_eq!(
                        self.start,
                        bytes.len(),
                        "a body that goes on leaves nothing"
                    );
                    self.body = Some(body);
                    return false;
                }
                self.requests.push(Read::Whole {
                    body: body.bytes,
                    keep_alive: body.keep_alive,
                });
            }
        }
        true
    }
}

/// Parses a case whose bytes arrive up to each of the given offsets in turn.
fn check(case: &Case, ends: &[usize]) {
    let mut reader = Reader::default();
    for end in ends {
        reader.advance(&case.bytes[..*end]);
    }
    let at = || format!("{} up to {ends:?}: {:?}", case.name, reader.requests);
    let mut published = Vec::new();
    for (place, expected) in case.answers.iter().enumerate() {
        let name = &expected.answer.name;
        match reader.requests.get(place) {
            Some(Read::Refused(reason)) => assert_eq!(reason, name, "{}", at()),
            Some(Read::Whole { body, keep_alive }) => {
                assert!(!expected.answer.is_of_parser(), "{}", at());
                // The end of a stream ends the connection.
                let is_stream = name.starts_with("stream");
                assert!(is_stream || *keep_alive != expected.closes(), "{}", at());
                if name == "published" {
                    published.push(&body[..]);
                }
            }
            // A request that is refused for its head is refused before its body arrives.
            None => {
                let is_early = reader.body.is_some() && expected.closes();
                assert!(is_early && !expected.answer.is_of_parser(), "{}", at());
            }
        }
    }
    let most = case.answers.len() + usize::from(case.is_held);
    assert!(reader.requests.len() <= most, "{}", at());
    let is_batch = |expected: &super::Expected| expected.answer.name == "published-lines";
    if !case.answers.iter().any(is_batch) {
        assert_eq!(published, case.messages, "{}", at());
    }
    let left = &case.bytes[reader.start..];
    let is_between = |byte: &u8| matches!(byte, b'\r' | b'\n');
    assert!(
        case.is_silent() || case.closes() || left.iter().all(is_between),
        "{}",
        at()
    );
}

#[test]
fn request_cut_anywhere_has_the_same_outcome() {
    let cases = cases();
    assert!(cases.len() >= 600);
    each(&cases, |case| {
        let length = case.bytes.len();
        check(case, &[length]);
        // Long requests are repetitive, so not every offset is tried.
        for at in (0..=length).step_by(1 + length / 1_000) {
            check(case, &[at, length]);
        }
        check(case, &(0..=length).collect::<Vec<_>>());
    });
}

#[test]
fn short_request_cut_twice_has_the_same_outcome() {
    let mut cases = cases();
    cases.retain(|case| case.bytes.len() < 70);
    each(&cases, |case| {
        let length = case.bytes.len();
        for first in 0..length {
            for second in first..length {
                check(case, &[first, second, length]);
            }
        }
    });
}
