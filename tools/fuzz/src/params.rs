//! Requests to receive: targets, parameters, cursors and names of channels.
//!
//! The input's first line is a target; a second, if there is one, is a `Last-Event-ID`. The
//! request goes to a server that has seven messages. A slow reading of the contract says what it
//! asks for, and the oracle whether it gets that. The parts are also tried by themselves.

use encke_core::engine::State;
use encke_core::http1::{self, Framing, Outcome, Scan};
use encke_core::message::{ChannelName, Cursor, Draft, Seq};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::judged::judge;
use crate::server::{Answer, Server};

/// The channels of the server's messages, by number.
pub(crate) const MESSAGES: [&str; 7] = ["a", "a", "b", "a", "x/y", "grüße", "a"];

/// Reads bytes as a target, and as its parts.
pub fn params(bytes: &[u8]) {
    decoding(bytes);
    let mut server = Server::new();
    for name in MESSAGES {
        let name = ChannelName::parse(name.as_bytes()).expect("a name");
        let draft = Draft::new(name, "x".into());
        server.engine.submit(draft).expect("there is room");
    }
    cursor(bytes, &server);
    name(bytes, &mut server);
    target(bytes, &mut server);
}

/// The slow way to decode.
fn decoded(raw: &[u8]) -> Option<Vec<u8>> {
    let is_hex = |place: usize| raw.get(place).is_some_and(u8::is_ascii_hexdigit);
    let mut signs = (0..raw.len()).filter(|&place| raw[place] == b'%');
    let is_right = signs.all(|place| is_hex(place + 1) && is_hex(place + 2));
    is_right.then(|| percent_decode(raw).collect())
}

fn decoding(bytes: &[u8]) {
    assert_eq!(
        http1::decode(bytes).map(|bytes| bytes.into_owned()),
        decoded(bytes)
    );
    let encoded = percent_encode(bytes, NON_ALPHANUMERIC).to_string();
    let back = http1::decode(encoded.as_bytes()).expect("encoded in order");
    assert_eq!(&*back, bytes);
    let pairs: Vec<_> = http1::parameters(bytes).collect();
    let joined: Vec<Vec<u8>> = pairs
        .iter()
        .map(|(name, value)| [*name, b"=", *value].concat())
        .collect();
    let joined = joined.join(&b'&');
    let again: Vec<_> = http1::parameters(&joined).collect();
    assert_eq!(pairs, again);
    assert!(
        pairs
            .iter()
            .all(|(name, _)| !name.contains(&b'=') && !name.contains(&b'&'))
    );
}

