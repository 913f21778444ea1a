//! The engine of a world, and beside it one that was there before it was frozen and thawed.
//!
//! Owns both. A server is handed over at any tick: the engine is frozen, the world goes on with
//! what is thawed, and looks at it with all its rules as before. The one that was frozen goes on
//! too, with the same calls: both must return the same, and make the same calls of [`Wire`].
//!
//! The two go apart where that is allowed: places of connections that have ended are given out
//! again in another order, a response that was encoded before a reload keeps its head as long as
//! somebody holds it, and metrics tell how much of caches is filled. From there on the thawed one
//! is alone.

use std::fmt;
use std::io::IoSlice;
use std::ops::Deref;

use encke_core::base::time::Time;
use encke_core::config::Config;
use encke_core::engine::{Access, ConnId, Engine, Sent, Wire};
use encke_core::frozen::{Freezer, Thawer};
use encke_core::hub::{Published, Refusal};
use encke_core::log::{EntryError, Health, Mark, Unsaved};
use encke_core::message::Draft;

/// Bytes of a date in a head.
const DATE_BYTES: usize = "Fri, 15 Jan 2027 08:00:00 GMT".len();

/// One call of a wire, and what it returned.
#[derive(PartialEq, Eq)]
enum Call {
    Send(u32, Vec<u8>, Sent),
    Shutdown(u32),
    HasUnread(u32, bool),
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Send(index, bytes, sent) => {
                write!(
                    f,
                    "sends {index} {:?}: {sent:?}",
                    String::from_utf8_lossy(bytes)
                )
            }
            Call::Shutdown(index) => write!(f, "shuts down {index}"),
            Call::HasUnread(index, has_unread) => write!(f, "looks at {index}: {has_unread}"),
        }
    }
}

/// Notes the calls that it passes on.
struct Recorder<'w, W> {
    wire: &'w mut W,
    calls: Vec<Call>,
}

impl<W: Wire> Wire for Recorder<'_, W> {
    fn send(&mut self, index: u32, slices: &[IoSlice<'_>]) -> Sent {
        let sent = self.wire.send(index, slices);
        self.calls.push(Call::Send(index, joined(slices), sent));
        sent
    }

    fn shutdown(&mut self, index: u32) {
        self.wire.shutdown(index);
        self.calls.push(Call::Shutdown(index));
    }

    fn has_unread(&mut self, index: u32) -> bool {
        let has_unread = self.wire.has_unread(index);
        self.calls.push(Call::HasUnread(index, has_unread));
        has_unread
    }
}

/// Expects the same calls again, and returns what they returned.
struct Replayer {
    calls: std::vec::IntoIter<Call>,
    /// The two have gone apart, as they may: the further calls do not matter.
    is_apart: bool,
}

impl Wire for Replayer {
    fn send(&mut self, index: u32, slices: &[IoSlice<'_>]) -> Sent {
        let bytes = joined(slices);
        match self.calls.next() {
            _ if self.is_apart => Sent::All,
            Some(Call::Send(other, expected, sent))
                if other == index && is_same(&expected, &bytes) =>
            {
                sent
            }
            Some(Call::Send(other, expected, _))
                if other == index && are_metrics(&expected) && are_metrics(&bytes) =>
            {
                self.is_apart = true;
                Sent::All
            }
            expected => panic!(
                "the frozen one sends {index} {:?}, the thawed one: {expected:?}",
                String::from_utf8_lossy(&bytes)
            ),
        }
    }

    fn shutdown(&mut self, index: u32) {
        let expected = self.calls.next();
        let is_expected = self.is_apart || expected == Some(Call::Shutdown(index));
        assert!(
            is_expected,
            "the frozen one shuts down {index}, the thawed one: {expected:?}"
        );
    }

    fn has_unread(&mut self, index: u32) -> bool {
        match self.calls.next() {
            _ if self.is_apart => false,
            Some(Call::HasUnread(other, has_unread)) if other == index => has_unread,
            expected => panic!("the frozen one looks at {index}, the thawed one: {expected:?}"),
        }
    }
}

fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.to_vec()).collect()
}

