//! A saved log and its hub, through restarts, against the list of all that was published.

mod cases;
mod frozen;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use crate::base::record;
use crate::base::time::Time;
use crate::config::{Config, History as Limits, Policy};
use crate::frozen::damage::{damage, damaged, state_of, values};
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::hub::{Hub, Item, Published, Refusal, Take};
use crate::log::{Health, History, Identity, Log, LogEnding, Mark};
use crate::message::{ChannelName, Data, Draft, DraftKind, Epoch, IdempotencyKey, Seq};

/// More names than there is room for channels. The policies are `latest` and `persist = false`.
const CHANNELS: [&str; 6] = ["a", "b", "c", "d", "latest", "volatile"];

/// The wall clock at the start.
const UNIX_MS: u64 = 1_800_000_000_000;

#[derive(Clone, Debug)]
enum Op {
    /// A message of so many bytes to a channel, with one of a few keys or none.
    Publish(usize, usize, Option<u8>),
    /// The end of a channel, after a message of so many bytes or alone.
    Finish(usize, Option<usize>),
    /// A batch of such messages, without keys.
    Batch(Vec<(usize, usize)>),
    Delete(usize),
    Pass(u64),
    /// The appended records are written, to the last segment or a new one, and reported as saved.
    Save(bool),
    /// The oldest segment is carried over, and removed at the next [`Op::Save`].
    Carry,
    /// Everything is handed over; what was appended is written meanwhile, or not.
    HandOver(bool),
    /// The process ends after everything was saved.
    End,
    /// The process is killed: what was not saved is lost, and maybe what was written of it is not.
    Kill(bool),
    /// The machine goes down, and all but a part of the records are lost.
    LoseTail(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let message = || (0..CHANNELS.len(), 0..900usize);
    prop_oneof![
        12 => (message(), proptest::option::of(0..3u8))
            .prop_map(|((channel, bytes), key)| Op::Publish(channel, bytes, key)),
        2 => (0..CHANNELS.len(), proptest::option::of(0..900usize))
            .prop_map(|(channel, bytes)| Op::Finish(channel, bytes)),
        2 => proptest::collection::vec(message(), 0..5).prop_map(Op::Batch),
        1 => (0..CHANNELS.len()).prop_map(Op::Delete),
        2 => (0..9_000u64).prop_map(Op::Pass),
        5 => any::<bool>().prop_map(Op::Save),
        3 => Just(Op::Carry),
        2 => any::<bool>().prop_map(Op::HandOver),
        1 => Just(Op::End),
        1 => any::<bool>().prop_map(Op::Kill),
        1 => any::<prop::sample::Index>().prop_map(Op::LoseTail),
    ]
}

fn name(channel: usize) -> ChannelName<'static> {
    ChannelName::parse(CHANNELS[channel].as_bytes()).unwrap()
}

fn config() -> Config {
    let policy = |pattern: &str| Policy::of(pattern.parse().unwrap());
    Config {
        history: Limits {
            max_messages: 5,
            max_total_bytes: 6_000,
            max_age: Duration::from_secs(20),
            ..Limits::default()
        },
        max_channels: 4,
        policies: vec![
            Policy {
                latest: true,
                ..policy("latest")
            },
            Policy {
                persist: false,
                ..policy("volatile")
            },
        ],
        ..Config::default()
    }
}

/// A message that was published, or the end of a channel, as the list knows it.
#[derive(Clone, Debug)]
struct Message {
    channel: usize,
    seq: Seq,
    /// `None` of an end.
    data: Option<Data>,
    /// The place up to which the log has to be saved for it.
    mark: Mark,
}

struct World {
    config: Config,
    identity: Identity,
    log: Log,
    hub: Hub,
    now: Time,
    unix_ms: u64,
    /// The records of each segment.
    segments: Vec<Vec<u8>>,
    /// The records that are to be carried over as soon as the log is saved up to a place.
    carried: Option<Mark>,
    /// All messages of this epoch that were not lost by a crash before they were saved.
    messages: Vec<Message>,
    /// All messages that were ever published.
    published: Vec<Message>,
    /// Those that were not in history once. A restart may bring one back, and the next one not.
    evicted: BTreeSet<Seq>,
    /// Up to where each channel is deleted, and when that is saved.
    deleted: Vec<(usize, Seq, Mark)>,
    /// The first cursor of this epoch: readers that have it were told a gap.
    epoch_start: Seq,
}

