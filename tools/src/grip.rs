//! The application that Pushpin needs behind it: it lets every request in.
//!
//! Pushpin itself decides nothing: it passes each request on, and the `Grip-` fields of the
//! response say what to hold the request for. This answers with the least that does that, so that
//! the cost of a run is Pushpin's. It keeps nothing, and its own cost is not counted.
//!
//! | request | answer |
//! |---|---|
//! | `GET /stream/CHANNEL` | hold as a stream, begun with an empty line |
//! | `GET /response/CHANNEL` | hold until the next message, which is the answer |
//! | other | at once, an empty line |

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::thread;

/// Longest head; a connection with a longer one is closed.
const HEAD_BYTES: usize = 16 << 10;

/// Longer than any run.
const HOLD_SECONDS: u32 = 3_600;

/// Serves until the process is ended. Pushpin keeps few connections, so each has a thread.
pub fn serve(address: SocketAddrV4) -> io::Result<()> {
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = stream?;
        // A connection ends when Pushpin ends it; why does not matter.
        thread::spawn(move || answer_all(stream).ok());
    }
    Ok(())
}

fn answer_all(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; HEAD_BYTES];
    let mut head = Vec::new();
    while head.len() < HEAD_BYTES {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => head.extend_from_slice(&buffer[..length]),
        }
        while let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            stream.write_all(&answer(&head[..end]))?;
            head.drain(..end + 4);
        }
    }
    Ok(())
}

fn answer(head: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let target = head.split(' ').nth(1).unwrap_or_default();
    let hold = if let Some(channel) = target.strip_prefix("/stream/") {
        format!("Grip-Hold: stream\r\nGrip-Channel: {channel}\r\n")
    } else if let Some(channel) = target.strip_prefix("/response/") {
        format!(
            "Grip-Hold: response\r\nGrip-Channel: {channel}\r\nGrip-Timeout: {HOLD_SECONDS}\r\n"
        )
    } else {
        String::new()
    };
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{hold}Content-Length: 1\r\n\r\n\n")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_hold_a_request_for() {
        let stream = String::from_utf8(answer(b"GET /stream/a-1 HTTP/1.1\r\nHost: h")).unwrap();
        assert!(stream.contains("\r\nGrip-Hold: stream\r\nGrip-Channel: a-1\r\n"));
        let poll = String::from_utf8(answer(b"GET /response/a-1 HTTP/1.1")).unwrap();
        assert!(poll.contains("\r\nGrip-Hold: response\r\nGrip-Channel: a-1\r\n"));
        let other = String::from_utf8(answer(b"GET / HTTP/1.1")).unwrap();
        assert!(!other.contains("Grip-") && other.ends_with("\r\n\r\n\n"));
    }
}