/// Whether two sends are the same but for the dates of heads: a head that others share may have
/// been written a second before.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other || (one.len() == other.len() && dateless(one) == dateless(other))
}

/// Whether these are metrics, which tell how much of caches is filled.
fn are_metrics(bytes: &[u8]) -> bool {
    const GAUGE: &[u8] = b"encke_frame_bytes";
    bytes.windows(GAUGE.len()).any(|part| part == GAUGE)
}

fn dateless(bytes: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"Date: ";
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(NAME.len())
        .position(|part| part == NAME)
    {
        at += found + NAME.len();
        let end = bytes.len().min(at + DATE_BYTES);
        bytes[at..end].fill(b'?');
    }
    bytes
}

/// Makes a call with a wire of both engines: the second makes the same calls of it.
macro_rules! on_both {
    ($twins:ident, $wire:ident, |$engine:ident, $on:ident| $call:expr) => {{
        let Some(frozen) = &mut $twins.frozen else {
            let ($engine, $on) = (&mut $twins.engine, $wire);
            return $call;
        };
        let mut recorder = Recorder {
            wire: $wire,
            calls: Vec::new(),
        };
        let result = {
            let ($engine, $on) = (&mut $twins.engine, &mut recorder);
            $call
        };
        let mut replayer = Replayer {
            calls: recorder.calls.into_iter(),
            is_apart: false,
        };
        let other = {
            let ($engine, $on) = (frozen, &mut replayer);
            $call
        };
        if replayer.is_apart {
            $twins.frozen = None;
            return result;
        }
        assert_eq!(result, other, "thawed, frozen");
        assert_eq!(replayer.calls.next(), None, "of the thawed one alone");
        $twins.compare();
        result
    }};
}

/// The engine of a world.
pub(crate) struct Twins {
    engine: Engine,
    /// The one that it was thawed from, as long as the two are the same.
    frozen: Option<Engine>,
}

impl Deref for Twins {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// The state of an engine.
pub(crate) fn state_of(engine: &Engine) -> Vec<u8> {
    let mut freezer = Freezer::new(Vec::new());
    engine.freeze(&mut freezer).expect("memory takes all");
    freezer.into_inner()
}

impl Twins {
    pub(crate) fn new(engine: Engine) -> Twins {
        Twins {
            engine,
            frozen: None,
        }
    }

    /// Freezes the engine, all of whose closed sockets are closed, and goes on with what is thawed.
    /// If the settings are the same, nobody can tell: if `beside`, the one before goes on beside
    /// it.
    pub(crate) fn hand_over(
        &mut self,
        config: &Config,
        max_connections: usize,
        seed: u64,
        is_reload: bool,
        beside: bool,
    ) {
        let state = state_of(&self.engine);
        let mut thawer = Thawer::new(&state[..]);
        let thawed = Engine::thaw(config, None, max_connections, seed, &mut thawer);
        let thawed = thawed.unwrap_or_else(|error| panic!("a state is refused: {error}"));
        thawer.finish().expect("a state has nothing after it");
        thawed.check();
        assert!(
            thawed.connections().eq(self.engine.connections()),
            "not the same connections"
        );
        assert!(
            is_reload || state_of(&thawed) == state,
            "what is thawed and frozen again is not the same"
        );
        let frozen = std::mem::replace(&mut self.engine, thawed);
        self.frozen = (beside && !is_reload).then_some(frozen);
    }

    /// Whether the one before the last hand-over goes on as well.
    pub(crate) fn are_two(&self) -> bool {
        self.frozen.is_some()
    }

    /// Makes a call of both, without a wire.
    fn both<T: PartialEq + std::fmt::Debug>(&mut self, call: impl Fn(&mut Engine) -> T) -> T {
        let result = call(&mut self.engine);
        if let Some(frozen) = &mut self.frozen {
            assert_eq!(result, call(frozen), "thawed, frozen");
            self.compare();
        }
        result
    }

    /// Checks that both give the same answers.
    fn compare(&self) {
        let Some(frozen) = &self.frozen else { return };
        let asked = |engine: &Engine| {
            (
                engine.next_due(),
                engine.has_work(),
                engine.connection_count(),
                engine.newest(),
                engine.is_drained(),
                engine.has_waiting_publishers(),
            )
        };
        assert_eq!(asked(&self.engine), asked(frozen), "thawed, frozen");
    }

