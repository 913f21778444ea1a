//! The hub beside a naive model of it: every message ever published in one vector, and every
//! question answered by looking at all of them.

mod cases;
mod checks;
mod rules;

use std::time::Duration;

use proptest::prelude::*;

use checks::{has_losses, retain_behind};

use super::ring::Ring;
use super::*;
use crate::base::wheel::SLOT_MS;
use crate::config::{History, Policy};
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::log::{Log, Memory};
use crate::message::{Data, Draft, DraftKind, EventName, IdempotencyKey};

pub(super) const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];

const MAX_READERS: usize = 8;

pub(in crate::hub) fn name(name: &'static str) -> ChannelName<'static> {
    ChannelName::parse(name.as_bytes()).unwrap()
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Publish(usize, usize),
    /// End a channel, after a message of so many bytes or without one.
    End(usize, Option<usize>),
    /// Follow these channels from this many messages back; whether earlier losses are ignored.
    Follow(Vec<usize>, u64, bool),
    /// A reader follows other channels, from where it is.
    Change(usize, Vec<usize>),
    /// Serve the first ready reader of the next turn, so many messages; it may block after.
    Serve(usize, bool),
    Unblock(usize),
    Leave(usize),
    Forget(usize),
    Pass(u64),
    /// Evict what is due, within a budget.
    Expire(usize),
    /// Other limits and policies, of which each channel has the first that is for it.
    Reconfigure(History, Vec<Policy>),
    /// Go on with that, within a budget.
    Continue(usize),
    /// Everything is frozen, and thawed with these limits and policies, or those that it had.
    HandOver(Option<(History, Vec<Policy>)>),
}

pub(super) fn history() -> impl Strategy<Value = History> {
    let bytes = (200..4_000usize, 2_000..6_000usize);
    (0..6usize, bytes, age()).prop_map(|(max_messages, (max_bytes, max_total_bytes), max_age)| {
        History {
            max_messages,
            max_bytes,
            max_total_bytes,
            max_age,
        }
    })
}

fn age() -> impl Strategy<Value = Duration> {
    proptest::sample::select(vec![100, 2_000, 20_000]).prop_map(Duration::from_millis)
}

pub(super) fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let pattern = proptest::sample::select(vec!["a", "b", "c", "*"]);
    let numbers = proptest::option::of((0..6usize, 200..4_000usize));
    let policy = (pattern, numbers, proptest::option::of(age()), any::<bool>());
    let policy = policy.prop_map(|(pattern, numbers, history_age, latest)| Policy {
        history_messages: numbers.map(|(messages, _)| messages),
        history_bytes: numbers.map(|(_, bytes)| bytes),
        history_age,
        latest,
        ..Policy::of(pattern.parse().unwrap())
    });
    proptest::collection::vec(policy, 0..4)
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..4usize, 0..40usize).prop_map(|(channel, bytes)| Op::Publish(channel, bytes)),
        2 => (0..4usize, proptest::option::of(0..40usize))
            .prop_map(|(channel, bytes)| Op::End(channel, bytes)),
        2 => (proptest::sample::subsequence(vec![0, 1, 2, 3], 1..=4), 0..12u64, any::<bool>())
            .prop_map(|(channels, back, ignores)| Op::Follow(channels, back, ignores)),
        1 => (0..8usize, proptest::sample::subsequence(vec![0, 1, 2, 3], 0..=4))
            .prop_map(|(place, channels)| Op::Change(place, channels)),
        6 => (1..4usize, proptest::bool::weighted(0.2)).prop_map(|(n, block)| Op::Serve(n, block)),
        1 => (0..8usize).prop_map(Op::Unblock),
        1 => (0..8usize).prop_map(Op::Leave),
        1 => (0..4usize).prop_map(Op::Forget),
        1 => (0..9_000u64).prop_map(Op::Pass),
        2 => (0..200u64).prop_map(Op::Pass),
        1 => (0..4usize).prop_map(Op::Expire),
        1 => (history(), policies()).prop_map(|(limits, some)| Op::Reconfigure(limits, some)),
        1 => (0..4usize).prop_map(Op::Continue),
        1 => Just(Op::HandOver(None)),
        1 => (history(), policies()).prop_map(|other| Op::HandOver(Some(other))),
    ]
}

/// A message, or the end of a channel, as the model keeps it.
struct Message {
    seq: Seq,
    channel: usize,
    at: Time,
    is_end: bool,
}

