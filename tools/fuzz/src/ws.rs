//! Frames of WebSockets, held against tungstenite.

use std::io::{self, Read, Write};

use encke_core::ws::{Decoder, Event};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::cut::ways;

/// The size of the largest message.
const MAX_BYTES: usize = 1_000;

/// An event that was decoded from the bytes of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// How the reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The bytes are used up, or a close frame came.
    Done,
    /// A text is not UTF-8.
    NotUtf8,
    /// A length is not in its shortest form, which tungstenite accepts.
    Length,
    /// Anything else that is refused.
    Refused,
}

/// Reads frames in two ways, and with the bytes cut.
pub fn ws(bytes: &[u8]) {
    let whole = own([bytes]);
    for ends in ways(bytes) {
        let starts = std::iter::once(&0).chain(&ends);
        let pieces = starts.zip(&ends).map(|(&start, &end)| &bytes[start..end]);
        assert_eq!(own(pieces), whole, "cut at {ends:?}");
    }
    let (seen, end) = whole;
    let (other, other_end) = oracle(bytes);
    match (end, other_end) {
        // A code that was registered later than it knows.
        (End::Done, End::Refused) if seen.last() == Some(&Seen::Close(Some(1014))) => {
            assert_eq!(seen[..seen.len() - 1], other);
        }
        (End::Length, End::NotUtf8) => {
            let is_prefix = seen.starts_with(&other) || other.starts_with(&seen);
            assert!(is_prefix, "{seen:?} and {other:?}");
        }
        // It ends a message at its first wrong byte, and encke at its last.
        (_, End::NotUtf8) => assert!(seen.starts_with(&other), "{seen:?} and not {other:?}"),
        // It refuses a frame when all of it is here, and encke by its header.
        (End::Refused, End::Done | End::Refused) => assert_eq!(seen, other),
        (End::Length, _) => assert!(other.starts_with(&seen), "{seen:?} and not {other:?}"),
        _ => assert_eq!((seen, end), (other, other_end)),
    }
}

/// Whether a refusal may be for a length that is not in its shortest form: of a control frame, each
/// longer form is.
fn is_of_length(reason: &str) -> bool {
    reason.contains("shortest") || reason.contains("longer than 125")
}

fn own<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Seen>, End) {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let (taken, event) = match decoder.decode(piece, MAX_BYTES) {
                Ok(step) => step,
                Err(encke_core::ws::Error::NotUtf8) => return (seen, End::NotUtf8),
                Err(error) if is_of_length(error.reason()) => return (seen, End::Length),
                Err(_) => return (seen, End::Refused),
            };
            piece = &piece[taken..];
            seen.push(match event {
                None => continue,
                Some(Event::Text(text)) => Seen::Text(text.into()),
                Some(Event::Binary(bytes)) => Seen::Binary(bytes.into()),
                Some(Event::Ping(bytes)) => Seen::Ping(bytes.into()),
                Some(Event::Pong) => Seen::Pong,
                Some(Event::Close(code)) => {
                    seen.push(Seen::Close(code));
                    return (seen, End::Done);
                }
            });
        }
    }
    assert!(decoder.allocated_bytes() <= 2 * MAX_BYTES);
    (seen, End::Done)
}

/// The bytes of a client, then nothing more; what it is sent is not looked at.
struct Client<'b>(&'b [u8]);

impl Read for Client<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buffer)
    }
}

impl Write for Client<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn oracle(bytes: &[u8]) -> (Vec<Seen>, End) {
    let config = WebSocketConfig::default()
        .read_buffer_size(256)
        .max_message_size(Some(MAX_BYTES))
        // More than any input has. It makes room for a frame by what its header announces.
        .max_frame_size(Some(4 * MAX_BYTES));
    let mut socket = WebSocket::from_raw_socket(Client(bytes), Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.as_str().into()),
            Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Seen::Ping(bytes.to_vec()),
            Ok(Message::Pong(_)) => Seen::Pong,
            Ok(Message::Close(frame)) => {
                // It shows a reserved code as the refusal that it is answered with.
                let is_refusal = |reason: &str| reason == "Protocol violation";
                if frame
                    .as_ref()
                    .is_some_and(|frame| is_refusal(&frame.reason))
                {
                    return (seen, End::Refused);
                }
                seen.push(Seen::Close(frame.map(|frame| frame.code.into())));
                return (seen, End::Done);
            }
            Ok(Message::Frame(_)) => unreachable!("it is not asked for frames"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return (seen, End::Done);
            }
            Err(Error::Utf8(_)) => return (seen, End::NotUtf8),
            Err(_) => return (seen, End::Refused),
        });
    }
}
