//! The right of a parked request to receive, and its end.
//!
//! Owns when a right must end, when it may, and what must be said then: at the expiry of its token,
//! by an operator, or by new settings.

use encke_core::base::time::millis;
use encke_core::config::Subscribe;
use encke_core::engine::{Access, State};

use crate::request::Receive;
use crate::rights::{Identity, Rights};
use crate::rule::ensure;
use crate::world::World;

/// Deadlines are kept in units of 16 ms, and round up to a tick.
const ROUNDING_MS: u64 = 32;

/// The most by which connections end before the expiry of their token.
const SPREAD_MS: u64 = 30_000;

/// The right of one parked request.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) access: Access,
    pub(crate) identity: Identity,
    /// Of a socket: its token gives it nothing more, since it is not trusted by new settings.
    pub(crate) is_distrusted: bool,
    /// When it may end first, and when it has ended, by the expiry of its token.
    earliest: u64,
    latest: u64,
    /// Before this, the hold or stream does not end by itself.
    own_end: u64,
    /// How many changes of rights there had been.
    changes: usize,
    /// When it was taken away.
    pub(crate) revoked_at: Option<u64>,
    /// When the server ended the hold or stream.
    pub(crate) ended_at: Option<u64>,
    /// Nothing newer than this may come.
    pub(crate) void_after: Option<u64>,
}

impl Term {
    pub(crate) fn new(world: &World, access: Access, identity: Identity, own_ms: u64) -> Term {
        let now = world.now;
        let (earliest, latest) = match &identity {
            Identity::Token(token) => {
                let left = (token.exp_s * 1_000).saturating_sub(world.wall_ms);
                let spread = SPREAD_MS.min(left / 10);
                (now + left - spread, now + left)
            }
            Identity::Anonymous | Identity::Publisher(_) => (u64::MAX, u64::MAX),
        };
        Term {
            access,
            identity,
            is_distrusted: false,
            earliest: earliest.saturating_sub(16),
            latest,
            own_end: (now + own_ms).saturating_sub(16),
            changes: world.changes,
            revoked_at: None,
            ended_at: None,
            void_after: None,
        }
    }

    /// Whether its right may have ended by `now`.
    pub(crate) fn may_have_ended(&self, now: u64) -> bool {
        self.revoked_at.is_some() || now >= self.earliest
    }

    /// Whether it has ended by `now`, so that its client may ask for nothing more.
    pub(crate) fn has_ended(&self, now: u64) -> bool {
        self.revoked_at.is_some() || now >= self.latest.saturating_add(16)
    }

    /// Its channels were judged by the present rights, after this many changes.
    pub(crate) fn note_judged(&mut self, changes: usize) {
        self.changes = changes;
    }

    /// Whether its right must have ended by `now`, and the connection with it.
    fn must_have_ended(&self, now: u64) -> bool {
        let is_over = |at: u64| now >= at.saturating_add(ROUNDING_MS);
        // What is taken away when its time is over has the deadline of that.
        is_over(self.revoked_at.unwrap_or(self.latest))
    }

    fn revoke(&mut self, now: u64) {
        self.revoked_at.get_or_insert(now);
    }

    /// A stream has said its last words, and that its right has ended, or not.
    pub(crate) fn check_last_words(&self, has_expired: bool, is_draining: bool, now: u64) {
        let at = self.ended_at.unwrap_or(now);
        if has_expired {
            ensure!(
                self.may_have_ended(at),
                EarlyEnd,
                "a stream ends as expired at {at}, and its right does not: {self:?}"
            );
            return;
        }
        let end = self.revoked_at.unwrap_or(u64::MAX).min(self.latest);
        // A stream that has reached its age may have ended before its right, if not been served.
        ensure!(
            is_draining || at < end || end >= self.own_end,
            Deadline,
            "a stream ends at {at} and is not said to have expired: {self:?}"
        );
    }
}

/// Whether a review lets a parked request go on: what its token grants is not known any more, only
/// that it was looked at where a token was needed.
fn survives(
    names: &[String],
    channels: &[usize],
    term: &Term,
    earlier: &Rights,
    rights: &Rights,
) -> bool {
    let each = |&channel: &usize| {
        let name = &names[channel];
        match (rights.subscribe(name), &term.identity) {
            (Subscribe::Anyone, _) => true,
            (Subscribe::Token, Identity::Token(token)) => {
                let is_key = token.key.is_some_and(|key| rights.keys.contains(&key));
                let was_needed = earlier.subscribe(name) == Subscribe::Token;
                is_key && was_needed && rights.asks_as(earlier)
            }
            _ => false,
        }
    };
    match &term.identity {
        _ if term.access == Access::Trusted => true,
        Identity::Publisher(_) => rights.publish_key == earlier.publish_key,
        _ => channels.iter().all(each),
    }
}

/// Whether a token is trusted no more after a change.
fn is_distrusted(term: &Term, earlier: &Rights, rights: &Rights) -> bool {
    let Identity::Token(token) = &term.identity else {
        return false;
    };
    let is_key = token.key.is_some_and(|key| rights.keys.contains(&key));
    !is_key || !rights.asks_as(earlier)
}

