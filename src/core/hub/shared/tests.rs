//! The hub of a node beside a naive model of the log, which keeps all its events in one vector.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::History;
use crate::hub::{Item, Reader, Take};
use crate::message::{ChannelName, Data, IdempotencyKey};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const TERM: u64 = 1_000_000;

fn name(channel: usize) -> ChannelName<'static> {
    ChannelName::parse(NAMES[channel].as_bytes()).unwrap()
}

fn hub(history: History, max_channels: usize) -> Hub {
    let config = Config {
        history,
        max_channels,
        ..Config::default()
    };
    let mut hub = Hub::of_cluster(&config, 16, (1, 2));
    hub.set_now(Time(1 << 32));
    hub.terms_mut().unwrap().add(TERM).unwrap();
    hub
}

fn seq(number: u64, part: u16) -> Seq {
    let place = crate::message::Place {
        ordinal: 1 << 10,
        entry: number,
        part,
    };
    place.seq()
}

fn message(channel: usize, bytes: usize) -> Draft<'static> {
    Draft::new(name(channel), Data::Text("x".repeat(bytes).into()))
}

#[derive(Clone, Debug)]
enum Op {
    /// An entry with messages: their channels, their bytes, whether each ends its channel.
    Entry(Vec<(usize, usize, bool)>),
    End(usize),
    Delete(usize),
    Lose(Vec<usize>),
    LoseAll,
    Advance,
    /// Park a reader that has received everything.
    Park(Vec<usize>),
    /// Ask with the cursor of this many events before the end of the log.
    Ask(Vec<usize>, usize),
    Serve,
    Forget,
}

fn channels() -> impl Strategy<Value = Vec<usize>> {
    proptest::sample::subsequence(vec![0, 1, 2, 3], 1..=4)
}

fn op() -> impl Strategy<Value = Op> {
    let messages = vec((0..4_usize, 0..40_usize, prop::bool::weighted(0.1)), 1..5);
    prop_oneof![
        8 => messages.prop_map(Op::Entry),
        1 => (0..4_usize).prop_map(Op::End),
        1 => (0..4_usize).prop_map(Op::Delete),
        1 => channels().prop_map(Op::Lose),
        1 => Just(Op::LoseAll),
        1 => Just(Op::Advance),
        2 => channels().prop_map(Op::Park),
        4 => (channels(), 0..20_usize).prop_map(|(channels, back)| Op::Ask(channels, back)),
        3 => Just(Op::Serve),
        1 => Just(Op::Forget),
    ]
}

/// An event of the log about one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    seq: Seq,
    channel: usize,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Message,
    End,
    Loss,
}

struct Pair {
    hub: Hub,
    said: Vec<Said>,
    /// The heads that the hub had, as cursors.
    heads: Vec<Seq>,
    readers: Vec<(Reader, Vec<usize>)>,
    number: u64,
    /// Whether history never reaches its limits; then gaps are exact.
    is_exact: bool,
}

impl Pair {
    fn new(history: History, max_channels: usize, is_exact: bool) -> Pair {
        let mut hub = hub(history, max_channels);
        hub.advance(seq(0, 0));
        Pair {
            hub,
            said: Vec::new(),
            heads: vec![seq(0, 0)],
            readers: Vec::new(),
            number: 0,
            is_exact,
        }
    }

    /// Without room the hub may forget that a channel has ended, so ends are not compared.
    fn say(&mut self, seq: Seq, channel: usize, what: What) {
        if self.is_exact || what != What::End {
            self.said.push(Said { seq, channel, what });
        }
    }

