//! The check that the messages of a channel come once and in order.

/// The verdict on one receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next message.
    Next,
    /// A later message; so many before it are missing for now.
    Skipped(u64),
    /// A message that was missing until now.
    Late,
    /// A message that had come before.
    Twice,
}

/// The messages that one subscriber has received.
#[derive(Clone, Copy)]
pub struct Order {
    last: u64,
    /// Bit N is set if `last - N` has come.
    seen: u64,
}

impl Default for Order {
    /// A subscriber that is to receive everything.
    fn default() -> Order {
        Order::after(0)
    }
}

impl Order {
    /// A subscriber that is to receive the messages after a number.
    pub fn after(last: u64) -> Order {
        Order {
            last,
            seen: u64::MAX,
        }
    }

    /// Records the receipt of a number. A late one more than 64 back counts as received twice.
    pub fn take(&mut self, seq: u64) -> Verdict {
        if seq > self.last {
            let step = seq - self.last;
            self.seen = self.seen.checked_shl(step.min(64) as u32).unwrap_or(0) | 1;
            self.last = seq;
            return match step {
                1 => Verdict::Next,
                _ => Verdict::Skipped(step - 1),
            };
        }
        let bit = 1_u64.checked_shl((self.last - seq).min(64) as u32);
        match bit {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                Verdict::Late
            }
            _ => Verdict::Twice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_lost_late_and_twice_apart() {
        let mut order = Order::after(10);
        assert_eq!(order.take(10), Verdict::Twice);
        assert_eq!(order.take(11), Verdict::Next);
        assert_eq!(order.take(11), Verdict::Twice);
        assert_eq!(order.take(14), Verdict::Skipped(2));
        assert_eq!(order.take(12), Verdict::Late);
        assert_eq!(order.take(12), Verdict::Twice);
        assert_eq!(order.take(15), Verdict::Next);
        assert_eq!(order.take(215), Verdict::Skipped(199));
        assert_eq!(order.take(151), Verdict::Twice);
        assert_eq!(order.take(152), Verdict::Late);
        assert_eq!(order.last, 215);
    }
}
