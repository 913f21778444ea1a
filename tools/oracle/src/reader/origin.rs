//! Whether a message is what was published, where it was published.

use crate::case::Case;
use crate::finding::Kind;
use crate::log::Receipt;
use crate::run::Outcome;

/// Judges a message; `is_followed` says whether the client follows its channel.
pub(super) fn judge(case: &mut Case<'_>, receipt: &Receipt, is_followed: bool) {
    let Receipt {
        id,
        channel,
        number,
        length,
    } = *receipt;
    if !is_followed {
        return case.report(Kind::Misrouted, format!("{id} is of channel {channel}"));
    }
    let Some(&publish) = case.truth.publish(number) else {
        let text = format!("{id}: message {number} was never published");
        return case.report(Kind::Invented, text);
    };
    if publish.outcome == Outcome::Refused {
        case.report(Kind::Invented, format!("{id} was refused: {publish:?}"));
    }
    if publish.channel != channel {
        let text = format!("{id} was published to another channel: {publish:?}");
        case.report(Kind::Misrouted, text);
    }
    if publish.length != length {
        let text = format!("{id} has {length} bytes: {publish:?}");
        case.report(Kind::Mangled, text);
    }
}