pub(super) struct Pair {
    pub(super) log: Log,
    pub(super) hub: Hub,
    /// Each with its channels, and with those whose earlier losses are no gap to it.
    pub(super) readers: Vec<(Reader, Vec<usize>, Vec<usize>)>,
    published: Vec<Message>,
    /// For each channel, the newest message that a newer one may have replaced.
    replaceable: [Seq; CHANNELS.len()],
    /// For each channel, the head when it was last deleted or unknown: its end is forgotten.
    forgotten: [Seq; CHANNELS.len()],
    pub(super) config: Config,
    now: Time,
}

impl Pair {
    pub(super) fn new(history: History, policies: Vec<Policy>) -> Pair {
        let config = Config {
            history,
            policies,
            max_channels: 16,
            ..Config::default()
        };
        let log = Log::Memory(Memory::new(Epoch::from_seed(1)));
        Pair {
            hub: Hub::new(&config, MAX_READERS, log.epoch(), (1, 2)),
            log,
            readers: Vec::new(),
            published: Vec::new(),
            replaceable: Default::default(),
            forgotten: Default::default(),
            config,
            now: Time::default(),
        }
    }

    pub(super) fn apply(&mut self, op: Op) {
        self.apply_one(op);
        for (place, name) in CHANNELS.iter().enumerate() {
            if self.hub.find(name).is_none() {
                self.forgotten[place] = self.hub.head();
            }
        }
    }

    fn apply_one(&mut self, op: Op) {
        match op {
            Op::Publish(channel, bytes) => self.publish(channel, Some(bytes), false),
            Op::End(channel, bytes) => self.publish(channel, bytes, true),
            Op::Follow(channels, back, ignores) => self.follow(channels, back, ignores),
            Op::Change(place, channels) => self.change(place, channels),
            Op::Serve(most, block) => self.serve(most, block),
            Op::Unblock(place) => {
                if let Some((reader, _, ignored)) = self.readers.get_mut(place)
                    && !reader.is_queued()
                {
                    self.hub.enqueue(reader);
                    retain_behind(&self.hub, reader.cursor, ignored);
                }
            }
            Op::Leave(place) => {
                if place < self.readers.len() {
                    self.leave(place);
                }
            }
            Op::Forget(channel) => {
                if let Some(index) = self.hub.find(CHANNELS[channel]) {
                    self.hub.delete_history(index);
                    self.forgotten[channel] = self.hub.head();
                }
            }
            Op::Pass(ms) => {
                self.now = self.now.after_ms(ms);
                self.hub.set_now(self.now);
                self.expire(1_000);
                self.hub.forget_idle(1_000);
            }
            Op::Expire(budget) => self.expire(budget),
            Op::Reconfigure(history, policies) => {
                self.configure(history, policies);
                self.hub.reconfigure(&self.config);
            }
            Op::Continue(budget) => self.hub.continue_reconfigure(budget),
            Op::HandOver(None) => self.hand_over(),
            Op::HandOver(Some((history, policies))) => {
                let state = self.freeze();
                self.configure(history, policies);
                self.take_over(&state);
            }
        }
    }

    /// The state of hub, readers and log.
    pub(super) fn freeze(&self) -> Vec<u8> {
        let mut state = Freezer::new(Vec::new());
        self.hub.freeze(&mut state).unwrap();
        let readers: Vec<_> = self.readers.iter().map(|(r, ..)| r.freeze()).collect();
        state.put(&readers).unwrap();
        self.log.freeze(&mut state).unwrap();
        state.into_inner()
    }

    /// Hub, readers and log, by their followers, of a state.
    pub(super) fn thaw(
        config: &Config,
        state: &[u8],
    ) -> Result<(Hub, Vec<Reader>, Log), ThawError> {
        let mut state = Thawer::new(state);
        let mut hub = Hub::thaw(config, MAX_READERS, &mut state)?;
        let readers: Vec<FrozenReader> = state.take()?;
        let readers: Result<Vec<Reader>, _> = readers.into_iter().map(|r| r.thaw()).collect();
        let mut readers = readers?;
        hub.adopt_readers((0..).zip(&mut readers))?;
        let log = Log::thaw(&hub, None, &mut state)?;
        state.finish()?;
        Ok((hub, readers, log))
    }

    /// Freezes and thaws everything, which must change nothing.
    pub(super) fn hand_over(&mut self) {
        let state = self.freeze();
        self.take_over(&state);
        assert!(self.freeze() == state, "it is frozen to the same bytes");
    }

    fn take_over(&mut self, state: &[u8]) {
        let (hub, readers, log) = Pair::thaw(&self.config, state).unwrap();
        (self.hub, self.log) = (hub, log);
        for ((before, ..), reader) in self.readers.iter_mut().zip(readers) {
            *before = reader;
        }
    }

