//! The rights of parked requests: operators' requests about them, and reviews after a change.
//!
//! Owns when a right is looked at, and what must hold of it then.

use encke_core::base::time::millis;
use encke_core::engine::{Access, State};

use crate::request::{Receive, Search};
use crate::rights::{Identity, Rights};
use crate::rule::ensure;
use crate::term::{Term, is_distrusted, survives};
use crate::world::World;

impl World {
    /// The right that a request has from now on.
    pub(crate) fn begin_term(&self, access: Access, identity: Identity, own_ms: u64) -> Term {
        let times = (self.now, self.wall_ms);
        Term::new(access, identity, own_ms, times, self.changes)
    }

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
