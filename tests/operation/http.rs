//! Requests to a TCP or unix socket.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use encke_test_client::{Part, ResponseReader};
use encke_test_rig::PATIENCE;
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connection, read as a stream of responses.
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    responses: ResponseReader,
    pub(crate) status: u16,
    date: String,
    body: Vec<u8>,
}

impl Address {
    pub(crate) fn connect(&self) -> Connection {
        let (domain, address) = match self {
            Address::Tcp(address) => (Domain::IPV4, SockAddr::from(*address)),
            Address::Unix(path) => (Domain::UNIX, SockAddr::unix(path).unwrap()),
        };
        let socket = Socket::new(domain, Type::STREAM, None).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.connect(&address).unwrap();
        Connection {
            socket,
            responses: ResponseReader::default(),
            status: 0,
            date: String::new(),
            body: Vec::new(),
        }
    }

    /// A connection on which a request was sent.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &[u8]) -> Connection {
        let mut connection = self.connect();
        connection.send(method, target, body);
        connection
    }

    /// A connection that has received the head of the response to a GET request.
    pub(crate) fn open(&self, target: &str) -> Connection {
        let mut connection = self.ask("GET", target, b"");
        connection.read_until(|connection| connection.status > 0);
        connection
    }

    /// The status and body of a response.
    pub(crate) fn answer(&self, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut connection = self.ask(method, target, body);
        connection.finish();
        (connection.status, connection.body)
    }

    pub(crate) fn status(&self, method: &str, target: &str, body: &[u8]) -> u16 {
        self.answer(method, target, body).0
    }

    /// The status of a response to a request with further header fields and without a body.
    pub(crate) fn status_with(&self, method: &str, target: &str, fields: &str) -> u16 {
        let mut connection = self.connect();
        connection.send_with(method, target, fields, b"");
        connection.finish();
        connection.status
    }

    pub(crate) fn get_json(&self, target: &str) -> Value {
        self.ask("GET", target, b"").json()
    }
}

impl Connection {
    /// Reads what is no response of HTTP, up to these bytes.
    pub(crate) fn read_bytes_to(&mut self, wanted: &[u8]) {
        let mut read = Vec::new();
        while !read.windows(wanted.len()).any(|window| window == wanted) {
            let mut bytes = [0; 1024];
            let count = self.socket.read(&mut bytes).unwrap();
            assert!(
                count > 0,
                "it ends after {:?}",
                String::from_utf8_lossy(&read)
            );
            read.extend_from_slice(&bytes[..count]);
        }
    }

    pub(crate) fn send(&mut self, method: &str, target: &str, body: &[u8]) {
        self.send_with(method, target, "", body);
    }

    pub(crate) fn send_with(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) {
        self.send_beginning(method, target, fields, body.len(), body);
    }

    /// Sends a request and the beginning of its body, which has `length` bytes.
    pub(crate) fn send_beginning(
        &mut self,
        method: &str,
        target: &str,
        fields: &str,
        length: usize,
        body: &[u8],
    ) {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: encke\r\nContent-Length: {length}\r\n{fields}\r\n"
        );
        self.socket
            .write_all(&[head.as_bytes(), body].concat())
            .unwrap();
    }

    /// Reads until something is so; a read takes the least that may be of use, so that a connection
    /// that is not read on is slow. Returns whether it became so before the response ended.
    fn read_until(&mut self, mut is_so: impl FnMut(&Connection) -> bool) -> bool {
        let mut buffer = [0; 4 << 10];
        loop {
            if is_so(self) {
                return true;
            }
            let room = if self.status == 0 { 1 } else { buffer.len() };
            let length = self.socket.read(&mut buffer[..room]).unwrap();
            if length == 0 {
                self.responses.close().unwrap();
                return is_so(self);
            }
            let mut bytes = &buffer[..length];
            while let Some(part) = self.responses.next(&mut bytes).unwrap() {
                match part {
                    Part::Interim(_) => {}
                    Part::Head(head) => {
                        self.status = head.status;
                        self.date = head.field("date").unwrap().to_owned();
                    }
                    Part::Body(piece) => self.body.extend_from_slice(piece),
                    Part::End => return is_so(self) || self.status > 0,
                }
            }
        }
    }

    /// Reads the response to its end.
    pub(crate) fn finish(&mut self) {
        self.read_until(|_| false);
    }

    /// Reads a body until it holds a text, and forgets it up to there.
    pub(crate) fn read_to(&mut self, text: &str) {
        let find =
            |connection: &Connection| memchr::memmem::find(&connection.body, text.as_bytes());
        self.read_until(|connection| find(connection).is_some());
        let at = find(self).unwrap_or_else(|| panic!("the response ended before {text:?}"));
        self.body.drain(..at + text.len());
    }

    pub(crate) fn json(&mut self) -> Value {
        self.finish();
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The `Date` field of the response.
    pub(crate) fn date(&mut self) -> &str {
        self.read_until(|connection| connection.status > 0);
        &self.date
    }

    /// Waits until the server has closed the connection, without reading from it.
    pub(crate) fn wait_for_end(&self) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let patience = Timespec {
            tv_sec: PATIENCE.as_secs() as i64,
            tv_nsec: 0,
        };
        let ready = poll(&mut fds, Some(&patience)).unwrap();
        assert!(ready > 0, "the connection stays open");
    }

    /// Reads and forgets everything until the connection ends.
    pub(crate) fn read_to_end(&mut self) {
        let mut buffer = vec![0; 64 << 10];
        while !matches!(self.socket.read(&mut buffer), Ok(0) | Err(_)) {}
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
