//! What was published, under which ids: put together from what publishers were answered and from
//! what anybody received.
//!
//! Owns the judgement on publishes: each once, in order, batches whole. Who should have received
//! them is judged in `check`.

use std::collections::{BTreeMap, HashMap};

use crate::check::{Finding, Kind};
use crate::log::{Deletion, Event, Id, Logs, Outcome, Publish, Receipt, Rules};

/// A message that is known to exist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) seq: u64,
    /// When it was first sent.
    pub(crate) begun: u64,
    /// When its publisher had the answer; none if it never had one.
    pub(crate) acked: Option<u64>,
}

/// All messages, by epoch and channel.
pub(crate) struct Truth<'a> {
    publishes: HashMap<u64, &'a Publish>,
    lanes: HashMap<(u64, u32), Vec<Known>>,
    deletions: Vec<Deletion>,
    rules: Rules,
}

/// The messages by id, while they are being gathered.
#[derive(Default)]
struct Ids {
    by_id: BTreeMap<Id, u64>,
    by_number: HashMap<u64, Vec<Id>>,
    findings: Vec<Finding>,
}

impl Ids {
    fn learn(&mut self, id: Id, number: u64, kind: Kind) {
        match self.by_id.insert(id, number) {
            None => self.by_number.entry(number).or_default().push(id),
            Some(other) if other == number => {}
            Some(other) => self.findings.push(Finding::of_publish(
                kind,
                format!("{id} is message {other} and message {number}"),
            )),
        }
    }
}

impl<'a> Truth<'a> {
    /// Puts the truth together, and what is wrong with it by itself.
    pub(crate) fn new(logs: &'a Logs, rules: Rules) -> (Truth<'a>, Vec<Finding>) {
        let mut truth = Truth {
            publishes: logs.publishes.iter().map(|p| (p.number, p)).collect(),
            lanes: HashMap::new(),
            deletions: logs.deletions.clone(),
            rules,
        };
        let mut ids = Ids::default();
        for publish in &logs.publishes {
            if let Outcome::Accepted(id) = publish.outcome {
                ids.learn(id, publish.number, Kind::OneIdForTwo);
            }
            if let Some(id) = publish.again {
                ids.learn(id, publish.number, Kind::OneIdForTwo);
            }
        }
        for receipt in logs.clients.iter().flatten().flat_map(receipts) {
            if truth.publishes.contains_key(&receipt.number) {
                ids.learn(receipt.id, receipt.number, Kind::OneIdForTwo);
            }
        }
        infer_batches(&logs.publishes, &mut ids);
        truth.fill_lanes(&ids);
        truth.judge_repeats(&mut ids);
        judge_order(&logs.publishes, &mut ids.findings);
        (truth, ids.findings)
    }

    fn fill_lanes(&mut self, ids: &Ids) {
        // By id, so each lane is in order.
        for (id, number) in &ids.by_id {
            let Some(publish) = self.publishes.get(number) else {
                continue;
            };
            let is_answered = publish.outcome == Outcome::Accepted(*id);
            let lane = self.lanes.entry((id.epoch, publish.channel)).or_default();
            lane.push(Known {
                seq: id.seq,
                begun: publish.begun,
                acked: is_answered.then_some(publish.done),
            });
        }
    }

    /// A message published twice: only with a key, and only where the server cannot have known.
    fn judge_repeats(&self, ids: &mut Ids) {
        for (number, places) in &mut ids.by_number {
            places.sort();
            let Some(publish) = self.publishes.get(number) else {
                continue;
            };
            for pair in places.windows(2) {
                let (first, second) = (pair[0], pair[1]);
                let between = self.between(first.epoch, publish.channel, first.seq, second.seq);
                let is_forgotten = first.epoch != second.epoch
                    || between.len() + 1 >= self.rules.history_messages
                    || publish.done - publish.begun >= self.rules.history_age
                    || self.is_deleted(publish.channel, publish.begun, publish.done);
                if !publish.keyed || !is_forgotten {
                    ids.findings.push(Finding::of_publish(
                        Kind::PublishedTwice,
                        format!("message {number} is {first} and {second}: {publish:?}"),
                    ));
                }
            }
        }
    }

