//! Requests that publish by lines, as their client knows them.
//!
//! Owns which of their lines are published. Where they are acknowledged, the server says so; else
//! the numbers that were given while it read such a request are those of its lines.

use serde_json::Value;

use crate::client::Answer;
use crate::request::{Kind, Lines};
use crate::rule::ensure;
use crate::world::World;

impl World {
    /// A line was acknowledged, or the last line of the acknowledgements came.
    pub(crate) fn acknowledged(&mut self, index: u32, place: usize, acknowledgement: &Value) {
        let Some(mut lines) = self.take_lines(index, place) else {
            return;
        };
        if acknowledgement.get("id").is_some() {
            let Some((number, said)) = lines.lines.get(lines.published).cloned() else {
                crate::rule::broken(
                    encke_oracle::finding::Kind::Invented,
                    format!("{acknowledgement} acknowledges no line"),
                );
            };
            let key = lines.key.as_ref().map(|key| format!("{key}/{number}"));
            self.accepted(acknowledgement, &said, key.as_deref());
            lines.published += 1;
            self.tally.by_lines += 1;
        } else {
            self.finish_lines(&mut lines, acknowledgement);
        }
        self.client(index).requests[place].kind = Kind::Lines(lines);
    }

    /// The engine has answered a request by lines.
    pub(crate) fn lines_answered(&mut self, mut lines: Lines, answer: &Answer) {
        let body = serde_json::from_slice::<Value>(&answer.body).expect("JSON");
        self.finish_lines(&mut lines, &body);
    }

    /// The last that is said of a request by lines: how many were published.
    fn finish_lines(&mut self, lines: &mut Lines, said: &Value) {
        let is_summary = said.get("published").is_some() && said.get("error").is_none();
        let is_refusal = said.get("status").is_some() || said.get("error").is_some();
        self.tally.broken_lines += u64::from(is_refusal);
        let Some(published) = said["published"].as_u64() else {
            ensure!(
                is_refusal && lines.published == 0,
                Nonsense,
                "{said} does not say how many lines were published"
            );
            return;
        };
        let published = published as usize;
        ensure!(
            (lines.published..=lines.lines.len()).contains(&published),
            Miscounted,
            "{said}, and {} of {} lines are known to be",
            lines.published,
            lines.lines.len()
        );
        while lines.published < published && lines.key.is_none() {
            self.publish_next_line(lines);
        }
        if is_summary && !is_refusal {
            ensure!(
                published == lines.lines.len(),
                Lost,
                "{said}, and there are {} lines",
                lines.lines.len()
            );
            if let Some(channel) = lines.ends.filter(|&ends| self.model.end_of(ends).is_none()) {
                self.model.end(self.model.head() + 1, channel);
                self.tally.ends += 1;
            }
        }
    }

    /// The next line of a request got the next number.
    fn publish_next_line(&mut self, lines: &mut Lines) {
        let (_, said) = lines.lines[lines.published].clone();
        lines.published += 1;
        self.tally.by_lines += 1;
        let is_again = said.kind == encke_core::message::DraftKind::End;
        match self.model.end_of(said.channel).filter(|_| is_again) {
            // It has ended: no number is given.
            Some(end) => self.accepted_as(end, &said, None),
            None => self.accepted_as(self.model.head() + 1, &said, None),
        }
    }

    /// The engine has read from a connection, and perhaps published lines without a word.
    pub(crate) fn watch_lines(&mut self, index: u32) {
        let head = self.engine.hub().head().0;
        if self.clients[index as usize].is_none() {
            return;
        }
        let place = self.client(index).tapped;
        let Some(mut lines) = self.take_lines(index, place) else {
            return;
        };
        while self.model.head() < head && lines.published < lines.lines.len() {
            if lines.has_acks || lines.key.is_some() {
                break;
            }
            self.publish_next_line(&mut lines);
        }
        self.client(index).requests[place].kind = Kind::Lines(lines);
    }

    fn take_lines(&mut self, index: u32, place: usize) -> Option<Lines> {
        let kind = &mut self.client(index).requests.get_mut(place)?.kind;
        match std::mem::replace(kind, Kind::Other) {
            Kind::Lines(lines) => Some(lines),
            other => {
                *kind = other;
                None
            }
        }
    }
}
