//! An engine whose one client takes everything, for targets that ask through the front door.

use std::io::IoSlice;

use encke_core::base::time::Time;
use encke_core::config::{Config, Cors};
use encke_core::engine::{Access, Engine, Sent, State, Wire};
use encke_test_client::{Part, ResponseReader};

/// The outcome of a request.
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
        engine.set_now(Time(1_000), 1_700_000_000_000);
        Server { engine }
    }

    /// Sends a request with a body.
    pub(crate) fn post(&mut self, target: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        self.ask(&[head.as_bytes(), body].concat())
    }

    /// Sends bytes on a connection of their own, and looks at what comes of it.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Answer {
        let mut wire = Everything::default();
        let id = self.engine.accept(Access::Trusted).expect("there is room");
        self.engine.input(id, request, &mut wire);
        // Requests that take more than a turn, as those that publish by lines.
        while let Some(id) = self.engine.next_deferred() {
            self.engine.resume(id, &mut wire);
        }
        let state = self.engine.state(id).unwrap_or(State::Gone);
        self.engine.broken(id);
        assert_eq!(self.engine.next_close(), Some(id.index));
        assert_eq!(self.engine.buffered_bytes(), 0, "bytes of nobody are kept");
        let mut answer = Answer {
            status: 0,
            body: Vec::new(),
            state,
        };
        let mut responses = ResponseReader::without_extensions();
        let mut sent = &wire.0[..];
        while let Some(part) = responses.next(&mut sent).expect("right framing") {
            match part {
                Part::Interim(_) => {}
                Part::Head(head) => answer.status = head.status,
                Part::Body(body) => answer.body.extend_from_slice(body),
                // What answers further requests in the same bytes is not looked at.
                Part::End => return answer,
            }
        }
        assert!(wire.0.is_empty() || answer.status > 0, "half a head");
        answer
    }
}