    pub(crate) fn publish(&self, number: u64) -> Option<&'a Publish> {
        self.publishes.get(&number).copied()
    }

    /// The messages of a channel after one number and before another.
    pub(crate) fn between(&self, epoch: u64, channel: u32, after: u64, before: u64) -> &[Known] {
        let Some(lane) = self.lanes.get(&(epoch, channel)) else {
            return &[];
        };
        let from = lane.partition_point(|known| known.seq <= after);
        let to = lane.partition_point(|known| known.seq < before);
        &lane[from..to.max(from)]
    }

    /// Whether the server may have dropped a message by then.
    pub(crate) fn may_be_gone(&self, epoch: u64, channel: u32, known: &Known, at: u64) -> bool {
        let newer = self.between(epoch, channel, known.seq, u64::MAX);
        let newer = newer.iter().filter(|other| other.begun <= at).count();
        newer >= self.rules.history_messages
            // A message that nobody was answered may have gone to history late.
            || at.saturating_sub(known.begun) + self.rules.slack >= self.rules.history_age
            || self.is_deleted(channel, known.begun, at)
    }

    fn is_deleted(&self, channel: u32, from: u64, to: u64) -> bool {
        let mut deletions = self.deletions.iter();
        deletions.any(|deletion| deletion.channel == channel && deletion.span.touches(from, to))
    }
}

/// The messages of an entry.
pub(crate) fn receipts(entry: &crate::log::Entry) -> &[Receipt] {
    match &entry.event {
        Event::Message(receipt) => std::slice::from_ref(receipt),
        Event::Batch(batch) => &batch.receipts,
        _ => &[],
    }
}

/// A batch has consecutive ids: where one message of a batch is known, so are the others, though
/// nobody was answered. All or nothing then is a matter of who received them.
fn infer_batches(publishes: &[Publish], ids: &mut Ids) {
    for batch in publishes.chunk_by(|one, next| one.batch != 0 && one.batch == next.batch) {
        if batch.len() < 2 || batch.iter().any(|p| p.outcome == Outcome::Refused) {
            continue;
        }
        let known = batch.iter().enumerate().find_map(|(place, publish)| {
            let id = ids.by_number.get(&publish.number)?.first()?;
            Some((place as u64, *id))
        });
        let Some((known_place, known)) = known else {
            continue;
        };
        for (place, publish) in batch.iter().enumerate() {
            let id = Id {
                epoch: known.epoch,
                seq: (known.seq + place as u64).saturating_sub(known_place),
            };
            let has_other = match ids.by_number.get(&publish.number) {
                Some(places) => !places.contains(&id),
                None => false,
            };
            if has_other {
                let text = format!("message {} of a batch is not {id}: {batch:?}", place + 1);
                ids.findings
                    .push(Finding::of_publish(Kind::TornBatch, text));
            } else {
                ids.learn(id, publish.number, Kind::TornBatch);
            }
        }
    }
}

/// What was sent after another's answer has the higher number.
fn judge_order(publishes: &[Publish], findings: &mut Vec<Finding>) {
    let accepted = publishes
        .iter()
        .filter_map(|publish| match publish.outcome {
            Outcome::Accepted(id) => Some((publish, id)),
            _ => None,
        });
    let mut by_begin: Vec<(&Publish, Id)> = accepted.collect();
    let mut by_done = by_begin.clone();
    by_begin.sort_by_key(|(publish, _)| publish.begun);
    by_done.sort_by_key(|(publish, _)| publish.done);
    let mut answered = by_done.into_iter().peekable();
    let mut highest: HashMap<u64, (u64, &Publish)> = HashMap::new();
    for (publish, id) in by_begin {
        while let Some((before, before_id)) =
            answered.next_if(|(before, _)| before.done < publish.begun)
        {
            let entry = highest.entry(before_id.epoch).or_insert((0, before));
            if before_id.seq > entry.0 {
                *entry = (before_id.seq, before);
            }
        }
        if let Some((seq, before)) = highest.get(&id.epoch)
            && id.seq < *seq
        {
            findings.push(Finding::of_publish(
                Kind::OutOfOrder,
                format!("published after {seq} was answered: {publish:?}, {before:?}"),
            ));
        }
    }
}
