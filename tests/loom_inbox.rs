//! The wake protocol, in all interleavings: no message is left behind a reactor that sleeps.
//!
//! The doorbell is the real one, over loom's atomic; the queue is modelled by a mutex, and the
//! eventfd by a flag. The reactor looks at the flag at any moments, and ticks where it is set.
//! When the producers are done, it goes on for as long as it is woken: whatever is in the queue
//! then would stay there.

use std::collections::VecDeque;

use encke::inbox::{Doorbell, Flag};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

const PRODUCERS: usize = 2;

struct Modelled(AtomicBool);

impl Flag for Modelled {
    fn swap(&self, value: bool) -> bool {
        self.0.swap(value, Ordering::AcqRel)
    }
}

/// What producers and the reactor share.
struct Shared {
    queue: Mutex<VecDeque<usize>>,
    bell: Doorbell<Modelled>,
    /// An eventfd: readable until the reactor has taken note.
    woken: Mutex<bool>,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared {
            queue: Mutex::new(VecDeque::new()),
            bell: Doorbell::new(Modelled(AtomicBool::new(false))),
            woken: Mutex::new(false),
        })
    }

    /// What a producer does.
    fn publish(&self, message: usize) {
        self.queue.lock().unwrap().push_back(message);
        if self.bell.ring() {
            *self.woken.lock().unwrap() = true;
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

/// Two producers against a reactor whose tick is `tick`.
fn model(tick: fn(&Shared, &mut Vec<usize>)) {
    loom::model(move || {
        let shared = Shared::new();
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|number| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.publish(number))
            })
            .collect();
        let mut taken = Vec::new();
        for _ in 0..PRODUCERS {
            if shared.wakes() {
                tick(&shared, &mut taken);
            }
        }
        for producer in producers {
            producer.join().unwrap();
        }
        while shared.wakes() {
            tick(&shared, &mut taken);
        }
        taken.sort_unstable();
        assert_eq!(taken, [0, 1], "the reactor sleeps, and has not taken each");
    });
}

#[test]
fn answering_before_looking_leaves_nothing_behind() {
    model(|shared, taken| {
        shared.bell.answer();
        shared.drain(taken);
    });
}

/// The model is able to see the mistake that the protocol avoids.
#[test]
#[should_panic(expected = "the reactor sleeps, and has not taken each")]
fn looking_before_answering_leaves_a_message_behind() {
    model(|shared, taken| {
        shared.drain(taken);
        shared.bell.answer();
    });
}

/// Nor does it go unseen that a bell is never answered.
#[test]
#[should_panic(expected = "the reactor sleeps, and has not taken each")]
fn a_bell_that_is_never_answered_wakes_once() {
    model(|shared, taken| shared.drain(taken));
}
