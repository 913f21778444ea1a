//! A log that is handed over, whole and damaged.

use super::*;
use crate::log::saved::MAX_UNSAVED_BYTES;

/// A log with records in every state.
fn rich() -> World {
    let mut world = World::new();
    world.apply(Op::Publish(0, 9, None));
    world.save(false);
    for bytes in [1, 2] {
        world.apply(Op::Publish(1, bytes, None));
        assert!(world.log.as_saved().unwrap().take(&mut world.hub).is_some());
    }
    world.apply(Op::Publish(2, 3, None));
    world.apply(Op::Publish(2, 4, None));
    let saved = world.log.as_saved().unwrap();
    saved.set_health(Health::Fails);
    saved.refuse_busy();
    world
}

/// A state is refused, or gives a log that works.
fn try_out(config: &Config, state: &[u8]) {
    let Ok((mut hub, mut log)) = World::thaw(config, state) else {
        return;
    };
    let newest = log.newest();
    let saved = log.as_saved().unwrap();
    saved.set_health(Health::Works);
    let is_full = saved.unsaved_bytes() > MAX_UNSAVED_BYTES;
    match log.publish(&mut hub, Draft::new(name(0), Data::from("more"))) {
        Ok(published) => assert_eq!(published.id.seq, newest.next()),
        Err((refusal, _)) => assert!(is_full && refusal == Refusal::LogBusy),
    }
    let saved = log.as_saved().unwrap();
    let taken = saved
        .in_flight
        .back()
        .map_or(saved.saved, |last| last.up_to);
    if let Some(unsaved) = saved.take(&mut hub) {
        let (mut count, mut records) = (0, &unsaved.records[..]);
        while let record::Read::Record { rest, .. } = record::read(records) {
            (count, records) = (count + 1, rest);
        }
        assert_eq!((records.len(), taken.0 + count), (0, unsaved.up_to.0));
        saved.saved(unsaved.up_to);
        assert_eq!((saved.unsaved_bytes(), log.unsaved_end()), (0, None));
    }
}

#[test]
fn state_with_any_other_byte_is_refused_or_gives_a_log_that_works() {
    let world = rich();
    let state = world.freeze();
    try_out(&world.config, &state);
    let mut hub = Freezer::new(Vec::new());
    world.hub.freeze(&mut hub).unwrap();
    let of_hub = values(&hub.into_inner()).len();
    let values = values(&state);
    for (place, value) in values.iter().enumerate().skip(of_hub) {
        for (at, &byte) in value.iter().enumerate() {
            for new in [byte.wrapping_sub(1), byte.wrapping_add(1), 0, 3, 100, 255] {
                let mut values = values.clone();
                values[place][at] = new;
                try_out(&world.config, &state_of(&values));
            }
        }
    }
}

#[test]
fn damaged_state_is_refused_or_gives_a_log_that_works() {
    let world = rich();
    let state = world.freeze();
    let damages = proptest::collection::vec(damage(), 1..4);
    proptest!(ProptestConfig::with_cases(500), |(damages in damages)| {
        try_out(&world.config, &damaged(&state, 2, damages));
    });
}
