//! A low-level client: it sends the given bytes unchanged and parses responses strictly.
//!
//! Owns connections, and what must hold of every answer; framing is read by the test client. Every
//! read has a deadline, so a server that owes an answer fails the test and does not hang it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use encke_test_client::{self as client, Part, ResponseReader};
use serde_json::Value;

use crate::DEADLINE;

/// One connection.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) socket: S,
    buffer: Vec<u8>,
    /// Bytes that may still be read before the connection is taken for cut.
    pub(crate) fuse: Option<usize>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The reason phrase.
    pub(crate) reason: String,
    fields: Vec<(String, String)>,
    bytes: Vec<u8>,
}

/// A piece of a body.
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    /// The body is complete.
    End,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).expect("the server accepts");
        Client::over(socket)
    }

    /// A connected socket with its deadlines set.
    pub(crate) fn over(socket: TcpStream) -> Client {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Client::new(socket)
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn new(socket: S) -> Client<S> {
        Client {
            socket,
            buffer: Vec::new(),
            fuse: None,
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).expect("it is sent");
    }

    /// Sends the head of a request with these lines after the first two.
    pub(crate) fn ask(&mut self, method: &str, target: &str, fields: &str) {
        self.send(request(method, target, fields, ""));
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.get_with(target, "")
    }

    pub(crate) fn get_with(&mut self, target: &str, fields: &str) -> Answer {
        self.ask("GET", target, fields);
        self.answer()
    }

    pub(crate) fn post(&mut self, target: &str, fields: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let length = format!("Content-Length: {}\r\n{fields}", body.len());
        let mut bytes = request("POST", target, &length, "").into_bytes();
        bytes.extend_from_slice(body);
        self.send(bytes);
        self.answer()
    }

    /// As `post`; `None` if the connection ends before the answer does.
    pub(crate) fn try_post(&mut self, target: &str, body: &str) -> Option<Answer> {
        let length = format!("Content-Length: {}\r\n", body.len());
        let bytes = request("POST", target, &length, "") + body;
        self.socket.write_all(bytes.as_bytes()).ok()?;
        self.try_answer()
    }

    /// Reads one response to a request that was not HEAD.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer()
            .expect("the connection ended before the answer did")
    }

    /// Reads one response; `None` if the connection ends, or is cut, before it is whole.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        let head = self.try_head()?;
        let (mut reader, mut body) = (head.body(), Vec::new());
        loop {
            match self.piece(&mut reader)? {
                Piece::Bytes(bytes) => body.extend(bytes),
                Piece::End => return Some(Answer { head, body }),
            }
        }
    }

    /// Reads what is there of a body, at least a byte; `None` if the connection ends before the
    /// body does.
    pub(crate) fn piece(&mut self, reader: &mut ResponseReader) -> Option<Piece> {
        loop {
            let mut bytes = &self.buffer[..];
            let part = reader.next(&mut bytes).expect("right framing");
            let piece = part.map(|part| match part {
                Part::Body(bytes) => Piece::Bytes(bytes.to_vec()),
                Part::End => Piece::End,
                Part::Head(head) | Part::Interim(head) => panic!("in a body: {head:?}"),
            });
            let used = self.buffer.len() - bytes.len();
            self.buffer.drain(..used);
            if piece.is_some() {
                return piece;
            }
            if !self.more() {
                let is_complete = reader.close().unwrap_or(false);
                return is_complete.then_some(Piece::End);
            }
        }
    }

    pub(crate) fn head(&mut self) -> Head {
        self.try_head()
            .expect("the connection ended before the head did")
    }

    pub(crate) fn try_head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let bytes = self.buffer.drain(..end + 4).collect();
                return Some(Head::new(bytes));
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads a line without its CR LF.
    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).expect("a line of UTF-8"));
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads so many bytes.
    pub(crate) fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.more() {
                return None;
            }
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Reads until the server ends the connection, and returns what came.
    ///
    /// # Errors
    ///
    /// It is reset, or nothing comes.
    pub(crate) fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.buffer);
        self.socket.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Reads until the server ends the connection.
    pub(crate) fn until_end(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    /// The server ends the connection, and has nothing more to say on it.
    pub(crate) fn expect_end(&mut self) {
        let rest = self.until_end();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    /// Reads more bytes; false where there will be no more.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        let most = self.fuse.unwrap_or(bytes.len()).min(bytes.len());
        if most == 0 {
            return false;
        }
        match self.socket.read(&mut bytes[..most]) {
            Ok(0) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&bytes[..length]);
                self.fuse = self.fuse.map(|fuse| fuse - length);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!(
                "nothing came ({error}) after {:?}",
                String::from_utf8_lossy(&self.buffer)
            ),
        }
    }
}

/// A request as text.
pub(crate) fn request(method: &str, target: &str, fields: &str, body: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n{body}")
}

impl Head {
    fn new(bytes: Vec<u8>) -> Head {
        let head = client::Head::parse(&bytes).expect("a head");
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("a field of UTF-8");
        let fields = head.fields();
        let fields = fields.map(|(name, value)| (name.to_owned(), text(value)));
        Head {
            status: head.status,
            reason: head.reason.to_owned(),
            fields: fields.collect(),
            bytes,
        }
    }

    /// A reader of the body that follows.
    pub(crate) fn body(&self) -> ResponseReader {
        let mut reader = ResponseReader::without_extensions();
        let part = reader.next(&mut &self.bytes[..]).expect("right framing");
        assert!(matches!(part, Some(Part::Head(_))), "{self:?}");
        reader
    }

    /// The value of a field that must not be repeated.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self
            .fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is repeated in {self:?}");
        value
    }

    /// The names and values of all fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.iter();
        fields.map(|(name, value)| (&**name, &**value))
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.field("Transfer-Encoding") == Some("chunked")
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The batch of a poll, its head checked.
    pub(crate) fn batch(&self) -> Batch {
        assert_eq!(self.status(), 200, "{self:?}");
        assert_eq!(self.field("Content-Type"), Some("application/json"));
        assert_eq!(
            self.field("Cache-Control"),
            Some("no-store, no-transform"),
            "{self:?}"
        );
        assert_eq!(self.field("ETag"), None);
        Batch::new(self.json())
    }

    /// The problem document of a refusal, checked to be one with `status`.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status(), status, "{}", self.text());
        assert_eq!(self.field("Content-Type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(!problem["title"].as_str().unwrap().is_empty());
        let detail = problem["detail"].as_str().unwrap();
        assert!(!detail.is_empty());
        detail.to_owned()
    }
}

/// The batch of a poll.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) json: Value,
    pub(crate) cursor: String,
}

impl Batch {
    pub(crate) fn new(json: Value) -> Batch {
        let cursor = json["cursor"].as_str().expect("a cursor").to_owned();
        Batch { json, cursor }
    }

    pub(crate) fn messages(&self) -> &[Value] {
        self.json["messages"].as_array().expect("messages")
    }

    /// The data of the messages.
    pub(crate) fn data(&self) -> Vec<&str> {
        let data = self.messages().iter().map(|message| &message["data"]);
        data.map(|data| data.as_str().expect("text")).collect()
    }

    pub(crate) fn is_gap(&self) -> bool {
        self.flag("gap")
    }

    pub(crate) fn has_more(&self) -> bool {
        self.flag("more")
    }

    fn flag(&self, name: &str) -> bool {
        match self.json.get(name) {
            None => false,
            Some(value) => {
                assert_eq!(value, &Value::Bool(true), "{name} is true or not there");
                true
            }
        }
    }
}