    fn run(&mut self, op: Op) {
        self.number += 1;
        let number = self.number;
        match op {
            Op::Entry(messages) => {
                let mut part = 0;
                for (channel, bytes, ends) in messages {
                    let kind = match ends {
                        true => DraftKind::Last,
                        false => DraftKind::Message,
                    };
                    let draft = Draft {
                        kind,
                        ..message(channel, bytes)
                    };
                    while let Err(Owed) =
                        self.hub
                            .apply_entry(seq(number, part), Time(1 << 32), draft.clone())
                    {
                        self.serve();
                    }
                    self.say(seq(number, part), channel, What::Message);
                    part += 1;
                    if ends {
                        self.say(seq(number, part), channel, What::End);
                        part += 1;
                    }
                }
            }
            Op::End(channel) => {
                let end = Draft::end(name(channel));
                while self
                    .hub
                    .apply_entry(seq(number, 0), Time(1 << 32), end.clone())
                    .is_err()
                {
                    self.serve();
                }
                if !self.has_ended(channel) {
                    self.say(seq(number, 0), channel, What::End);
                }
            }
            Op::Delete(channel) => {
                self.hub.delete(NAMES[channel], seq(number, 0));
                if let Some(last) = self.of(channel).last().copied() {
                    self.said.retain(|said| said.channel != channel);
                    self.said.push(Said {
                        what: What::Loss,
                        ..last
                    });
                    self.said.sort_by_key(|said| said.seq);
                }
            }
            Op::Lose(channels) => {
                let names = channels.iter().map(|&channel| name(channel));
                self.hub.begin_losing_in(names.collect(), seq(number, 3));
                while !self.hub.continue_losing(1) {
                    assert!(self.hub.head() < seq(number, 3));
                }
                for channel in channels {
                    self.lost(channel, seq(number, 3));
                }
            }
            Op::LoseAll => {
                self.hub.begin_losing(seq(number, 3));
                while !self.hub.continue_losing(1) {
                    assert!(self.hub.head() < seq(number, 3));
                }
                (0..4).for_each(|channel| self.lost(channel, seq(number, 3)));
            }
            Op::Advance => self.hub.advance(seq(number, 0)),
            Op::Park(channels) if self.readers.len() < 16 => {
                let names: Vec<ChannelName<'_>> = channels.iter().map(|&c| name(c)).collect();
                let Ok(opened) = self.hub.open_all(names.iter()) else {
                    return;
                };
                let mut reader = Reader {
                    cursor: self.hub.head(),
                    ..Reader::default()
                };
                let follower = self.readers.len() as u32;
                self.hub.follow(&mut reader, follower, &opened, 0, false);
                self.hub.enqueue(&mut reader);
                self.readers.push((reader, channels));
            }
            Op::Park(_) => {}
            Op::Ask(channels, back) => {
                let at = self.heads.len().saturating_sub(1 + back);
                let cursor = self.heads[at];
                let known: Vec<u32> = channels
                    .iter()
                    .filter_map(|&channel| self.hub.find(NAMES[channel]))
                    .collect();
                let floors = channels.iter().map(|&c| self.hub.evicted_up_to(NAMES[c]));
                let floor = floors.max().unwrap();
                let mut items = Vec::new();
                let take = Take {
                    messages: usize::MAX,
                    bytes: usize::MAX,
                };
                let each = known.into_iter().map(|channel| (channel, false));
                self.hub.collect(each, cursor, take, &mut items);
                self.judge(&channels, cursor, &items, floor > cursor);
            }
            Op::Serve => self.serve(),
            Op::Forget => {
                let now = self.hub.now().after_ms(10_000);
                self.hub.set_now(now);
                self.hub.forget_idle(2);
            }
        }
        self.heads.push(self.hub.head());
        assert!(self.hub.head() >= self.heads[self.heads.len() - 2]);
    }

    fn of(&self, channel: usize) -> impl DoubleEndedIterator<Item = &Said> {
        self.said.iter().filter(move |said| said.channel == channel)
    }

    fn has_ended(&self, channel: usize) -> bool {
        let last = self.of(channel).last();
        last.is_some_and(|said| said.what == What::End)
    }

    fn lost(&mut self, channel: usize, seq: Seq) {
        self.said.retain(|said| said.channel != channel);
        self.say(seq, channel, What::Loss);
    }

