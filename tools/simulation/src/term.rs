//! The right of a parked request to receive, and its end.
//!
//! Owns when a right must end, when it may, and what must be said then: at the expiry of its token,
//! by an operator, or by new settings.

use encke_core::config::Subscribe;
use encke_core::engine::Access;

use crate::rights::{Identity, Rights};
use crate::rule::ensure;

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
    pub(crate) earliest: u64,
    latest: u64,
    /// Before this, the hold or stream does not end by itself.
    pub(crate) own_end: u64,
    /// How many changes of rights there had been.
    pub(crate) changes: usize,
    /// When it was taken away.
    pub(crate) revoked_at: Option<u64>,
    /// When the server ended the hold or stream.
    pub(crate) ended_at: Option<u64>,
    /// Nothing newer than this may come.
    pub(crate) void_after: Option<u64>,
}

impl Term {
    /// A right that begins now, with a token as good as it is by the calendar.
    pub(crate) fn new(
        access: Access,
        identity: Identity,
        own_ms: u64,
        (now, wall_ms): (u64, u64),
        changes: usize,
    ) -> Term {
        let (earliest, latest) = match &identity {
            Identity::Token(token) => {
                let left = (token.exp_s * 1_000).saturating_sub(wall_ms);
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
            changes,
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
    pub(crate) fn must_have_ended(&self, now: u64) -> bool {
        let is_over = |at: u64| now >= at.saturating_add(ROUNDING_MS);
        // What is taken away when its time is over has the deadline of that.
        is_over(self.revoked_at.unwrap_or(self.latest))
    }

    pub(crate) fn revoke(&mut self, now: u64) {
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
pub(crate) fn survives(
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
pub(crate) fn is_distrusted(term: &Term, earlier: &Rights, rights: &Rights) -> bool {
    let Identity::Token(token) = &term.identity else {
        return false;
    };
    let is_key = token.key.is_some_and(|key| rights.keys.contains(&key));
    !is_key || !rights.asks_as(earlier)
}
