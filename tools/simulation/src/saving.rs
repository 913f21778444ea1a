//! A log that is saved: what a disk does with it, and restarts.
//!
//! Owns the end of processes and machines. The model learns of messages from the records, as readers
//! may receive them before their publishers are answered. What must hold of every answer: it is not
//! before its record is written. Of every restart: what was answered for is there.

use std::collections::HashSet;
use std::ops::Range;

use encke_core::base::time::Time;
use encke_core::engine::Engine;
use encke_core::hub::Take;
use encke_core::log::entry::Entry;
use encke_core::log::{Health, History, Identity, LogEnding};
use encke_core::message::Seq;

use crate::disk::{Batch, Disk, Learnt, What, records};
use crate::model::Said;
use crate::request::Kind;
use crate::rule::ensure;
use crate::twins::Twins;
use crate::world::World;

impl World {
    /// The engine begins with a log that is saved.
    pub(crate) fn begin_disk(&mut self) {
        let random = [(); 3].map(|()| self.chance.u64(..));
        let identity = Identity::new(random);
        self.disk = Some(Disk::new(identity));
        self.start_engine(LogEnding::Clean);
        self.model.begin_epoch(self.engine.hub().epoch().as_str());
    }

    /// Whether the log is saved.
    pub(crate) fn is_saved(&self) -> bool {
        self.disk.is_some()
    }

    /// Takes what was appended to the log, and learns from it which messages were published.
    pub(crate) fn learn(&mut self) {
        let Some(disk) = &mut self.disk else {
            return;
        };
        let Some(unsaved) = self.engine.take_unsaved() else {
            return;
        };
        for (_, entry) in records(&unsaved.records) {
            let place = disk.taken;
            disk.taken += 1;
            let what = match Entry::read(entry).expect("an entry that was written") {
                // Others are carried over.
                Entry::Message(message) if message.seq.0 > self.model.head() => {
                    let draft = message.draft;
                    let channel = self.model.place(&draft.channel);
                    let key = draft.key.map(|key| key.to_string());
                    let said = Said {
                        channel: channel.expect("a channel of the world"),
                        data: draft.data,
                        event: draft.event.map(|event| event.to_string()),
                        kind: draft.kind,
                    };
                    let channel = said.channel;
                    self.model.accept(message.seq.0, said);
                    if let Some(key) = key {
                        self.model.set_key(channel, &key, message.seq.0);
                    }
                    What::Message(message.seq.0)
                }
                Entry::Lose { channel, up_to } => {
                    let channel = self.model.place(&channel).expect("a channel of the world");
                    let up_to = up_to.0;
                    self.model.delete_up_to(channel, up_to);
                    What::Delete { channel, up_to }
                }
                Entry::Message(_) | Entry::Forget { .. } => continue,
            };
            disk.learnt.push(Learnt { place, what });
        }
        disk.batches.push_back(Batch {
            records: unsaved.records,
            up_to: unsaved.up_to,
            is_written: false,
        });
    }

    /// A publisher is answered for a message: it is written.
    pub(crate) fn check_saved(&self, seq: u64) {
        let Some(disk) = &self.disk else { return };
        let is_it = |what: &What| matches!(what, What::Message(number) if *number == seq);
        ensure!(
            disk.is_told(is_it),
            Undelivered,
            "message {seq} is acknowledged, and not saved"
        );
    }

    /// How many records the log of this process has.
    pub(crate) fn records(&self) -> usize {
        self.disk.as_ref().map_or(0, |disk| disk.taken)
    }

    /// The deletion that a client has asked for last is done: its record, if it has one, is taken.
    pub(crate) fn deleted(&mut self, index: u32) {
        let taken = self.records();
        let client = self.clients[index as usize].as_mut();
        let request = client.and_then(|client| client.requests.last_mut());
        if let Some(Kind::Delete(_, records)) = request.map(|request| &mut request.kind) {
            records.end = taken;
        }
    }

