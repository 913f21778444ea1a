//! Messages and events as the test client decodes them, turned into entries of a log.
//!
//! Owns what a message of a run looks like: its mark, and the names of channels. Never judges what
//! was received, but for what was never published.

use encke_oracle::id::Id;
use encke_oracle::log::{Batch, Event, Receipt, Transport};
use encke_test_client::{self as client, Data, Format};
use serde::Deserialize;

use crate::receipt::Scanner;

/// The channel's name in a run.
pub(super) fn channel_name(run: u32, channel: u32) -> String {
    format!("promise/{run:x}/{channel}")
}

fn channel_number(run: u32, name: &str) -> Option<u32> {
    let (_, number) = name.rsplit_once('/')?;
    let number = number.parse().ok()?;
    (channel_name(run, number) == name).then_some(number)
}

/// When a client comes back to channels that have ended, in milliseconds.
pub(super) const REOPENED_MS: u64 = 300;

/// The key of a JSON message's text.
pub(super) const JSON_KEY: &str = "m";

#[derive(Deserialize)]
struct Json {
    m: String,
}

/// The format of a stream; `None` of a poll.
pub(super) fn format(transport: Transport) -> Option<Format> {
    match transport {
        Transport::Poll | Transport::LongPoll | Transport::Early | Transport::Linger => None,
        Transport::Sse => Some(Format::Sse),
        Transport::Envelope => Some(Format::SseEnvelope),
        Transport::Ndjson => Some(Format::Ndjson),
        Transport::Frame => Some(Format::Frame),
        Transport::WebSocket => Some(Format::WebSocket),
    }
}

/// Decodes a batch, and returns it with its advice: how long to wait before the next request, in
/// milliseconds.
pub(super) fn batch(run: u32, body: &[u8]) -> Result<(Batch, Option<u64>), String> {
    let decoded = client::Batch::decode(body)?;
    let receipts = decoded.messages.iter().map(|message| receipt(run, message));
    let batch = Batch {
        receipts: receipts.collect::<Result<_, String>>()?,
        cursor: id(&decoded.cursor)?,
        gap: decoded.gap,
        more: decoded.more,
        tells_ends: decoded.end || !decoded.ended.is_empty(),
    };
    // A channel that has ended is opened again before long.
    let again = decoded.end.then_some(REOPENED_MS);
    Ok((batch, again.or(decoded.retry_ms).or(decoded.spread_ms)))
}

/// The entry for an event of a stream.
pub(super) fn event(run: u32, event: &client::Event) -> Result<Event, String> {
    Ok(match event {
        client::Event::Message(message) => Event::Message(receipt(run, message)?),
        client::Event::Opening { cursor, .. }
        | client::Event::Cursor(cursor)
        | client::Event::Ended { cursor, .. } => Event::Cursor(id(cursor)?),
        client::Event::End { cursor } => Event::Closing(Some(id(cursor)?)),
        client::Event::Gap(cursor) => Event::Gap(id(cursor)?),
        client::Event::Closing { cursor, .. } => {
            Event::Closing(cursor.as_deref().map(id).transpose()?)
        }
        client::Event::Heartbeat => Event::Beat,
        client::Event::Answer(text) => return Err(format!("an answer to no command: {text}")),
        client::Event::Pong(_) => return Err("a pong to no ping".into()),
    })
}

fn id(text: &str) -> Result<Id, String> {
    Id::parse(text).ok_or_else(|| format!("{text:?} is no id"))
}

fn receipt(run: u32, message: &client::Message) -> Result<Receipt, String> {
    let text_id = &message.id;
    let of_json = |json: &str| serde_json::from_str(json).ok().map(|json: Json| json.m);
    let text = match &message.data {
        Data::Untyped(json) if json.starts_with('{') => of_json(json),
        Data::Text(text) | Data::Untyped(text) => Some(text.clone()),
        Data::Json(json) => of_json(json),
        Data::Binary(_) => None,
    };
    let text = text.ok_or_else(|| format!("{text_id} has data that was never published"))?;
    let mut marks = Vec::new();
    Scanner::default().feed(text.as_bytes(), |mark| marks.push(mark));
    let &[mark] = &marks[..] else {
        return Err(format!("{text_id} has {} marks: {text:?}", marks.len()));
    };
    if mark.run != run {
        return Err(format!("{text_id} is of another run: {text:?}"));
    }
    let channel = match &message.channel {
        None => mark.channel,
        Some(name) => channel_number(run, name)
            .ok_or_else(|| format!("{text_id} is of a channel {name:?}"))?,
    };
    Ok(Receipt {
        id: id(text_id)?,
        channel,
        number: mark.seq,
        length: text.len() as u32,
    })
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

    fn message(channel: Option<&str>, data: Data) -> client::Message {
        client::Message {
            id: "0000000a-2".into(),
            channel: channel.map(str::to_owned),
            event: None,
            data,
        }
    }

    #[test]
    fn message_is_known_by_its_mark() {
        let expected = Receipt {
            id: Id::new(10, 2),
            channel: 3,
            number: 2,
            length: 40,
        };
        let json = format!("{{\"{JSON_KEY}\":\"{}\"}}", text(2));
        let name = channel_name(RUN, 3);
        for data in [
            Data::Text(text(2)),
            Data::Json(json.clone()),
            Data::Untyped(text(2)),
            Data::Untyped(json),
        ] {
            for channel in [None, Some(&*name)] {
                assert_eq!(receipt(RUN, &message(channel, data.clone())), Ok(expected));
            }
        }
    }

    #[test]
    fn message_that_was_never_published_is_an_error() {
        let other = text(2).replace("@@7.", "@@8.");
        for data in [
            Data::Json("1".into()),
            Data::Text("x".into()),
            Data::Text(other),
            Data::Text(text(2) + &text(3)),
            Data::Binary(text(2).into_bytes()),
        ] {
            assert!(receipt(RUN, &message(None, data)).is_err());
        }
        let elsewhere = message(Some("promised/7/3"), Data::Text(text(2)));
        assert!(receipt(RUN, &elsewhere).is_err());
    }
}