    /// Other limits and policies hold from now on.
    fn configure(&mut self, history: History, policies: Vec<Policy>) {
        self.config = Config {
            history,
            policies,
            ..self.config.clone()
        };
        for place in 0..CHANNELS.len() {
            if self.is_latest(place) {
                self.replace_all_but_newest(place);
            }
        }
    }

    /// All but the newest message of a channel may be replaced from now on.
    fn replace_all_but_newest(&mut self, place: usize) {
        let all = self.published.iter().rev();
        let of_channel = all.filter(|message| message.channel == place && !message.is_end);
        let mut older = of_channel.skip(1);
        if let Some(message) = older.next() {
            self.replaceable[place] = message.seq;
        }
    }

    /// Expires messages: none before its time, and, if the budget was large, all in time.
    fn expire(&mut self, budget: usize) {
        let losses = |pair: &Pair| {
            let channels = CHANNELS.iter().map(|name| {
                let index = pair.hub.find(name)?;
                Some((index, pair.hub.channel(index).evicted_up_to()))
            });
            channels.collect::<Vec<_>>()
        };
        let before = losses(self);
        let was_over: Vec<bool> = before
            .iter()
            .enumerate()
            .map(|(place, found)| {
                found.is_some_and(|(index, _)| self.exceeds(place, self.hub.channel(index)))
            })
            .collect();
        self.hub.expire_history(budget);
        for (place, (before, after)) in before.into_iter().zip(losses(self)).enumerate() {
            let (Some((_, before)), Some((index, after))) = (before, after) else {
                continue;
            };
            let max_age_ms = self.max_age_ms(place);
            let lost = self.published.iter().filter(|message| {
                message.channel == place
                    && (message.seq > before && message.seq <= after)
                    && !self.is_superseded(message)
            });
            for message in lost {
                let is_due = message.at.after_ms(max_age_ms) <= self.now;
                let is_replaced = message.seq <= self.replaceable[place];
                assert!(
                    is_due || is_replaced || was_over[place],
                    "{:?} is early",
                    message.seq
                );
            }
            let channel = self.hub.channel(index);
            let oldest = channel.ring().and_then(|ring| ring.entries.front());
            if let Some(oldest) = oldest
                && budget > 100
                && index < self.hub.resolved
            {
                let at = self.published[oldest.seq.0 as usize - 1].at;
                let due = at.after_ms(max_age_ms + 2 * SLOT_MS);
                let is_late = due <= self.now && oldest.pending == 0;
                assert!(!is_late, "{:?} is late", oldest.seq);
                let is_trimmed_later = oldest.pending > 0 || channel.running;
                assert!(!self.exceeds(place, channel) || is_trimmed_later);
            }
        }
    }

    /// Publishes a message of so many bytes, if any, and then the end of the channel, if it ends.
    fn publish(&mut self, channel: usize, bytes: Option<usize>, ends: bool) {
        let named = name(CHANNELS[channel]);
        let draft = match bytes {
            None => Draft::end(named),
            Some(bytes) => Draft {
                kind: match ends {
                    true => DraftKind::Last,
                    false => DraftKind::Message,
                },
                ..Draft::new(named, Data::Text("x".repeat(bytes).into()))
            },
        };
        let had_ended = self.has_ended(channel);
        let Ok(published) = self.log.publish(&mut self.hub, draft) else {
            return;
        };
        if bytes.is_none() && had_ended {
            let newest = self.published.iter().rev().find(|m| m.channel == channel);
            assert_eq!(Some(published.id.seq), newest.map(|newest| newest.seq));
            return;
        }
        let first = self.published.len() as u64 + 1;
        assert_eq!(published.id.seq.0, first, "one sequence");
        for is_end in bytes.map(|_| false).into_iter().chain(ends.then_some(true)) {
            self.published.push(Message {
                seq: Seq(self.published.len() as u64 + 1),
                channel,
                at: self.now,
                is_end,
            });
        }
        if self.is_latest(channel) {
            self.replace_all_but_newest(channel);
        }
    }

    fn follow(&mut self, channels: Vec<usize>, back: u64, ignores_earlier_losses: bool) {
        if self.readers.len() == MAX_READERS {
            return;
        }
        let cursor = Seq(self.hub.head().0.saturating_sub(back));
        let place = self.readers.len();
        self.readers
            .push((Reader::default(), Vec::new(), Vec::new()));
        self.join(place, channels, cursor, ignores_earlier_losses);
    }