    fn serve(&mut self) {
        while let Some(channel) = self.hub.next_turn() {
            while let Some(follower) = self.hub.first_ready(channel) {
                let (mut reader, channels) = self.readers[follower as usize].clone();
                self.hub.dequeue(&mut reader);
                let take = Take {
                    messages: usize::MAX,
                    bytes: usize::MAX,
                };
                let mut items = Vec::new();
                self.hub.pending_items(&reader, take, &mut items);
                let has_gap = items.iter().any(|item| matches!(item, Item::Gap(_)));
                self.judge(&channels, reader.cursor, &items, has_gap);
                reader.cursor = items.last().map_or(self.hub.head(), Item::seq);
                self.hub.enqueue(&mut reader);
                self.readers[follower as usize].0 = reader;
            }
            self.hub.end_turn(channel);
        }
        let head = self.hub.head();
        for (reader, channels) in &self.readers {
            let behind =
                |said: &&Said| said.seq > reader.cursor && channels.contains(&said.channel);
            assert!(self.said.iter().find(behind).is_none() || !self.is_exact);
            assert!(reader.cursor <= head);
        }
    }

    /// Checks the items that a reader of these channels got after a cursor.
    fn judge(&self, channels: &[usize], cursor: Seq, items: &[Item], has_gap: bool) {
        let is_due = |said: &&Said| said.seq > cursor && channels.contains(&said.channel);
        let due: Vec<&Said> = self.said.iter().filter(is_due).collect();
        assert!(items.windows(2).all(|pair| pair[0].seq() <= pair[1].seq()));
        let sent = |seq: Seq| items.iter().any(|item| item.seq() == seq);
        for said in &due {
            let is_superseded =
                said.what == What::End && self.of(said.channel).last() != Some(*said);
            assert!(
                sent(said.seq) || has_gap || is_superseded,
                "{said:?} is passed over"
            );
            assert!(said.what != What::Loss || has_gap, "{said:?} is not told");
        }
        if self.is_exact {
            let is_lost = due.iter().any(|said| said.what == What::Loss);
            assert_eq!(has_gap, is_lost, "{items:?} of {due:?}");
        }
        for item in items {
            let is_message = matches!(item, Item::Message { .. });
            let said = due.iter().find(|said| said.seq == item.seq());
            assert!(said.is_some() || !is_message, "{item:?} was not said");
        }
    }
}

fn roomy() -> History {
    History {
        max_messages: 10_000,
        max_bytes: 1 << 30,
        max_total_bytes: 1 << 30,
        max_age: Duration::from_secs(1_000_000),
    }
}

proptest! {
    /// With room for everything, readers get exactly the events of the log.
    #[test]
    fn content_is_what_the_log_says(ops in vec(op(), 1..60)) {
        let mut pair = Pair::new(roomy(), 16, true);
        ops.into_iter()
            // A forgotten channel may share its bucket.
            .filter(|op| !matches!(op, Op::Forget))
            .for_each(|op| pair.run(op));
        pair.serve();
    }

    /// Without room, a reader that misses an event gets a gap.
    #[test]
    fn nothing_is_passed_over_without_room(
        ops in vec(op(), 1..80),
        max_messages in 0..6_usize,
        max_total_bytes in 600..4_000_usize,
        max_channels in 1..5_usize,
    ) {
        let history = History {
            max_messages,
            max_total_bytes,
            ..roomy()
        };
        let mut pair = Pair::new(history, max_channels, false);
        ops.into_iter().for_each(|op| pair.run(op));
        pair.serve();
    }
}

#[test]
fn message_waits_while_all_memory_is_pending() {
    let history = History {
        max_total_bytes: 2_000,
        ..roomy()
    };
    let mut pair = Pair::new(history, 4, true);
    pair.run(Op::Park(vec![0]));
    let mut applied = 0;
    while let Ok(()) = pair
        .hub
        .apply_entry(seq(applied + 10, 0), Time(1 << 32), message(0, 300))
    {
        applied += 1;
    }
    assert!(applied > 0);
    assert_eq!(
        pair.hub.head(),
        seq(applied + 9, 0),
        "nothing else has changed"
    );
    assert_eq!(pair.hub.counts().busy, 0, "it is not refused");
    let (mut reader, _) = pair.readers[0].clone();
    pair.hub.unfollow(&mut reader);
    let again = pair
        .hub
        .apply_entry(seq(applied + 10, 0), Time(1 << 32), message(0, 300));
    assert!(again.is_ok());
}

