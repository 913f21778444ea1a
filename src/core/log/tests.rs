//! A log in memory and its hub, under publishes of which some are refused.

use proptest::prelude::*;

use super::*;
use crate::base::time::Time;
use crate::config::{Config, History};
use crate::hub::Reader;
use crate::message::{Data, IdempotencyKey};

/// More names than there is room for channels.
const CHANNELS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Debug)]
enum Op {
    /// A message of so many bytes to a channel, with one of a few keys or none.
    Publish(usize, usize, Option<u8>),
    /// A batch of such messages, without keys.
    Batch(Vec<(usize, usize)>),
    /// A reader that waits on a channel: it holds back what is published there from now on.
    Follow(usize),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let message = || (0..CHANNELS.len(), 0..900usize);
    prop_oneof![
        4 => (message(), proptest::option::of(0..3u8))
            .prop_map(|((channel, bytes), key)| Op::Publish(channel, bytes, key)),
        3 => proptest::collection::vec(message(), 0..5).prop_map(Op::Batch),
        1 => (0..CHANNELS.len()).prop_map(Op::Follow),
        1 => (0..9_000u64).prop_map(Op::Pass),
    ]
}

fn name(channel: usize) -> ChannelName<'static> {
    ChannelName::parse(CHANNELS[channel].as_bytes()).unwrap()
}

fn draft(channel: usize, bytes: usize) -> Draft<'static> {
    Draft::new(name(channel), Data::Text("x".repeat(bytes).into()))
}

struct World {
    log: Log,
    hub: Hub,
    now: Time,
    readers: Vec<Reader>,
    /// The number of the newest message published to each channel.
    tips: [Seq; CHANNELS.len()],
    /// How many messages were published.
    published: u64,
}

impl World {
    fn new() -> World {
        let config = Config {
            history: History {
                max_total_bytes: 4_000,
                max_age: std::time::Duration::from_secs(20),
                ..History::default()
            },
            max_channels: 4,
            ..Config::default()
        };
        let log = Log::Memory(Memory::new(Epoch::from_seed(1)));
        World {
            hub: Hub::new(&config, 8, log.epoch(), (1, 2)),
            log,
            now: Time::default(),
            readers: Vec::new(),
            tips: Default::default(),
            published: 0,
        }
    }

    /// A message was published: it has the next number, in the log's epoch.
    fn note(&mut self, channel: usize, published: Published) {
        self.published += 1;
        assert_eq!(published.id.seq, Seq(self.published), "dense and in order");
        assert_eq!(published.id.epoch, self.log.epoch());
        self.tips[channel] = published.id.seq;
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Publish(channel, bytes, key) => {
                let key = key.map(|key| IdempotencyKey::parse(&[b'k', b'0' + key]).unwrap());
                let draft = Draft {
                    key,
                    ..draft(channel, bytes)
                };
                let first = self.hub.published_before(&draft);
                match (self.log.publish(&mut self.hub, draft.clone()), first) {
                    (result, Some(first)) => assert_eq!(result, Ok(first)),
                    (Ok(published), None) => self.note(channel, published),
                    (Err((_, returned)), None) => assert_eq!(returned, draft),
                }
            }
            Op::Batch(messages) => {
                let drafts = messages
                    .iter()
                    .map(|&(channel, bytes)| draft(channel, bytes));
                let drafts = drafts.collect();
                if let Ok(published) = self.log.publish_all(&mut self.hub, drafts) {
                    assert_eq!(published.len(), messages.len(), "all or none");
                    for (&(channel, _), (named, published)) in messages.iter().zip(published) {
                        assert_eq!(named, name(channel));
                        self.note(channel, published);
                    }
                }
            }
            Op::Follow(channel) if self.readers.len() < 8 => {
                if let Ok(opened) = self.hub.open_all([name(channel)].iter()) {
                    let mut reader = Reader::default();
                    reader.cursor = self.hub.head();
                    let follower = self.readers.len() as u32;
                    self.hub.follow(&mut reader, follower, &opened, 0, false);
                    self.hub.enqueue(&mut reader);
                    self.readers.push(reader);
                }
            }
            Op::Follow(_) => {}
            Op::Pass(ms) => {
                self.now = self.now.after_ms(ms);
                self.hub.set_now(self.now);
                self.hub.expire_history(1_000);
                self.hub.forget_idle(1_000);
            }
        }
    }

    /// Log and hub stand at what was published, be it long ago; a refused publish left no trace.
    fn check(&self) {
        assert_eq!(self.log.newest(), Seq(self.published));
        assert_eq!(self.hub.head(), self.log.newest());
        assert_eq!(self.hub.counts().published, self.published);
        for (place, &tip) in self.tips.iter().enumerate() {
            match self.hub.find(CHANNELS[place]) {
                Some(channel) => assert_eq!(self.hub.channel(channel).newest_item(), tip),
                None => assert!(self.hub.evicted_up_to(CHANNELS[place]) >= tip),
            }
        }
    }
}

proptest! {
    #[test]
    fn numbers_are_dense_and_a_refused_publish_takes_none(
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
            world.check();
        }
    }
}

#[test]
fn each_refusal_leaves_log_and_hub_as_they_were() {
    let mut world = World::new();
    world.apply(Op::Follow(0));
    let mut refusals = Vec::new();
    for (channel, bytes) in [(0, 5_000), (0, 900), (0, 900), (0, 900), (1, 900)] {
        let refused = world.log.publish(&mut world.hub, draft(channel, bytes));
        match refused {
            Ok(published) => world.note(channel, published),
            Err((refusal, _)) => refusals.push(refusal),
        }
        world.check();
    }
    let drafts = (0..CHANNELS.len()).map(|channel| draft(channel, 1));
    let batch = world.log.publish_all(&mut world.hub, drafts.collect());
    refusals.push(batch.unwrap_err());
    world.check();
    let expected = [
        Refusal::ExceedsTotalMemory,
        Refusal::Busy,
        Refusal::TooManyChannels,
    ];
    assert_eq!(refusals, expected);
    assert_eq!(world.log.newest(), Seq(3));
}

/// A node keeps floors by bucket without knowing the hub, which takes them over.
#[test]
fn node_and_hub_choose_the_same_bucket_for_a_name() {
    const { assert!(cluster::BUCKETS == crate::hub::BUCKETS) };
    for number in 0..1_000_u64 {
        let keys = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number);
        let name = format!("channel-{number}");
        let salt = cluster::Salt(keys.0, keys.1);
        assert_eq!(salt.bucket(&name), crate::hub::bucket_of(keys, &name));
    }
}
