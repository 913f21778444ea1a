//! Long polls: a request that is held until there is something to respond with.
//!
//! Owns the response body for one event. A response with several messages is written by the engine,
//! of the objects that polls and long polls share.

use super::description::{Description, Kind};
use super::event::{Event, Options};
use crate::encode::{Ends, Envelope, batch, object};
use crate::message::MessageId;

pub(super) static DESCRIPTION: Description = Description {
    name: "long-poll",
    kind: Kind::Answer,
    content_type: "application/json",
    resumes_by_itself: false,
};

/// Appends the batch for an event.
pub(super) fn encode(event: &Event<'_>, _: Options, out: &mut Vec<u8>) {
    match *event {
        Event::Message { content, spread_ms } => {
            let mut message = Vec::new();
            object(&mut message, content);
            let envelope = Envelope {
                spread_ms,
                ..empty(content.id)
            };
            batch(out, &envelope, [&message[..]]);
        }
        // A hold that ends because its token expires is an ordinary empty response.
        Event::Heartbeat(cursor) | Event::Expire { cursor, .. } => batch(out, &empty(cursor), []),
        Event::Gap(cursor) => {
            let envelope = Envelope {
                gap: true,
                ..empty(cursor)
            };
            batch(out, &envelope, []);
        }
        Event::End(cursor) => {
            let envelope = Envelope {
                ends: Ends::All,
                ..empty(cursor)
            };
            batch(out, &envelope, []);
        }
        Event::Ended { cursor, channels } => {
            let envelope = Envelope {
                ends: Ends::Of(channels),
                ..empty(cursor)
            };
            batch(out, &envelope, []);
        }
        Event::Open {
            cursor, retry_ms, ..
        }
        | Event::Close { cursor, retry_ms }
        | Event::Refuse { cursor, retry_ms } => {
            let envelope = Envelope {
                retry_ms: Some(retry_ms),
                ..empty(cursor)
            };
            batch(out, &envelope, []);
        }
    }
}

/// A batch with a cursor alone.
fn empty(cursor: MessageId) -> Envelope<'static> {
    Envelope {
        cursor,
        more: false,
        gap: false,
        ends: Ends::None,
        retry_ms: None,
        spread_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::samples::id;
    use crate::message::{Data, MessageRef};

    #[test]
    fn batch_of_each_event() {
        let content = MessageRef {
            id: id(5),
            channel: "a",
            event: None,
            data: &Data::Text("b".into()),
        };
        let (cursor, retry_ms) = (id(7), 30);
        for (event, expected) in [
            (
                Event::Message {
                    content: &content,
                    spread_ms: Some(90),
                },
                concat!(
                    r#"{"cursor":"00000000-5","messages":[{"id":"00000000-5","channel":"a","#,
                    r#""data":"b"}],"spread":90}"#,
                ),
            ),
            (
                Event::Heartbeat(cursor),
                r#"{"cursor":"00000000-7","messages":[]}"#,
            ),
            (
                Event::Gap(cursor),
                r#"{"cursor":"00000000-7","messages":[],"gap":true}"#,
            ),
            (
                Event::Close { cursor, retry_ms },
                r#"{"cursor":"00000000-7","messages":[],"retry":30}"#,
            ),
        ] {
            let mut out = Vec::new();
            encode(&event, Options::empty(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
