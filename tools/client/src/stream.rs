//! The events in a streamed body: server-sent events, NDJSON, a forever frame or a WebSocket.

use crate::Error;
use crate::object::{self, Data, Message};
use crate::sse::{Block, Blocks};
use crate::websocket::{self, Frame, Frames};

/// Longest line or block of a stream, in bytes: more than any message may have.
const LONGEST: usize = 64 << 20;

/// Shortest comment in a frame's head, in bytes: browsers show nothing before some of a page is
/// there.
const LEAST_PADDING: usize = 1_024;

/// The format of a streamed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Server-sent events.
    Sse,
    /// Server-sent events with the whole object of a message as data (`envelope=1`).
    SseEnvelope,
    /// A JSON object on each line.
    Ndjson,
    /// A page with a script for each object.
    Frame,
    /// A WebSocket with an object in each text frame.
    WebSocket,
}

/// One thing said in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Message(Message),
    /// The stream begins.
    Opening {
        /// Where: the cursor to come back with.
        cursor: String,
        /// The longest silence of the stream, in milliseconds.
        heartbeat_ms: u64,
    },
    /// The cursor to come back with; everything before it has been sent.
    Cursor(String),
    /// Messages before this cursor were lost.
    Gap(String),
    /// The stream ends, as all its channels have ended.
    End {
        /// The cursor after which nothing is to come.
        cursor: String,
    },
    /// Some of several channels have ended.
    Ended {
        /// The cursor to come back with.
        cursor: String,
        /// Those channels; none where the format has no room for names.
        channels: Vec<String>,
    },
    /// The stream ends, and its client is to come back.
    Closing {
        /// The cursor to come back with; `None` if the request was refused.
        cursor: Option<String>,
        /// When to come back, in milliseconds.
        retry_ms: u64,
        /// Whether it ends because the right to receive has ended.
        has_expired: bool,
    },
    /// A comment of server-sent events or a ping, which shows that the connection is alive.
    Heartbeat,
    /// The answer to what a client of a WebSocket asked for, as JSON.
    Answer(String),
    /// A pong of a WebSocket, with its payload.
    Pong(Vec<u8>),
}

/// Decodes one streamed body that arrives in pieces.
#[derive(Debug)]
pub struct StreamDecoder {
    format: Format,
    blocks: Blocks,
    line: Vec<u8>,
    frames: Frames,
    /// Bytes of the present line or block.
    length: usize,
    /// The first cursor, or a frame's head, has been seen.
    is_open: bool,
    is_closed: bool,
}

impl StreamDecoder {
    /// A decoder of a body in this format.
    pub fn new(format: Format) -> StreamDecoder {
        StreamDecoder {
            format,
            blocks: Blocks::default(),
            line: Vec::new(),
            frames: Frames::default(),
            length: 0,
            is_open: false,
            is_closed: false,
        }
    }

