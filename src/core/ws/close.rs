//! Close frames: their codes and reasons (RFC 6455, sections 5.5.1 and 7.4).
//!
//! Owns the codes that encke sends, and the rules for those that a client may send.

/// The longest reason of a close frame, in bytes: a control frame has at most 125, two of which are
/// the code.
pub const MAX_REASON_BYTES: usize = 123;

/// As much of a text as the reason of a close frame holds.
pub fn shortened(text: &str) -> &str {
    let is_end = |&end: &usize| text.is_char_boundary(end);
    let end = (0..=text.len().min(MAX_REASON_BYTES)).rev().find(is_end);
    &text[..end.unwrap_or(0)]
}

/// A code with which the server closes a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: there is nothing more to come.
    Normal,
    /// 1001: the server drains, or the connection has reached its age.
    GoingAway,
    /// 1002: the client broke the protocol.
    Protocol,
    /// 1007: a text that is not UTF-8.
    NotUtf8,
    /// 1008: the client sent what it may not send.
    Refused,
    /// 1009: a message is larger than allowed.
    TooLarge,
    /// 1011: there is no memory for what the client sent.
    NoRoom,
    /// 1013: the server cannot do it now.
    TryLater,
    /// 3000: the right to receive has ended.
    Expired,
    /// 3001: messages are lost, and the transport has no other way to say so.
    Gap,
}

impl CloseCode {
    /// All codes.
    pub const ALL: [CloseCode; 10] = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::Protocol,
        CloseCode::NotUtf8,
        CloseCode::Refused,
        CloseCode::TooLarge,
        CloseCode::NoRoom,
        CloseCode::TryLater,
        CloseCode::Expired,
        CloseCode::Gap,
    ];

    /// Its number.
    pub const fn number(self) -> u16 {
        match self {
            CloseCode::Normal => 1000,
            CloseCode::GoingAway => 1001,
            CloseCode::Protocol => 1002,
            CloseCode::NotUtf8 => 1007,
            CloseCode::Refused => 1008,
            CloseCode::TooLarge => 1009,
            CloseCode::NoRoom => 1011,
            CloseCode::TryLater => 1013,
            CloseCode::Expired => 3000,
            CloseCode::Gap => 3001,
        }
    }
}

/// Whether a peer may send this code in a close frame: those that are registered for it, and those
/// of libraries and applications (RFC 6455, section 7.4.2).
pub(super) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_codes_may_be_sent_and_differ() {
        let mut numbers = CloseCode::ALL.map(CloseCode::number);
        assert!(numbers.iter().all(|&number| may_be_sent(number)));
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn reserved_codes_may_not() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            assert!(!may_be_sent(code), "{code}");
        }
    }
}
