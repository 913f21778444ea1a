//! The state of another server, in each format, or of the node of a cluster: whatever it is, it is
//! refused, or the engine lives on with it.

use std::io::IoSlice;

use encke_core::base::record;
use encke_core::base::time::Time;
use encke_core::config::Config;
use encke_core::engine::{Access, Engine, Sent, Wire};
use encke_core::frozen::{FORMAT, FORMATS, Freezer, ThawError, Thawer};
use encke_core::log::cluster::{Lane, Settings};

/// Connections of the engine that is thawed.
const MAX_CONNECTIONS: usize = 64;

/// Bytes of a record before its value: a length, and a checksum that the value is to have.
const HEAD_BYTES: usize = record::HEAD_BYTES;

/// Ticks that are lived, and the time from one to the next, which grows.
const STEPS_MS: [u64; 6] = [0, 1, 100, 5_000, 100_000, 4_000_000];

/// The records in bytes, with the checksums that they should have: so a change meets the checks
/// behind.
fn repaired(mut bytes: &[u8]) -> Vec<u8> {
    let mut state = Vec::new();
    while bytes.len() > HEAD_BYTES {
        let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let rest = &bytes[HEAD_BYTES..];
        let (value, rest) = rest.split_at(length.clamp(1, rest.len()));
        record::append(&mut state, |out| out.extend_from_slice(value));
        bytes = rest;
    }
    state
}

/// Sockets of which some take only a part.
struct Sockets;

impl Wire for Sockets {
    fn send(&mut self, index: u32, slices: &[IoSlice<'_>]) -> Sent {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(bytes > 0, "an empty send");
        match index % 4 {
            0 => Sent::Some(bytes / 2),
            1 if bytes > 1_000 => Sent::Failed,
            _ => Sent::All,
        }
    }

    fn shutdown(&mut self, _: u32) {}

    fn has_unread(&mut self, index: u32) -> bool {
        index.is_multiple_of(3)
    }
}

/// What a state is taken for.
#[derive(Clone, Copy)]
enum Kind {
    /// That of a single server, in a format.
    Single(u32),
    Node,
}

fn thawed(config: &Config, kind: Kind, state: &[u8]) -> Result<Engine, ThawError> {
    let format = match kind {
        Kind::Single(format) => format,
        Kind::Node => FORMAT,
    };
    let mut thawer = Thawer::of_format(state, format);
    let state = &mut thawer;
    let engine = match kind {
        Kind::Single(_) => Engine::thaw(config, None, MAX_CONNECTIONS, 1, state)?,
        Kind::Node => {
            let settings = Settings {
                ring_bytes: 4_096,
                ..Settings::default()
            };
            Engine::thaw(config, Some(settings), MAX_CONNECTIONS, 1, state)?
        }
    };
    thawer.finish()?;
    Ok(engine)
}

fn frozen(engine: &mut Engine, kind: Kind) -> Vec<u8> {
    if let Some(node) = engine.cluster() {
        node.rest(true);
    }
    let mut freezer = match kind {
        Kind::Single(format) => Freezer::of_format(Vec::new(), format),
        Kind::Node => Freezer::new(Vec::new()),
    };
    engine.freeze(&mut freezer).expect("memory takes all");
    freezer.into_inner()
}

/// A state, whose checksums are repaired.
pub fn thaw(bytes: &[u8]) {
    is_thawed(bytes);
}

/// As [`thaw()`]. Returns whether there is an engine with this state.
pub fn is_thawed(bytes: &[u8]) -> bool {
    let single = FORMATS.map(|format| is_thawed_as(Kind::Single(format), bytes));
    single.contains(&true) | is_thawed_as(Kind::Node, bytes)
}

fn is_thawed_as(kind: Kind, bytes: &[u8]) -> bool {
    let config = Config {
        max_channels: 100,
        page: false,
        ..Config::default()
    };
    let Ok(mut engine) = thawed(&config, kind, &repaired(bytes)) else {
        return false;
    };
    engine.check();
    let state = frozen(&mut engine, kind);
    let again = thawed(&config, kind, &state);
    let mut again = again.expect("what was thawed can be thawed again");
    assert_eq!(
        frozen(&mut again, kind),
        state,
        "not the same when frozen again"
    );

    let wire = &mut Sockets;
    let mut now_ms = engine.now().0;
    for (step, ms) in STEPS_MS.into_iter().enumerate() {
        now_ms = now_ms.saturating_add(ms);
        engine.set_now(Time(now_ms), 1_800_000_000_000);
        let connections: Vec<_> = engine.connections().collect();
        for (id, _) in connections {
            match (id.index as usize + step) % 4 {
                0 => engine.writable(id, wire),
                1 => engine.input(id, b"GET /poll/a HTTP/1.1\r\nHost: h\r\n\r\n", wire),
                2 => engine.input(id, b"0\r\n\r\n", wire),
                _ if step == 5 => engine.eof(id, wire),
                _ => {}
            }
        }
        if let Some(unsaved) = engine.take_unsaved() {
            engine.saved(unsaved.up_to, wire);
        }
        if let Some(id) = engine.accept(Access::Trusted) {
            engine.input(
                id,
                b"POST /publish/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
                wire,
            );
        }
        if let Some(id) = engine.next_deferred() {
            engine.resume(id, wire);
        }
        engine.continue_deferred(wire);
        if let Some(node) = engine.cluster() {
            node.rest(false);
            node.connected(Lane::Publish);
            node.connected(Lane::Follow);
            while node.next_command().is_some() {}
            node.broken(Lane::Publish);
        }
        engine.apply_log(1_000, wire);
        while engine.next_receipt().is_some() {}
        engine.deliver(100, wire);
        engine.serve_deadlines(100, wire);
        engine.release_drained(100);
        while engine.next_close().is_some() {}
        let _ = (engine.next_due(), engine.has_work());
    }
    if let Some(node) = engine.cluster() {
        node.rest(true);
    }
    if engine.unrest().is_none() {
        let state = frozen(&mut engine, kind);
        let again = thawed(&config, kind, &state);
        assert!(again.is_ok(), "it cannot be handed over");
    }
    true
}
