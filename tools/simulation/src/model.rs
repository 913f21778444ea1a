//! The messages that the server has accepted, in order, and their data.
//!
//! Owns the data that clients' messages are compared with, the keys of publishes, and the truth
//! that the judge is told. Of the server it is told what the server itself answered to publishers,
//! and what history keeps.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use encke_core::message::{Data, DraftKind};
use encke_oracle::id::Id;
use encke_oracle::log::Receipt;
use encke_oracle::run::{Outcome, Publish};
use encke_oracle::truth::{Known, Truth};
use encke_test_client as client;

use crate::rule::{broken, ensure};

/// The number of a channel that does not exist.
const NO_CHANNEL: u32 = u32::MAX;

/// A message, or the end of a channel, as a publisher handed it in.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) channel: usize,
    pub(crate) data: Data,
    pub(crate) event: Option<String>,
    pub(crate) kind: DraftKind,
}

impl Said {
    /// The same as a line of a batch says it: there, a JSON string is text.
    pub(crate) fn into_line(mut self) -> Said {
        if let Data::Json(json) = &self.data
            && let Ok(text) = serde_json::from_str::<String>(json)
        {
            self.data = Data::Text(text.into());
        }
        self
    }
}

/// A message that was accepted.
pub(crate) struct Accepted {
    pub(crate) said: Said,
    /// When, in milliseconds.
    pub(crate) at: u64,
    /// Whether a publisher was answered for it.
    is_claimed: bool,
}

/// The newest that was published to a channel.
#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    seq: u64,
    is_end: bool,
}

/// All messages.
pub(crate) struct Model {
    pub(crate) truth: Truth,
    epoch: u64,
    names: Vec<String>,
    /// By number.
    messages: HashMap<u64, Accepted>,
    /// Those that are lost with their records, and of which a record may be left.
    gone: HashMap<u64, Accepted>,
    /// The newest number.
    head: u64,
    /// By channel. An end that was deleted, or forgotten with its channel, is none.
    newest: Vec<Newest>,
    /// The newest number when a channel was last deleted.
    deleted_at: Vec<u64>,
    /// A channel may be forgotten, its end too, and made again within one call.
    pub(crate) is_short_of_channels: bool,
    /// The newest message published with a key, by channel and key.
    keys: HashMap<(usize, String), u64>,
    /// All messages published with a key.
    keyed: HashSet<(usize, String, u64)>,
    /// For each channel that owes only its newest message: the newest of all when that began.
    latest_since: Vec<Option<u64>>,
    /// The newest message at the last reload.
    pub(crate) reloaded_at: u64,
    now: u64,
    clock: u64,
}

impl Model {
    pub(crate) fn new(names: &[String], epoch: &str) -> Model {
        Model {
            truth: Truth::exact(names.len()),
            epoch: epoch_of(epoch),
            names: names.to_vec(),
            messages: HashMap::new(),
            gone: HashMap::new(),
            head: 0,
            newest: vec![Newest::default(); names.len()],
            deleted_at: vec![0; names.len()],
            is_short_of_channels: false,
            keys: HashMap::new(),
            keyed: HashSet::new(),
            latest_since: vec![None; names.len()],
            reloaded_at: 0,
            now: 0,
            clock: 0,
        }
    }

    pub(crate) fn set_now(&mut self, now_ms: u64) {
        self.now = now_ms;
    }