    /// The next event, taken from `bytes`; `None` when they are used up before its end.
    ///
    /// # Errors
    ///
    /// The stream breaks its format, or says something encke never says.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, Error> {
        while !bytes.is_empty() {
            let before = bytes.len();
            let is_whole;
            let event = match self.format {
                Format::Sse | Format::SseEnvelope => {
                    let block = self.blocks.next(bytes)?;
                    is_whole = block.is_some();
                    block.map(|block| self.interpret_block(block)).transpose()?
                }
                Format::WebSocket => {
                    let frame = self.frames.next(bytes)?;
                    is_whole = frame.is_some();
                    frame.map(|frame| interpret_frame(&frame)).transpose()?
                }
                Format::Ndjson | Format::Frame => {
                    let line = self.take_line(bytes)?;
                    is_whole = line.is_some();
                    let event = line.map(|line| self.interpret_line(&line));
                    event.transpose()?.flatten()
                }
            };
            self.length = match is_whole {
                true => 0,
                false => self.length + before - bytes.len(),
            };
            if self.length > LONGEST {
                return Err(Error::new("a message without end"));
            }
            if let Some(event) = event {
                self.is_closed = matches!(event, Event::Closing { .. } | Event::End { .. });
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Whether nothing has arrived in part.
    pub fn is_at_boundary(&self) -> bool {
        self.line.is_empty() && self.blocks.is_at_boundary() && self.frames.is_at_boundary()
    }

    /// Whether the last event said that the stream ends.
    pub fn is_closed(&self) -> bool {
        self.is_closed && self.is_at_boundary()
    }

    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<Option<String>, Error> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes);
            *bytes = &[];
            return Ok(None);
        };
        self.line.extend_from_slice(&bytes[..end]);
        *bytes = &bytes[end + 1..];
        let line = String::from_utf8(std::mem::take(&mut self.line));
        line.map(Some)
            .map_err(|error| Error::about("a line that is not UTF-8", error.as_bytes()))
    }

    fn interpret_line(&mut self, line: &str) -> Result<Option<Event>, Error> {
        if self.format == Format::Ndjson {
            return object::event(line).map(Some);
        }
        let line = line.trim_end_matches('\r');
        if let Some(call) = line.strip_prefix("<script>e(") {
            let expression = call.strip_suffix(")</script>");
            return match expression {
                Some(expression) if self.is_open => {
                    object::event(&object::of_expression(expression)?).map(Some)
                }
                _ => Err(Error::about("a script out of place", line.as_bytes())),
            };
        }
        let is_padding = line.starts_with("<!--") && line.ends_with("-->");
        if is_padding && line.len() > LEAST_PADDING {
            self.is_open = true;
        } else if self.is_open || !line.starts_with("<!DOCTYPE html>") {
            return Err(Error::about("a line that no frame has", line.as_bytes()));
        }
        Ok(None)
    }

    fn interpret_block(&mut self, block: Block) -> Result<Event, Error> {
        let Some(data) = block.data else {
            // The heartbeat of a node of a cluster: a client takes the id, and its page hears
            // nothing.
            if let (Some(id), None, None) = (&block.id, &block.event, block.retry_ms) {
                return Ok(Event::Cursor(id.clone()));
            }
            return match block.retry_ms {
                Some(retry_ms) => Ok(Event::Closing {
                    cursor: None,
                    retry_ms,
                    has_expired: false,
                }),
                None if block.comment.is_some() => Ok(Event::Heartbeat),
                None => Err(Error::new("an event without data")),
            };
        };
        let id = block
            .id
            .ok_or_else(|| Error::about("an event without id", data.as_bytes()))?;
        let event = block.event;
        match event.as_deref() {
            Some("cursor" | "gap" | "expired" | "end") if data != id => Err(Error::new(format!(
                "cursor {data} in an event with id {id}"
            ))),
            Some("gap") => Ok(Event::Gap(id)),
            Some("end") => Ok(Event::End { cursor: id }),
            Some("expired") => match block.retry_ms {
                Some(retry_ms) => Ok(Event::Closing {
                    cursor: Some(id),
                    retry_ms,
                    has_expired: true,
                }),
                None => Err(Error::about("expired without a retry", id.as_bytes())),
            },
            Some("cursor") => match block.retry_ms {
                Some(retry_ms) if self.is_open => Ok(Event::Closing {
                    cursor: Some(id),
                    retry_ms,
                    has_expired: false,
                }),
                // The opening has a retry, too.
                Some(_) => {
                    self.is_open = true;
                    let comment = block.comment.as_deref().unwrap_or_default();
                    let heartbeat = comment.strip_prefix("heartbeat ");
                    let heartbeat_ms = heartbeat.and_then(|ms| ms.parse().ok());
                    let heartbeat_ms = heartbeat_ms.ok_or_else(|| {
                        Error::about("an opening without heartbeat", comment.as_bytes())
                    })?;
                    Ok(Event::Opening {
                        cursor: id,
                        heartbeat_ms,
                    })
                }
                None if self.format == Format::Sse => Ok(Event::Ended {
                    cursor: id,
                    channels: Vec::new(),
                }),
                None => Err(Error::about("a cursor in between", data.as_bytes())),
            },
            _ if self.format == Format::SseEnvelope => {
                let message = match object::event(&data)? {
                    Event::Message(message) => message,
                    Event::Ended { cursor, channels } if cursor == id && event.is_none() => {
                        return Ok(Event::Ended { cursor, channels });
                    }
                    _ => return Err(Error::about("not a message", data.as_bytes())),
                };
                if message.id != id || message.event != event {
                    return Err(Error::about(
                        "an envelope differs from its event",
                        data.as_bytes(),
                    ));
                }
                Ok(Event::Message(message))
            }
            _ => Ok(Event::Message(Message {
                id,
                channel: None,
                event,
                data: Data::Untyped(data),
            })),
        }
    }
}

