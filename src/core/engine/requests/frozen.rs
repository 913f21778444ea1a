//! The endpoints beside delivery, in a state that is handed over: the log, the rights, and
//! responses that take more than one tick.
//!
//! Owns the order of these parts, and what new settings mean for connections that are parked.

use std::collections::HashSet;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::channels::{FrozenListing, Listing};
use super::connections::{FrozenSearch, Search};
use super::deferred::{Deferred, DeferredResponse};
use super::state::Requests;
use crate::config::Config;
use crate::engine::connections::{ConnId, State};
use crate::engine::delivery::Delivery;
use crate::engine::response::{FrozenContext, ResponseContext};
use crate::engine::routing::{freeze_authorizer, is_by_lines, thaw_authorizer};
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::http1::{self, Outcome, Scan};
use crate::log::cluster::{Settings, Ticket};
use crate::log::{Log, Mark};

#[derive(Serialize, Deserialize)]
struct FrozenResponse<'r> {
    index: u32,
    generation: u32,
    context: FrozenContext,
    #[serde(borrow)]
    work: FrozenWork<'r>,
}

/// A search for connections that are to end on all nodes, and the ticket of its response.
#[derive(Serialize, Deserialize)]
struct FrozenKick<'k> {
    #[serde(borrow)]
    search: FrozenSearch<'k>,
    ticket: Option<u64>,
}

/// A ticket, and how many connections were ended for it.
#[derive(Serialize, Deserialize)]
struct FrozenEnded(u64, u32);

#[derive(Serialize, Deserialize)]
enum FrozenWork<'w> {
    #[serde(borrow)]
    Listing(FrozenListing<'w>),
    #[serde(borrow)]
    Search(FrozenSearch<'w>),
}

impl<'r> From<&'r DeferredResponse> for FrozenResponse<'r> {
    fn from(response: &'r DeferredResponse) -> FrozenResponse<'r> {
        FrozenResponse {
            index: response.id.index,
            generation: response.id.generation,
            context: FrozenContext::from(&response.context),
            work: match &response.work {
                Deferred::Listing(listing) => FrozenWork::Listing(listing.into()),
                Deferred::Search(search) => FrozenWork::Search(search.into()),
            },
        }
    }
}

impl TryFrom<FrozenResponse<'_>> for DeferredResponse {
    type Error = ThawError;

    fn try_from(frozen: FrozenResponse<'_>) -> Result<DeferredResponse, ThawError> {
        Ok(DeferredResponse {
            id: ConnId {
                index: frozen.index,
                generation: frozen.generation,
            },
            context: ResponseContext::try_from(frozen.context)?,
            work: match frozen.work {
                FrozenWork::Listing(listing) => Deferred::Listing(Listing::try_from(listing)?),
                FrozenWork::Search(search) => Deferred::Search(Search::try_from(search)?),
            },
        })
    }
}

/// Writes the log, the rights in force, the responses that take more than one tick, and connections
/// that are to end.
pub(in crate::engine) fn freeze<W: Write>(
    requests: &Requests,
    state: &mut Freezer<W>,
) -> io::Result<()> {
    requests.log.freeze(state)?;
    freeze_authorizer(&requests.authorizer, state)?;
    state.put_all(requests.deferred.iter().map(FrozenResponse::from))?;
    if !state.has_nodes() {
        return Ok(());
    }
    let kicks = &requests.kicks;
    state.put_all(kicks.searches.iter().map(|(search, ticket)| FrozenKick {
        search: search.into(),
        ticket: ticket.map(|ticket| ticket.0),
    }))?;
    let ended = kicks.ended.iter();
    state.put_all(ended.map(|(ticket, &ended)| FrozenEnded(ticket.0, ended as u32)))
}

