//! The truth of a run that is over: ids from what publishers were answered and from what clients
//! received.
//!
//! Owns the judgement on publishing: each message once, in order, batches whole.

use std::collections::{BTreeMap, HashMap};

use super::retention::{Limits, Retention};
use super::{Known, Truth};
use crate::finding::{Finding, Kind};
use crate::id::Id;
use crate::log::Entry;
use crate::order;
use crate::run::{Logs, Outcome, Publish, Rules};

/// The messages by id, while they are being gathered.
struct Ids<'a> {
    by_id: BTreeMap<Id, u64>,
    by_number: HashMap<u64, Vec<Id>>,
    findings: &'a mut Vec<Finding>,
}

impl Ids<'_> {
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

    /// A batch has consecutive ids, so where the id of one of its messages is known, all are, even
    /// if the publisher never had the response.
    fn infer_batches(&mut self, publishes: &[Publish]) {
        for batch in publishes.chunk_by(|one, next| one.batch != 0 && one.batch == next.batch) {
            if batch.len() < 2 || batch.iter().any(|p| p.outcome == Outcome::Refused) {
                continue;
            }
            let known = batch.iter().enumerate().find_map(|(place, publish)| {
                let id = self.by_number.get(&publish.number)?.first()?;
                Some((place as u64, *id))
            });
            let Some((known_place, known)) = known else {
                continue;
            };
            for (place, publish) in batch.iter().enumerate() {
                let seq = (known.seq + place as u64).saturating_sub(known_place);
                let id = Id { seq, ..known };
                let has_other = match self.by_number.get(&publish.number) {
                    Some(places) => !places.contains(&id),
                    None => false,
                };
                if has_other {
                    let text = format!("message {} of a batch is not {id}: {batch:?}", place + 1);
                    let finding = Finding::of_publish(Kind::TornBatch, text);
                    self.findings.push(finding);
                } else {
                    self.learn(id, publish.number, Kind::TornBatch);
                }
            }
        }
    }
}

impl Truth {
    /// Gathers the truth of a run, and reports broken promises about publishing.
    pub fn gather(logs: &Logs, rules: Rules, findings: &mut Vec<Finding>) -> Truth {
        let limits = Limits {
            rules,
            deletions: logs.deletions.clone(),
            cluster: logs.cluster.clone(),
        };
        let mut truth = Truth {
            publishes: logs.publishes.iter().map(|p| (p.number, *p)).collect(),
            channels: HashMap::new(),
            ends: HashMap::new(),
            heads: HashMap::new(),
            retention: Retention::Limits(limits),
        };
        let mut ids = Ids {
            by_id: BTreeMap::new(),
            by_number: HashMap::new(),
            findings,
        };
        for publish in &logs.publishes {
            for id in publish.id().into_iter().chain(publish.again) {
                ids.learn(id, publish.number, Kind::OneIdForTwo);
            }
        }
        let entries = logs.clients.iter().flatten();
        for receipt in entries.flat_map(Entry::receipts) {
            if truth.publishes.contains_key(&receipt.number) {
                ids.learn(receipt.id, receipt.number, Kind::OneIdForTwo);
            }
        }
        ids.infer_batches(&logs.publishes);
        truth.place_messages(&ids, logs);
        truth.judge_repeats(&mut ids, logs);
        if logs.keeps_history {
            judge_epochs(&truth, ids.findings);
        }
        judge_order(logs, ids.findings);
        truth
    }

    fn slack(&self) -> u64 {
        match &self.retention {
            Retention::Limits(limits) => limits.rules.slack,
            Retention::Exact(_) => 0,
        }
    }

