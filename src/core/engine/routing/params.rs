//! The parameters of the receiving endpoints.
//!
//! Owns their names, ranges and defaults. Unknown parameters are ignored. A malformed value is 400,
//! with the name of the parameter and what is allowed; a malformed stand-in for `Last-Event-ID` is
//! a gap. Of a parameter given several times the last counts. Names are compared percent-decoded.

use std::borrow::Cow;

use super::handshake::Handshake;
use super::route::Receive;
use crate::authority::Origin;
use crate::base::decimal;
use crate::encode;
use crate::engine::response::Problem;
use crate::http1::{self, Head};
use crate::message::{Cursor, Numbering, Seq};
use crate::transport::{Options, Transport};

/// The longest pace of a stream, in milliseconds.
const MAX_PACE_MS: u64 = 60_000;

/// The most messages that `since=-N` asks for.
const MAX_NEWEST: u64 = 1_000;

/// Where a client asks to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Since {
    /// The request names no beginning.
    Absent,
    /// With the oldest message in history.
    Earliest,
    /// With the newest messages of the channels together, this many.
    Newest(usize),
    /// With the next message.
    Now,
    /// After this message.
    After(Seq),
    /// After a message of a later term than all that this node of a cluster knows. Unless
    /// this node is merely late, it counts as unknown.
    Later(u64),
    /// After a message that this server does not know: a gap.
    Unknown,
}

/// The parameters of one request.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Params<'b> {
    pub(in crate::engine) since: Since,
    pub(in crate::engine) hold_ms: Option<u64>,
    pub(in crate::engine) limit: Option<usize>,
    pub(in crate::engine) linger_ms: u64,
    /// The least time between two writes to a stream; 0: none.
    pub(in crate::engine) pace_ms: u16,
    pub(in crate::engine) options: Options,
    pub(in crate::engine) callback: Option<Cow<'b, str>>,
    /// The origin of the page around a frame, serialised.
    pub(in crate::engine) origin: Option<String>,
    /// The handshake of a WebSocket, which others do not have.
    pub(in crate::engine) handshake: Option<Box<Handshake>>,
}

impl<'b> Params<'b> {
    /// Parses the parameters that `receive` knows. Polls are hot.
    #[inline(always)]
    pub(in crate::engine) fn parse(
        head: &Head<'b>,
        receive: Receive,
        numbering: &Numbering,
    ) -> Result<Params<'b>, Problem> {
        let mut params = Params {
            since: Since::Absent,
            hold_ms: None,
            limit: None,
            linger_ms: 0,
            pace_ms: 0,
            options: Options::empty(),
            callback: None,
            origin: None,
            handshake: None,
        };
        let mut beginning = Beginning {
            last_event_id: head.last_event_id.filter(|id| !id.is_empty()),
            stand_in: None,
            since: None,
        };
        let is = |transport| receive == Receive::Park(transport);
        for (name, raw) in parameters(head.query) {
            let value = || decoded(raw);
            match &*name {
                b"since" => beginning.since = Some(raw),
                b"hold" if is(Transport::LongPoll) => {
                    params.hold_ms = Some(seconds_ms(&value()?)?);
                }
                b"limit" if receive.gives_batch() => params.limit = Some(limit(&value()?)?),
                b"early" if is(Transport::LongPoll) => {
                    let early = switch("early", &value()?)?;
                    params.options.set(Options::EARLY, early);
                }
                b"linger" if is(Transport::LongPoll) => params.linger_ms = linger(&value()?)?,
                b"pace" if !receive.gives_batch() => params.pace_ms = pace(&value()?)?,
                b"envelope" if is(Transport::Sse) => {
                    let envelope = switch("envelope", &value()?)?;
                    params.options.set(Options::ENVELOPE, envelope);
                }
                b"raw" if is(Transport::WebSocket) => {
                    params.options.set(Options::RAW, switch("raw", &value()?)?);
                }
                b"publish" if is(Transport::WebSocket) => {
                    let publish = switch("publish", &value()?)?;
                    params.options.set(Options::PUBLISH, publish);
                }
                b"callback" if receive.gives_batch() || is(Transport::Frame) => {
                    params.callback = Some(callback(value()?)?);
                }
                b"origin" if is(Transport::Frame) => params.origin = Some(origin(value()?)?),
                name if is_stand_in(name) && !raw.is_empty() => beginning.stand_in = Some(raw),
                _ => {}
            }
        }
        params.since = beginning.resolve(numbering)?;
        Ok(params)
    }
}