/// A cursor: its epoch, and its number. One with a part is of a cluster, so it is of another epoch.
fn read_cursor(text: &[u8]) -> Option<(&str, u64)> {
    let (epoch, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
    let is_epoch = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    if !(1..=16).contains(&epoch.len()) || !epoch.chars().all(is_epoch) {
        return None;
    }
    let read = |number: &str| -> Option<u64> {
        let read: u64 = number.parse().ok()?;
        (read.to_string() == number).then_some(read)
    };
    match number.split_once('.') {
        None => Some((epoch, read(number)?)),
        Some((entry, part)) => (read(part)? > 0).then_some(("", read(entry)?)),
    }
}

fn cursor(bytes: &[u8], server: &Server) {
    let epoch = server.engine.hub().epoch();
    // What comes after a hyphen is tried under the server's own epoch too.
    let own = [epoch.as_str().as_bytes(), b"-", bytes].concat();
    for text in [bytes, &own] {
        let slow = read_cursor(text).map(|(given, seq)| match given == epoch.as_str() {
            true => Cursor::Known(Seq(seq)),
            false => Cursor::Foreign,
        });
        assert_eq!(Cursor::parse(text, server.engine.hub().numbering()), slow);
        if let Some(Cursor::Known(seq)) = slow
            && !seq.is_place()
        {
            let id = server.engine.hub().id(seq);
            let mut written = Vec::new();
            id.write(&mut written);
            assert_eq!(written, text);
            assert_eq!(id.to_string().as_bytes(), text);
        }
    }
}

/// Whether a channel may be named so, by the words of the contract.
fn is_name(bytes: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(bytes) else {
        return false;
    };
    let is_c1 = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    let is_bad = |c: char| c < ' ' || c == '\u{7f}' || is_c1(c) || c == ',' || c == '*';
    (1..=250).contains(&name.len())
        && !name.contains(is_bad)
        && !name.split('/').any(|part| ["", ".", ".."].contains(&part))
}

/// A name that may be is published to, and comes back as it is.
fn name(bytes: &[u8], server: &mut Server) {
    assert_eq!(ChannelName::parse(bytes).is_ok(), is_name(bytes));
    let encoded = percent_encode(bytes, NON_ALPHANUMERIC);
    let request =
        format!("PUT /publish/{encoded} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    let answer = server.ask(request.as_bytes());
    match std::str::from_utf8(bytes) {
        Ok(name) if is_name(bytes) => {
            assert_eq!(answer.status, 200);
            let said: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!(said["channel"], name);
            assert!(server.engine.hub().find(name).is_some());
        }
        _ if encoded.to_string().len() > 16_000 => assert!(answer.status >= 400),
        // Without a name it is another endpoint, or another channel is named.
        _ => assert_eq!(answer.status, 400, "{bytes:?}"),
    }
}

/// The parameters of a request, read the slow way.
pub(crate) struct Wanted<'w> {
    pub(crate) way: &'w str,
    pub(crate) names: Vec<String>,
    /// The number after which it begins; `None`: a gap, then whatever there is.
    pub(crate) after: Option<u64>,
    pub(crate) limit: usize,
    /// Whether it is answered even if there is nothing.
    at_once: bool,
    pub(crate) callback: Option<String>,
}

fn target(bytes: &[u8], server: &mut Server) {
    let mut lines = bytes.splitn(2, |&byte| byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let id = lines.next().unwrap_or_default();
    let field = match id {
        [] => Vec::new(),
        id => [b"Last-Event-ID: ", id, b"\r\n"].concat(),
    };
    let request = [
        b"GET ",
        target,
        b" HTTP/1.1\r\nHost: h\r\n",
        &field,
        b"\r\n",
    ]
    .concat();
    let outcome = http1::parse(&request, &mut Scan::default(), 16 << 10);
    let Ok(Outcome::Complete { head, length }) = outcome else {
        assert!(server.ask(&request).status >= 400 || outcome.is_ok());
        return;
    };
    if length < request.len() || head.framing != Framing::None {
        // The second line held a head's end, or announced a body: neither is compared.
        server.ask(&request);
        return;
    }
    let answer = server.ask(&request);
    let path = head.path;
    for way in ["poll", "long-poll", "sse", "ndjson", "frame"] {
        let Some(names) = path.strip_prefix(format!("/{way}/").as_bytes()) else {
            continue;
        };
        let id = head.last_event_id.filter(|id| !id.is_empty());
        match wanted(way, names, head.query, id, server) {
            Some(wanted) => compare(&wanted, &answer, server),
            None => refused(way, head.query, &answer),
        }
        return;
    }
    assert!(
        matches!(answer.status, 200 | 400 | 404 | 405),
        "{}",
        answer.status
    );
}

fn wanted<'w>(
    way: &'w str,
    names: &[u8],
    query: &[u8],
    id: Option<&[u8]>,
    server: &Server,
) -> Option<Wanted<'w>> {
    let mut wanted = Wanted {
        way,
        names: Vec::new(),
        after: Some(if way == "poll" {
            0
        } else {
            server.engine.hub().head().0
        }),
        limit: usize::MAX,
        at_once: way == "poll",
        callback: None,
    };
    let (mut stand_in, mut since) = (None, None);
    for raw in names.split(|&byte| byte == b',') {
        let name = decoded(raw).filter(|name| is_name(name))?;
        let name = String::from_utf8(name).ok()?;
        if !wanted.names.contains(&name) {
            wanted.names.push(name);
        }
    }
    for pair in query
        .split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
    {
        let mut parts = pair.splitn(2, |&byte| byte == b'=');
        let name = decoded(parts.next().unwrap_or_default()).unwrap_or_default();
        let name = std::str::from_utf8(&name).unwrap_or_default();
        let raw = parts.next().unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "lasteventid" | "last-event-id" if !raw.is_empty() => stand_in = Some(raw),
            _ if name == "since" => since = Some(raw),
            _ => {}
        }
        let is_known = match name {
            "limit" => way.ends_with("poll"),
            "callback" => way.ends_with("poll") || way == "frame",
            "hold" | "early" | "linger" => way == "long-poll",
            "envelope" => way == "sse",
            "pace" => !way.ends_with("poll"),
            "origin" => way == "frame",
            _ => false,
        };
        if is_known {
            wanted.parameter(name, &decoded(raw)?)?;
        }
    }
    // The header, else the last of its stand-ins that is not empty, else the last `since`.
    match (id, stand_in, since) {
        (Some(id), _, _) => wanted.after = wanted.after(id, server).flatten(),
        (None, Some(raw), _) => {
            wanted.after = decoded(raw)
                .and_then(|id| wanted.after(&id, server))
                .flatten();
        }
        (None, None, Some(raw)) => wanted.after = wanted.after(&decoded(raw)?, server)?,
        (None, None, None) => {}
    }
    (wanted.names.len() <= 64).then_some(wanted)
}

