//! Terms, and the cursors of a cluster, against a model that keeps ids as text.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::message::{Cursor, MessageId, Numbering};

/// A table in which the terms of `known` became known in this order; each has its end, if it is
/// closed.
fn numbering(known: &[(u64, Option<u64>)]) -> Numbering {
    let mut terms = Terms::new();
    for &(term, end) in known {
        terms.add(term).unwrap();
        if let Some(end) = end {
            terms.close(term, end);
        }
    }
    Numbering::Cluster(Box::new(terms))
}

fn parse(text: &str, numbering: &Numbering) -> Option<Cursor> {
    Cursor::parse(text.as_bytes(), numbering)
}

fn seq(numbering: &Numbering, term: u64, number: u64, part: u16) -> Seq {
    let Numbering::Cluster(terms) = numbering else {
        panic!("no cluster");
    };
    terms.seq(EntryId { term, number }, part).unwrap()
}

#[test]
fn id_of_the_first_message_of_an_entry_has_no_part() {
    let one = numbering(&[(1_700_000_000_000, None)]);
    let text = |part| {
        one.id(seq(&one, 1_700_000_000_000, 1_042, part))
            .to_string()
    };
    assert_eq!(text(0), "loyw3v28-1042");
    assert_eq!(text(3), "loyw3v28-1042.3");
}

#[test]
fn cursors_of_any_other_form_are_refused() {
    let one = numbering(&[(1, Some(9))]);
    let known = |number, part| Some(Cursor::Known(seq(&one, 1, number, part)));
    for (text, expected) in [
        ("00000001-5", known(5, 0)),
        ("00000001-5.1", known(5, 1)),
        ("00000001-5.16383", known(5, Place::MAX_PART)),
        ("00000001-5.16384", known(5, Place::MAX_PART)),
        ("00000001-10", known(9, Place::MAX_PART)),
        ("00000001-18446744073709551615", known(9, Place::MAX_PART)),
        ("00000002-5.1", Some(Cursor::Later(2))),
        ("00000000-5.1", Some(Cursor::Foreign)),
        ("b7k-5.1", Some(Cursor::Foreign)),
        ("00000gap-0", Some(Cursor::Foreign)),
        ("00000001-5.0", None),
        ("00000001-5.01", None),
        ("00000001-5.", None),
        ("00000001-.5", None),
        ("00000001-5.1.1", None),
        ("00000001-5.-1", None),
        ("00000001-18446744073709551616", None),
    ] {
        assert_eq!(parse(text, &one), expected, "{text}");
    }
}

#[test]
fn number_beyond_all_entries_of_an_open_term_is_foreign() {
    let one = numbering(&[(1, None)]);
    let last = format!("00000001-{}", Place::MAX_ENTRY);
    let beyond = format!("00000001-{}", Place::MAX_ENTRY + 1);
    assert!(matches!(parse(&last, &one), Some(Cursor::Known(_))));
    assert_eq!(parse(&beyond, &one), Some(Cursor::Foreign));
}

#[test]
fn cursor_of_a_cluster_is_foreign_to_a_single_server() {
    let single = Numbering::Single(Epoch::from_seed(1));
    assert_eq!(parse("00000001-5.1", &single), Some(Cursor::Foreign));
    assert_eq!(parse("00000002-5.1", &single), Some(Cursor::Foreign));
    assert_eq!(parse("00000001-5.0", &single), None);
}

#[test]
fn terms_out_of_range_are_refused() {
    let mut terms = Terms::new();
    for term in [
        0,
        MAX_TERM + 1,
        u64::MAX,
        u64::from_str_radix("gap", 36).unwrap(),
    ] {
        assert_eq!(terms.add(term), Err(TermError::OutOfRange), "{term}");
    }
    terms.add(MAX_TERM).unwrap();
}

#[test]
fn ordinals_end() {
    let mut terms = Terms::new();
    let ordinals = u64::from(Place::MAX_ORDINAL - FIRST_ORDINAL) + 1;
    for term in 0..ordinals {
        terms.add(1_000_000 + term).unwrap();
    }
    assert_eq!(terms.add(1_000_000 + ordinals), Err(TermError::Exhausted));
    // Older ones have ordinals of their own, until those end as well.
    for older in 1..=2_000 {
        terms.add(1_000_000 - older).unwrap();
    }
    let entry = |term| EntryId { term, number: 0 };
    assert!(
        terms
            .seq(entry(1_000_000 - u64::from(FIRST_ORDINAL)), 0)
            .is_some()
    );
    assert_eq!(
        terms.seq(entry(1_000_000 - u64::from(FIRST_ORDINAL) - 1), 0),
        None
    );
}

#[test]
fn number_before_all_places_is_of_the_oldest_term() {
    let two = numbering(&[(5, None), (7, None), (3, None)]);
    assert_eq!(two.id(Seq::ZERO).epoch, Epoch::from_seed(3));
    assert_eq!(numbering(&[]).id(Seq::ZERO), MessageId::UNKNOWN);
}

proptest! {
    /// Older terms that become known later do not change the meaning of a number.
    #[test]
    fn cursors_keep_the_order_of_the_log(
        ends in btree_map(1..=MAX_TERM, 0..50_u64, 1..8),
        first in any::<prop::sample::Index>(),
        cursors in vec((any::<prop::sample::Index>(), 0..60_u64, 0..3_u16), 1..12),
    ) {
        let ends: Vec<(u64, u64)> = ends.into_iter().collect();
        let first = first.index(ends.len());
        // From the first one read on, then those before it, the newest first.
        let known: Vec<(u64, Option<u64>)> = ends[first..]
            .iter()
            .chain(ends[..first].iter().rev())
            .map(|&(term, end)| (term, (term != ends[ends.len() - 1].0).then_some(end)))
            .collect();
        let early = numbering(&known[..ends.len() - first]);
        let numbering = numbering(&known);
        // The model: a cursor is where it stands among all terms, and within its own at most its
        // end.
        let model = |at: usize, number: u64, part: u16| match known.iter().find(|k| k.0 == ends[at].0) {
            Some(&(_, Some(end))) if number > end => (at, end, Place::MAX_PART),
            _ => (at, number, part),
        };
        let mut judged = Vec::new();
        for (at, number, part) in cursors {
            let at = at.index(ends.len());
            let epoch = Epoch::from_seed(ends[at].0);
            let text = match part {
                0 => format!("{}-{number}", epoch.as_str()),
                part => format!("{}-{number}.{part}", epoch.as_str()),
            };
            let Some(Cursor::Known(seq)) = parse(&text, &numbering) else {
                return Err(TestCaseError::fail("a term that is known"));
            };
            let model = model(at, number, part);
            if (at, number, part) == model {
                prop_assert_eq!(numbering.id(seq).to_string(), &*text);
            }
            match at < first {
                true => prop_assert_eq!(parse(&text, &early), Some(Cursor::Foreign)),
                false => prop_assert_eq!(parse(&text, &early), Some(Cursor::Known(seq))),
            }
            judged.push((seq, model));
        }
        for (one, model) in &judged {
            for (other, other_model) in &judged {
                prop_assert_eq!(one.cmp(other), model.cmp(other_model));
            }
        }
    }

    #[test]
    fn any_cursor_is_parsed_or_refused(text in "(00000001|00000002|[0-9a-z]{0,17})-[0-9.]{0,24}") {
        let one = numbering(&[(1, Some(9)), (2, None)]);
        if let Some(Cursor::Known(seq)) = parse(&text, &one) {
            let canonical = one.id(seq).to_string();
            prop_assert_eq!(parse(&canonical, &one), Some(Cursor::Known(seq)));
        }
    }
}