impl World {
    fn new() -> World {
        let config = config();
        let identity = Identity::new([1, 2, 3]);
        let (hub, log) = History::new(identity, &config, 8, UNIX_MS).finish(LogEnding::Clean);
        World {
            config,
            identity,
            now: hub.now(),
            log,
            hub,
            unix_ms: UNIX_MS,
            segments: vec![Vec::new()],
            carried: None,
            messages: Vec::new(),
            published: Vec::new(),
            evicted: BTreeSet::new(),
            deleted: Vec::new(),
            epoch_start: Seq::ZERO,
        }
    }

    fn note(&mut self, channel: usize, data: Data, published: Published) {
        assert_eq!(published.id.epoch, self.identity.epoch);
        self.note_item(channel, Some(data), published.id.seq);
    }

    fn note_item(&mut self, channel: usize, data: Option<Data>, seq: Seq) {
        assert!(self.messages.last().is_none_or(|last| last.seq < seq));
        let mark = self.log.unsaved(seq).expect("it is not saved yet");
        let message = Message {
            channel,
            seq,
            data,
            mark,
        };
        self.published.push(message.clone());
        self.messages.push(message);
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Publish(channel, bytes, key) => {
                let key = key.map(|key| IdempotencyKey::parse(&[b'k', b'0' + key]).unwrap());
                let data = Data::Text("x".repeat(bytes).into());
                let draft = Draft {
                    key,
                    ..Draft::new(name(channel), data.clone())
                };
                let first = self.hub.published_before(&draft);
                match (self.log.publish(&mut self.hub, draft), first) {
                    (result, Some(first)) => assert_eq!(result, Ok(first)),
                    (Ok(published), None) => self.note(channel, data, published),
                    (Err(_), None) => {}
                }
            }
            Op::Finish(channel, bytes) => self.finish(channel, bytes),
            Op::Batch(messages) => {
                let data = |bytes: usize| Data::Text("x".repeat(bytes).into());
                let draft =
                    |&(channel, bytes): &(usize, usize)| Draft::new(name(channel), data(bytes));
                let drafts = messages.iter().map(draft).collect();
                if let Ok(published) = self.log.publish_all(&mut self.hub, drafts) {
                    for (&(channel, bytes), (_, published)) in messages.iter().zip(published) {
                        self.note(channel, data(bytes), published);
                    }
                }
            }
            Op::Delete(channel) => {
                let Some(index) = self.hub.find(CHANNELS[channel]) else {
                    return;
                };
                self.log.delete(&mut self.hub, index).unwrap();
                let up_to = self.hub.channel(index).evicted_up_to();
                if let Some(mark) = self.log.unsaved_end() {
                    self.deleted.push((channel, up_to, mark));
                }
            }
            Op::Pass(ms) => self.pass(ms),
            Op::Save(rolls) => self.save(rolls),
            Op::Carry => self.carry(),
            Op::HandOver(takes) => {
                let saved = self.log.as_saved().unwrap();
                let taken = takes.then(|| saved.take(&mut self.hub)).flatten();
                self.hand_over();
                if let Some(taken) = taken {
                    self.write(&taken.records, false);
                    self.log.as_saved().unwrap().saved(taken.up_to);
                }
            }
            Op::End => {
                self.save(false);
                self.restart(LogEnding::Clean);
            }
            Op::Kill(is_written) => {
                let saved = self.log.as_saved().unwrap();
                if let Some(unsaved) = saved.take(&mut self.hub).filter(|_| is_written) {
                    self.write(&unsaved.records, false);
                    self.log.as_saved().unwrap().saved(unsaved.up_to);
                }
                let log = &self.log;
                self.messages.retain(|message| log.is_saved(message.mark));
                self.deleted.retain(|&(_, _, mark)| log.is_saved(mark));
                self.restart(LogEnding::Crashed);
            }
            Op::LoseTail(kept) => {
                self.save(false);
                let last = self.segments.last_mut().unwrap();
                let kept = kept.index(last.len() + 1);
                last.truncate(kept);
                let epoch = Epoch::from_seed(self.log.newest().0 + 10);
                self.restart(LogEnding::TailLost(epoch));
            }
        }
    }

    fn freeze(&self) -> Vec<u8> {
        let mut state = Freezer::new(Vec::new());
        self.hub.freeze(&mut state).unwrap();
        self.log.freeze(&mut state).unwrap();
        state.into_inner()
    }

    fn thaw(config: &Config, state: &[u8]) -> Result<(Hub, Log), ThawError> {
        let mut state = Thawer::new(state);
        let mut hub = Hub::thaw(config, 8, &mut state)?;
        hub.adopt_readers([])?;
        let log = Log::thaw(&hub, None, &mut state)?;
        state.finish()?;
        Ok((hub, log))
    }

    /// Freezes and thaws everything, which must change nothing.
    fn hand_over(&mut self) {
        let state = self.freeze();
        (self.hub, self.log) = World::thaw(&self.config, &state).unwrap();
        assert!(self.freeze() == state, "it is frozen to the same bytes");
    }

    fn finish(&mut self, channel: usize, bytes: Option<usize>) {
        let data = bytes.map(|bytes| Data::Text("x".repeat(bytes).into()));
        let draft = match data.clone() {
            Some(data) => Draft {
                kind: DraftKind::Last,
                ..Draft::new(name(channel), data)
            },
            None => Draft::end(name(channel)),
        };
        let first = self.hub.ended_before(&draft);
        match (self.log.publish(&mut self.hub, draft), first) {
            (result, Some(first)) => assert_eq!(result, Ok(first)),
            (Ok(published), None) => {
                let is_message = u64::from(data.is_some());
                if let Some(data) = data {
                    self.note(channel, data, published);
                }
                self.note_item(channel, None, Seq(published.id.seq.0 + is_message));
            }
            (Err(_), None) => {}
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        self.unix_ms += ms;
        self.hub.set_now(self.now);
        self.log.as_saved().unwrap().set_date(self.unix_ms);
        self.hub.expire_history(1_000);
        self.hub.forget_idle(1_000);
    }

    fn write(&mut self, records: &[u8], rolls: bool) {
        if rolls {
            self.segments.push(Vec::new());
        }
        self.segments.last_mut().unwrap().extend_from_slice(records);
    }

    fn save(&mut self, rolls: bool) {
        let saved = self.log.as_saved().unwrap();
        if let Some(unsaved) = saved.take(&mut self.hub) {
            self.write(&unsaved.records, rolls);
            let saved = self.log.as_saved().unwrap();
            saved.saved(unsaved.up_to);
            assert_eq!(saved.unsaved_bytes(), 0);
        }
        assert_eq!(self.log.unsaved_end(), None);
        if self
            .carried
            .take()
            .is_some_and(|mark| self.log.is_saved(mark))
        {
            self.segments.remove(0);
        }
    }

    fn carry(&mut self) {
        if self.segments.len() < 2 || self.carried.is_some() {
            return;
        }
        let before = self.log.as_saved().unwrap().unsaved_bytes();
        let saved = self.log.as_saved().unwrap();
        let mark = saved.carry(&mut self.hub, &self.segments[0]).unwrap();
        let carried = self.log.as_saved().unwrap().unsaved_bytes() - before;
        assert!(
            carried <= self.segments[0].len(),
            "carrying over takes more"
        );
        self.carried = Some(mark);
    }

    /// Starts again from the segments, with what is in memory gone.
    fn restart(&mut self, how: LogEnding) {
        let kept = self.kept();
        let newest = self.log.newest();
        let mut history = History::new(self.identity, &self.config, 8, self.unix_ms);
        for segment in &mut self.segments {
            let mut read = 0;
            while let record::Read::Record { entry, rest } = record::read(&segment[read..]) {
                history.replay(entry).unwrap();
                read = segment.len() - rest.len();
            }
            segment.truncate(read);
        }
        if let (LogEnding::Clean, Some(last)) = (how, self.messages.last()) {
            assert!(history.newest() >= last.seq, "the newest number is lost");
        }
        // Saved beside the log at each start.
        history.go_on_after(newest);
        let (hub, log) = history.finish(how);
        (self.hub, self.log) = (hub, log);
        self.now = self.hub.now();
        self.carried = None;
        // Places are those of one process.
        for message in &mut self.messages {
            message.mark = Mark::default();
        }
        for (.., mark) in &mut self.deleted {
            *mark = Mark::default();
        }
        assert_eq!(self.log.newest(), self.hub.head());
        assert!(self.log.newest() >= newest);
        if let LogEnding::TailLost(epoch) = how {
            // Cursors of the epoch before are foreign, so only what is kept can be missed.
            self.identity.epoch = epoch;
            let is_here =
                |message: &&Message| ring(&self.hub, message.channel).contains(&message.seq);
            self.messages = self.published.iter().filter(is_here).cloned().collect();
            for message in &mut self.messages {
                message.mark = Mark::default();
            }
            self.deleted.clear();
            self.epoch_start = self.hub.head();
            return;
        }
        for message in kept {
            let is_here = ring(&self.hub, message.channel).contains(&message.seq);
            assert!(is_here, "{message:?} is lost by a restart");
        }
    }

    /// The saved messages that are in history, and are to be after a restart.
    fn kept(&self) -> Vec<Message> {
        let is_kept = |message: &&Message| {
            self.log.is_saved(message.mark)
                && CHANNELS[message.channel] != "volatile"
                && !self.evicted.contains(&message.seq)
                && ring(&self.hub, message.channel).contains(&message.seq)
        };
        self.messages.iter().filter(is_kept).cloned().collect()
    }

    fn note_evicted(&mut self) {
        let is_gone = |message: &&Message| !ring(&self.hub, message.channel).contains(&message.seq);
        let gone = self.messages.iter().filter(is_gone);
        self.evicted.extend(gone.map(|message| message.seq));
    }

    /// A reader with any cursor gets every message after it in order, or one gap exactly where one
    /// is missing.
    fn check(&self) {
        for (channel, name) in CHANNELS.iter().enumerate() {
            let all = self.messages.iter().filter(|one| one.channel == channel);
            let newest = all.clone().next_back().map(|newest| newest.seq);
            // An end after which something was published is none.
            let counts = |one: &&Message| one.data.is_some() || Some(one.seq) == newest;
            let messages: Vec<&Message> = all.clone().filter(counts).collect();
            let floor = self.hub.evicted_up_to(name);
            let ended = messages.last().is_some_and(|last| last.data.is_none());
            let deletion = |&(deleted, up_to, mark): &(usize, Seq, Mark)| {
                (deleted == channel && self.log.is_saved(mark)).then_some(up_to)
            };
            let deleted = self
                .deleted
                .iter()
                .filter_map(deletion)
                .max()
                .unwrap_or_default();
            let numbers = messages.iter().map(|message| message.seq.0);
            let mut cursors: Vec<u64> = numbers.flat_map(|seq| [seq - 1, seq]).collect();
            cursors.extend([0, self.hub.head().0]);
            for cursor in cursors.into_iter().map(Seq) {
                let items = self.items(name, cursor);
                let gaps = items
                    .iter()
                    .filter(|item| matches!(item, Item::Gap(_)))
                    .count();
                let mut got = Vec::new();
                for item in items {
                    let (seq, data) = match item {
                        Item::Gap(_) => continue,
                        Item::Message { seq, key } => (seq, Some(self.hub.message(key).data())),
                        Item::End { seq, .. } => (seq, None),
                    };
                    let message = self.published.iter().find(|one| one.seq == seq);
                    let message = message.expect("it was published");
                    assert_eq!(message.data.as_ref(), data);
                    assert!(seq > deleted, "{name}: {seq:?} was deleted");
                    got.push(seq);
                }
                assert!(got.is_sorted(), "{name}: {got:?}");
                let is_missed =
                    |message: &&&Message| message.seq > cursor && !got.contains(&message.seq);
                let is_due = match *name {
                    "latest" => {
                        let mut newest = messages.iter().rev().take(1 + usize::from(ended));
                        newest.any(|message| is_missed(&message))
                    }
                    _ => messages.iter().any(|message| is_missed(&message)),
                };
                // Older cursors may be told again what was lost in the epoch before; and an end may
                // have been lost before something was published after it.
                let may_be_told = cursor < self.epoch_start
                    || all
                        .clone()
                        .any(|one| one.data.is_none() && one.seq > cursor && one.seq <= floor);
                let gaps = match may_be_told {
                    true => gaps.min(usize::from(is_due)),
                    false => gaps,
                };
                assert_eq!(
                    gaps,
                    usize::from(is_due),
                    "{name} after {cursor:?}: {got:?}"
                );
            }
        }
    }

    /// The pending items of a reader with a cursor.
    fn items(&self, name: &str, cursor: Seq) -> Vec<Item> {
        let mut items = Vec::new();
        match self.hub.find(name) {
            Some(channel) => {
                let take = Take {
                    messages: usize::MAX,
                    bytes: usize::MAX,
                };
                let channels = [(channel, false)].into_iter();
                self.hub.collect(channels, cursor, take, &mut items);
            }
            None => {
                let floor = self.hub.evicted_up_to(name);
                items.extend((floor > cursor).then_some(Item::Gap(floor)));
            }
        }
        items
    }
}

/// The numbers of the messages that a channel keeps.
fn ring(hub: &Hub, channel: usize) -> Vec<Seq> {
    let Some(channel) = hub.find(CHANNELS[channel]) else {
        return Vec::new();
    };
    hub.channel(channel).numbers().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn restarted_log_tells_every_message_or_a_gap(
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
            world.note_evicted();
            world.check();
        }
    }
}
