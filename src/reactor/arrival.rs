//! The state that arrives from the old process of an upgrade, and the descriptors with it.
//!
//! Owns the checks that they fit together.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::thread;
use std::time::Instant;

use mio::Poll;

use super::addresses::Addresses;
use super::frozen::{self, Head, State};
use super::saving::Saving;
use super::sockets::{Arriving, Sockets, check};
use crate::disk;
use crate::handover::{TakeOver, TakeOverError};
use crate::inbox::Inbox;
use encke_core::base::time::Time;
use encke_core::config::Config;
use encke_core::engine::Engine;
use encke_core::frozen::{ThawError, Thawer};
use encke_core::log::cluster::Settings;

/// Bytes of the state that are read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A loop that is not told to serve yet.
pub(super) struct Arrival {
    pub(super) take_over: TakeOver,
    pub(super) head: Head,
    pub(super) config: Config,
    pub(super) then: Box<dyn FnOnce(bool) + Send>,
}

/// The values that are decided before the state comes.
pub(crate) struct Prepared {
    pub(crate) max_connections: usize,
    /// Of the state.
    pub(crate) format: u32,
    /// The settings of the node, if the server is one of a cluster.
    pub(crate) node: Option<Settings>,
}

/// The values that are handed over beside the loop itself.
pub(super) struct Thawed {
    pub(super) engine: Engine,
    pub(super) sockets: Sockets,
    pub(super) state: State,
    pub(super) addresses: Addresses,
    pub(super) saving: Option<Saving>,
    pub(super) clock: (Instant, Time),
}

/// Receives the state and the descriptors.
pub(super) fn receive(
    poll: &Poll,
    inbox: &Inbox,
    config: &Config,
    take_over: &TakeOver,
    prepared: Prepared,
) -> Result<Thawed, TakeOverError> {
    let Prepared {
        max_connections,
        format,
        node,
    } = prepared;
    let failed = |error: ThawError| TakeOverError::new("cannot take over", error);
    let registry = poll.registry().try_clone();
    let registry = registry.map_err(|error| failed(error.into()))?;
    let handed = take_over.ready(format)?;
    let memory = BufReader::with_capacity(BUFFER_BYTES, handed.memory);
    let mut thawer = Thawer::of_format(memory, format);
    let mut state = frozen::thaw(&mut thawer).map_err(failed)?;
    let mut addresses = Addresses::new(config.max_connections_per_address);
    let checked = check(
        &mut state.records,
        &state.addresses,
        &mut addresses,
        max_connections,
    );
    checked.map_err(failed)?;
    let has_lock = state.disk.is_some();
    if handed.descriptors != state.records.len() + usize::from(has_lock) {
        return Err(failed(ThawError::Damaged("the number of descriptors")));
    }
    let mut lock = None;
    let mut arriving = Arriving::new(&state.records, registry, max_connections);
    // The old process sends no more of them than were not taken yet.
    let (engine, taken) = thread::scope(|scope| {
        let taken = scope.spawn(|| {
            take_over.descriptors(handed.descriptors, |fd| match has_lock && lock.is_none() {
                true => {
                    lock = Some(File::from(fd));
                    Ok(())
                }
                false => arriving.take(fd),
            })
        });
        let (seed, state) = (fastrand::u64(..), &mut thawer);
        let engine = Engine::thaw(config, node, max_connections, seed, state);
        (engine, taken.join())
    });
    taken.map_err(|_| TakeOverError::new("cannot take over", "a thread has panicked"))??;
    let mut engine = engine.map_err(failed)?;
    thawer.finish().map_err(failed)?;
    frozen::compare(&state, &engine).map_err(failed)?;
    let is_known = |id| engine.state(id).is_some();
    if !state.deferred_reads.iter().copied().all(is_known) {
        return Err(failed(ThawError::Damaged("a deferred read")));
    }
    let sockets = arriving.finish();
    let sockets = sockets.ok_or_else(|| failed(ThawError::Damaged("sockets are missing")))?;
    let saving = match (&state.disk, lock, &config.saving.dir) {
        (Some(disk), Some(lock), Some(dir)) => {
            let saving = go_on_saving(disk, lock, dir, config, inbox, &mut engine);
            Some(saving.map_err(|error| failed(error.into()))?)
        }
        _ => None,
    };
    let clock = state.head.clock().map_err(|error| failed(error.into()))?;
    Ok(Thawed {
        engine,
        sockets,
        state,
        addresses,
        saving,
        clock,
    })
}

fn go_on_saving(
    disk: &disk::Frozen,
    lock: File,
    dir: &Path,
    config: &Config,
    inbox: &Inbox,
    engine: &mut Engine,
) -> io::Result<Saving> {
    let saver = disk::go_on(disk, lock, dir, config, inbox.bell())?;
    Ok(Saving::go_on(saver, engine))
}