    /// A deletion is answered: what it recorded is written.
    pub(crate) fn check_deletion_saved(&self, channel: usize, records: &Range<usize>) {
        let Some(disk) = &self.disk else { return };
        let mut of_it = disk.learnt.iter().filter(|learnt| {
            let is_of_channel =
                matches!(learnt.what, What::Delete { channel: other, .. } if other == channel);
            is_of_channel && records.contains(&learnt.place)
        });
        ensure!(
            of_it.next().is_none_or(|learnt| learnt.place < disk.told),
            Undelivered,
            "the deletion of channel {channel} is acknowledged, and not saved"
        );
    }

    /// Something happens to the disk, or to the process.
    pub(crate) fn disk_step(&mut self) {
        if !self.is_saved() {
            return;
        }
        match self.chance.u8(..24) {
            0 => self.break_disk(),
            1..4 => self.carry(),
            4 => self.restart(),
            5..9 => self.write_batches(1),
            9..12 => self.write_batches(usize::MAX),
            _ => {
                self.write_batches(usize::MAX);
                self.tell();
            }
        }
    }

    /// Writes some of what was taken.
    fn write_batches(&mut self, count: usize) {
        let rolls = self.chance.u8(..8) == 0;
        let disk = self.disk.as_mut().expect("a disk");
        if disk.fails {
            return;
        }
        let unwritten = disk.batches.iter_mut().filter(|batch| !batch.is_written);
        for batch in unwritten.take(count) {
            if rolls && disk.segments.last().is_some_and(|last| !last.is_empty()) {
                disk.segments.push(Vec::new());
            }
            let last = disk.segments.last_mut().expect("a segment");
            last.extend_from_slice(&batch.records);
            disk.written += records(&batch.records).len();
            batch.is_written = true;
        }
    }

    /// Says what is written.
    fn tell(&mut self) {
        let disk = self.disk.as_mut().expect("a disk");
        let mut told = None;
        while disk.batches.front().is_some_and(|batch| batch.is_written) {
            told = disk.batches.pop_front().map(|batch| batch.up_to);
        }
        disk.told = disk.written;
        let Some(told) = told else { return };
        if disk.carried.is_some_and(|carried| carried <= told) {
            disk.carried = None;
            disk.segments.remove(0);
        }
        self.say(|| format!("saved up to {told:?}"));
        self.engine.saved(told, &mut self.wire);
        self.after();
    }

    fn break_disk(&mut self) {
        let disk = self.disk.as_mut().expect("a disk");
        disk.fails = !disk.fails;
        let health = match disk.fails {
            true => Health::Fails,
            false => Health::Works,
        };
        self.tally.failures += u64::from(health == Health::Fails);
        self.say(|| format!("the disk {health:?}"));
        self.engine.set_log_health(health);
    }

    /// The disk works, and everything is written and said to be.
    pub(crate) fn save_all(&mut self) {
        if !self.is_saved() {
            return;
        }
        if self.disk.as_ref().is_some_and(|disk| disk.fails) {
            self.break_disk();
        }
        self.learn();
        self.write_batches(usize::MAX);
        self.tell();
    }

    /// The oldest segment is carried over.
    fn carry(&mut self) {
        let disk = self.disk.as_mut().expect("a disk");
        if disk.segments.len() < 2 || disk.carried.is_some() {
            return;
        }
        let mark = self.engine.carry(&disk.segments[0]);
        disk.carried = mark.expect("records that were written");
        self.tally.carried += 1;
        self.say(|| "the oldest segment is carried over".to_owned());
        self.after();
    }

    /// The process ends, or the machine goes down, and it starts again.
    fn restart(&mut self) {
        let how = match self.chance.u8(..5) {
            0 => {
                self.save_all();
                LogEnding::Clean
            }
            1 => {
                let epoch = Identity::new([self.chance.u64(..), 0, 0]).epoch;
                LogEnding::TailLost(epoch)
            }
            _ => LogEnding::Crashed,
        };
        self.tally.restarts += 1;
        self.say(|| format!("restart: {how:?}"));
        for index in self.indexes(|_| true) {
            self.clients[index as usize] = None;
        }
        self.wire = Default::default();
        self.wire.now = self.now;
        self.blocks.clear();
        self.reviews.clear();
        let head = self.model.head();
        self.lose_unwritten(how);
        self.disk.as_mut().expect("a disk").started_at = head;
        self.start_engine(how);
        if let LogEnding::TailLost(epoch) = how {
            self.model.change_epoch(epoch.as_str());
        }
        let kept = self.kept();
        let is_new = matches!(how, LogEnding::TailLost(_));
        self.model.restored(&kept, is_new);
        self.model.restart(self.engine.hub().head().0);
        // The ages of what is restored are by the calendar, which may have been set.
        self.setup.exact_history &= self.tally.wall_steps == 0;
        self.after();
        self.check_history();
    }

