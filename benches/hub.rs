//! Channels, messages and readers alone: no bytes, no connections.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;
use support::{Bencher, ProcessorTime};

use std::time::Duration;

use criterion::{BenchmarkId, Throughput};
use encke_core::config::{Config, History};
use encke_core::hub::{Hub, Reader, Take};
use encke_core::log::{Log, Memory};
use encke_core::message::{ChannelName, Draft, Epoch, Seq};

fn main() {
    support::run(|criterion| {
        publish(criterion);
        park_and_release(criterion);
        many_channels(criterion);
        resume(criterion);
        resume_many(criterion);
    });
}

fn hub(max_readers: usize, max_messages: usize) -> (Log, Hub) {
    let config = Config {
        max_channels: 1_000,
        history: History {
            max_messages,
            max_bytes: 1 << 30,
            max_total_bytes: 2 << 30,
            ..History::default()
        },
        ..Config::default()
    };
    let log = Log::Memory(Memory::new(Epoch::from_seed(1)));
    let hub = Hub::new(&config, max_readers, log.epoch(), (1, 2));
    (log, hub)
}

fn say(log: &mut Log, hub: &mut Hub, channel: &str) {
    let draft = Draft::new(support::name(channel), support::text(100));
    let published = log.publish(hub, draft);
    assert!(published.is_ok(), "there is room");
}

/// Channels called 0, 1, 2, …
fn channels(hub: &mut Hub, count: usize) -> Vec<u32> {
    let names = (0..count).map(|name| ChannelName::parse(name.to_string().into_bytes()));
    let names: Vec<_> = names.map(|name| name.expect("a number")).collect();
    let opened = hub.open_all(names.iter());
    opened.expect("there is room").into_vec()
}

fn park(hub: &mut Hub, reader: &mut Reader, follower: u32, channels: &[u32]) {
    reader.cursor = hub.head();
    hub.follow(reader, follower, channels, 0, false);
    hub.enqueue(reader);
}

/// A message comes to a channel with so many waiting: one splice, however many they are.
///
/// They are put back between two publishes, untimed, which takes much longer than a publish: so
/// there are few samples, and eight channels for each reading of the clock.
fn publish(criterion: &mut Bencher) {
    const CHANNELS: usize = 8;
    let mut group = criterion.benchmark_group("hub/publish");
    group.sample_size(10);
    for (readers_each, time) in [
        (0, Duration::from_millis(500)),
        (1_000, Duration::from_millis(2)),
        (100_000, Duration::from_micros(50)),
    ] {
        group.measurement_time(time);
        group.bench_function(BenchmarkId::new("waiting", readers_each), |bencher| {
            let (mut log, mut hub) = hub(CHANNELS * readers_each, 1_000);
            let channels = channels(&mut hub, CHANNELS);
            let mut readers = vec![Reader::default(); CHANNELS * readers_each];
            for (index, reader) in readers.iter_mut().enumerate() {
                park(
                    &mut hub,
                    reader,
                    index as u32,
                    &[channels[index % CHANNELS]],
                );
            }
            let names: Vec<String> = (0..CHANNELS).map(|name| name.to_string()).collect();
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds.div_ceil(CHANNELS as u64) {
                    let before = ProcessorTime::OfThread.now();
                    names.iter().for_each(|name| say(&mut log, &mut hub, name));
                    spent += ProcessorTime::OfThread.now() - before;
                    catch_up(&mut hub, &mut readers);
                }
                spent.mul_f64(
                    rounds as f64 / (rounds.div_ceil(CHANNELS as u64) * CHANNELS as u64) as f64,
                )
            });
        });
    }
}

/// Serves all ready readers, by moving only their cursors.
fn catch_up(hub: &mut Hub, readers: &mut [Reader]) {
    for reader in readers.iter_mut() {
        hub.dequeue(reader);
        reader.cursor = hub.head();
        hub.enqueue(reader);
    }
    while let Some(channel) = hub.next_turn() {
        hub.end_turn(channel);
    }
}

/// A long poll is parked on a channel and released again, with so many parked beside it.
fn park_and_release(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("hub/park and release");
    for parked in [1_000, 100_000] {
        group.bench_function(BenchmarkId::new("parked beside it", parked), |bencher| {
            let (_, mut hub) = hub(parked, 1_000);
            let channels = channels(&mut hub, 1);
            let mut readers = vec![Reader::default(); parked];
            for (follower, reader) in readers.iter_mut().enumerate() {
                park(&mut hub, reader, follower as u32, &channels);
            }
            let mut index = 0;
            bencher.iter(|| {
                index = (index + 611_953) % parked;
                hub.unfollow(&mut readers[index]);
                park(&mut hub, &mut readers[index], index as u32, &channels);
            });
        });
    }
}

/// A reader of several channels is parked, is owed one message of one of them, and released.
fn many_channels(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("hub/many channels");
    let take = Take {
        messages: 64,
        bytes: 64 << 10,
    };
    for count in [1, 8, 64] {
        group.bench_function(BenchmarkId::new("a reader", count), |bencher| {
            let (mut log, mut hub) = hub(1, 1_000);
            let channels = channels(&mut hub, count);
            let (mut reader, mut items) = (Reader::default(), Vec::new());
            bencher.iter(|| {
                park(&mut hub, &mut reader, 0, &channels);
                say(&mut log, &mut hub, "0");
                hub.dequeue(&mut reader);
                items.clear();
                hub.pending_items(&reader, take, &mut items);
                assert_eq!(items.len(), 1);
                hub.unfollow(&mut reader);
                while let Some(channel) = hub.next_turn() {
                    hub.end_turn(channel);
                }
            });
        });
    }
}

/// A client comes back with an old cursor to a long history: what a herd pays after a restart.
fn resume(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("hub/resume");
    for history in [1_000, 100_000] {
        let (mut log, mut hub) = hub(1, history);
        let channel = channels(&mut hub, 1)[0];
        (0..history).for_each(|_| say(&mut log, &mut hub, "0"));
        for missed in [1, 10, 1_000] {
            let cursor = Seq((history - missed) as u64);
            let name = format!("{missed} missed of");
            group.throughput(Throughput::Elements(missed as u64));
            group.bench_function(BenchmarkId::new(name, history), |bencher| {
                let mut items = Vec::new();
                let take = Take {
                    messages: 1_000,
                    bytes: 1 << 20,
                };
                bencher.iter(|| {
                    items.clear();
                    hub.collect([(channel, false)].into_iter(), cursor, take, &mut items);
                    assert_eq!(items.len(), missed);
                });
            });
        }
    }
}

/// The same over several channels, a thousand messages missed in all: the merge.
fn resume_many(criterion: &mut Bencher) {
    const MISSED: usize = 1_000;
    let mut group = criterion.benchmark_group("hub/resume of 1,000");
    group.throughput(Throughput::Elements(MISSED as u64));
    for count in [1, 8, 64] {
        group.bench_function(BenchmarkId::new("channels", count), |bencher| {
            let (mut log, mut hub) = hub(1, 1_000);
            let followed: Vec<(u32, bool)> = channels(&mut hub, count)
                .into_iter()
                .map(|channel| (channel, false))
                .collect();
            (0..MISSED).for_each(|at| say(&mut log, &mut hub, &(at % count).to_string()));
            let mut items = Vec::new();
            let take = Take {
                messages: MISSED,
                bytes: 1 << 20,
            };
            bencher.iter(|| {
                items.clear();
                hub.collect(followed.iter().copied(), Seq::ZERO, take, &mut items);
                assert_eq!(items.len(), MISSED);
            });
        });
    }
}
