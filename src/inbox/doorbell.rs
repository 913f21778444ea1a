//! The wake protocol between producers and the reactor.
//!
//! Owns one flag. Invariant, checked by a model of all interleavings: what is in a queue before the bell
//! is rung is found by the reactor, which answers the bell *before* it looks into any of its queues.

use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that threads share; a trait so that a model checker can stand in for the real one.
pub(super) trait Flag {
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
pub(super) struct Doorbell<F> {
    rung: F,
}

impl<F: Flag> Doorbell<F> {
    /// A bell that was not rung, over a flag that is false.
    pub(super) fn new(flag: F) -> Doorbell<F> {
        Doorbell { rung: flag }
    }

    /// Rings, after something was put where the other side will look. True: the other side may be
    /// asleep and must be woken.
    pub(super) fn ring(&self) -> bool {
        !self.rung.swap(true)
    }

    /// Answers, before looking: whatever is put there later rings anew.
    pub(super) fn answer(&self) {
        self.rung.swap(false);
    }
}

/// All interleavings of threads that ring and a reactor that sleeps. The doorbell is the real one, over
/// loom's atomic; each queue is modelled by a mutex, and the eventfd by a flag. When the threads are done,
/// the reactor goes on for as long as it is woken: what is in a queue then would stay there.
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

    /// What producers and the reactor share.
    struct Shared {
        queue: Mutex<VecDeque<usize>>,
        command: Mutex<bool>,
        bell: Doorbell<Modelled>,
        /// An eventfd: readable until the reactor has taken note.
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

        /// The sending of a message.
        fn publish(&self, message: usize) {
            self.queue.lock().unwrap().push_back(message);
            if self.bell.ring() {
                *self.woken.lock().unwrap() = true;
            }
        }

        /// The sending of a command.
        fn command(&self) {
            *self.command.lock().unwrap() = true;
            if self.bell.ring() {
                *self.woken.lock().unwrap() = true;
            }
        }

        /// Whether there was a command, which the reactor takes.
        fn obey(&self, taken: &mut Vec<usize>) {
            if std::mem::take(&mut *self.command.lock().unwrap()) {
                taken.push(COMMAND);
            }
        }

        /// Whether the reactor's sleep ends.
        fn wakes(&self) -> bool {
            std::mem::take(&mut *self.woken.lock().unwrap())
        }

        fn drain(&self, taken: &mut Vec<usize>) {
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
            shared.obey(taken);
            shared.drain(taken);
        });
    }

    /// The model is able to see the mistakes that the protocol avoids.
    #[test]
    #[should_panic(expected = "the reactor sleeps, and has not taken each")]
    fn draining_before_answering_loses_a_message() {
        model(|shared, taken| {
            shared.obey(taken);
            shared.drain(taken);
            shared.bell.answer();
        });
    }

    #[test]
    #[should_panic(expected = "the reactor sleeps, and has not taken each")]
    fn answering_between_the_queues_loses_a_command() {
        model(|shared, taken| {
            shared.obey(taken);
            shared.bell.answer();
            shared.drain(taken);
        });
    }

    #[test]
    #[should_panic(expected = "the reactor sleeps, and has not taken each")]
    fn bell_that_is_never_answered_wakes_once() {
        model(|shared, taken| {
            shared.obey(taken);
            shared.drain(taken);
        });
    }
}