    /// A part of the records that the engine was not told of is gone; where the tail is lost, a
    /// part of all.
    fn lose_unwritten(&mut self, how: LogEnding) {
        let untold = {
            let disk = self.disk.as_ref().expect("a disk");
            disk.written - disk.told
        };
        let lost = match how {
            LogEnding::Clean => 0,
            LogEnding::Crashed => self.chance.usize(..=untold),
            LogEnding::TailLost(_) => self.chance.usize(..=untold + 20),
        };
        let disk = self.disk.as_mut().expect("a disk");
        let mut left = lost;
        while left > 0 {
            let last = disk.segments.last_mut().expect("a segment");
            let all = records(last);
            let kept = all.len().saturating_sub(left);
            left -= all.len() - kept;
            let bytes = all[..kept].iter().map(|(record, _)| record.len()).sum();
            last.truncate(bytes);
            let is_empty = last.is_empty();
            if is_empty && disk.segments.len() > 1 {
                disk.segments.pop();
            } else if is_empty {
                break;
            }
        }
        let there = match how {
            // What is there is looked at.
            LogEnding::TailLost(_) => 0,
            _ => disk.written - lost,
        };
        for learnt in &disk.learnt {
            if let (What::Message(seq), LogEnding::Crashed) = (&learnt.what, how)
                && learnt.place >= there
            {
                self.model.unaccept(*seq);
            }
        }
        disk.learnt.retain(|learnt| learnt.place < there);
        for channel in 0..self.setup.names.len() {
            let of_channel = |learnt: &Learnt| match learnt.what {
                What::Delete {
                    channel: other,
                    up_to,
                } if other == channel => Some(up_to),
                _ => None,
            };
            let deleted = disk.learnt.iter().filter_map(of_channel).max();
            self.model.delete_up_to(channel, deleted.unwrap_or(0));
        }
        for learnt in &mut disk.learnt {
            learnt.place = 0;
        }
        disk.batches.clear();
        (disk.taken, disk.written, disk.told) = (1, 1, 1);
        disk.fails = false;
        disk.carried = None;
    }

    /// Starts an engine from what is written.
    fn start_engine(&mut self, how: LogEnding) {
        let disk = self.disk.as_mut().expect("a disk");
        let (config, max_connections) = (&self.setup.config, self.setup.max_connections);
        let mut history = History::new(disk.identity, config, max_connections, self.wall_ms);
        history.go_on_after(Seq(disk.started_at));
        for (_, entry) in disk.segments.iter().flat_map(|segment| records(segment)) {
            history.replay(entry).expect("an entry that was written");
        }
        if let LogEnding::TailLost(epoch) = how {
            disk.identity.epoch = epoch;
        }
        let seed = self.chance.pick(&[1, 2, 3]);
        let engine = Engine::with_history(config, max_connections, seed, history, how);
        self.engine = Twins::new(engine);
        self.engine_offset = self.engine.now().0.wrapping_sub(self.now);
        self.epoch = self.engine.hub().epoch().as_str().to_owned();
    }

    /// The numbers of all messages in history.
    fn kept(&self) -> HashSet<u64> {
        let hub = self.engine.hub();
        let mut items = Vec::new();
        let take = Take {
            messages: usize::MAX,
            bytes: usize::MAX,
        };
        for name in &self.setup.names {
            let channel = hub.find(name).into_iter().map(|channel| (channel, true));
            hub.collect(channel, Seq::ZERO, take, &mut items);
        }
        items.iter().map(|item| item.seq().0).collect()
    }

    /// A time of the engine as one of the world.
    pub(crate) fn world_time(&self, time: Time) -> u64 {
        time.0.wrapping_sub(self.engine_offset)
    }
}