impl Wanted<'_> {
    /// Where a cursor begins; `None`: it is none.
    fn after(&self, text: &[u8], server: &Server) -> Option<Option<u64>> {
        let hub = server.engine.hub();
        match text {
            b"earliest" => Some(Some(0)),
            b"now" => Some(Some(hub.head().0)),
            [b'-', count @ ..] => {
                let text = std::str::from_utf8(count).ok()?;
                let count: usize = text.parse().ok()?;
                if !(1..=1_000).contains(&count) || count.to_string() != text {
                    return None;
                }
                let is_wanted = |channel: &str| self.names.iter().any(|name| name == channel);
                let numbers = (1..).zip(MESSAGES).filter(|(_, name)| is_wanted(name));
                let numbers: Vec<u64> = numbers.map(|(seq, _)| seq).collect();
                let newest = numbers.iter().rev().take(count).next_back();
                Some(Some(newest.map_or(hub.head().0, |seq| seq - 1)))
            }
            _ => {
                let (epoch, seq) = read_cursor(text)?;
                let is_known = epoch == hub.epoch().as_str() && seq <= hub.head().0;
                Some(is_known.then_some(seq))
            }
        }
    }

    /// Takes note of a parameter; `None`: it is malformed.
    fn parameter(&mut self, name: &str, value: &[u8]) -> Option<()> {
        let text = || std::str::from_utf8(value).ok();
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match name {
            "hold" => {
                let text = text()?;
                let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
                if !is_digits(whole) || !is_digits(part) {
                    return None;
                }
                // Less than a millisecond is none.
                let is_zero = |digits: &str| digits.bytes().all(|b| b == b'0');
                self.at_once = is_zero(whole) && is_zero(&part[..part.len().min(3)]);
            }
            "limit" => {
                let text = text().filter(|text| is_digits(text))?;
                self.limit = text.parse().unwrap_or(usize::MAX);
                if self.limit == 0 {
                    return None;
                }
            }
            "pace" => {
                let text = text().filter(|text| is_digits(text))?;
                let pace_ms = text.parse::<u64>().unwrap_or(u64::MAX);
                (1..=60_000).contains(&pace_ms).then_some(())?;
            }
            "linger" => {
                text().filter(|text| is_digits(text))?;
            }
            "early" | "envelope" => {
                text().filter(|text| ["0", "1", "true", "false"].contains(text))?;
            }
            "callback" => {
                let text = text().filter(|text| text.len() <= 64)?;
                let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '$';
                let is_part = |part: &str| {
                    part.starts_with(is_letter)
                        && part.chars().all(|c| is_letter(c) || c.is_ascii_digit())
                };
                if !text.split('.').all(is_part) {
                    return None;
                }
                self.callback = Some(text.to_owned());
            }
            _ => {
                let origin = encke_core::authority::Origin::parse(value)?;
                origin.is_of_browser().then_some(())?;
            }
        }
        Some(())
    }
}

fn refused(way: &str, query: &[u8], answer: &Answer) {
    let is_script = way.ends_with("poll") && query.windows(9).any(|nine| nine == b"callback=");
    let is_jsonp = is_script && answer.status == 200 && answer.body.starts_with(b"/**/");
    assert!(is_jsonp || answer.status == 400, "{way}: {}", answer.status);
    if is_jsonp {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            text.contains("({\"error\":{"),
            "malformed, and served: {text}"
        );
    }
}

fn compare(wanted: &Wanted<'_>, answer: &Answer, server: &Server) {
    if !wanted.way.ends_with("poll") {
        assert_eq!((answer.status, answer.state), (200, State::Streaming));
        let is_known = |name: &String| server.engine.hub().find(name).is_some();
        assert!(wanted.names.iter().all(is_known));
        return;
    }
    let from = wanted.after.unwrap_or(0);
    let is_owed = |(seq, name): (u64, &str)| seq > from && wanted.names.iter().any(|n| n == name);
    let is_owed = (1..).zip(MESSAGES).any(is_owed);
    let is_answered = is_owed || wanted.after.is_none() || wanted.at_once;
    assert_eq!(answer.state == State::Held, !is_answered);
    // An early head is all that there may be of a request that is held.
    assert!(
        is_answered && answer.status == 200 || !is_answered && matches!(answer.status, 0 | 200)
    );
    judge(wanted, answer, server);
}
