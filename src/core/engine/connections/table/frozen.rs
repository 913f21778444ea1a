//! All connections in a state that is handed over: the table, the deadlines, and the queue of those
//! with requests to process.
//!
//! Owns their forms. What connections hold of the hub is left to [`Hub::adopt_readers`].

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Connections;
use crate::base::meter::Meter;
use crate::base::time::Time;
use crate::base::wheel::{FrozenDeadline, Wheel};
use crate::config::Config;
use crate::engine::connections::conn::{Access, Conn, ConnId, Flags, FrozenConn};
use crate::engine::connections::holders::CredentialRef;
use crate::engine::connections::line_upload::FrozenStep;
use crate::engine::connections::request_state::{
    self, FreezingFrames, FrozenRequest, ThawingFrames,
};
use crate::engine::stats;
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::hub::{Hub, Item};
use crate::tokens::{FrozenToken, KeyId, MAX_SUBJECT_BYTES, Token};

#[derive(Serialize, Deserialize)]
struct FrozenTable {
    /// How many connections follow, and one more than the highest of their indices.
    count: u32,
    end: u32,
    generation: u32,
    spent_bytes: u64,
    /// The next tick of the wheel.
    next_tick: u64,
}

#[derive(Serialize, Deserialize)]
struct FrozenConnection<'c> {
    index: u32,
    conn: FrozenConn,
    credential: FrozenCredential<'c>,
    #[serde(borrow)]
    token: Option<FrozenToken<'c>>,
    #[serde(borrow)]
    request: Option<FrozenRequest<'c>>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum FrozenCredential<'h> {
    Anonymous,
    Publisher,
    Token { subject: Option<&'h str>, key: u64 },
}

impl<'h> From<CredentialRef<'h>> for FrozenCredential<'h> {
    fn from(credential: CredentialRef<'h>) -> FrozenCredential<'h> {
        match credential {
            CredentialRef::Anonymous => FrozenCredential::Anonymous,
            CredentialRef::Publisher => FrozenCredential::Publisher,
            CredentialRef::Token { subject, key } => FrozenCredential::Token {
                subject,
                key: key.0,
            },
        }
    }
}

impl<'h> From<FrozenCredential<'h>> for CredentialRef<'h> {
    fn from(frozen: FrozenCredential<'h>) -> CredentialRef<'h> {
        match frozen {
            FrozenCredential::Anonymous => CredentialRef::Anonymous,
            FrozenCredential::Publisher => CredentialRef::Publisher,
            FrozenCredential::Token { subject, key } => CredentialRef::Token {
                subject,
                key: KeyId(key),
            },
        }
    }
}

/// Writes all connections. Those that are closed are gone from the table before.
pub(in crate::engine) fn freeze<W: Write>(
    connections: &Connections,
    hub: &Hub,
    state: &mut Freezer<W>,
) -> io::Result<()> {
    debug_assert!(
        connections.to_close.is_empty(),
        "sockets are still to be closed"
    );
    let end = connections.table.iter().next_back();
    state.put(&FrozenTable {
        count: connections.table.len() as u32,
        end: end.map_or(0, |(index, _)| index as u32 + 1),
        // fault: generations-begin-again
        generation: connections.generation,
        spent_bytes: connections.spent_bytes as u64,
        next_tick: connections.wheel.next_tick(),
    })?;
    let holders = &connections.holders;
    let mut frames = FreezingFrames::new([&connections.buffers, hub.frame_meter()]);
    let table = connections.table.iter();
    state.put_all(table.map(|(index, conn)| {
        let index = index as u32;
        let request = conn.request.as_deref();
        // fault: kept-token-is-not-handed-over
        let token = holders.token(index);
        FrozenConnection {
            index,
            conn: FrozenConn::from(conn),
            // fault: holder-is-not-handed-over
            credential: holders.of(index).into(),
            token: token.map(|token| FrozenToken::from(&**token)),
            request: request.map(|request| request_state::freeze(request, &mut frames)),
        }
    }))?;
    if state.has_nodes() {
        let uploads = connections.table.iter();
        state.put_all(uploads.filter_map(|(index, conn)| {
            let step = FrozenStep::of(conn.line_upload()?)?;
            Some((index as u32, step))
        }))?;
    }
    // fault: deadlines-are-not-handed-over
    state.put_all(connections.wheel.freeze())?;
    // fault: deferred-input-turns-round
    state.put_all(&connections.deferred_input)?;
    stats::freeze(&connections.stats, state)
}

/// Reads what [`freeze`] wrote, at the time `now`, and gives their readers back to the hub. `keys`
/// seed the hash of subjects.
pub(in crate::engine) fn thaw<R: Read>(
    config: &Config,
    max_connections: usize,
    keys: (u64, u64),
    hub: &mut Hub,
    state: &mut Thawer<R>,
) -> Result<Connections, ThawError> {
    let FrozenTable {
        count,
        end,
        generation,
        spent_bytes,
        next_tick,
    } = state.take()?;
    if end as usize > max_connections {
        return Err(exceeds(count, end, max_connections));
    }
    let mut connections = Connections::new(config, max_connections, keys);
    connections.generation = generation;
    connections.spent_bytes =
        usize::try_from(spent_bytes).map_err(|_| ThawError::Damaged("too much was spent"))?;
    connections.now = hub.now();
    thaw_table(&mut connections, (count, end), hub.frame_meter(), state)?;
    if state.has_nodes() {
        thaw_steps(&mut connections, state)?;
    }
    thaw_wheel(&mut connections, next_tick, hub.now(), state)?;
    connections.deferred_input = thaw_queue(&connections, state)?;
    connections.stats = stats::thaw(state)?;
    let table = connections.table.iter_mut();
    hub.adopt_readers(table.map(|(index, conn)| (index as u32, &mut conn.reader)))?;
    check(&connections, hub)?;
    let ids: Vec<ConnId> = connections.ids().collect();
    for id in ids {
        if connections[id.index].reader.is_ahead() {
            connections.add_ahead(id);
        }
    }
    Ok(connections)
}

fn exceeds(count: u32, end: u32, max_connections: usize) -> ThawError {
    ThawError::Exceeds(format!(
        "{count} connections are open, in places up to {end}, and there may be {max_connections}: \
         set --max-connections, and the limit on open files, to no less than before"
    ))
}

/// Reads the connections into the table, which is empty.
fn thaw_table<R: Read>(
    connections: &mut Connections,
    (count, end): (u32, u32),
    frame_meter: &Arc<Meter>,
    state: &mut Thawer<R>,
) -> Result<(), ThawError> {
    const DAMAGED: ThawError = ThawError::Damaged("connections are not in the order of the table");
    let buffers = Arc::clone(&connections.buffers);
    let mut frames = ThawingFrames::new([&buffers, frame_meter]);
    let mut holes = Vec::new();
    let mut tokens = HashSet::new();
    let mut values = state.take_all();
    while let Some(frozen) = values.take::<FrozenConnection<'_>>()? {
        let index = frozen.index;
        if index >= end || (index as usize) < connections.table.len() {
            return Err(DAMAGED);
        }
        while connections.table.len() < index as usize {
            // It goes when all have their places.
            let hole = Conn::new(0, Access::Public);
            holes.push(connections.table.insert(hole));
        }
        let request = frozen.request.map(|request| {
            request_state::thaw(request, &buffers, &connections.line_requests, &mut frames)
        });
        let mut conn = Conn::try_from(frozen.conn)?;
        conn.request = request.transpose()?.map(Box::new);
        connections.states.enter(conn.state());
        let place = connections.table.insert(conn);
        debug_assert_eq!(place, index as usize, "an empty table is filled in order");
        let token = frozen.token.map(Arc::<Token>::try_from).transpose()?;
        let token = token.map(|token| share(&mut tokens, token));
        thaw_right(connections, index, frozen.credential, token)?;
    }
    let is_whole = connections.table.len() == end as usize
        && connections.table.len() - holes.len() == count as usize;
    // The lowest place is taken first.
    for hole in holes.into_iter().rev() {
        connections.table.remove(hole);
    }
    let last = (end as usize).checked_sub(1);
    match is_whole && last.is_none_or(|last| connections.table.contains(last)) {
        true => Ok(()),
        false => Err(DAMAGED),
    }
}

