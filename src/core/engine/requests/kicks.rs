//! Kicks in a cluster: connections of a subject end on all nodes.
//!
//! Owns when the searches that this takes here begin and go on. A node that is asked begins at
//! once, whether the log takes the kick or not: an operator can end connections here while the engine
//! is away. The response waits for the log. A node that reads the kick of another searches before it
//! applies what follows in the log, so no message that is published after the response comes to a
//! connection that was to end.

use super::connections::Search;
use super::state::Requests;
use crate::engine::delivery::Delivery;
use crate::engine::response::Problem;
use crate::log::cluster::{BlockPlace, Kick, MAX_BLOCKS, Ticket};
use crate::log::{Clustered, Log};

/// Searches that wait at most. Each takes some milliseconds for a million connections.
const MAX_SEARCHES: usize = 64;

/// Ends the connections that a search looks for, here and on all nodes, and blocks their subject.
/// Returns the ticket of the response.
///
/// # Errors
///
/// The log does not take it: the other nodes are not told.
pub(super) fn kick(
    requests: &mut Requests,
    delivery: &Delivery,
    search: Search,
) -> Result<Ticket, Problem> {
    requests.check_room_to_wait(&delivery.connections.buffers, 0)?;
    let Log::Clustered(log) = &mut requests.log else {
        return Err(Problem::bad("this server is no node of a cluster"));
    };
    if requests.kicks.searches.len() >= MAX_SEARCHES {
        return Err(log.refuse_busy().into());
    }
    let until_ms = match search.block() {
        Some((subject, block_s)) => {
            let until_ms = delivery.unix_ms.saturating_add(block_s * 1_000);
            requests.authorizer.tokens_mut().block(subject, until_ms);
            until_ms
        }
        None => 0,
    };
    let ticket = log.kick(&search.as_kick(until_ms));
    let asked = ticket.as_ref().ok().copied();
    requests.kicks.searches.push_back((search, asked));
    ticket.map_err(|refusal| {
        let problem = Problem::from(refusal);
        let detail = format!(
            "the other nodes are not told, repeat this later; on this node the connections end: {}",
            problem.detail()
        );
        Problem::new(503, detail).with("Retry-After", "5")
    })
}

/// Goes on with the searches. Returns whether there is none left, so that the log may go on.
pub(in crate::engine) fn continue_kicks(requests: &mut Requests, delivery: &mut Delivery) -> bool {
    let Some((search, _)) = requests.kicks.searches.front_mut() else {
        return true;
    };
    if search.advance(delivery) {
        let ended = requests.kicks.searches.pop_front();
        if let Some((search, Some(ticket))) = ended {
            requests.kicks.ended.insert(ticket, search.found());
        }
    }
    requests.kicks.searches.is_empty()
}

/// Does what the log says: another node was asked, or this one.
pub(in crate::engine) fn take_kick(
    requests: &mut Requests,
    kick: Kick<'static>,
    is_own: bool,
    unix_ms: u64,
) {
    let tokens = requests.authorizer.tokens_mut();
    // What is told again is not the newest word on a subject.
    let is_news = kick.ends || !tokens.is_blocked(&kick.subject, unix_ms);
    if kick.until_ms > unix_ms && is_news {
        tokens.block(&kick.subject, kick.until_ms);
    }
    if kick.ends && !is_own {
        let search = Search::of_kick(kick);
        requests.kicks.searches.push_back((search, None));
    }
}

/// The body of the response to a request that ended connections, if the ticket is of one.
pub(in crate::engine) fn ended_by(requests: &mut Requests, ticket: Ticket) -> Option<Vec<u8>> {
    let ended = requests.kicks.ended.remove(&ticket)?;
    let mut json = Vec::new();
    super::connections::write_found(&mut json, "ended", ended, node_of(&requests.log));
    Some(json)
}

/// The name of this node, if the server is one.
pub(super) fn node_of(log: &Log) -> Option<&str> {
    match log {
        Log::Clustered(log) => Some(log.node().name()),
        Log::Memory(_) | Log::Saved(_) => None,
    }
}

/// Gives the log the blocked subjects that it is to have again.
pub(in crate::engine) fn tell_blocks(requests: &mut Requests, unix_ms: u64) {
    let Requests {
        log, authorizer, ..
    } = requests;
    let Some(node) = log.as_clustered().map(Clustered::node_mut) else {
        return;
    };
    if let Some(after) = node.wants_blocks() {
        let blocked = authorizer.tokens().blocked_after(after, unix_ms);
        let blocks: Vec<BlockPlace> = blocked.take(MAX_BLOCKS).collect();
        node.tell_blocks(&blocks);
    }
}
