//! The wake protocol between other threads and the reactor.
//!
//! Owns one flag. Invariant, checked by a model of all interleavings: the reactor finds every
//! message and command that was queued before the bell was rung, because it answers the bell
//! *before* it reads its queues.

use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that threads share; a trait so that the tests can use the atomic of a model checker.
pub(super) trait Flag {
    /// Stores a value and returns the previous one, with acquire and release ordering.
    fn swap(&self, value: bool) -> bool;
}

impl Flag for AtomicBool {
    fn swap(&self, value: bool) -> bool {
        AtomicBool::swap(self, value, Ordering::AcqRel)
    }
}

/// The wake protocol: many threads ring, the reactor answers.
#[derive(Debug, Default)]
pub(super) struct Doorbell<F> {
    rung: F,
}

impl<F: Flag> Doorbell<F> {
    /// A bell that was not rung. `flag` must be false.
    pub(super) fn new(flag: F) -> Doorbell<F> {
        Doorbell { rung: flag }
    }

    /// Rings, after an item was queued. Returns whether the caller must wake the reactor, which may
    /// be asleep.
    pub(super) fn ring(&self) -> bool {
        !self.rung.swap(true)
    }

    /// Answers, before the queues are read: an item that is queued later rings again.
    pub(super) fn answer(&self) {
        self.rung.swap(false);
    }
}

/// All interleavings of threads that ring and a reactor that sleeps. The doorbell is the real one,
/// over loom's atomic; a mutex models each queue, and a flag the eventfd. When the threads have
/// ended, the reactor runs for as long as it is woken. An item that is still queued then would
/// never be taken.
#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use loom::sync::atomic::AtomicBool;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::{Doorbell, Flag, Ordering};

    const MESSAGE: usize = 0;
    const COMMAND: usize = 1;

    struct Modelled(AtomicBool);

    impl Flag for Modelled {
        fn swap(&self, value: bool) -> bool {
            self.0.swap(value, Ordering::AcqRel)
        }
    }

    /// The state that the threads and the reactor share.
    struct Shared {
        queue: Mutex<VecDeque<usize>>,
        command: Mutex<bool>,
        bell: Doorbell<Modelled>,
        /// An eventfd: readable until the reactor has read it.
        woken: Mutex<bool>,
    }

    impl Shared {
        fn new() -> Arc<Shared> {
            Arc::new(Shared {
                queue: Mutex::new(VecDeque::new()),
                command: Mutex::new(false),
                bell: Doorbell::new(Modelled(AtomicBool::new(false))),
                woken: Mutex::new(false),
            })
        }

        /// Sends a message.
        fn publish(&self, message: usize) {
            self.queue.lock().unwrap().push_back(message);
            if self.bell.ring() {
                *self.woken.lock().unwrap() = true;
            }
        }

        /// Sends a command.
        fn command(&self) {
            *self.command.lock().unwrap() = true;
            if self.bell.ring() {
                *self.woken.lock().unwrap() = true;
            }
        }

        /// Takes the command, if there is one.
        fn take_command(&self, taken: &mut Vec<usize>) {
            if std::mem::take(&mut *self.command.lock().unwrap()) {
                taken.push(COMMAND);
            }
        }

        /// Reads the eventfd, and returns whether it wakes the reactor.
        fn wakes(&self) -> bool {
            std::mem::take(&mut *self.woken.lock().unwrap())
        }

        fn take_messages(&self, taken: &mut Vec<usize>) {
            while let Some(message) = self.queue.lock().unwrap().pop_front() {
                taken.push(message);
            }
        }
    }

    /// Threads that send a message and a command, against a reactor whose tick is `tick`.
    fn model(tick: fn(&Shared, &mut Vec<usize>)) {
        loom::model(move || {
            let shared = Shared::new();
            let spawn = |send: fn(&Shared)| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || send(&shared))
            };
            let threads = [
                spawn(|shared| shared.publish(MESSAGE)),
                spawn(Shared::command),
            ];
            let mut taken = Vec::new();
            for _ in 0..threads.len() {
                if shared.wakes() {
                    tick(&shared, &mut taken);
                }
            }
            for thread in threads {
                thread.join().unwrap();
            }
            while shared.wakes() {
                tick(&shared, &mut taken);
            }
            taken.sort_unstable();
            assert_eq!(
                taken,
                [MESSAGE, COMMAND],
                "the reactor sleeps, and has not taken each"
            );
        });
    }

    #[test]
    fn answering_before_draining_loses_nothing() {
        model(|shared, taken| {
            shared.bell.answer();
            shared.take_command(taken);
            shared.take_messages(taken);
        });
    }

    /// Shows that the model detects the mistakes that the protocol avoids.
    #[test]
    #[should_panic(expected = "the reactor sleeps, and has not taken each")]
    fn draining_before_answering_loses_a_message() {
        model(|shared, taken| {
            shared.take_command(taken);
            shared.take_messages(taken);
            shared.bell.answer();
        });
    }

    #[test]
    #[should_panic(expected = "the reactor sleeps, and has not taken each")]
    fn answering_between_the_queues_loses_a_command() {
        model(|shared, taken| {
            shared.take_command(taken);
            shared.bell.answer();
            shared.take_messages(taken);
        });
    }

    #[test]
    #[should_panic(expected = "the reactor sleeps, and has not taken each")]
    fn bell_that_is_never_answered_wakes_once() {
        model(|shared, taken| {
            shared.take_command(taken);
            shared.take_messages(taken);
        });
    }
}
