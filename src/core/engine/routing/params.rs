//! The parameters of the receiving endpoints.
//!
//! Owns their names, ranges and defaults. Unknown ones are ignored; a malformed value is 400, with
//! the name of the parameter and what is allowed. Of one given twice the last counts.

use std::borrow::Cow;

use super::route::Receive;
use crate::encode::{self, Cursor, Epoch, Seq};
use crate::engine::response::Problem;
use crate::http1::{self, Head};

/// Where a client wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Since {
    /// It did not say.
    Absent,
    /// With the oldest message there is.
    Earliest,
    /// With the next message.
    Now,
    /// After this one.
    After(Seq),
    /// After something that this server does not know.
    Unknown,
}

/// The parameters of one request.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Params<'b> {
    pub(in crate::engine) since: Since,
    pub(in crate::engine) hold_ms: Option<u64>,
    pub(in crate::engine) limit: Option<usize>,
    pub(in crate::engine) early: bool,
    pub(in crate::engine) linger_ms: u64,
    pub(in crate::engine) envelope: bool,
    pub(in crate::engine) callback: Option<Cow<'b, str>>,
    pub(in crate::engine) origin: Option<Cow<'b, str>>,
}

impl<'b> Params<'b> {
    /// Parses those that mean something to `receive`.
    pub(in crate::engine) fn parse(
        head: &Head<'b>,
        receive: Receive,
        epoch: &Epoch,
    ) -> Result<Params<'b>, Problem> {
        let mut params = Params {
            since: Since::Absent,
            hold_ms: None,
            limit: None,
            early: false,
            linger_ms: 0,
            envelope: false,
            callback: None,
            origin: None,
        };
        let last_event_id = head.last_event_id.filter(|id| !id.is_empty());
        let is_poll = matches!(receive, Receive::Poll | Receive::LongPoll);
        for (name, raw) in http1::parameters(head.query) {
            let value = || decoded(raw);
            match name {
                b"since" if last_event_id.is_some() => {}
                b"since" => params.since = since(&value()?, epoch)?,
                b"hold" if receive == Receive::LongPoll => {
                    params.hold_ms = Some(seconds_ms(&value()?)?);
                }
                b"limit" if is_poll => params.limit = Some(limit(&value()?)?),
                b"early" if receive == Receive::LongPoll => {
                    params.early = switch("early", &value()?)?;
                }
                b"linger" if receive == Receive::LongPoll => params.linger_ms = linger(&value()?)?,
                b"envelope" if receive == Receive::Sse => {
                    params.envelope = switch("envelope", &value()?)?;
                }
                b"callback" if is_poll || receive == Receive::Frame => {
                    params.callback = Some(callback(value()?)?);
                }
                b"origin" if receive == Receive::Frame => params.origin = Some(origin(value()?)?),
                _ => {}
            }
        }
        if let Some(id) = last_event_id {
            // An EventSource that is refused gives up for ever, so it is told of a gap instead.
            params.since = since(id, epoch).unwrap_or(Since::Unknown);
        }
        Ok(params)
    }
}

/// The callback of a request whose other parameters may be wrong, so that the error can be said
/// to it.
pub(in crate::engine) fn callback_of<'b>(head: &Head<'b>) -> Option<Cow<'b, str>> {
    let raw = last(head.query, b"callback")?;
    callback(http1::decode(raw)?).ok()
}

/// The raw value of a parameter; of one given twice the last counts.
pub(in crate::engine) fn last<'b>(query: &'b [u8], wanted: &[u8]) -> Option<&'b [u8]> {
    let values = http1::parameters(query).filter(|&(name, _)| name == wanted);
    values.last().map(|(_, raw)| raw)
}

/// A parameter's value, percent-decoded.
pub(in crate::engine) fn decoded(raw: &[u8]) -> Result<Cow<'_, [u8]>, Problem> {
    http1::decode(raw)
        .ok_or_else(|| Problem::bad("`%` in the query must be followed by two hex digits"))
}

fn since(value: &[u8], epoch: &Epoch) -> Result<Since, Problem> {
    match value {
        b"earliest" => Ok(Since::Earliest),
        b"now" => Ok(Since::Now),
        _ => match Cursor::parse(value, epoch) {
            Some(Cursor::Known(seq)) => Ok(Since::After(seq)),
            Some(Cursor::Foreign) => Ok(Since::Unknown),
            None => Err(Problem::bad(
                "since must be a cursor as this server gave it, `earliest` or `now`",
            )),
        },
    }
}

/// Seconds with up to three digits of fraction that count, in milliseconds.
fn seconds_ms(value: &[u8]) -> Result<u64, Problem> {
    const DETAIL: &str = "hold must be seconds, as 30 or 0.5";
    let text = std::str::from_utf8(value).map_err(|_| Problem::bad(DETAIL))?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return Err(Problem::bad(DETAIL));
    }
    // Absurdly long holds are capped by the caller, so saturating is right.
    let whole_ms = whole
        .parse::<u64>()
        .unwrap_or(u64::MAX)
        .saturating_mul(1_000);
    let thousandths = fraction.bytes().chain([b'0'; 3]).take(3);
    let fraction_ms = thousandths.fold(0, |ms, digit| ms * 10 + u64::from(digit - b'0'));
    Ok(whole_ms.saturating_add(fraction_ms))
}

fn whole(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    Some(text.parse().unwrap_or(u64::MAX))
}

fn limit(value: &[u8]) -> Result<usize, Problem> {
    match whole(value) {
        Some(limit @ 1..) => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
        _ => Err(Problem::bad("limit must be a whole number from 1")),
    }
}

fn linger(value: &[u8]) -> Result<u64, Problem> {
    whole(value).ok_or_else(|| Problem::bad("linger must be whole milliseconds"))
}

fn switch(name: &'static str, value: &[u8]) -> Result<bool, Problem> {
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

fn origin(value: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Problem> {
    let checked = encode::check_origin(&value).is_some();
    match text(value) {
        Some(origin) if checked => Ok(origin),
        _ => Err(Problem::bad("origin must be as `https://example.org:8443`")),
    }
}

fn text(value: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match value {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
