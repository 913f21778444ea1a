//! The bytes of requests, written at random in the ways that mean the same.

use base64::Engine;
use encke_core::message::{Data, DraftKind};
use encke_oracle::log::Transport;
use encke_test_client::websocket::HANDSHAKE;

use super::{Cursor, Kind, Lines, Manner, Receive, Request, Search};
use crate::chance::Chance;
use crate::model::Said;

/// A name as it stands in a path.
pub(crate) fn encoded(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/' || byte == b'-';
    let one = |byte: u8| match keep(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(one).collect()
}

/// The parameters that stand in for the header `Last-Event-ID`.
const STAND_INS: [&str; 4] = [
    "lastEventId",
    "lastEventID",
    "Last-Event-ID",
    "last%45ventId",
];

/// Adds a cursor to a request as `Last-Event-ID`, or as parameters that mean the same. What counts
/// less is added too, at random.
fn last_event_id(chance: &mut Chance, text: &str, query: &mut Vec<String>, fields: &mut String) {
    let stand_in = chance.pick(&STAND_INS);
    let less = chance.pick(&["nonsense", "zz-1", "now", "earliest", "%"]);
    if chance.u8(..4) == 0 {
        query.push(format!("since={less}"));
    }
    if chance.bool() {
        *fields = format!("Last-Event-ID: {text}\r\n");
        if chance.u8(..4) == 0 {
            query.push(format!("{stand_in}={less}"));
        }
        return;
    }
    // Of several the last that is not empty counts, so these stay together when all are shuffled.
    let mut group = format!("{stand_in}={text}");
    if chance.u8(..4) == 0 {
        group = format!("{}={less}&{group}", chance.pick(&STAND_INS));
    }
    if chance.u8(..4) == 0 {
        group.push_str(&format!("&{}=", chance.pick(&STAND_INS)));
    }
    query.push(group);
    if chance.u8(..4) == 0 {
        fields.push_str("Last-Event-ID:\r\n");
    }
}

pub(crate) fn receive(
    chance: &mut Chance,
    manner: &Manner,
    receive: Receive,
    names: &[&str],
    cursor: Cursor,
) -> (Request, Vec<u8>) {
    let mut query: Vec<String> = Vec::new();
    let mut fields = String::new();
    match cursor {
        Cursor::None => {}
        Cursor::Query(text) => query.push(format!("since={text}")),
        Cursor::Header(text) => last_event_id(chance, &text, &mut query, &mut fields),
    }
    if let Some(ms) = receive.hold_ms {
        query.push(format!("hold={}.{:03}", ms / 1_000, ms % 1_000));
    }
    query.extend(receive.limit.map(|limit| format!("limit={limit}")));
    if receive.linger_ms > 0 {
        query.push(format!("linger={}", receive.linger_ms));
    }
    query.extend(receive.early.then(|| "early=1".to_owned()));
    query.extend(receive.envelope.then(|| "envelope=1".to_owned()));
    if receive.pace_ms > 0 {
        query.push(format!("pace={}", receive.pace_ms));
    }
    query.extend(
        receive
            .callback
            .iter()
            .map(|name| format!("callback={name}")),
    );
    query.extend(manner.cards.parameter());
    chance.shuffle(&mut query);
    let names: Vec<String> = names.iter().map(|name| encoded(name)).collect();
    let mut target = format!("/{}/{}", receive.endpoint.path(), names.join(","));
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    let method = if chance.u8(..20) == 0 { "HEAD" } else { "GET" };
    let head = match receive.endpoint {
        Transport::WebSocket => manner.head(method, &target) + HANDSHAKE,
        _ => manner.head(method, &target),
    };
    let head = head + &fields;
    manner.finish(Kind::Receive(Box::new(receive)), method, head, b"")
}

pub(crate) fn publish(
    chance: &mut Chance,
    manner: &Manner,
    said: Said,
    name: &str,
    key: Option<String>,
) -> (Request, Vec<u8>) {
    let method = if chance.bool() { "POST" } else { "PUT" };
    let mut target = format!("/publish/{}", encoded(name));
    let mut fields = String::new();
    if said.kind != DraftKind::Message {
        target.push_str("?end=1");
    }
    if let Some(event) = &said.event {
        let separator = if target.contains('?') { '&' } else { '?' };
        match chance.bool() {
            true => target.push_str(&format!("{separator}event={}", encoded(event))),
            false => fields.push_str(&format!("Encke-Event: {event}\r\n")),
        }
    }
    if let Some(token) = manner.cards.parameter() {
        let separator = if target.contains('?') { '&' } else { '?' };
        target.push_str(&format!("{separator}{token}"));
    }
    fields.extend(key.iter().map(|key| format!("Idempotency-Key: {key}\r\n")));
    let body = match &said.data {
        Data::Json(json) => {
            fields.push_str("Content-Type: application/json\r\n");
            json.as_bytes().to_vec()
        }
        Data::Text(text) => text.as_bytes().to_vec(),
        Data::Binary(bytes) => {
            fields.push_str("Content-Type: application/octet-stream\r\n");
            bytes.to_vec()
        }
    };
    let head = manner.head(method, &target) + &fields;
    with_body(
        chance,
        manner,
        Kind::Publish(said, key),
        method,
        head,
        &body,
    )
}

pub(crate) fn publish_lines(
    chance: &mut Chance,
    manner: &Manner,
    lines: Vec<Said>,
    names: &[String],
) -> (Request, Vec<u8>) {
    let body: String = lines.iter().map(|said| line(said, names) + "\n").collect();
    let token = manner.cards.parameter();
    let token = token.map_or(String::new(), |token| format!("?{token}"));
    let head = manner.head("POST", &format!("/publish{token}"));
    with_body(
        chance,
        manner,
        Kind::Batch(lines),
        "POST",
        head,
        body.as_bytes(),
    )
}

/// The line of a batch that says what is published.
fn line(said: &Said, names: &[String]) -> String {
    let channel = quoted(&names[said.channel]);
    format!("{{\"channel\":{channel},{}}}", members(said))
}

/// A request that publishes by lines: texts to one channel, or lines of a batch. Where ends
/// `may_repeat` in one call, the server says which of them got a number.
pub(crate) fn publish_by_lines(
    chance: &mut Chance,
    manner: &Manner,
    said: Vec<Said>,
    key: Option<String>,
    names: &[String],
    may_repeat: bool,
) -> (Request, Vec<u8>) {
    let one = said.iter().all(|each| each.channel == said[0].channel);
    let is_batch = !one || chance.bool();
    let (mut body, mut lines, mut number) = (String::new(), Vec::new(), 0);
    let count = said.len();
    for (place, mut each) in said.into_iter().enumerate() {
        while chance.u8(..6) == 0 {
            body.push_str(chance.pick(&["\n", "\r\n"]));
            number += 1;
        }
        if is_batch {
            body.push_str(&line(&each, names));
        } else {
            // A line end in the text would make two lines of it, and without text there is none.
            let text = format!("{place}.{}", chance.u8(..9));
            body.push_str(&text);
            each.data = Data::Text(text.into());
            (each.event, each.kind) = (None, DraftKind::Message);
        }
        let is_last = place + 1 == count;
        if !is_last || chance.bool() {
            body.push_str(chance.pick(&["\n", "\r\n"]));
        }
        number += 1;
        lines.push((number, each));
    }
    if chance.u8(..8) == 0 {
        body.push_str("\n{\n");
        if !is_batch {
            number += 1;
            let data = Data::Text("{".into());
            let said = Said {
                data,
                ..lines[0].1.clone()
            };
            // An empty line is before it, unless it ends the last.
            let number = number + u64::from(body.ends_with("\n\n{\n"));
            lines.push((number, said));
        }
    }
    // Which lines of a retry are published again, only acknowledgements say; nothing does of the
    // end after the last line.
    let has_acks = key.is_some() || chance.bool() || may_repeat;
    let ends = key.is_none() && chance.u8(..3) == 0 && !may_repeat;
    let mut query = vec!["lines=1".to_owned()];
    query.extend(has_acks.then(|| "ack=1".to_owned()));
    query.extend(ends.then(|| "end=1".to_owned()));
    query.extend(manner.cards.parameter());
    chance.shuffle(&mut query);
    let last = lines.last().expect("there is a line").1.channel;
    let path = match is_batch {
        true => "/publish".to_owned(),
        false => format!("/publish/{}", encoded(&names[last])),
    };
    let field = key.iter().map(|key| format!("Idempotency-Key: {key}\r\n"));
    let head = manner.head("POST", &format!("{path}?{}", query.join("&")));
    let head = field.fold(head, |head, field| head + &field);
    let kind = Kind::Lines(Lines {
        lines,
        key,
        ends: ends.then_some(last),
        has_acks,
        published: 0,
    });
    with_body(chance, manner, kind, "POST", head, body.as_bytes())
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

/// The members of a JSON object that say what is published.
pub(crate) fn members(said: &Said) -> String {
    let (data, encoding) = match &said.data {
        Data::Json(json) => (json.to_string(), ""),
        Data::Text(text) => (quoted(text), ""),
        Data::Binary(bytes) => (
            quoted(&base64::engine::general_purpose::STANDARD.encode(bytes)),
            ",\"encoding\":\"base64\"",
        ),
    };
    let event = said.event.as_ref();
    let event = event.map(|event| format!(",\"event\":{}", quoted(event)));
    let event = event.unwrap_or_default();
    match said.kind {
        DraftKind::Message => format!("\"data\":{data}{encoding}{event}"),
        DraftKind::Last => format!("\"end\":true,\"data\":{data}{encoding}{event}"),
        DraftKind::End => "\"end\":true".to_owned(),
    }
}

/// A request with a body: by its length, or in chunks.
fn with_body(
    chance: &mut Chance,
    manner: &Manner,
    kind: Kind,
    method: &str,
    mut head: String,
    body: &[u8],
) -> (Request, Vec<u8>) {
    if chance.u8(..10) == 0 && !manner.http10 {
        head.push_str("Expect: 100-continue\r\n");
    }
    if manner.http10 || chance.u8(..3) > 0 {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        return manner.finish(kind, method, head, body);
    }
    head.push_str("Transfer-Encoding: chunked\r\n");
    let mut chunked = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(chance.usize(1..=rest.len()));
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
        rest = after;
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    manner.finish(kind, method, head, &chunked)
}

/// Its records come after the first `records` of the log.
pub(crate) fn delete(
    manner: &Manner,
    name: &str,
    channel: usize,
    records: usize,
) -> (Request, Vec<u8>) {
    let kind = Kind::Delete(channel, records..usize::MAX);
    manner.bare(kind, "DELETE", &format!("/channels/{}", encoded(name)))
}

/// A request about the connections of a subject.
pub(crate) fn search(manner: &Manner, search: Search, names: &[String]) -> (Request, Vec<u8>) {
    let mut target = format!("/connections?sub={}", encoded(search.subject));
    if let Some(channel) = search.channel {
        target.push_str(&format!("&channel={}", encoded(&names[channel])));
    }
    if let Some(block_s) = search.block_s {
        target.push_str(&format!("&block={block_s}"));
    }
    let method = if search.ends { "DELETE" } else { "GET" };
    manner.bare(Kind::Search(search), method, &target)
}

pub(crate) fn other(
    chance: &mut Chance,
    manner: &Manner,
    name: &str,
    channel: usize,
    records: usize,
) -> (Request, Vec<u8>) {
    let show = format!("/channels/{}", encoded(name));
    let (method, target, kind) = match chance.u8(..8) {
        0 | 1 => return delete(manner, name, channel, records),
        2 => ("GET", show.as_str(), Kind::Other),
        3 => (
            chance.pick(&["GET", "HEAD"]),
            "/channels?limit=2",
            Kind::Other,
        ),
        4 => ("OPTIONS", "/publish", Kind::Other),
        5 => ("GET", "/metrics", Kind::Other),
        6 => (
            "GET",
            chance.pick(&["/readyz", "/cursor", "/nowhere", "/poll/a,,b"]),
            Kind::Other,
        ),
        _ => ("GET", "/healthz", Kind::Other),
    };
    manner.bare(kind, method, target)
}

/// Data that has broken encoders before, of about a size.
pub(crate) fn data(chance: &mut Chance, number: u64, most: usize) -> Data {
    const PIECES: [&str; 14] = [
        "\r",
        "\n",
        "\r\n",
        "</script>",
        "\u{2028}",
        "&",
        "\"",
        "\\",
        "data: x",
        "id: b-9",
        "é",
        "__proto__",
        ": ",
        "<!--",
    ];
    let mut text = format!("{number}");
    for _ in 0..chance.usize(..4) {
        text.push_str(chance.pick(&PIECES));
    }
    if chance.u8(..6) == 0 {
        let size = chance.usize(..=most);
        text.extend(std::iter::repeat_n('x', size));
    }
    text.truncate(
        (0..=most.min(text.len()))
            .rev()
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0),
    );
    match chance.u8(..8) {
        0 => Data::Text("".into()),
        1 => Data::Binary(text.bytes().map(|byte| byte ^ 0x80).collect()),
        2 => {
            let json = format!(
                "[{number}.0, {{\"__proto__\": {}}}]",
                serde_json::json!(text)
            );
            Data::json(if json.len() <= most { &json } else { "0" }).expect("JSON")
        }
        3 => {
            let json = serde_json::json!(text).to_string();
            Data::json(if json.len() <= most { &json } else { "null" }).expect("JSON")
        }
        _ => Data::Text(text.into()),
    }
}
