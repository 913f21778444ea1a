//! Bodies as clients read them: batches, event streams, NDJSON and forever frames.
//!
//! Owns decoding, independent of the server's encoders; never judges what was received.

use serde::Deserialize;
use serde_json::Value;

use crate::receipt::Scanner;
use encke_oracle::id::Id;
use encke_oracle::log::{Batch, Event, Receipt, Transport};

/// The channel's name in a run.
pub(super) fn channel_name(run: u32, channel: u32) -> String {
    format!("promise/{run:x}/{channel}")
}

fn channel_number(run: u32, name: &str) -> Option<u32> {
    let (_, number) = name.rsplit_once('/')?;
    let number = number.parse().ok()?;
    (channel_name(run, number) == name).then_some(number)
}

/// The key of a JSON message's text.
pub(super) const JSON_KEY: &str = "m";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    id: Option<String>,
    channel: Option<String>,
    data: Option<Value>,
    cursor: Option<String>,
    #[serde(default)]
    gap: bool,
    retry: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBatch {
    cursor: String,
    messages: Vec<Object>,
    #[serde(default)]
    gap: bool,
    #[serde(default)]
    more: bool,
    retry: Option<u64>,
    spread: Option<u64>,
}

/// A decoded batch and its advice: how long to wait before the next request, in milliseconds.
pub(super) fn batch(run: u32, body: &[u8]) -> Result<(Batch, Option<u64>), String> {
    let raw: RawBatch = serde_json::from_slice(body)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(body)))?;
    let receipts = raw.messages.into_iter().map(|object| match object.id {
        Some(id) => receipt(run, &id, object.channel.as_deref(), object.data),
        None => Err("a message without id".into()),
    });
    let batch = Batch {
        receipts: receipts.collect::<Result<_, String>>()?,
        cursor: id(&raw.cursor)?,
        gap: raw.gap,
        more: raw.more,
    };
    Ok((batch, raw.retry.or(raw.spread)))
}

fn id(text: &str) -> Result<Id, String> {
    Id::parse(text).ok_or_else(|| format!("{text:?} is no id"))
}

fn receipt(
    run: u32,
    text: &str,
    channel: Option<&str>,
    data: Option<Value>,
) -> Result<Receipt, String> {
    let text_of = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Object(mut map) => match map.remove(JSON_KEY)? {
            Value::String(text) => Some(text),
            _ => None,
        },
        _ => None,
    };
    let data = data
        .and_then(text_of)
        .ok_or_else(|| format!("{text} has data that nobody published"))?;
    let mut marks = Vec::new();
    Scanner::default().feed(data.as_bytes(), |mark| marks.push(mark));
    let &[mark] = &marks[..] else {
        return Err(format!("{text} has {} marks: {data:?}", marks.len()));
    };
    if mark.run != run {
        return Err(format!("{text} is of another run: {data:?}"));
    }
    let channel = match channel {
        None => mark.channel,
        Some(name) => {
            channel_number(run, name).ok_or_else(|| format!("{text} is of a channel {name:?}"))?
        }
    };
    Ok(Receipt {
        id: id(text)?,
        channel,
        number: mark.seq,
        length: data.len() as u32,
    })
}

/// A line of NDJSON, or the object of a frame's script.
fn object(run: u32, json: &str) -> Result<Event, String> {
    let object: Object = serde_json::from_str(json).map_err(|error| format!("{error}: {json}"))?;
    let cursor = object.cursor.as_deref().map(id).transpose()?;
    match (object.id, cursor, object.gap, object.retry) {
        (Some(id), None, false, None) => {
            let name = object.channel.ok_or("a message without channel")?;
            receipt(run, &id, Some(&name), object.data).map(Event::Message)
        }
        (None, Some(cursor), false, None) => Ok(Event::Cursor(cursor)),
        (None, Some(cursor), true, None) => Ok(Event::Gap(cursor)),
        (None, Some(cursor), false, Some(_)) => Ok(Event::Closing(Some(cursor))),
        _ => Err(format!("what is this: {json}")),
    }
}

