//! Delivery in a state that is handed over.
//!
//! Owns the order of its parts. Responses that connections share are left out: they are made again
//! when they are needed.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::drain::{self, FrozenDrain};
use super::state::Delivery;
use super::{review, waiting};
use crate::config::Config;
use crate::engine::connections::{self, ConnId, Connections};
use crate::engine::gauges::{FrozenGauges, ProcessGauges, ReconnectCause};
use crate::engine::response::{FrozenOrigins, Heads};
use crate::frozen::{Count, Freezer, ThawError, Thawer};
use crate::hub::Hub;

#[derive(Serialize, Deserialize)]
struct FrozenDelivery<'d> {
    random: u64,
    unix_ms: u64,
    drain: Option<FrozenDrain>,
    gauges: FrozenGauges,
    #[serde(borrow)]
    origins: FrozenOrigins<'d>,
}

/// Writes the hub, all connections, and what delivery knows beside them.
pub(in crate::engine) fn freeze<W: Write>(
    delivery: &Delivery,
    state: &mut Freezer<W>,
) -> io::Result<()> {
    debug_assert!(
        delivery.response.out.is_empty(),
        "a response is written and not sent"
    );
    delivery.hub.freeze(state)?;
    connections::freeze(&delivery.connections, &delivery.hub, state)?;
    state.put(&FrozenDelivery {
        // fault: random-numbers-begin-again
        random: delivery.random.get_seed(),
        unix_ms: delivery.unix_ms,
        // fault: drain-is-forgotten
        drain: delivery.drain.as_ref().map(FrozenDrain::from),
        gauges: FrozenGauges::from(&delivery.gauges),
        origins: delivery.response.heads.freeze_origins(),
    })?;
    if state.has_nodes() {
        let reconnects = delivery.gauges.reconnects;
        state.put(&reconnects.map(|counts| counts.map(Count)))?;
    }
    waiting::freeze(&delivery.publishing, state)?;
    // fault: review-is-forgotten
    review::freeze(&delivery.review, state)
}

/// Reads what [`freeze`] wrote. Deadlines stay as they are; what begins from now on is by these
/// settings. `keys` seed the hash of subjects.
pub(in crate::engine) fn thaw<R: Read>(
    config: &Config,
    max_connections: usize,
    keys: (u64, u64),
    state: &mut Thawer<R>,
) -> Result<Delivery, ThawError> {
    let mut hub = Hub::thaw(config, max_connections, state)?;
    let connections = connections::thaw(config, max_connections, keys, &mut hub, state)?;
    let capacity = connections.capacity();
    let frozen: FrozenDelivery<'_> = state.take()?;
    let random = fastrand::Rng::with_seed(frozen.random);
    let heads = Heads::thaw(config, frozen.origins)?;
    let (unix_ms, gauges) = (frozen.unix_ms, ProcessGauges::try_from(frozen.gauges)?);
    let drain = frozen.drain.map(|frozen| drain::thaw(frozen, capacity));
    let mut delivery = Delivery::new(config, connections, hub, random);
    delivery.response.heads = heads;
    delivery.response.heads.set_date(unix_ms / 1_000);
    delivery.unix_ms = unix_ms;
    delivery.gauges = gauges;
    delivery.drain = drain;
    if state.has_nodes() {
        let reconnects: Option<[Count; ReconnectCause::ALL.len()]> = state.take()?;
        delivery.gauges.reconnects = reconnects.map(|counts| counts.map(|Count(count)| count));
    }
    let mut waiting_of = HashMap::new();
    let note = |id: ConnId| *waiting_of.entry((id.index, id.generation)).or_insert(0) += 1;
    let (buffers, is_node) = (&delivery.connections.buffers, delivery.hub.is_shared());
    delivery.publishing = waiting::thaw(buffers, is_node, note, state)?;
    check_waiting(&delivery.connections, &waiting_of)?;
    delivery.review = review::thaw(capacity, state)?;
    Ok(delivery)
}

/// Checks that each connection waits for as many responses as it says.
fn check_waiting(
    connections: &Connections,
    waiting_of: &HashMap<(u32, u32), u32>,
) -> Result<(), ThawError> {
    for id in connections.ids() {
        let request = connections[id.index].request.as_ref();
        let expected = request.map_or(0, |request| request.waiting_answers);
        let waiting = waiting_of.get(&(id.index, id.generation));
        if waiting.copied().unwrap_or(0) != expected {
            return Err(ThawError::Damaged("responses wait that nobody waits for"));
        }
    }
    Ok(())
}
