//! Reading streams as their clients do, byte by byte as far as they came.
//!
//! Owns a chunked decoder that gives out what is there of a chunk, and the readers of the three
//! formats. A stream that ends is asked how: by the last chunk, or by a cut.

use serde_json::Value;

use crate::client::{Client, Head};

/// One stream.
pub(crate) struct Stream {
    pub(crate) client: Client,
    pub(crate) head: Head,
    /// Bytes of the body, not read yet.
    body: Vec<u8>,
    /// Bytes that the present chunk still has.
    chunk: usize,
    /// The last chunk, or, without chunks, the end of the connection was seen.
    pub(crate) is_complete: bool,
}

/// One block of server-sent events.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    /// `None` where there was no `data:` line.
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<u64>,
    /// It was a comment and nothing else.
    pub(crate) is_comment: bool,
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
            head,
            body: Vec::new(),
            chunk: 0,
            is_complete: false,
        }
    }

    /// Reads more of the body; false where there is no more.
    fn more(&mut self) -> bool {
        if self.is_complete {
            return false;
        }
        if !self.head.is_chunked() {
            match self.client.some(usize::MAX) {
                Some(bytes) => self.body.extend(bytes),
                None => self.is_complete = true,
            }
            return !self.is_complete;
        }
        if self.chunk == 0 {
            let Some(size) = self.client.line() else {
                return false;
            };
            self.chunk = usize::from_str_radix(&size, 16).expect("the size of a chunk");
            if self.chunk == 0 {
                assert_eq!(self.client.line().as_deref(), Some(""));
                self.is_complete = true;
                return false;
            }
        }
        let Some(bytes) = self.client.some(self.chunk) else {
            return false;
        };
        self.chunk -= bytes.len();
        self.body.extend(bytes);
        self.chunk > 0 || self.client.line().as_deref() == Some("")
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
    pub(crate) fn event(&mut self) -> Option<Event> {
        let block = self.until("\n\n")?;
        let mut event = Event {
            is_comment: true,
            ..Event::default()
        };
        for line in block.trim_end_matches('\n').split('\n') {
            assert!(!line.contains('\r'), "one kind of line end: {block:?}");
            if line.starts_with(':') {
                continue;
            }
            event.is_comment = false;
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "id" => event.id = Some(value.into()),
                "event" => event.name = Some(value.into()),
                "retry" => event.retry = Some(value.parse().expect("milliseconds")),
                "data" => match &mut event.data {
                    None => event.data = Some(value.into()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                },
                _ => panic!("an unknown field: {line:?}"),
            }
        }
        Some(event)
    }

    /// The next message of server-sent events, whatever its name; comments are skipped.
    pub(crate) fn message(&mut self) -> Option<Event> {
        loop {
            let event = self.event()?;
            if event.data.is_some() && event.name.as_deref() != Some("cursor") {
                return Some(event);
            }
        }
    }

    /// Reads the opening of an event stream; its cursor.
    pub(crate) fn opening(&mut self) -> String {
        let event = self.event().expect("an opening");
        assert!(event.retry.is_some(), "{event:?}");
        assert_eq!(event.name.as_deref(), Some("cursor"));
        assert_eq!(event.id, event.data);
        event.id.expect("a cursor")
    }
}
