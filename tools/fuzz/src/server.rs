//! An engine whose one client takes everything, for targets that ask through the front door.

use std::io::IoSlice;

use encke_core::base::time::Time;
use encke_core::config::{Config, Cors};
use encke_core::engine::{Access, Engine, Sent, State, Wire};
use httparse::Status;

/// What became of a request.
pub(crate) struct Answer {
    /// 0: there was none.
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) state: State,
}

/// An engine.
pub(crate) struct Server {
    pub(crate) engine: Engine,
}

#[derive(Default)]
struct Everything(Vec<u8>);

impl Wire for Everything {
    fn send(&mut self, _: u32, slices: &[IoSlice<'_>]) -> Sent {
        for slice in slices {
            self.0.extend_from_slice(slice);
        }
        Sent::All
    }

    fn shutdown(&mut self, _: u32) {}

    fn has_unread(&mut self, _: u32) -> bool {
        false
    }
}

impl Server {
    pub(crate) fn new() -> Server {
        let config = Config {
            page: false,
            cors: Cors::Any,
            max_channels: 1_000,
            ..Config::default()
        };
        let mut engine = Engine::new(&config, 2, 7);
        engine.set_now(Time(1_000), 1_700_000_000);
        Server { engine }
    }

    /// Sends bytes on a connection of their own, and looks at what comes of it.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Answer {
        let mut wire = Everything::default();
        let id = self.engine.accept(Access::Trusted).expect("there is room");
        self.engine.input(id, request, &mut wire);
        let state = self.engine.state(id).unwrap_or(State::Gone);
        self.engine.broken(id);
        assert_eq!(self.engine.next_close(), Some(id.index));
        assert_eq!(self.engine.buffered_bytes(), 0, "bytes of nobody are kept");
        let sent = wire.0;
        let Some(end) = sent.windows(4).position(|four| four == b"\r\n\r\n") else {
            assert!(sent.is_empty(), "half a head");
            return Answer {
                status: 0,
                body: sent,
                state,
            };
        };
        let (head, body) = sent.split_at(end + 4);
        let head = std::str::from_utf8(head).expect("a head is text");
        let is_chunked = head.contains("\r\nTransfer-Encoding: chunked\r\n");
        Answer {
            status: head[9..12].parse().expect("a status"),
            body: match is_chunked {
                true => unchunked(body),
                false => body.to_vec(),
            },
            state,
        }
    }
}

/// What chunks hold, up to the last one or the end of what was sent.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while !body.is_empty() {
        let Ok(Status::Complete((start, size))) = httparse::parse_chunk_size(body) else {
            panic!("no chunk: {}", body.escape_ascii());
        };
        let (chunk, rest) = body[start..].split_at(size as usize);
        if chunk.is_empty() {
            break;
        }
        whole.extend_from_slice(chunk);
        body = rest.strip_prefix(b"\r\n").expect("a chunk has its end");
    }
    whole
}
