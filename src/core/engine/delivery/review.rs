//! The review of parked connections after a change of rights.
//!
//! Owns which of them keep their right to receive. The others end like those whose token expires.
//!
//! The grants of a token are not kept for its connections. If a channel required a token when the
//! connection was accepted, the token was checked then and is assumed to grant the channel. If the
//! channel was open to anyone and requires a token now, the token was never checked for it: the
//! connection ends, and the client reconnects with its token.

mod frozen;

pub(super) use frozen::{freeze, thaw};

use std::collections::{HashSet, VecDeque};

use crate::config::Subscribe;
use crate::engine::connections::{Access, Connections, CredentialRef};
use crate::engine::routing::Rights;
use crate::hub::Hub;
use crate::pattern::PATTERNS_PER_CHANNEL;

/// Changes whose reviews wait. Of more in a short time, the last is reviewed strictly.
const MAX_CHANGES: usize = 16;

/// Connections that are to be reviewed, and the rights that they were accepted under.
#[derive(Default)]
pub(in crate::engine) struct Review {
    /// The changes whose review is not over, oldest first: the rights in force before, and the next
    /// connection to look at.
    changes: VecDeque<Change>,
}

struct Change {
    /// The rights before the change. `None`: several, so a connection keeps only what needs no
    /// credential.
    earlier: Option<Rights>,
    next: u32,
    /// Connections from `next` on that were parked since the change, so under the rights after it.
    /// Each is here once, and without credentials there is none.
    parked: HashSet<u32>,
}

impl Review {
    /// Begins to review all connections for a change from `earlier` rights.
    pub(in crate::engine) fn begin(&mut self, earlier: Rights) {
        let is_full = self.changes.len() == MAX_CHANGES;
        if is_full {
            self.changes.pop_back();
        }
        self.changes.push_back(Change {
            earlier: (!is_full).then_some(earlier),
            next: 0,
            parked: HashSet::new(),
        });
    }

    /// Notes that a connection with a credential is parked now: no change before this moment is a
    /// reason to end it.
    pub(super) fn note_parked(&mut self, index: u32) {
        for change in &mut self.changes {
            if index >= change.next {
                change.parked.insert(index);
            }
        }
    }

    /// Reviews a connection out of order, because its client asks for more.
    pub(in crate::engine) fn judge(
        &self,
        rights: &Rights,
        connections: &mut Connections,
        hub: &Hub,
        index: u32,
    ) {
        for change in &self.changes {
            if index >= change.next && !change.parked.contains(&index) {
                review(rights, change.earlier.as_ref(), connections, hub, index);
            }
        }
    }

    /// Whether there are connections to look at.
    pub(in crate::engine) fn is_under_way(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Looks at the next connections. Each takes 1 of the budget, and each channel that it follows
    /// 1 more, and 1 for each [`PATTERNS_PER_CHANNEL`] patterns with which the name may be
    /// compared.
    pub(in crate::engine) fn advance(
        &mut self,
        rights: &Rights,
        connections: &mut Connections,
        hub: &Hub,
        mut budget: usize,
    ) {
        let Some(change) = self.changes.front_mut() else {
            return;
        };
        let patterns = rights.patterns() + change.earlier.as_ref().map_or(0, Rights::patterns);
        let channel_cost = 1 + patterns / PATTERNS_PER_CHANNEL;
        // fault: last-index-is-not-reviewed
        while budget > 0 && change.next < connections.capacity() {
            let index = change.next;
            change.next += 1;
            budget -= 1;
            let is_new = change.parked.remove(&index);
            if is_new || !connections.contains(index) || !connections[index].is_parked() {
                continue;
            }
            let channels = hub.followed(&connections[index].reader).count();
            budget = budget.saturating_sub(channels * channel_cost);
            review(rights, change.earlier.as_ref(), connections, hub, index);
        }
        if change.next == connections.capacity() {
            self.changes.pop_front();
        }
    }
}

/// Ends a parked connection that loses its right.
fn review(
    rights: &Rights,
    earlier: Option<&Rights>,
    connections: &mut Connections,
    hub: &Hub,
    index: u32,
) {
    if !keeps_right(rights, earlier, connections, hub, index) {
        return connections.revoke(index);
    }
    if let CredentialRef::Token { key, .. } = connections.holders.of(index)
        && !earlier.is_some_and(|earlier| rights.still_trusts(key, earlier))
    {
        // It stays for channels that are for anyone, and may not ask for more.
        // fault: distrusted-token-is-kept
        connections.holders.drop_token(index);
    }
}

/// Whether a parked connection may receive from all its channels under the present rights.
fn keeps_right(
    rights: &Rights,
    earlier: Option<&Rights>,
    connections: &Connections,
    hub: &Hub,
    index: u32,
) -> bool {
    let conn = &connections[index];
    if conn.access == Access::Trusted {
        return true;
    }
    let credential = connections.holders.of(index);
    if credential == CredentialRef::Publisher {
        return earlier.is_some_and(|earlier| rights.publish_key() == earlier.publish_key());
    }
    let mut channels = hub.followed(&conn.reader);
    channels.all(|channel| {
        let name = hub.channel(channel).name();
        match (rights.subscribe(name), credential) {
            (Subscribe::Anyone, _) => true,
            (Subscribe::Token, CredentialRef::Token { key, .. }) => {
                earlier.is_some_and(|earlier| {
                    // fault: removed-key-is-trusted
                    earlier.subscribe(name) == Subscribe::Token && rights.still_trusts(key, earlier)
                })
            }
            (Subscribe::Token | Subscribe::Nobody, _) => false,
        }
    })
}