/// The event of a frame of a WebSocket.
fn interpret_frame(frame: &Frame) -> Result<Event, Error> {
    let text = std::str::from_utf8(&frame.payload);
    match (frame.opcode, text) {
        (websocket::TEXT, Ok(text)) if object::is_answer(text) => Ok(Event::Answer(text.into())),
        (websocket::TEXT, Ok(text)) => object::event(text),
        (websocket::PING, _) => Ok(Event::Heartbeat),
        (websocket::PONG, _) => Ok(Event::Pong(frame.payload.clone())),
        (websocket::CLOSE, _) => match frame.close_code() {
            Some((1001 | 1013 | 3000, reason)) => {
                let reason = std::str::from_utf8(reason).unwrap_or_default();
                object::event(reason)
            }
            Some((1000, reason)) if !reason.is_empty() => {
                let reason = std::str::from_utf8(reason).unwrap_or_default();
                object::event(reason)
            }
            // The client closed, sent too slowly, or found no room.
            Some((1000 | 1008 | 1011, _)) => Ok(Event::Closing {
                cursor: None,
                retry_ms: 0,
                has_expired: false,
            }),
            _ => Err(Error::about("a close frame", &frame.payload)),
        },
        _ => Err(Error::about("a frame that is no text", &frame.payload)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(format: Format, body: &str, cut: usize) -> Result<(Vec<Event>, bool), Error> {
        let mut decoder = StreamDecoder::new(format);
        let mut events = Vec::new();
        for mut piece in [&body.as_bytes()[..cut], &body.as_bytes()[cut..]] {
            while let Some(event) = decoder.next(&mut piece)? {
                events.push(event);
            }
        }
        Ok((events, decoder.is_closed()))
    }

    fn says(format: Format, body: &str, expected: &[Event]) {
        for cut in 0..=body.len() {
            let (events, is_closed) = decode(format, body, cut).unwrap();
            assert_eq!(events, expected, "{format:?}, cut at {cut}");
            let closes = matches!(
                expected.last(),
                Some(Event::Closing { .. } | Event::End { .. })
            );
            assert_eq!(is_closed, closes);
        }
    }

    const OBJECT: &str = r#"{"id":"a-2","channel":"c","event":"e","data":{"x":1}}"#;

    fn expected(channel: Option<&str>, data: Data) -> Vec<Event> {
        vec![
            Event::Gap("a-1".into()),
            Event::Opening {
                cursor: "a-1".into(),
                heartbeat_ms: 7,
            },
            Event::Message(Message {
                id: "a-2".into(),
                channel: channel.map(Into::into),
                event: Some("e".into()),
                data,
            }),
            Event::Closing {
                cursor: Some("a-2".into()),
                retry_ms: 9,
                has_expired: false,
            },
        ]
    }

    #[test]
    fn ndjson_and_frame_hold_the_same_objects() {
        let expected = expected(Some("c"), Data::Json(r#"{"x":1}"#.into()));
        let body = format!(
            "{{\"gap\":true,\"cursor\":\"a-1\"}}\n{{\"cursor\":\"a-1\",\"heartbeat\":7}}\n{OBJECT}\n\
             {{\"cursor\":\"a-2\",\"retry\":9}}\n"
        );
        says(Format::Ndjson, &body, &expected);
        let lines = body.lines();
        let scripts: String = lines
            .map(|line| format!("<script>e({line})</script>\n"))
            .collect();
        let padding = " ".repeat(LEAST_PADDING);
        let page = format!("<!DOCTYPE html><script>…</script>\n<!--{padding}-->\n{scripts}");
        // Elsewhere it is only padding.
        for cut in (0..60).chain(page.len() - 100..=page.len()) {
            if page.is_char_boundary(cut) {
                assert_eq!(decode(Format::Frame, &page, cut).unwrap().0, expected);
            }
        }
    }

    #[test]
    fn events_hold_messages_gaps_and_cursors() {
        let stream = |data: &str| {
            format!(
                "id: a-1\nevent: gap\ndata: a-1\n\n\
                 : heartbeat 7\nretry: 5\nid: a-1\nevent: cursor\ndata: a-1\n\n\
                 id: a-2\nevent: e\ndata: {data}\n\n\
                 id: a-2\nevent: cursor\ndata: a-2\nretry: 9\n\n"
            )
        };
        let data = Data::Untyped("{}".into());
        says(Format::Sse, &stream("{}"), &expected(None, data));
        let data = Data::Json(r#"{"x":1}"#.into());
        says(
            Format::SseEnvelope,
            &stream(OBJECT),
            &expected(Some("c"), data),
        );
        says(Format::Sse, ":\n\n", &[Event::Heartbeat]);
        let placed = Event::Cursor("a-3.1".into());
        says(Format::Sse, "id: a-3.1\n\n", &[placed]);
        let refusal = Event::Closing {
            cursor: None,
            retry_ms: 9,
            has_expired: false,
        };
        says(Format::Sse, "retry: 9\n\n", &[refusal]);
    }

    #[test]
    fn end_of_the_right_is_told() {
        let expected = [Event::Closing {
            cursor: Some("a-2".into()),
            retry_ms: 9,
            has_expired: true,
        }];
        let block = "retry: 9\nid: a-2\nevent: expired\ndata: a-2\n\n";
        says(Format::Sse, block, &expected);
        let object = "{\"cursor\":\"a-2\",\"retry\":9,\"expired\":true}\n";
        says(Format::Ndjson, object, &expected);
    }

    #[test]
    fn ends_are_told() {
        let some = |channels: &[&str]| Event::Ended {
            cursor: "a-1".into(),
            channels: channels.iter().map(|&name| name.into()).collect(),
        };
        let all = Event::End {
            cursor: "a-2".into(),
        };
        let objects = "{\"cursor\":\"a-1\",\"ended\":[\"x\"]}\n{\"cursor\":\"a-2\",\"end\":true}\n";
        says(Format::Ndjson, objects, &[some(&["x"]), all.clone()]);
        // Without the envelope there is no place for names.
        let end = "id: a-2\nevent: end\ndata: a-2\n\n";
        let plain = format!("id: a-1\nevent: cursor\ndata: a-1\n\n{end}");
        says(Format::Sse, &plain, &[some(&[]), all.clone()]);
        let object = "{\"cursor\":\"a-1\",\"ended\":[\"x\"]}";
        let wrapped = format!("id: a-1\ndata: {object}\n\n{end}");
        says(Format::SseEnvelope, &wrapped, &[some(&["x"]), all]);
    }

    #[test]
    fn nonsense_is_refused() {
        let script = format!("<script>e({OBJECT})</script>\n");
        for (format, body) in [
            (Format::Ndjson, "{}\n"),
            (Format::Ndjson, "\n"),
            (Format::Ndjson, "{\"gap\":true}\n"),
            (Format::Ndjson, "{\"cursor\":\"a-1\",\"expired\":true}\n"),
            (Format::Sse, "id: a-1\nevent: expired\ndata: a-1\n\n"),
            (Format::Ndjson, "{\"cursor\":\"a-1\",\"data\":1}\n"),
            (Format::Frame, &script),
            (Format::Frame, "<p>\n"),
            (Format::Sse, "data: x\n\n"),
            (Format::Sse, "id: a-1\nevent: x\n\n"),
            (Format::Sse, "id: a-1\nevent: cursor\ndata: a-2\n\n"),
            (
                Format::Sse,
                "retry: 5\nid: a-1\nevent: cursor\ndata: a-1\n\n",
            ),
            (Format::Sse, "id: a-1\nevent: end\ndata: a-2\n\n"),
            (Format::Ndjson, "{\"end\":true}\n"),
            (Format::Ndjson, "{\"ended\":[\"a\"]}\n"),
            (Format::SseEnvelope, "id: a-1\ndata: {}\n\n"),
        ] {
            assert!(decode(format, body, 0).is_err(), "{format:?}: {body}");
        }
    }
}