/// The token of connections that have the same one, which takes its memory once.
fn share(tokens: &mut HashSet<Arc<Token>>, token: Arc<Token>) -> Arc<Token> {
    if let Some(known) = tokens.get(&token) {
        return Arc::clone(known);
    }
    tokens.insert(Arc::clone(&token));
    token
}

/// Reads the lines that have no results yet.
fn thaw_steps<R: Read>(
    connections: &mut Connections,
    state: &mut Thawer<R>,
) -> Result<(), ThawError> {
    let mut values = state.take_all();
    while let Some((index, step)) = values.take::<(u32, FrozenStep<'_>)>()? {
        let conn = connections.table.get_mut(index as usize);
        let request = conn.and_then(|conn| conn.request.as_mut());
        let request = request.ok_or(ThawError::Damaged("lines are of no request"))?;
        let upload = request.lines.as_mut();
        step.thaw(upload.ok_or(ThawError::Damaged("lines are of no request"))?)?;
        request.update_charge();
    }
    Ok(())
}

fn thaw_right(
    connections: &mut Connections,
    index: u32,
    credential: FrozenCredential<'_>,
    token: Option<Arc<Token>>,
) -> Result<(), ThawError> {
    if let FrozenCredential::Token { subject, .. } = credential
        && subject.is_some_and(|subject| subject.len() > MAX_SUBJECT_BYTES)
    {
        return Err(ThawError::Damaged("a subject is too long"));
    }
    connections.holders.set(index, credential.into());
    if let Some(token) = token {
        if connections.holders.is_anonymous(index) {
            return Err(ThawError::Damaged("a token gives a connection no right"));
        }
        connections.holders.keep_token(index, token);
    }
    Ok(())
}