/// The places where a request may name its beginning, in the order in which they count.
struct Beginning<'b> {
    /// The header `Last-Event-ID`, unless it is empty.
    last_event_id: Option<&'b [u8]>,
    /// The last parameter that stands in for the header and is not empty, raw.
    stand_in: Option<&'b [u8]>,
    /// The last `since`, raw.
    since: Option<&'b [u8]>,
}

impl Beginning<'_> {
    /// Returns the beginning; 400 if it is a malformed `since` that counts.
    #[inline(always)]
    fn resolve(&self, numbering: &Numbering) -> Result<Since, Problem> {
        // An EventSource that is answered 400 never reconnects. A malformed id is a gap instead.
        let forgiven = |id: &[u8]| since(id, numbering).unwrap_or(Since::Unknown);
        match (self.last_event_id, self.stand_in, self.since) {
            (Some(id), _, _) => Ok(forgiven(id)),
            (None, Some(raw), _) => {
                Ok(http1::decode(raw).map_or(Since::Unknown, |id| forgiven(&id)))
            }
            (None, None, Some(raw)) => since(&decoded(raw)?, numbering),
            (None, None, None) => Ok(Since::Absent),
        }
    }
}

/// Whether a parameter stands in for the header `Last-Event-ID`, which some clients cannot send.
/// Like the header's, its name has no case.
fn is_stand_in(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"lastEventId") || name.eq_ignore_ascii_case(b"Last-Event-ID")
}

/// The parameters of a raw query, in order: percent-decoded names and raw values.
///
/// A name that is malformed stays raw, so that it is unknown.
pub(in crate::engine) fn parameters(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, &[u8])> {
    http1::parameters(query).map(|(name, raw)| {
        // Nearly every name: it saves the search of the decoder.
        if !name.contains(&b'%') {
            return (Cow::Borrowed(name), raw);
        }
        (http1::decode(name).unwrap_or(Cow::Borrowed(name)), raw)
    })
}

/// The callback of a request. Its other parameters may be malformed: the callback is then called
/// with the error.
pub(in crate::engine) fn callback_of<'b>(head: &Head<'b>) -> Option<Cow<'b, str>> {
    let raw = last(head.query, b"callback")?;
    callback(http1::decode(raw)?).ok()
}

/// The raw value of a parameter; of a parameter given several times the last counts.
pub(in crate::engine) fn last<'b>(query: &'b [u8], wanted: &[u8]) -> Option<&'b [u8]> {
    let values = parameters(query).filter(|(name, _)| **name == *wanted);
    values.last().map(|(_, raw)| raw)
}

/// A parameter's value, percent-decoded.
pub(in crate::engine) fn decoded(raw: &[u8]) -> Result<Cow<'_, [u8]>, Problem> {
    http1::decode(raw)
        .ok_or_else(|| Problem::bad("`%` in the query must be followed by two hex digits"))
}

/// The beginning that a value of `since` names.
pub(in crate::engine) fn since(value: &[u8], numbering: &Numbering) -> Result<Since, Problem> {
    match value {
        b"earliest" => Ok(Since::Earliest),
        b"now" => Ok(Since::Now),
        // No cursor begins with a hyphen: an epoch is not empty.
        [b'-', count @ ..] => match decimal::canonical(count) {
            Some(count @ 1..=MAX_NEWEST) => Ok(Since::Newest(count as usize)),
            _ => Err(Problem::bad(
                "since must be -1 to -1000 for so many of the newest messages",
            )),
        },
        _ => match Cursor::parse(value, numbering) {
            Some(Cursor::Known(seq)) => Ok(Since::After(seq)),
            Some(Cursor::Later(term)) => Ok(Since::Later(term)),
            Some(Cursor::Foreign) => Ok(Since::Unknown),
            None => Err(Problem::bad(
                "since must be a cursor as this server gave it, `earliest`, `now`, or -1 to -1000",
            )),
        },
    }
}

