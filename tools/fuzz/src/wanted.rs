//! A slow reading of the contract: what a request to receive asks for.

use percent_encoding::percent_decode;

use crate::server::Server;

/// The channels of the server's messages, by number.
pub(crate) const MESSAGES: [&str; 7] = ["a", "a", "b", "a", "x/y", "grüße", "a"];

/// The parameters of a request, read the slow way.
pub(crate) struct Wanted<'w> {
    pub(crate) way: &'w str,
    pub(crate) names: Vec<String>,
    /// The number after which it begins; `None`: a gap, then whatever there is.
    pub(crate) after: Option<u64>,
    pub(crate) limit: usize,
    /// Whether it is answered even if there is nothing.
    pub(crate) at_once: bool,
    pub(crate) callback: Option<String>,
}

/// The slow way to decode.
pub(crate) fn decoded(raw: &[u8]) -> Option<Vec<u8>> {
    let is_hex = |place: usize| raw.get(place).is_some_and(u8::is_ascii_hexdigit);
    let mut signs = (0..raw.len()).filter(|&place| raw[place] == b'%');
    let is_right = signs.all(|place| is_hex(place + 1) && is_hex(place + 2));
    is_right.then(|| percent_decode(raw).collect())
}

/// A cursor: its epoch, and its number. One with a part is of a cluster, so it is of another epoch.
pub(crate) fn read_cursor(text: &[u8]) -> Option<(&str, u64)> {
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

/// Whether a channel may be named so, by the words of the contract.
pub(crate) fn is_name(bytes: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(bytes) else {
        return false;
    };
    let is_c1 = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    let is_bad = |c: char| c < ' ' || c == '\u{7f}' || is_c1(c) || c == ',' || c == '*';
    (1..=250).contains(&name.len())
        && !name.contains(is_bad)
        && !name.split('/').any(|part| ["", ".", ".."].contains(&part))
}

/// What the parts of a request ask for; `None`: it is malformed.
pub(crate) fn wanted<'w>(
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