/// A decoder of one streamed body.
pub(super) struct Decoder {
    transport: Transport,
    run: u32,
    line: Vec<u8>,
    sse: Sse,
}

/// What an event source remembers between lines.
#[derive(Default)]
struct Sse {
    data: Option<String>,
    event: String,
    last_id: String,
    has_retry: bool,
    is_open: bool,
}

impl Decoder {
    pub(super) fn new(transport: Transport, run: u32) -> Decoder {
        Decoder {
            transport,
            run,
            line: Vec::new(),
            sse: Sse::default(),
        }
    }

    /// Takes in a piece of the body.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut on: impl FnMut(Event),
    ) -> Result<(), String> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8(line).map_err(|error| error.to_string())?;
            if let Some(event) = self.interpret(line.trim_end_matches('\r'))? {
                on(event);
            }
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn interpret(&mut self, line: &str) -> Result<Option<Event>, String> {
        match self.transport {
            Transport::Sse | Transport::Envelope => self.interpret_field(line),
            Transport::Ndjson => object(self.run, line).map(Some),
            Transport::Frame => match line.strip_prefix("<script>e(") {
                Some(call) => {
                    let json = call.strip_suffix(")</script>");
                    let json = json.ok_or_else(|| format!("half a script: {line}"))?;
                    object(self.run, json).map(Some)
                }
                None if line.starts_with("<!") => Ok(None),
                None => Err(format!("what is this: {line}")),
            },
            _ => Err("a batch is no stream".into()),
        }
    }

    fn interpret_field(&mut self, line: &str) -> Result<Option<Event>, String> {
        if line.is_empty() {
            return self.dispatch();
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => return Ok(Some(Event::Beat)),
            "event" => self.sse.event = value.into(),
            "id" => self.sse.last_id = value.into(),
            "retry" => self.sse.has_retry = true,
            "data" => match &mut self.sse.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.sse.data = Some(value.into()),
            },
            other => return Err(format!("a field {other:?} in an event stream")),
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Result<Option<Event>, String> {
        let sse = &mut self.sse;
        let (data, event) = (sse.data.take(), std::mem::take(&mut sse.event));
        let has_retry = std::mem::take(&mut sse.has_retry);
        let was_open = sse.is_open;
        let Some(data) = data else {
            return Ok(has_retry.then_some(Event::Closing(None)));
        };
        // The first cursor opens; a gap may come before it.
        sse.is_open |= event == "cursor";
        let last_id = sse.last_id.clone();
        match event.as_str() {
            "cursor" | "gap" if data != last_id => Err(format!("{event} {data} has id {last_id}")),
            "cursor" if has_retry && was_open => Ok(Some(Event::Closing(Some(id(&data)?)))),
            "cursor" => Ok(Some(Event::Cursor(id(&data)?))),
            "gap" => Ok(Some(Event::Gap(id(&data)?))),
            _ if self.transport == Transport::Envelope => match object(self.run, &data)? {
                Event::Message(receipt) if receipt.id == id(&last_id)? => {
                    Ok(Some(Event::Message(receipt)))
                }
                _ => Err(format!("event {last_id} holds {data}")),
            },
            _ => {
                let value = match data.starts_with('{') {
                    true => serde_json::from_str(&data).map_err(|error| error.to_string())?,
                    false => Value::String(data),
                };
                receipt(self.run, &last_id, None, Some(value)).map(|got| Some(Event::Message(got)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::Mark;

    const RUN: u32 = 7;

    fn text(number: u64) -> String {
        let mark = Mark {
            run: RUN,
            channel: 3,
            seq: number,
            time: 1,
        };
        let mut text = Vec::new();
        mark.write(&mut text, 40);
        String::from_utf8(text).unwrap()
    }

    fn object_of(number: u64) -> String {
        let (name, text) = (channel_name(RUN, 3), text(number));
        format!(r#"{{"id":"0000000a-{number}","channel":"{name}","data":"{text}"}}"#)
    }

    fn id_of(seq: u64) -> Id {
        Id { epoch: 10, seq }
    }

    fn message(number: u64) -> Event {
        Event::Message(Receipt {
            id: id_of(number),
            channel: 3,
            number,
            length: 40,
        })
    }

    /// What a stream says wherever its bytes are cut.
    fn says(transport: Transport, body: &str, expected: &[Event]) {
        for cut in 0..=body.len() {
            let mut decoder = Decoder::new(transport, RUN);
            let mut events = Vec::new();
            for piece in [&body[..cut], &body[cut..]] {
                decoder
                    .feed(piece.as_bytes(), |event| events.push(event))
                    .unwrap();
            }
            assert_eq!(events, expected, "{transport:?}, cut at {cut}");
        }
    }

    fn expected() -> Vec<Event> {
        vec![
            Event::Cursor(id_of(0)),
            Event::Gap(id_of(1)),
            message(2),
            Event::Closing(Some(id_of(2))),
        ]
    }

    #[test]
    fn lines() {
        let body = format!(
            "{{\"cursor\":\"0000000a-0\"}}\n{{\"gap\":true,\"cursor\":\"0000000a-1\"}}\n{}\n\
             {{\"cursor\":\"0000000a-2\",\"retry\":9}}\n",
            object_of(2)
        );
        says(Transport::Ndjson, &body, &expected());
        let lines = body
            .lines()
            .map(|line| format!("<script>e({line})</script>\n"));
        let scripts: String = lines.collect();
        let page = format!("<!DOCTYPE html><script>...</script>\n<!--   -->\n{scripts}");
        says(Transport::Frame, &page, &expected());
    }

    #[test]
    fn events() {
        let stream = |data: &str| {
            format!(
                "retry: 5\nid: 0000000a-0\nevent: cursor\ndata: 0000000a-0\n\n\
                 id: 0000000a-1\nevent: gap\ndata: 0000000a-1\n\n\
                 id: 0000000a-2\ndata: {data}\n\n\
                 id: 0000000a-2\nevent: cursor\ndata: 0000000a-2\nretry: 9\n\n"
            )
        };
        says(Transport::Sse, &stream(&text(2)), &expected());
        let json = format!("{{\"{JSON_KEY}\":\"{}\"}}", text(2));
        says(Transport::Sse, &stream(&json), &expected());
        says(Transport::Envelope, &stream(&object_of(2)), &expected());
        says(Transport::Sse, ":\n\n", &[Event::Beat]);
        says(Transport::Sse, "retry: 9\n\n", &[Event::Closing(None)]);
    }

    #[test]
    fn batches() {
        let json = format!(
            r#"{{"cursor":"0000000a-2","messages":[{}],"gap":true,"spread":40}}"#,
            object_of(2)
        );
        let (batch, advice) = batch(RUN, json.as_bytes()).unwrap();
        assert_eq!(Event::Message(batch.receipts[0]), message(2));
        assert_eq!(
            (batch.cursor, batch.gap, batch.more),
            (id_of(2), true, false)
        );
        assert_eq!(advice, Some(40));
    }

    #[test]
    fn what_nobody_published_is_nonsense() {
        let other = object_of(2).replace("@@7.", "@@8.");
        for line in [
            "{\"id\":\"0000000a-1\",\"channel\":\"x\",\"data\":1}",
            "{\"what\":1}",
            "{}",
            "[]",
            &other,
            &object_of(2).replace("promise/", "promised/"),
        ] {
            let mut decoder = Decoder::new(Transport::Ndjson, RUN);
            let said = decoder.feed(format!("{line}\n").as_bytes(), |event| panic!("{event:?}"));
            assert!(said.is_err(), "{line}");
        }
    }
}