/// Seconds with up to three digits of fraction that count, in milliseconds.
fn seconds_ms(value: &[u8]) -> Result<u64, Problem> {
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let whole = parts.next().and_then(decimal::saturating);
    let fraction = parts.next().unwrap_or(b"0");
    let (Some(whole_s), Some(_)) = (whole, decimal::saturating(fraction)) else {
        return Err(Problem::bad("hold must be seconds, such as 30 or 0.5"));
    };
    let thousandths = fraction.iter().chain(b"000").take(3);
    let fraction_ms = thousandths.fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0'));
    // Absurdly long holds are capped by the caller, so saturating is right.
    Ok(whole_s.saturating_mul(1_000).saturating_add(fraction_ms))
}

fn limit(value: &[u8]) -> Result<usize, Problem> {
    match decimal::saturating(value) {
        Some(limit @ 1..) => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
        _ => Err(Problem::bad("limit must be a whole number from 1")),
    }
}

fn linger(value: &[u8]) -> Result<u64, Problem> {
    decimal::saturating(value).ok_or_else(|| Problem::bad("linger must be whole milliseconds"))
}

fn pace(value: &[u8]) -> Result<u16, Problem> {
    match decimal::saturating(value) {
        Some(pace_ms @ 1..=MAX_PACE_MS) => Ok(pace_ms as u16),
        _ => Err(Problem::bad(
            "pace must be whole milliseconds, from 1 to 60000",
        )),
    }
}

pub(super) fn switch(name: &'static str, value: &[u8]) -> Result<bool, Problem> {
    match value {
        b"1" | b"true" => Ok(true),
        b"0" | b"false" => Ok(false),
        _ => Err(Problem::bad(format!("{name} must be 1 or 0"))),
    }
}