/// Reads what [`freeze`] wrote. If the rights have changed, parked connections are reviewed as
/// after a reload. `node` are the settings of a node of a cluster. `seed` keys the hash of tokens.
pub(in crate::engine) fn thaw<R: Read>(
    config: &Config,
    node: Option<Settings>,
    seed: (u64, u64),
    delivery: &mut Delivery,
    state: &mut Thawer<R>,
) -> Result<Requests, ThawError> {
    let log = Log::thaw(&delivery.hub, node, state)?;
    let (authorizer, earlier) = thaw_authorizer(config, seed, state)?;
    let mut requests = Requests::new(config, log, seed);
    requests.authorizer = authorizer;
    let mut values = state.take_all();
    while let Some(frozen) = values.take::<FrozenResponse<'_>>()? {
        let response = DeferredResponse::try_from(frozen)?;
        requests.deferred.push_back(response);
    }
    if state.has_nodes() {
        thaw_kicks(&mut requests, state)?;
    }
    check_deferred(&requests, delivery)?;
    check_lines(delivery)?;
    check_steps(&requests.log, delivery)?;
    if let Some(earlier) = earlier {
        delivery.review.begin(earlier);
    }
    Ok(requests)
}

fn thaw_kicks<R: Read>(requests: &mut Requests, state: &mut Thawer<R>) -> Result<(), ThawError> {
    let mut values = state.take_all();
    while let Some(FrozenKick { search, ticket }) = values.take()? {
        let search = Search::try_from(search)?;
        let ticket = ticket.map(Ticket);
        requests.kicks.searches.push_back((search, ticket));
    }
    let mut values = state.take_all();
    while let Some(FrozenEnded(ticket, ended)) = values.take()? {
        requests.kicks.ended.insert(Ticket(ticket), ended.into());
    }
    Ok(())
}

/// Checks that each response that takes more than one tick comes, and once.
fn check_deferred(requests: &Requests, delivery: &Delivery) -> Result<(), ThawError> {
    let connections = &delivery.connections;
    let is_deferred = |id: &ConnId| connections[id.index].state() == State::Deferred;
    let expected: HashSet<ConnId> = connections.ids().filter(is_deferred).collect();
    let under_way = requests.deferred.iter().map(|response| response.id);
    // That of a connection that has ended is left out when its turn comes.
    let mut under_way = under_way.filter(|&id| connections.find(id).is_some());
    let mut seen = HashSet::new();
    let is_due = |id: ConnId| expected.contains(&id) && seen.insert(id);
    let are_due = under_way.all(is_due);
    match are_due && seen.len() == expected.len() {
        true => Ok(()),
        false => Err(ThawError::Damaged(
            "a response that takes long is not under way",
        )),
    }
}

/// Checks that the requests that publish by lines are such: they are judged again by their heads.
fn check_lines(delivery: &Delivery) -> Result<(), ThawError> {
    let connections = &delivery.connections;
    let uploads = connections
        .ids()
        .filter_map(|id| connections[id.index].line_upload());
    for upload in uploads {
        let parsed = http1::parse(&upload.head, &mut Scan::default(), upload.head.len());
        if !matches!(&parsed, Ok(Outcome::Complete { head, .. }) if is_by_lines(head)) {
            return Err(ThawError::Damaged(
                "a request by lines does not ask for that",
            ));
        }
    }
    Ok(())
}

/// Checks that each request that waits for results of its lines gets them: by tickets that are not
/// done, and behind what waits before it.
fn check_steps(log: &Log, delivery: &Delivery) -> Result<(), ThawError> {
    const DAMAGED: ThawError = ThawError::Damaged("lines wait for results that do not come");
    let connections = &delivery.connections;
    let mut steps = 0;
    let mut before = Mark::default();
    for (id, mark, is_step) in delivery.publishing.marks() {
        if is_step {
            // One whose connection has ended is left out when its turn comes.
            if let Some(index) = connections.find(id) {
                let upload = connections[index].line_upload();
                let step = upload
                    .and_then(|upload| upload.step.as_ref())
                    .ok_or(DAMAGED)?;
                let is_awaited =
                    |ticket: Mark| ticket > before && ticket <= mark && !log.is_saved(ticket);
                if !step.awaited().map(Mark::from).all(is_awaited) {
                    return Err(DAMAGED);
                }
                steps += 1;
            }
        }
        before = mark;
    }
    let has_step = |id: &ConnId| {
        let upload = connections[id.index].line_upload();
        upload.is_some_and(|upload| upload.step.is_some())
    };
    match connections.ids().filter(has_step).count() == steps {
        true => Ok(()),
        false => Err(DAMAGED),
    }
}
