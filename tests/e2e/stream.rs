//! Readers of streams, which decode bytes as they arrive, like clients do.
//!
//! Owns what is there of a body, and the readers of the three formats. A stream that ends is asked
//! how: by the last chunk, or by a cut.

use encke_test_client::ResponseReader;
use encke_test_client::sse::{Block, Blocks};
use serde_json::Value;

use crate::client::{Client, Head, Piece};

/// One stream.
pub(crate) struct Stream {
    pub(crate) client: Client,
    pub(crate) head: Head,
    /// Bytes of the body, not read yet.
    body: Vec<u8>,
    reader: ResponseReader,
    /// The last chunk, or, without chunks, the end of the connection was seen.
    pub(crate) is_complete: bool,
}

impl Stream {
    /// Opens a stream with HTTP/1.1.
    pub(crate) fn open(mut client: Client, target: &str, fields: &str) -> Stream {
        client.ask("GET", target, fields);
        let head = client.head();
        assert_eq!(head.status, 200, "{head:?}");
        Stream::new(client, head)
    }

    pub(crate) fn new(client: Client, head: Head) -> Stream {
        Stream {
            client,
            reader: head.body(),
            head,
            body: Vec::new(),
            is_complete: false,
        }
    }

    /// Reads more of the body; false where there is no more.
    fn more(&mut self) -> bool {
        if self.is_complete {
            return false;
        }
        match self.client.piece(&mut self.reader) {
            Some(Piece::Bytes(bytes)) => self.body.extend(bytes),
            Some(Piece::End) => self.is_complete = true,
            None => return false,
        }
        !self.is_complete
    }

    /// Reads up to and with `end`.
    pub(crate) fn until(&mut self, end: &str) -> Option<String> {
        let end = end.as_bytes();
        let mut from = 0;
        loop {
            let rest = &self.body[from..];
            if let Some(at) = rest.windows(end.len()).position(|part| part == end) {
                let text = self.body.drain(..from + at + end.len()).collect();
                return Some(String::from_utf8(text).expect("a stream of UTF-8"));
            }
            from = self.body.len().saturating_sub(end.len());
            if !self.more() {
                return None;
            }
        }
    }

    /// The rest of the body, to its end.
    pub(crate) fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8(std::mem::take(&mut self.body)).expect("a stream of UTF-8")
    }

    /// The next line of an NDJSON stream.
    pub(crate) fn object(&mut self) -> Option<Value> {
        let line = self.until("\n")?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// The next object that a frame's script delivers.
    pub(crate) fn script(&mut self) -> Option<Value> {
        let begin = "<script>e(";
        loop {
            let text = self.until("</script>\n")?;
            if let Some(at) = text.find(begin) {
                let json = &text[at + begin.len()..text.len() - ")</script>\n".len()];
                let json: Value = serde_json::from_str(json).expect("JSON in a script");
                return Some(json);
            }
        }
    }

    /// The next block of server-sent events.
    pub(crate) fn event(&mut self) -> Option<Block> {
        let text = self.until("\n\n")?;
        assert!(!text.contains('\r'), "one kind of line end: {text:?}");
        let block = Blocks::default().next(&mut text.as_bytes());
        let block = block.unwrap_or_else(|error| panic!("{error}: {text:?}"));
        Some(block.unwrap_or_default())
    }

    /// The next message of server-sent events, whatever its name; comments are skipped.
    pub(crate) fn message(&mut self) -> Option<Block> {
        loop {
            let event = self.event()?;
            if event.data.is_some() && event.event.as_deref() != Some("cursor") {
                return Some(event);
            }
        }
    }

    /// Reads the opening of an event stream; its cursor.
    pub(crate) fn opening(&mut self) -> String {
        let event = self.event().expect("an opening");
        assert!(event.retry_ms.is_some(), "{event:?}");
        assert_eq!(event.event.as_deref(), Some("cursor"));
        assert_eq!(event.id, event.data);
        event.id.expect("a cursor")
    }
}