fn callback(value: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Problem> {
    let checked = encode::check_callback(&value).is_some();
    match text(value) {
        Some(name) if checked => Ok(name),
        _ => Err(Problem::bad(
            "callback must be identifiers joined by dots, at most 64 bytes of ASCII",
        )),
    }
}

fn origin(value: Cow<'_, [u8]>) -> Result<String, Problem> {
    // In its serialised form, in which a script compares it with `location.origin`.
    Origin::parse(&value)
        .filter(Origin::is_of_browser)
        .map(|origin| origin.to_string())
        .ok_or_else(|| Problem::bad("origin must be an origin, such as `https://example.org:8443`"))
}

fn text(value: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match value {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Epoch;

    const EPOCH: &str = "0000000a";

    /// Where a request with these fields and this query begins; `None`: it is answered 400.
    fn beginning(fields: &str, query: &str) -> Option<Since> {
        let text = format!("GET /sse/a?{query} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let outcome = http1::parse(text.as_bytes(), &mut http1::Scan::default(), 16 << 10);
        let Ok(http1::Outcome::Complete { head, .. }) = outcome else {
            panic!("no head: {text}")
        };
        let numbering = Numbering::Single(Epoch::from_seed(10));
        let params = Params::parse(&head, Receive::Park(Transport::Sse), &numbering);
        params.ok().map(|params| params.since)
    }

    #[test]
    fn stand_ins_for_the_header() {
        let after = |seq| Some(Since::After(Seq(seq)));
        for name in [
            "lastEventId",
            "lastEventID",
            "Last-Event-ID",
            "last%45ventId",
        ] {
            for (query, expected) in [
                ("NAME=0000000a-7", after(7)),
                ("NAME=0000000a%2D7", after(7)),
                ("since=0000000a-1&NAME=0000000a-7", after(7)),
                ("NAME=0000000a-7&since=0000000a-1", after(7)),
                ("NAME=0000000a-7&since=nonsense", after(7)),
                ("NAME=0000000a-7&since=%", after(7)),
                ("NAME=0000000a-7&NAME=0000000a-8", after(8)),
                ("NAME=0000000a-7&lastEventId=0000000a-8", after(8)),
                ("NAME=0000000a-7&lastEventId=", after(7)),
                ("NAME=0000000a-7&NAME=nonsense", Some(Since::Unknown)),
                ("NAME=nonsense&NAME=0000000a-7", after(7)),
                ("NAME&since=0000000a-1", after(1)),
                ("NAME=&since=0000000a-1", after(1)),
                ("NAME=", Some(Since::Absent)),
                ("NAME=now&since=earliest", Some(Since::Now)),
                ("NAME=earliest", Some(Since::Earliest)),
                ("NAME=-2&since=now", Some(Since::Newest(2))),
                ("NAME=-0&since=now", Some(Since::Unknown)),
                ("NAME=zzzz-1&since=now", Some(Since::Unknown)),
                ("NAME=nonsense&since=now", Some(Since::Unknown)),
                ("NAME=%", Some(Since::Unknown)),
                ("NAME=%zz", Some(Since::Unknown)),
                ("NAME=%ff%fe", Some(Since::Unknown)),
                ("NAME=%00", Some(Since::Unknown)),
                ("NAME=%20", Some(Since::Unknown)),
                ("NAME=0000000a-7%20", Some(Since::Unknown)),
                ("NAME=0000000a-7,0000000a-8", Some(Since::Unknown)),
            ] {
                let query = query.replace("NAME", name);
                assert_eq!(beginning("", &query), expected, "{query}");
                let field = "Last-Event-ID: 0000000a-3\r\n";
                assert_eq!(beginning(field, &query), after(3), "{query}");
                for field in ["Last-Event-ID:\r\n", "Last-Event-ID:  \t\r\n"] {
                    assert_eq!(beginning(field, &query), expected, "{query}");
                }
                let field = "Last-Event-ID: 0000000a-3, 0000000a-4\r\n";
                assert_eq!(beginning(field, &query), Some(Since::Unknown), "{query}");
            }
        }
        for other in [
            "lastEventIds",
            "last_event_id",
            "last%ventId",
            "Last-Event-ID%20",
        ] {
            let query = format!("{other}=0000000a-7");
            assert_eq!(beginning("", &query), Some(Since::Absent), "{query}");
        }
    }

    #[test]
    fn of_several_since_the_last_counts() {
        for (query, expected) in [
            (
                "since=0000000a-1&since=0000000a-2",
                Some(Since::After(Seq(2))),
            ),
            (
                "since=nonsense&since=0000000a-2",
                Some(Since::After(Seq(2))),
            ),
            ("since=0000000a-1&s%69nce=now", Some(Since::Now)),
            ("since=0000000a-1&since=nonsense", None),
            ("since=-1", Some(Since::Newest(1))),
            ("since=-1000", Some(Since::Newest(1_000))),
            ("since=%2D3", Some(Since::Newest(3))),
            ("since=-0", None),
            ("since=-01", None),
            ("since=-1001", None),
            ("since=-18446744073709551617", None),
            ("since=-", None),
            ("since=--1", None),
            ("since=-1-2", None),
            ("since=0000000a-1&since=", None),
            ("since=0000000a-1&since=%", None),
        ] {
            assert_eq!(beginning("", query), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn the_beginning_is_that_of_the_first_place_that_counts(
            field in "(0000000a-[0-9]|x|now)?",
            given in proptest::collection::vec((0..4_usize, "(0000000a-[0-9]|x|now|%|)"), 0..5),
        ) {
            const NAMES: [&str; 4] = ["since", "lastEventId", "lastEventID", "Last-Event-ID"];
            let pairs: Vec<_> = given.iter().map(|(n, v)| format!("{}={v}", NAMES[*n])).collect();
            let fields = match &*field {
                "" => String::new(),
                id => format!("Last-Event-ID: {id}\r\n"),
            };
            let read = |text: &str| match text {
                "now" => Some(Since::Now),
                text => {
                    let number = text.strip_prefix(EPOCH)?.strip_prefix('-')?;
                    Some(Since::After(Seq(number.parse().ok()?)))
                }
            };
            let ids = given.iter().filter(|(n, v)| *n > 0 && !v.is_empty());
            let mut sinces = given.iter().filter(|(n, _)| *n == 0);
            let id = match &*field {
                "" => ids.map(|(_, v)| v).next_back(),
                _ => Some(&field),
            };
            let naive = match (id, sinces.next_back()) {
                (Some(id), _) => Some(read(id).unwrap_or(Since::Unknown)),
                (None, Some((_, since))) => read(since),
                (None, None) => Some(Since::Absent),
            };
            prop_assert_eq!(beginning(&fields, &pairs.join("&")), naive);
        }
    }

    #[test]
    fn seconds() {
        for (text, expected) in [
            ("30", Some(30_000)),
            ("0.5", Some(500)),
            ("0", Some(0)),
            ("1.2345", Some(1_234)),
            ("0.05", Some(50)),
            ("99999999999999999999", Some(u64::MAX)),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("NaN", None),
        ] {
            assert_eq!(seconds_ms(text.as_bytes()).ok(), expected, "{text}");
        }
    }
}