    fn place_messages(&mut self, ids: &Ids<'_>, logs: &Logs) {
        let slack = self.slack();
        // By id, so each channel is in order.
        for (id, number) in &ids.by_id {
            let Some(publish) = self.publishes.get(number) else {
                continue;
            };
            let is_answered = publish.outcome == Outcome::Accepted(*id);
            let channel = self.channels.entry((id.epoch, publish.channel));
            channel.or_default().push(Known {
                seq: id.seq,
                begun: publish.begun,
                acked: is_answered.then_some(publish.done),
                is_owed: !logs.may_be_unsaved(publish, *id, slack),
                node: publish.node,
            });
            if is_answered {
                let heads = self.heads.entry(id.epoch).or_default();
                heads.push((publish.done, id.seq));
            }
        }
        for heads in self.heads.values_mut() {
            heads.sort_unstable();
            let mut newest = 0;
            for (_, seq) in heads {
                newest = newest.max(*seq);
                *seq = newest;
            }
        }
    }

    /// A message may be published twice only with a key, and only where the server may have
    /// forgotten the key.
    fn judge_repeats(&self, ids: &mut Ids<'_>, logs: &Logs) {
        let Retention::Limits(limits) = &self.retention else {
            return;
        };
        for (number, places) in &mut ids.by_number {
            places.sort();
            let Some(publish) = self.publishes.get(number) else {
                continue;
            };
            for pair in places.windows(2) {
                let (first, second) = (pair[0], pair[1]);
                let between = self.between(first.epoch, publish.channel, first.seq, second.seq);
                let mut outages = logs.outages.iter();
                let is_lost = logs.keeps_history
                    && outages.any(|outage| outage.touches(publish.begun, publish.done));
                let is_forgotten = first.epoch != second.epoch
                    || is_lost
                    || limits.may_have_lost_key(publish)
                    || between.len() + 1 >= limits.rules.history_messages
                    || publish.done - publish.begun >= limits.rules.history_age
                    || limits.is_deleted(publish.channel, publish.begun, publish.done);
                if !publish.keyed || !is_forgotten {
                    ids.findings.push(Finding::of_publish(
                        Kind::PublishedTwice,
                        format!("message {number} is {first} and {second}: {publish:?}"),
                    ));
                }
            }
        }
    }
}

/// A history that outlives its server has one epoch.
fn judge_epochs(truth: &Truth, findings: &mut Vec<Finding>) {
    if truth.heads.len() > 1 {
        let epochs = truth.heads.len();
        let text = format!("history outlives the server, and there are {epochs} epochs");
        findings.push(Finding::of_publish(Kind::Lost, text));
    }
}

/// A message sent after another's response has the higher number; in a split, of those of its term.
fn judge_order(logs: &Logs, findings: &mut Vec<Finding>) {
    let publishes = logs.publishes.iter();
    let accepted = publishes.filter_map(|publish| Some((publish, publish.id()?)));
    let mut by_begin: Vec<(&Publish, Id)> = accepted.collect();
    let mut by_done = by_begin.clone();
    by_begin.sort_by_key(|(publish, _)| publish.begun);
    by_done.sort_by_key(|(publish, _)| publish.done);
    let mut answered = by_done.into_iter().peekable();
    let cluster = logs.cluster.as_ref();
    let is_split = |at| cluster.is_some_and(|cluster| cluster.was_split(at, at));
    let mut highest: BTreeMap<(u64, u64), (u64, &Publish)> = BTreeMap::new();
    for (publish, id) in by_begin {
        while let Some((before, before_id)) =
            answered.next_if(|(before, _)| before.done < publish.begun)
        {
            let term = (before_id.epoch, order::term_of(before_id.seq));
            let entry = highest.entry(term).or_insert((0, before));
            if before_id.seq > entry.0 {
                *entry = (before_id.seq, before);
            }
        }
        let terms = match is_split(publish.begun) {
            true => order::term_of(id.seq)..=order::term_of(id.seq),
            false => 0..=u64::MAX,
        };
        let mut before = highest.range((id.epoch, *terms.start())..=(id.epoch, *terms.end()));
        if let Some((_, (seq, before))) = before.next_back()
            && id.seq < *seq
        {
            findings.push(Finding::of_publish(
                Kind::OutOfOrder,
                format!("published after {seq} was answered: {publish:?}, {before:?}"),
            ));
        }
    }
}