/// A request of an operator about connections.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) subject: &'static str,
    pub(crate) channel: Option<usize>,
    /// They are ended, and for so many seconds the subject is blocked.
    pub(crate) ends: bool,
    pub(crate) block_s: Option<u64>,
}

impl World {
    /// How long the hold or stream of a request lasts at least, by itself.
    pub(crate) fn own_ms(&self, receive: &Receive) -> u64 {
        let config = &self.setup.config;
        if receive.endpoint.is_stream() {
            return millis(config.stream_max_age) / 5 * 4;
        }
        let (hold, max) = (millis(config.hold), millis(config.max_hold));
        receive.hold_ms.map_or(hold - hold / 10, |ms| ms.min(max))
    }

    /// Parked connections, with what they follow and their rights.
    fn terms(&mut self) -> Vec<(u32, Vec<usize>, Term)> {
        let mut terms = Vec::new();
        for index in self.all_parked() {
            let parked = self.client(index).parked().expect("parked");
            let session = &parked.session;
            if let Some(term) = &session.term {
                terms.push((index, parked.followed.clone(), term.clone()));
            }
        }
        terms
    }

    fn term(&mut self, index: u32) -> &mut Term {
        let parked = self.client(index).parked().expect("parked");
        parked.session.term.as_mut().expect("observed")
    }

    /// An operator was answered that so many connections were found, and ended if that was asked.
    pub(crate) fn found(&mut self, search: &Search, count: u64) {
        let now = self.now;
        let (mut least, mut most) = (0, 0);
        for (index, channels, term) in self.terms() {
            let Identity::Token(token) = &term.identity else {
                continue;
            };
            let follows = search
                .channel
                .is_none_or(|wanted| channels.contains(&wanted));
            if token.subject != Some(search.subject) || !follows {
                continue;
            }
            // One whose time is over is parked until it is served, whether by itself or not.
            let is_sure = term.revoked_at.is_none() && now < term.earliest.min(term.own_end);
            let is_over = term.revoked_at.is_some_and(|at| at < term.own_end);
            let has_gathered = self.client(index).owed_at.is_some();
            least += u64::from(is_sure);
            most += u64::from(!is_over || has_gathered);
            if search.ends {
                self.term(index).revoke(now);
                self.tally.kicked += 1;
            }
        }
        ensure!(
            (least..=most).contains(&count),
            Miscounted,
            "{count} connections of {search:?} and not {least} to {most}"
        );
        match search.ends {
            true => self.tally.kicks += 1,
            false => self.tally.counts += 1,
        }
        if let Some(block_s) = search.block_s {
            self.block(search.subject, block_s);
        }
    }

    /// The parked connections are about to be reviewed for the oldest change of rights.
    pub(crate) fn review(&mut self) {
        let Some((change, earlier)) = self.reviews.pop_front() else {
            return;
        };
        for (index, channels, term) in self.terms() {
            self.review_one(index, &channels, &term, change, &earlier);
        }
    }

    /// The engine is about to read what the client of a socket sends: the changes of rights whose
    /// review it waits for count now.
    pub(crate) fn review_socket(&mut self, index: u32) {
        let is_socket = |world: &mut World| {
            let client = world.client(index);
            client.commands.is_some() && client.parked().is_some()
        };
        if self.reviews.is_empty() || self.state(index) != State::Streaming || !is_socket(self) {
            return;
        }
        let reviews = self.reviews.clone();
        for (change, earlier) in &reviews {
            let parked = self.client(index).parked().expect("parked");
            let followed = parked.followed.clone();
            if let Some(term) = parked.session.term.clone() {
                self.review_one(index, &followed, &term, *change, earlier);
            }
        }
    }

    fn review_one(
        &mut self,
        index: u32,
        channels: &[usize],
        term: &Term,
        change: usize,
        earlier: &Rights,
    ) {
        // Those that were accepted by the new rights are not in doubt.
        let is_new = term.changes >= change && !matches!(term.identity, Identity::Anonymous);
        if is_new {
            return;
        }
        let now = self.now;
        let (names, rights) = (&self.setup.names, &self.rights);
        if !survives(names, channels, term, earlier, rights) {
            self.term(index).revoke(now);
            self.tally.reviewed += 1;
        } else if is_distrusted(term, earlier, rights) {
            self.term(index).is_distrusted = true;
        }
    }

    /// Checks a parked connection of a settled world: its right holds.
    pub(crate) fn check_term(&mut self, index: u32) {
        let (now, head, is_blocked) = (self.now, self.model.head(), self.is_blocked(index));
        let parked = self.client(index).parked().expect("parked");
        let session = &mut parked.session;
        let Some(term) = &mut session.term else {
            return;
        };
        if term.must_have_ended(now) {
            // What its client takes at last is from before.
            term.void_after.get_or_insert(head);
            ensure!(
                is_blocked,
                Deadline,
                "{index} receives without right: {term:?}"
            );
        }
        let term = term.clone();
        let channels = parked.followed.clone();
        let names = &self.setup.names;
        let is_right = self
            .rights
            .lets_receive(names, &channels, term.access, &term.identity);
        ensure!(
            is_right || term.revoked_at.is_some(),
            Misrouted,
            "{index} receives from channels that are not for it: {term:?}"
        );
    }
}
