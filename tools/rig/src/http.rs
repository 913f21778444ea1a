//! Requests over HTTP/1.1, one at a time, on blocking sockets.
//!
//! Owns a whole answer and the time that it may take; framing is read by the test client.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use encke_test_client::{Part, ResponseReader};

/// A response without its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The status code.
    pub status: u16,
    /// Whether the connection ends.
    pub closes: bool,
}

/// A request as bytes. `fields` are lines, each with its end.
pub fn request(method: &str, target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: encke\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Connects, and lets nothing take longer than this.
pub fn connect(address: impl Into<SocketAddr>, patience: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address.into(), patience)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

/// Sends a request on a connection of its own: the status and the body.
pub fn ask(
    address: impl Into<SocketAddr>,
    request: &str,
    patience: Duration,
) -> io::Result<(u16, String)> {
    ask_on(&mut connect(address, patience)?, request)
}

/// Sends a request on a new connection: the status and the body.
pub fn ask_on(stream: &mut (impl Read + Write), request: &str) -> io::Result<(u16, String)> {
    stream.write_all(request.as_bytes())?;
    let mut body = Vec::new();
    let mut responses = ResponseReader::default();
    let outcome = read_response(stream, &mut responses, &mut body)?;
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok((outcome.status, body))
}

/// Reads the next response, and appends its body as far as it comes. Nothing may follow it yet.
pub fn read_response(
    stream: &mut impl Read,
    responses: &mut ResponseReader,
    body: &mut Vec<u8>,
) -> io::Result<Outcome> {
    let mut buffer = [0; 16 << 10];
    let mut outcome = Outcome::default();
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(0) if responses.close().map_err(io::Error::other)? => return Ok(outcome),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = &buffer[..length];
        while let Some(part) = responses.next(&mut bytes).map_err(io::Error::other)? {
            match part {
                Part::Interim(_) => {}
                Part::Head(head) => {
                    outcome = Outcome {
                        status: head.status,
                        closes: head.closes(),
                    };
                }
                Part::Body(piece) => body.extend_from_slice(piece),
                Part::End => return Ok(outcome),
            }
        }
    }
}
