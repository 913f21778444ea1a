//! The wake protocol between producers and the reactor.
//!
//! Owns one flag. Invariant, checked by a model of all interleavings: a message that is in the
//! queue before the bell is rung is found by the reactor, which answers the bell *before* it looks.

use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that threads share; a trait so that a model checker can stand in for the real one.
pub trait Flag {
    /// Stores a value and returns the one before, ordered with everything around it.
    fn swap(&self, value: bool) -> bool;
}

impl Flag for AtomicBool {
    fn swap(&self, value: bool) -> bool {
        AtomicBool::swap(self, value, Ordering::AcqRel)
    }
}

/// The wake protocol: many ring, one answers.
#[derive(Debug, Default)]
pub struct Doorbell<F> {
    rung: F,
}

impl<F: Flag> Doorbell<F> {
    /// A bell that was not rung, over a flag that is false.
    pub fn new(flag: F) -> Doorbell<F> {
        Doorbell { rung: flag }
    }

    /// Rings, after something was put where the other side will look. True: the other side may be
    /// asleep and must be woken.
    pub fn ring(&self) -> bool {
        !self.rung.swap(true)
    }

    /// Answers, before looking: whatever is put there later rings anew.
    pub fn answer(&self) {
        self.rung.swap(false);
    }
}