fn thaw_wheel<R: Read>(
    connections: &mut Connections,
    next_tick: u64,
    now: Time,
    state: &mut Thawer<R>,
) -> Result<(), ThawError> {
    const DAMAGED: ThawError = ThawError::Damaged("a deadline is of no connection");
    let keys = connections.max_connections;
    let mut wheel = Wheel::thaw(keys, next_tick, now).ok_or(DAMAGED)?;
    let mut values = state.take_all();
    while let Some(frozen) = values.take::<FrozenDeadline>()? {
        let key = wheel.thaw_deadline(keys, frozen);
        if !key.is_some_and(|key| connections.contains(key)) {
            return Err(DAMAGED);
        }
    }
    connections.wheel = wheel;
    Ok(())
}

/// The queue of connections with requests to process. It may name some that have ended.
fn thaw_queue<R: Read>(
    connections: &Connections,
    state: &mut Thawer<R>,
) -> Result<VecDeque<u32>, ThawError> {
    let mut queue = VecDeque::new();
    let mut values = state.take_all();
    while let Some(index) = values.take::<u32>()? {
        queue.push_back(index);
    }
    let mut queued: Vec<u32> = queue.iter().copied().collect();
    queued.sort_unstable();
    let is_missing = |(index, conn): (usize, &Conn)| {
        conn.flags.contains(Flags::DEFERRED_INPUT) && queued.binary_search(&(index as u32)).is_err()
    };
    match connections.table.iter().any(is_missing) {
        false => Ok(queue),
        true => Err(ThawError::Damaged(
            "requests wait for a turn that never comes",
        )),
    }
}

/// Checks all connections, whose readers the hub has adopted.
fn check(connections: &Connections, hub: &Hub) -> Result<(), ThawError> {
    if let Some((_, fault)) = connections.fault() {
        return Err(ThawError::Damaged(fault));
    }
    for (_, conn) in &connections.table {
        let follows = |channel: u32| hub.followed(&conn.reader).any(|each| each == channel);
        let is_known = |item: &Item| match *item {
            Item::End { channel, .. } => follows(channel),
            Item::Gap(_) | Item::Message { .. } => true,
        };
        let options = conn.options();
        if !options.is_none_or(|options| options.lingered.ends.iter().all(is_known)) {
            return Err(ThawError::Damaged(
                "a reader is to be told of a channel of others",
            ));
        }
        if conn.publishes_raw() && !conn.reader.is_following() {
            return Err(ThawError::Damaged("a socket publishes to no channel"));
        }
    }
    Ok(())
}
