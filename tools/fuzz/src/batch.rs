//! Messages published as lines of JSON: against a general reading of the same JSON, and back.
//!
//! Whatever line the server takes, it must say the same as a reader that knows only JSON finds in
//! it, and must come back as it was once the server has written it. What that reader finds in order
//! the server must take. A whole body is published, or nothing of it.

use std::fmt;

use encke_core::encode::Data;
use encke_core::encode::publish_lines::{Line, parse, parse_line};
use encke_core::encode::{Content, Epoch, Seq, check_event, object};
use encke_core::hub::check_name;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::server::Server;

const MAX_MESSAGE_BYTES: usize = 200;

/// Reads bytes as a body of lines.
pub fn batch(bytes: &[u8]) {
    let lines: Vec<_> = bytes
        .split(|&byte| byte == b'\n')
        .map(|line| (line, parse_line(line, MAX_MESSAGE_BYTES)))
        .collect();
    for (raw, read) in &lines {
        match (read, Slow::read(raw)) {
            (Ok(Some(line)), slow) => {
                if let Some(slow) = slow {
                    slow.compare(line);
                }
                comes_back(line);
            }
            (Ok(None), _) => assert!(raw.trim_ascii().is_empty()),
            (Err(fault), Some(slow)) => {
                assert!(!slow.is_right(), "refused for nothing: {fault}");
            }
            (Err(_), None) => {}
        }
    }
    let is_refused = lines.iter().any(|(_, read)| read.is_err());
    let count = lines
        .iter()
        .filter(|(_, read)| matches!(read, Ok(Some(_))))
        .count();
    let whole = parse(bytes, MAX_MESSAGE_BYTES);
    match &whole {
        Ok(all) => assert!(!is_refused && all.len() == count && count > 0),
        Err(_) => assert!(is_refused || count == 0),
    }
    publish(bytes);
}

/// All or nothing.
fn publish(bytes: &[u8]) {
    let read = parse(bytes, 1 << 20);
    let mut server = Server::new();
    let head = format!(
        "POST /publish HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    let answer = server.ask(&[head.as_bytes(), bytes].concat());
    let published = server.engine.hub().head().0;
    if answer.status != 200 {
        assert_eq!(published, 0, "refused, and published");
        assert!(
            matches!(answer.status, 400 | 413 | 503),
            "{}",
            answer.status
        );
        let is_named = |line: &Line| check_name(line.channel.as_bytes()).is_ok();
        let is_right = read.is_ok_and(|lines| lines.len() <= 1_000 && lines.iter().all(is_named));
        assert!(
            !is_right,
            "refused for nothing: {}",
            String::from_utf8_lossy(&answer.body)
        );
        return;
    }
    let lines = read.expect("published, and not to be read");
    assert_eq!(published, lines.len() as u64);
    let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let said = said["published"].as_array().expect("a list");
    assert_eq!(said.len(), lines.len());
    for (said, line) in said.iter().zip(&lines) {
        assert_eq!(said["channel"], *line.channel);
    }
}

/// Once the server has written it, it reads the same.
fn comes_back(line: &Line) {
    let epoch = Epoch::from_seed(1);
    let mut written = Vec::new();
    object(
        &mut written,
        &Content {
            epoch: &epoch,
            seq: Seq(1),
            channel: &line.channel,
            event: line.event.as_deref(),
            data: &line.data,
        },
    );
    assert!(!written.contains(&b'\n') && !written.contains(&b'\r'));
    let again = parse_line(&written, usize::MAX).expect("what was written can be read");
    assert_eq!(again.as_ref(), Some(line));
}

/// The members of an object in their order, so that one given twice shows.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }
        }
        from.deserialize_map(InOrder)
    }
}

/// A line as a reader of JSON finds it.
struct Slow {
    members: Vec<(String, Value)>,
    line_bytes: usize,
}

impl Slow {
    /// `None` also where serde_json's sign for a raw value stands, which only it takes for one.
    fn read(line: &[u8]) -> Option<Slow> {
        const RAW: &[u8] = b"serde_json::private";
        if line.windows(RAW.len()).any(|part| part == RAW) {
            return None;
        }
        let members: Members = serde_json::from_slice(line).ok()?;
        Some(Slow {
            members: members.0,
            line_bytes: line.len(),
        })
    }

    fn all(&self, name: &str) -> Vec<&Value> {
        let named = self.members.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value).collect()
    }

    /// Whether there is nothing in it to object to.
    fn is_right(&self) -> bool {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let is_once = |name| self.all(name).len() <= 1;
        let (channel, data) = (self.all("channel"), self.all("data"));
        let event = self.all("event").first().map(|value| text(value));
        let is_event = match event {
            None => true,
            Some(None) => self.all("event")[0].is_null(),
            Some(Some(name)) => check_event(name.as_bytes()).is_ok(),
        };
        let is_plain = self.all("encoding").iter().all(|value| value.is_null());
        // A message counts as it was given, blanks and all, and no more than its line.
        let is_small = self.line_bytes <= MAX_MESSAGE_BYTES;
        ["channel", "data", "event", "encoding"]
            .into_iter()
            .all(is_once)
            && channel.first().is_some_and(|channel| channel.is_string())
            && data.len() == 1
            && is_event
            && is_plain
            && is_small
    }

    fn compare(&self, line: &Line) {
        let only = |name: &str| {
            let all = self.all(name);
            assert!(all.len() <= 1, "{name} is there twice, and one was chosen");
            all.first().copied().cloned().unwrap_or(Value::Null)
        };
        assert_eq!(only("channel"), *line.channel);
        let event = only("event");
        assert_eq!(
            line.event.as_deref().unwrap_or_default(),
            event.as_str().unwrap_or_default()
        );
        match &line.data {
            Data::Json(json) => {
                let value: Value = serde_json::from_str(json).expect("JSON stays JSON");
                assert_eq!(value, only("data"));
                assert!(!json.contains(['\r', '\n']));
            }
            Data::Text(text) => assert_eq!(only("data"), **text),
            Data::Binary(_) => assert_eq!(only("encoding"), "base64"),
        }
    }
}
