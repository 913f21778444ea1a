//! A parked request whose connection has taken everything so far: history keeps the messages that
//! it is owed. Only a simulation can check this.

use crate::case::Case;
use crate::finding::Kind;

/// Where a request stood when it was parked.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    /// The cursor with which it was parked.
    from: u64,
    /// Each of its channels, and the newest message that it had lost then.
    lost: Box<[(u32, u64)]>,
}

impl Pinned {
    /// A request that is parked now; none where it is not known what history has dropped.
    pub(super) fn new(
        case: &Case<'_>,
        from: u64,
        channels: impl Iterator<Item = u32>,
    ) -> Option<Pinned> {
        let exact = case.truth.exactly()?;
        let lost = channels.map(|channel| (channel, exact.lost(channel)));
        Some(Pinned {
            from,
            lost: lost.collect(),
        })
    }

    /// History has dropped a message of the channel with this number in the request. `is_new` says
    /// that none of the channel has come yet.
    pub(super) fn judge(&self, case: &mut Case<'_>, number: usize, seq: u64, is_new: bool) {
        let Some(exact) = case.truth.exactly() else {
            return;
        };
        let (channel, lost) = self.lost[number];
        // Nothing after a loss is kept before that loss is said: the gap may grow until then.
        let is_growing = is_new && self.from < lost;
        if seq > lost && !is_growing && !exact.is_deleted(channel, self.from + 1) {
            let text = format!("message {seq} of channel {channel} was dropped");
            case.report(Kind::Evicted, text);
        }
    }
}