    pub(crate) fn set_now(&mut self, now: Time, unix_ms: u64) {
        self.both(|engine| engine.set_now(now, unix_ms));
        if let Some(frozen) = &self.frozen {
            let [thawed, frozen] = [&self.engine, frozen].map(|engine| engine.stats());
            assert_eq!(
                format!("{thawed:?}"),
                format!("{frozen:?}"),
                "thawed, frozen"
            );
        }
    }

    pub(crate) fn set_load(&mut self, permille: u32) {
        self.both(|engine| engine.gauges().load_permille = permille);
    }

    pub(crate) fn accept(&mut self, access: Access) -> Option<ConnId> {
        let id = self.engine.accept(access);
        if let Some(frozen) = &mut self.frozen {
            let other = frozen.accept(access);
            let generation = |id: Option<ConnId>| id.map(|id| id.generation);
            assert_eq!(generation(id), generation(other), "thawed, frozen");
            if id != other {
                self.frozen = None;
            }
        }
        self.compare();
        id
    }

    pub(crate) fn input(&mut self, id: ConnId, bytes: &[u8], wire: &mut impl Wire) {
        on_both!(self, wire, |engine, wire| engine.input(id, bytes, wire))
    }

    pub(crate) fn eof(&mut self, id: ConnId, wire: &mut impl Wire) {
        on_both!(self, wire, |engine, wire| engine.eof(id, wire))
    }

    pub(crate) fn broken(&mut self, id: ConnId) {
        self.both(|engine| engine.broken(id));
    }

    pub(crate) fn writable(&mut self, id: ConnId, wire: &mut impl Wire) {
        on_both!(self, wire, |engine, wire| engine.writable(id, wire))
    }

    pub(crate) fn next_deferred(&mut self) -> Option<ConnId> {
        self.both(Engine::next_deferred)
    }

    pub(crate) fn resume(&mut self, id: ConnId, wire: &mut impl Wire) {
        on_both!(self, wire, |engine, wire| engine.resume(id, wire))
    }

    pub(crate) fn continue_deferred(&mut self, wire: &mut impl Wire) -> Option<ConnId> {
        on_both!(self, wire, |engine, wire| engine.continue_deferred(wire))
    }

    pub(crate) fn submit<'n>(
        &mut self,
        message: Draft<'n>,
    ) -> Result<Published, (Refusal, Draft<'n>)> {
        self.both(|engine| engine.submit(message.clone()))
    }

    pub(crate) fn take_unsaved(&mut self) -> Option<Unsaved> {
        self.both(Engine::take_unsaved)
    }

    pub(crate) fn saved(&mut self, up_to: Mark, wire: &mut impl Wire) {
        on_both!(self, wire, |engine, wire| engine.saved(up_to, wire))
    }

    pub(crate) fn set_log_health(&mut self, health: Health) {
        self.both(|engine| engine.set_log_health(health));
    }

    pub(crate) fn carry(&mut self, records: &[u8]) -> Result<Option<Mark>, EntryError> {
        self.both(|engine| engine.carry(records))
    }

    pub(crate) fn deliver(&mut self, budget: usize, wire: &mut impl Wire) {
        on_both!(self, wire, |engine, wire| engine.deliver(budget, wire))
    }

    pub(crate) fn serve_deadlines(&mut self, budget: usize, wire: &mut impl Wire) {
        on_both!(self, wire, |engine, wire| engine
            .serve_deadlines(budget, wire))
    }

    /// A message that is encoded before keeps its head in the frozen one.
    pub(crate) fn reconfigure(&mut self, config: &Config) {
        self.frozen = None;
        self.engine.reconfigure(config);
    }

    pub(crate) fn begin_drain(&mut self) {
        self.both(Engine::begin_drain);
    }

    pub(crate) fn release_drained(&mut self, budget: usize) {
        self.both(|engine| engine.release_drained(budget));
    }

    pub(crate) fn next_close(&mut self) -> Option<u32> {
        self.both(Engine::next_close)
    }
}
