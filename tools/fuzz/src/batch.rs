//! Messages published as lines of JSON: against a general reading of the same JSON, and back.
//!
//! Whatever line the server takes, it must say the same as a reader that knows only JSON finds in
//! it, and must come back as it was once the server has written it. What that reader finds in order
//! the server must take. A whole body is published, or nothing of it; of lines as they come, those
//! before the first that is refused.

use std::collections::HashSet;
use std::fmt;

use encke_core::encode::object;
use encke_core::message::lines::{parse, parse_line, without_mark};
use encke_core::message::{
    ChannelName, Data, Draft, DraftKind, Epoch, EventName, MAX_JSON_DEPTH, MessageId, MessageRef,
    Seq,
};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::server::Server;

const MAX_MESSAGE_BYTES: usize = 200;

/// Reads bytes as a body of lines.
pub fn batch(bytes: &[u8]) {
    let lines: Vec<_> = without_mark(bytes)
        .split(|&byte| byte == b'\n')
        .map(|line| (line, parse_line(line, MAX_MESSAGE_BYTES)))
        .collect();
    for (raw, read) in &lines {
        match (read, Slow::read(raw)) {
            (Ok(Some(draft)), slow) => {
                if let Some(slow) = slow {
                    slow.compare(draft);
                }
                comes_back(draft);
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
    by_lines(bytes);
}

/// How many numbers messages and ends take that are published in this order.
fn numbers<'d>(drafts: impl Iterator<Item = &'d Draft<'static>>) -> u64 {
    let mut ended = HashSet::new();
    let mut numbers = 0;
    for draft in drafts {
        let channel = draft.channel.to_string();
        numbers += match draft.kind {
            DraftKind::Message => {
                ended.remove(&channel);
                1
            }
            DraftKind::Last => {
                ended.insert(channel);
                2
            }
            DraftKind::End => u64::from(ended.insert(channel)),
        };
    }
    numbers
}

/// The lines before the first one that is refused.
fn by_lines(bytes: &[u8]) {
    let mut server = Server::new();
    let answer = server.post("/publish?lines=1", bytes);
    let (mut drafts, mut is_refused) = (Vec::new(), false);
    for (place, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = if place == 0 { without_mark(line) } else { line };
        match parse_line(line, 1 << 20) {
            Ok(draft) => drafts.extend(draft),
            Err(_) => {
                is_refused = true;
                break;
            }
        }
    }
    if answer.status == 503 {
        return;
    }
    assert_eq!(answer.status != 200, is_refused, "{}", answer.status);
    assert_eq!(server.engine.hub().head().0, numbers(drafts.iter()));
    let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(said["published"], drafts.len());
}

/// All or nothing.
fn publish(bytes: &[u8]) {
    let read = parse(bytes, 1 << 20);
    let mut server = Server::new();
    let answer = server.post("/publish", bytes);
    let published = server.engine.hub().head().0;
    if answer.status != 200 {
        assert_eq!(published, 0, "refused, and published");
        assert!(
            matches!(answer.status, 400 | 413 | 503),
            "{}",
            answer.status
        );
        let is_right = read.is_ok_and(|drafts| drafts.len() <= 1_000);
        assert!(
            !is_right,
            "refused for nothing: {}",
            String::from_utf8_lossy(&answer.body)
        );
        return;
    }
    let drafts = read.expect("published, and not to be read");
    assert_eq!(published, numbers(drafts.iter()));
    let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let said = said["published"].as_array().expect("a list");
    assert_eq!(said.len(), drafts.len());
    for (said, draft) in said.iter().zip(&drafts) {
        assert_eq!(said["channel"], *draft.channel);
    }
}

/// Once the server has written it, it reads the same.
fn comes_back(draft: &Draft<'_>) {
    if draft.kind == DraftKind::End {
        return;
    }
    let message = Draft {
        kind: DraftKind::Message,
        ..draft.clone()
    };
    let id = MessageId {
        epoch: Epoch::from_seed(1),
        seq: Seq(1),
    };
    let mut written = Vec::new();
    object(
        &mut written,
        &MessageRef {
            id,
            channel: &draft.channel,
            event: draft.event.as_ref(),
            data: &draft.data,
        },
    );
    let text = std::str::from_utf8(&written).expect("JSON is UTF-8");
    assert!(!text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']));
    let again = parse_line(&written, usize::MAX).expect("what was written can be read");
    assert_eq!(again.as_ref(), Some(&message));
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
            Some(Some(name)) => EventName::parse(name.as_bytes()).is_ok(),
        };
        // Serde itself stops at 128 levels, and the line is one of them.
        let is_shallow = data.iter().all(|value| levels(value) <= MAX_JSON_DEPTH);
        let is_name = |name: &str| ChannelName::parse(name.as_bytes()).is_ok();
        let is_plain = self.all("encoding").iter().all(|value| value.is_null());
        // A message counts as it was given, blanks and all, and no more than its line.
        let is_small = self.line_bytes <= MAX_MESSAGE_BYTES;
        let is_end = self.all("end").iter().all(|value| value.is_boolean());
        ["channel", "data", "event", "encoding", "end"]
            .into_iter()
            .all(is_once)
            && channel
                .first()
                .and_then(|channel| channel.as_str())
                .is_some_and(is_name)
            && is_shallow
            && data.len() == 1
            && is_event
            && is_plain
            && is_end
            && is_small
    }

    fn compare(&self, draft: &Draft<'_>) {
        let only = |name: &str| {
            let all = self.all(name);
            assert!(all.len() <= 1, "{name} is there twice, and one was chosen");
            all.first().copied().cloned().unwrap_or(Value::Null)
        };
        assert_eq!(only("channel"), *draft.channel);
        let kind = match (
            self.all("data").is_empty(),
            only("end") == Value::Bool(true),
        ) {
            (false, false) => DraftKind::Message,
            (false, true) => DraftKind::Last,
            (true, _) => DraftKind::End,
        };
        assert_eq!(kind, draft.kind);
        if kind == DraftKind::End {
            return assert_eq!(only("end"), true);
        }
        let event = only("event");
        assert_eq!(
            draft.event.as_deref().unwrap_or_default(),
            event.as_str().unwrap_or_default()
        );
        match &draft.data {
            Data::Json(json) => {
                let value: Value = serde_json::from_str(json).expect("JSON stays JSON");
                assert!(levels(&value) <= MAX_JSON_DEPTH);
                assert_eq!(value, only("data"));
                assert!(!json.contains(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']));
            }
            Data::Text(text) => assert_eq!(only("data"), **text),
            Data::Binary(_) => assert_eq!(only("encoding"), "base64"),
        }
    }
}

/// Levels of arrays and objects.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}
