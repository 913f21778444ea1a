//! Producer threads to the reactor: the queue, the bell and the publish at its end. In processor
//! time of all threads together.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Throughput};
use encke::Publication;
use support::{Bencher, CHANNEL, ProcessorTime, Running, text};

fn main() {
    support::run(|criterion| {
        throughput(criterion);
        round_trip(criterion);
    });
}

/// Producers publish as fast as the reactor takes it: time for a message, of all of them.
fn throughput(criterion: &mut Bencher) {
    const MESSAGES: usize = 16_000;
    let mut group = criterion.benchmark_group("inbox/throughput");
    group.sample_size(10);
    group.throughput(Throughput::Elements(MESSAGES as u64));
    for producers in [1, 2, 4] {
        let server = Running::start();
        group.bench_function(BenchmarkId::new("producers", producers), |bencher| {
            bencher.iter_custom(|rounds| {
                all_threads(rounds, || {
                    thread::scope(|scope| {
                        for _ in 0..producers {
                            let publisher = server.publisher.clone();
                            scope.spawn(move || {
                                for _ in 1..MESSAGES / producers {
                                    publisher.publish(CHANNEL, text(100)).expect("it runs");
                                }
                                let last = Publication::new(CHANNEL, text(100)).with_receipt();
                                publisher.send(last.0).expect("it runs");
                                last.1.wait().expect("it is accepted");
                            });
                        }
                    });
                })
            });
        });
    }
}

/// The processor time of all threads for a number of rounds.
fn all_threads(rounds: u64, mut work: impl FnMut()) -> Duration {
    let before = ProcessorTime::OfProcess.now();
    (0..rounds).for_each(|_| work());
    ProcessorTime::OfProcess.now() - before
}

/// One producer publishes and waits for the id: two wake-ups.
fn round_trip(criterion: &mut Bencher) {
    let server = Running::start();
    criterion.bench_function("inbox/round trip", |bencher| {
        bencher.iter_custom(|rounds| {
            all_threads(rounds, || {
                let (publication, receipt) = Publication::new(CHANNEL, text(100)).with_receipt();
                server.publisher.send(publication).expect("it runs");
                receipt.wait().expect("it is accepted");
            })
        });
    });
}