    /// A time in microseconds for the next thing that is written down, later than all before it.
    pub(crate) fn tick(&mut self) -> u64 {
        self.clock = (self.clock + 1).max(self.now * 1_000);
        self.clock
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn message(&self, seq: u64) -> &Accepted {
        self.find(seq).expect("a message that was accepted")
    }

    fn find(&self, seq: u64) -> Option<&Accepted> {
        self.messages.get(&seq)
    }

    /// The bytes of a message's data; none of one that was never accepted.
    pub(crate) fn bytes(&self, seq: u64) -> usize {
        self.find(seq).map_or(0, |message| message.said.data.len())
    }

    fn check_next(&self, seq: u64) {
        ensure!(
            seq == self.head() + 1,
            OneIdForTwo,
            "{seq} after {}: a number was left out or given twice",
            self.head()
        );
    }

    /// A channel has ended under the next number.
    pub(crate) fn end(&mut self, seq: u64, channel: usize) {
        self.check_next(seq);
        let at = self.tick();
        self.truth.end(self.epoch, channel as u32, seq, at);
        self.head = seq;
        self.newest[channel] = Newest { seq, is_end: true };
    }

    /// The number of the end of a channel that has ended.
    pub(crate) fn end_of(&self, channel: usize) -> Option<u64> {
        let newest = self.newest[channel];
        newest.is_end.then_some(newest.seq)
    }

    /// Whether nothing was published to a channel after a message.
    pub(crate) fn is_newest(&self, channel: usize, seq: u64) -> bool {
        let newest = self.newest[channel];
        newest.seq == seq && !newest.is_end
    }

    /// Whether a channel that is ended again may have this end.
    pub(crate) fn may_be_end(&self, channel: usize, seq: u64) -> bool {
        let is_an_end = self
            .truth
            .has_ended_between(self.epoch, channel as u32, seq - 1, seq + 1);
        self.end_of(channel) == Some(seq) || self.is_short_of_channels && is_an_end
    }

    /// The server does not know a channel any more, or forgets its history.
    pub(crate) fn forget_end(&mut self, channel: usize) {
        self.newest[channel].is_end = false;
    }

    /// Whether a reader that has everything up to a number is done with channels, as far as is
    /// known.
    pub(crate) fn is_done(&self, channels: &[usize], seq: u64) -> bool {
        let has_end = |&channel: &usize| self.end_of(channel).is_some_and(|end| end <= seq);
        !self.is_short_of_channels && !channels.is_empty() && channels.iter().all(has_end)
    }

    /// A client was told that channels have ended.
    pub(crate) fn check_ended(&self, channels: &[usize], seq: u64) {
        for &channel in channels {
            let is_end = self.truth.ends_at(self.epoch, channel as u32, seq);
            let deleted_at = self.deleted_at[channel];
            let newest = self.truth.has_ended_between(
                self.epoch,
                channel as u32,
                deleted_at,
                seq.saturating_add(1),
            );
            ensure!(
                is_end && (newest || seq <= deleted_at),
                Groundless,
                "at {seq}, channel {channel} has not ended: {:?}, deleted at {deleted_at}",
                self.newest[channel]
            );
        }
    }

    /// The next message was accepted under this number.
    pub(crate) fn accept(&mut self, seq: u64, said: Said) {
        self.check_next(seq);
        let publish = self.publish_of(seq, &said);
        self.truth.accept(publish);
        let at = self.now;
        self.head = seq;
        self.newest[said.channel] = Newest { seq, is_end: false };
        let is_claimed = false;
        let accepted = Accepted {
            said,
            at,
            is_claimed,
        };
        self.messages.insert(seq, accepted);
    }

    fn publish_of(&mut self, seq: u64, said: &Said) -> Publish {
        let at = self.tick();
        Publish {
            channel: said.channel as u32,
            number: seq,
            length: said.data.len() as u32,
            begun: at,
            done: at,
            outcome: Outcome::Accepted(self.id(seq)),
            ..Publish::default()
        }
    }

    /// A publisher is answered that its message has this number. Returns whether it is the first
    /// that is.
    pub(crate) fn claim(&mut self, seq: u64, said: &Said) -> bool {
        let Some(accepted) = self.messages.get_mut(&seq) else {
            return false;
        };
        if accepted.is_claimed {
            return false;
        }
        accepted.is_claimed = true;
        let kept = &accepted.said;
        // A retry may be answered before the first.
        let is_same = kept.channel == said.channel;
        ensure!(is_same, Mangled, "published {said:?}, and {kept:?} is kept");
        true
    }

    /// The records of messages from this number on are lost: it never was.
    pub(crate) fn unaccept(&mut self, seq: u64) {
        if let Some(gone) = self.messages.remove(&seq) {
            self.truth.unaccept(self.epoch, seq);
            self.keys.retain(|_, number| *number != seq);
            self.gone.insert(seq, gone);
        }
    }

    /// The history that the server has restored: in a new epoch (`is_new`) there is nothing else,
    /// and messages may be back that were not there when an earlier epoch began.
    pub(crate) fn restored(&mut self, kept: &HashSet<u64>, is_new: bool) {
        if is_new {
            let gone: Vec<u64> = self.messages.keys().copied().collect();
            for seq in gone.into_iter().filter(|seq| !kept.contains(seq)) {
                self.unaccept(seq);
            }
            // What is said to be lost was lost before.
            self.truth.forget();
        }
        for seq in kept {
            if let Some(back) = self.gone.remove(seq) {
                let publish = self.publish_of(*seq, &back.said);
                self.truth.readmit(publish);
                self.messages.insert(*seq, back);
            }
        }
    }

    /// The server starts again, and its newest number is this.
    pub(crate) fn restart(&mut self, head: u64) {
        ensure!(
            head >= self.head,
            OneIdForTwo,
            "numbers go on at {head}, and {} was given",
            self.head
        );
        self.head = head;
        let at = self.tick();
        self.truth.skip_to(self.epoch, head, at);
    }

    /// The epoch that the server has from its beginning.
    pub(crate) fn begin_epoch(&mut self, epoch: &str) {
        self.epoch = epoch_of(epoch);
    }

    /// The server goes on with its history in another epoch.
    pub(crate) fn change_epoch(&mut self, epoch: &str) {
        let epoch = epoch_of(epoch);
        self.truth.change_epoch(self.epoch, epoch);
        self.epoch = epoch;
    }

    /// A channel's messages up to a number are deleted.
    pub(crate) fn delete_up_to(&mut self, channel: usize, up_to: u64) {
        self.truth.delete(channel as u32, up_to);
    }

    /// From here on a channel owes only its newest message, or all again.
    pub(crate) fn set_latest(&mut self, channel: usize, latest: bool) {
        let since = self.latest_since[channel];
        if since.is_some() == latest {
            return;
        }
        self.latest_since[channel] = latest.then_some(self.head());
        self.truth.set_latest(self.epoch, channel as u32, latest);
    }

    /// A batch holds at most one message of a channel that owes only its newest.
    pub(crate) fn check_latest(&self, receipts: &[Receipt]) {
        for (channel, since) in self.latest_since.iter().enumerate() {
            let Some(since) = *since else { continue };
            let mut of_channel = receipts
                .iter()
                .filter(|receipt| receipt.channel == channel as u32 && receipt.id.seq > since);
            let (first, second) = (of_channel.next(), of_channel.next());
            ensure!(
                second.is_none(),
                Oversized,
                "{first:?} is in a batch with {second:?}, which replaces it"
            );
        }
    }

    /// How many messages of a channel after `from`, up to and with `to`, no newer one has replaced.
    pub(crate) fn owed(&self, channel: usize, from: u64, to: u64) -> usize {
        let all = self.between(channel, from, to).iter();
        all.filter(|known| !self.truth.is_replaced(channel as u32, known.seq))
            .count()
    }

    pub(crate) fn key(&self, channel: usize, key: &str) -> Option<u64> {
        self.keys.get(&(channel, key.to_owned())).copied()
    }

    /// Whether a message was published with a key.
    pub(crate) fn had_key(&self, channel: usize, key: &str, seq: u64) -> bool {
        self.keyed.contains(&(channel, key.to_owned(), seq))
    }

    pub(crate) fn set_key(&mut self, channel: usize, key: &str, seq: u64) {
        self.keyed.insert((channel, key.to_owned(), seq));
        self.keys.insert((channel, key.to_owned()), seq);
    }

    pub(crate) fn delete(&mut self, channel: usize) {
        self.forget_end(channel);
        self.deleted_at[channel] = self.head();
        self.truth.delete(channel as u32, self.head());
    }

    /// Whether a message was there when its channel was last deleted.
    pub(crate) fn is_deleted(&self, channel: usize, seq: u64) -> bool {
        self.truth.is_deleted(channel as u32, seq)
    }

    /// Whether a message is not in history any more.
    pub(crate) fn is_gone(&self, channel: usize, seq: u64) -> bool {
        let mut found = self.between(channel, seq - 1, seq).iter();
        found.all(|known| {
            self.truth
                .may_be_gone(self.epoch, channel as u32, known, self.clock, 0)
        })
    }

    /// A channel's messages after `from`, up to and with `to`.
    pub(crate) fn between(&self, channel: usize, from: u64, to: u64) -> &[Known] {
        let channel = channel as u32;
        self.truth
            .between(self.epoch, channel, from, to.saturating_add(1))
    }

    /// The id with this number.
    pub(crate) fn id(&self, seq: u64) -> Id {
        let epoch = self.epoch;
        Id::new(epoch, seq)
    }

    /// The channels of these names.
    pub(crate) fn places(&self, names: &[String]) -> Vec<usize> {
        let place = |name: &String| self.place(name).expect("a channel of the world");
        names.iter().map(place).collect()
    }

    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|each| each == name)
    }

    /// The id or cursor that a text is, which must be of this server's epoch.
    pub(crate) fn parse(&self, text: &str) -> Id {
        match Id::parse(text) {
            Some(id) if id.epoch == self.epoch && id.to_string() == text => id,
            Some(Id::UNKNOWN) => Id::UNKNOWN,
            _ => broken(
                encke_oracle::finding::Kind::Nonsense,
                format!("the id {text:?}"),
            ),
        }
    }

    /// The receipt for a message, which must say what was published under its id.
    pub(crate) fn receipt(&self, message: &client::Message) -> Receipt {
        let id = self.parse(&message.id);
        let named = message.channel.as_ref();
        let named = named.map(|name| self.place(name).map_or(NO_CHANNEL, |place| place as u32));
        let Some(Accepted { said, .. }) = self.find(id.seq) else {
            // The judge finds that it was never published.
            return Receipt {
                id,
                channel: named.unwrap_or(NO_CHANNEL),
                number: id.seq,
                length: 0,
            };
        };
        ensure!(
            message.event == said.event && is_same(&said.data, &message.data),
            Mangled,
            "published {said:?}, received {message:?}"
        );
        Receipt {
            id,
            channel: named.unwrap_or(said.channel as u32),
            number: id.seq,
            length: said.data.len() as u32,
        }
    }
}

fn epoch_of(text: &str) -> u64 {
    let id = Id::parse(&format!("{text}-0"));
    id.expect("an epoch of the server").epoch
}

/// Whether data is received as it was published, as far as the format tells.
fn is_same(said: &Data, received: &client::Data) -> bool {
    use client::Data::{Binary, Json, Text, Untyped};
    match (said, received) {
        (Data::Text(text), Text(got)) => **text == **got,
        (Data::Text(text), Untyped(got)) => lines(text) == *got,
        (Data::Json(json), Json(got)) => **json == **got || escaped(json) == *got,
        (Data::Json(json), Text(got)) => {
            serde_json::from_str::<String>(json).is_ok_and(|text| text == **got)
        }
        (Data::Json(json), Untyped(got)) => **json == **got,
        (Data::Binary(bytes), Binary(got)) => **bytes == **got,
        (Data::Binary(bytes), Untyped(got)) => STANDARD.encode(bytes) == *got,
        _ => false,
    }
}

/// A text with its line ends as an event stream gives them back.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// JSON as it stands inside a script.
fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
