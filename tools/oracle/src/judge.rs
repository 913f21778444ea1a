//! The verdict on a run: logs in, findings out.

use crate::finding::Verdict;
use crate::order;
use crate::reader::Reader;
use crate::run::{Logs, Rules};
use crate::truth::Truth;

/// Judges a run by what was written down in it.
pub fn check(logs: &Logs, rules: Rules) -> Verdict {
    if logs.cluster.is_none() {
        return check_sequence(logs, rules, Verdict::default());
    }
    let (mut aligned, mut verdict) = (logs.clone(), Verdict::default());
    verdict.terms = order::align(&mut aligned, &mut verdict.findings);
    check_sequence(&aligned, rules, verdict)
}

/// Judges a run whose ids are in one sequence, or in one for each epoch.
fn check_sequence(logs: &Logs, rules: Rules, mut verdict: Verdict) -> Verdict {
    let truth = Truth::gather(logs, rules, &mut verdict.findings);
    for (client, log) in logs.clients.iter().enumerate() {
        let conditions = logs.conditions(client, rules);
        let mut reader = Reader::default();
        for end in 1..=log.len() {
            reader.judge(&log[..end], &truth, &conditions, &mut verdict);
        }
        reader.finish(log, &truth, &conditions, &mut verdict);
    }
    verdict.findings.sort_by_key(|finding| finding.at);
    verdict
}
