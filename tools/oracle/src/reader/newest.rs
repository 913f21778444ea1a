//! Where a request for the newest messages begins.

use crate::case::Case;
use crate::finding::Kind;
use crate::id::Id;

/// A request for so many of the newest messages was sent at `asked_at`, and begins after `place`.
///
/// When the server saw it is not known, so this says what holds whenever that was.
pub(super) fn judge(
    case: &mut Case<'_>,
    channels: impl Iterator<Item = u32>,
    count: u16,
    asked_at: u64,
    place: Id,
) {
    let truth = case.truth;
    let asked_at = asked_at.saturating_sub(case.lag(asked_at));
    // After the place: those there when it asked and still now, and all that ever were.
    let (mut kept, mut all) = (0, 0);
    let mut before = None;
    for channel in channels {
        for known in truth.between(place.epoch, channel, 0, u64::MAX) {
            let may_be_gone = truth.may_be_gone(place.epoch, channel, known, case.at, case.node);
            if known.seq > place.seq {
                let was_there = known.acked.is_some_and(|acked| acked < asked_at);
                all += 1;
                kept += u64::from(was_there && !may_be_gone);
            } else if !may_be_gone && known.acked.is_some_and(|acked| acked < asked_at) {
                before = Some(known.seq);
            }
        }
    }
    if kept > u64::from(count) {
        let text = format!("{kept} messages after {place}, and it asked for {count}");
        case.report(Kind::Misplaced, text);
    }
    if let Some(before) = before
        && all < u64::from(count)
    {
        let text =
            format!("{all} messages after {place}, {before} is kept, and it asked for {count}");
        case.report(Kind::Misplaced, text);
    }
}