    fn join(
        &mut self,
        place: usize,
        channels: Vec<usize>,
        cursor: Seq,
        ignores_earlier_losses: bool,
    ) {
        let names = channels.iter().map(|&channel| name(CHANNELS[channel]));
        let names: Vec<_> = names.collect();
        let opened = self
            .hub
            .open_all(names.iter())
            .expect("there is room for all");
        let mut reader = Reader {
            cursor,
            ..Reader::default()
        };
        self.hub.follow(
            &mut reader,
            place as u32,
            &opened,
            1,
            ignores_earlier_losses,
        );
        self.hub.enqueue(&mut reader);
        let mut ignored = channels.clone();
        ignored
            .retain(|&each| ignores_earlier_losses && has_losses(&self.hub, reader.cursor, each));
        self.readers[place] = (reader, channels, ignored);
    }

    /// All readers leave, and all messages and channels go in time.
    pub(super) fn end(&mut self) {
        while !self.readers.is_empty() {
            self.leave(self.readers.len() - 1);
        }
        while let Some(channel) = self.hub.next_turn() {
            self.hub.end_turn(channel);
        }
        self.hub.continue_reconfigure(100_000);
        assert!(!self.hub.is_reconfiguring());
        for _ in 0..4 {
            self.apply(Op::Pass(100_000));
            self.check();
        }
        assert_eq!((self.hub.message_count(), self.hub.channel_count()), (0, 0));
        assert_eq!(self.hub.next_history_expiry(), None);
    }

    fn change(&mut self, place: usize, channels: Vec<usize>) {
        let names = channels.iter().map(|&channel| name(CHANNELS[channel]));
        let names: Vec<_> = names.collect();
        let Some((reader, before, ignored)) = self.readers.get_mut(place) else {
            return;
        };
        let opened = self.hub.open_all(names.iter()).expect("there is room");
        self.hub.dequeue(reader);
        self.hub.refollow(reader, place as u32, &opened);
        self.hub.enqueue(reader);
        let all_ignored = !before.is_empty() && before.iter().all(|each| ignored.contains(each));
        let is_ignored = |each: &usize| match before.contains(each) {
            true => ignored.contains(each),
            false => all_ignored && has_losses(&self.hub, reader.cursor, *each),
        };
        let mut now_ignored: Vec<usize> = channels.iter().copied().filter(is_ignored).collect();
        retain_behind(&self.hub, reader.cursor, &mut now_ignored);
        (*before, *ignored) = (channels, now_ignored);
    }

    /// Followers are named by their places, so the last, which takes the place, joins anew.
    fn leave(&mut self, place: usize) {
        self.hub.unfollow(&mut self.readers[place].0);
        let last = self.readers.len() - 1;
        self.hub.unfollow(&mut self.readers[last].0);
        self.readers.swap_remove(place);
        if place < last {
            let (reader, channels, _) = &self.readers[place];
            let (cursor, channels) = (reader.cursor, channels.clone());
            self.join(place, channels, cursor, false);
        }
    }

    fn serve(&mut self, most: usize, block: bool) {
        let Some(channel) = self.hub.next_turn() else {
            return;
        };
        if let Some(place) = self.hub.first_ready(channel) {
            let place = place as usize;
            self.hub.dequeue(&mut self.readers[place].0);
            let take = Take {
                messages: most,
                bytes: usize::MAX,
            };
            let mut items = Vec::new();
            let (reader, channels, ignored) = &self.readers[place];
            let more = self.hub.pending_items(reader, take, &mut items);
            let owed = self.owed_naively(reader.cursor, channels, ignored);
            let (reader, _, ignored) = &mut self.readers[place];
            let is_message = |item: &&Item| matches!(item, Item::Message { .. });
            let beyond = owed.iter().filter(is_message).nth(most);
            let given = owed.iter().take_while(|item| Some(*item) != beyond);
            assert_eq!(
                items,
                given.copied().collect::<Vec<_>>(),
                "the lowest numbers first"
            );
            assert_eq!(more, beyond.is_some(), "all that is owed, or more is said");
            reader.cursor = items.last().map_or(self.hub.head(), Item::seq);
            self.hub.stop_ignoring_losses(reader, &items);
            let cursor = reader.cursor;
            ignored.retain(|&place| {
                let index = self.hub.find(CHANNELS[place]).expect("it is followed");
                let seen = items.iter().any(|item| {
                    let number = item.seq().0 as usize;
                    is_message(&item) && self.published[number - 1].channel == place
                });
                !seen && self.hub.channel(index).newest_item() > cursor
            });
            if !block {
                self.hub.enqueue(reader);
            }
        }
        self.hub.end_turn(channel);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_hub_is_its_naive_twin(
        history in history(),
        policies in policies(),
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let mut pair = Pair::new(history, policies);
        for op in ops {
            pair.apply(op);
            pair.check();
            pair.check_newest();
            pair.check_all();
        }
        pair.end();
    }
}