#[test]
fn message_that_exceeds_all_memory_is_a_loss() {
    let history = History {
        max_total_bytes: 2_000,
        ..roomy()
    };
    let mut pair = Pair::new(history, 4, true);
    pair.hub
        .apply_entry(seq(1, 0), Time(1 << 32), message(0, 3_000))
        .unwrap();
    assert_eq!(pair.hub.head(), seq(1, 0));
    assert_eq!(pair.hub.evicted_up_to("a"), seq(1, 0));
}

#[test]
fn ages_are_in_order_if_clocks_differ() {
    let mut hub = hub(roomy(), 4);
    let now = hub.now();
    for (number, at) in [(1, now.0 - 50), (2, now.0 - 90), (3, now.0 + 70), (4, 0)] {
        let draft = message(0, 1);
        hub.apply_entry(seq(number, 0), Time(at), draft).unwrap();
    }
    let at = |key: u32| now.since_ms(hub.message(key).at());
    let ages: Vec<u64> = hub.ages.iter(&hub.messages).map(at).collect();
    assert_eq!(ages, [50, 50, 0, 0]);
}

#[test]
fn floors_of_another_node_replace_higher_ones_after_a_loss_of_all() {
    let mut hub = hub(roomy(), 4);
    hub.set_salt((7, 8));
    hub.begin_losing(seq(100, 0));
    assert!(hub.continue_losing(10));
    assert_eq!(hub.head(), seq(100, 0));
    let quiet = bucket_of_name("quiet");
    let busy = bucket_of_name("busy");
    assert_ne!(quiet, busy);
    hub.set_floors(|bucket| match bucket == quiet {
        true => seq(5, 0),
        false => seq(200, 0),
    });
    assert_eq!(hub.evicted_up_to("quiet"), seq(5, 0));
    assert_eq!(hub.evicted_up_to("busy"), seq(100, 0));
    // The floors that come later change nothing.
    hub.set_floors(|_| Seq::ZERO);
    assert_eq!(hub.evicted_up_to("quiet"), seq(5, 0));

    // With another secret, the names of a bucket may have been in any bucket before.
    hub.set_salt((9, 9));
    assert_eq!(hub.evicted_up_to("quiet"), seq(100, 0));
}

fn bucket_of_name(name: &str) -> usize {
    crate::hub::bucket_of((7, 8), name)
}

#[test]
fn channel_that_two_nodes_end_ends_once() {
    let mut hub = hub(roomy(), 4);
    for number in [1, 2] {
        let end = Draft {
            key: IdempotencyKey::parse(format!("{number}").as_bytes()).ok(),
            ..Draft::end(name(0))
        };
        hub.apply_entry(seq(number, 0), Time(1 << 32), end).unwrap();
    }
    let channel = hub.channel(hub.find("a").unwrap());
    assert_eq!(channel.newest_item(), seq(1, 0));
    assert_eq!(hub.head(), seq(2, 0));
}

#[test]
fn loss_of_several_channels_is_one_gap() {
    let mut hub = hub(roomy(), 4);
    for channel in 0..3 {
        let draft = message(channel, 1);
        hub.apply_entry(seq(channel as u64 + 1, 0), Time(1 << 32), draft)
            .unwrap();
    }
    hub.begin_losing(seq(100, 0));
    assert!(hub.continue_losing(10));
    let after = message(0, 1);
    hub.apply_entry(seq(101, 0), Time(1 << 32), after).unwrap();
    let channels = (0..3).map(|channel| (hub.find(NAMES[channel]).unwrap(), false));
    let take = Take {
        messages: 10,
        bytes: 1 << 20,
    };
    let mut items = Vec::new();
    hub.collect(channels, seq(1, 0), take, &mut items);
    assert_eq!(items.len(), 2, "{items:?}");
    assert_eq!(items[0], Item::Gap(seq(100, 0)));
}
