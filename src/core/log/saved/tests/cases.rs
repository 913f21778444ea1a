//! Single cases: answers, refusals, damage, clocks.

use super::*;
use crate::log::saved::MAX_UNSAVED_BYTES;

#[test]
fn publish_is_answered_when_its_record_is_saved() {
    let mut world = World::new();
    world.apply(Op::Publish(0, 1, Some(1)));
    let mark = world.messages[0].mark;
    let saved = world.log.as_saved().unwrap();
    let unsaved = saved.take(&mut world.hub).unwrap();
    assert_eq!(unsaved.up_to, mark);
    assert_eq!(saved.take(&mut world.hub), None);
    assert!(!saved.is_saved(mark));

    // A retry waits like the first, and is answered at once when that is saved.
    let key = IdempotencyKey::parse(b"k1").ok();
    let retry = Draft {
        key,
        ..Draft::new(name(0), Data::from("again"))
    };
    let published = world.log.publish(&mut world.hub, retry).unwrap();
    assert_eq!(world.log.unsaved(published.id.seq), Some(mark));
    world.log.as_saved().unwrap().saved(mark);
    assert_eq!(world.log.unsaved(published.id.seq), None);
}

#[test]
fn failing_or_slow_log_refuses_and_gives_no_number() {
    let mut world = World::new();
    world.config.history.max_total_bytes = 64 << 20;
    world.hub.reconfigure(&world.config);
    let publish = |world: &mut World, bytes: usize| {
        let draft = Draft::new(name(0), Data::Text("x".repeat(bytes).into()));
        world
            .log
            .publish(&mut world.hub, draft)
            .map_err(|(refusal, _)| refusal)
    };
    world.log.as_saved().unwrap().set_health(Health::Fails);
    assert_eq!(publish(&mut world, 1), Err(Refusal::LogFails));
    world.log.as_saved().unwrap().set_health(Health::Works);
    publish(&mut world, MAX_UNSAVED_BYTES).unwrap();
    assert_eq!(publish(&mut world, 1), Err(Refusal::LogBusy));
    assert_eq!(world.log.newest(), Seq(1));
    world.save(false);
    assert_eq!(publish(&mut world, 1).unwrap().id.seq, Seq(2));
}

#[test]
fn damaged_records_are_not_carried() {
    let mut world = World::new();
    world.apply(Op::Publish(0, 9, None));
    world.save(false);
    let records = world.segments[0].clone();
    let saved = world.log.as_saved().unwrap();
    assert!(
        saved
            .carry(&mut world.hub, &records[..records.len() - 1])
            .is_err()
    );
    let mut other = Vec::new();
    record::append(&mut other, |out| out.push(0xff));
    assert!(saved.carry(&mut world.hub, &other).is_err());
    assert!(saved.carry(&mut world.hub, &[]).is_ok());
}

#[test]
fn identity_comes_back_from_its_bytes() {
    let identity = Identity::new([7, 8, u64::MAX]);
    let bytes = identity.to_bytes();
    assert!(Identity::from_bytes(&bytes) == Some(identity));
    let mut other = bytes;
    other[0] = b'A';
    assert!(Identity::from_bytes(&other).is_none());
}

#[test]
fn clock_that_steps_keeps_no_message_for_ever() {
    for (published_ms, restored_ms, is_kept) in [
        (UNIX_MS, UNIX_MS + 19_999, true),
        (UNIX_MS, UNIX_MS + 20_000, false),
        (UNIX_MS, u64::MAX, false),
        (UNIX_MS, 0, true),
        (u64::MAX, UNIX_MS, true),
        (0, UNIX_MS, false),
    ] {
        let mut world = World::new();
        world.log.as_saved().unwrap().set_date(published_ms);
        world.apply(Op::Publish(0, 1, None));
        world.save(false);
        world.unix_ms = restored_ms;
        world.messages.clear();
        let hub = {
            let mut history = History::new(world.identity, &world.config, 8, restored_ms);
            let record::Read::Record { entry, .. } = record::read(&world.segments[0]) else {
                panic!("a record was written");
            };
            history.replay(entry).unwrap();
            history.finish(LogEnding::Clean).0
        };
        assert_eq!(
            hub.message_count(),
            usize::from(is_kept),
            "{published_ms} {restored_ms}"
        );
        let mut hub = hub;
        hub.set_now(hub.now().after_ms(20_000));
        hub.expire_history(10);
        assert_eq!(hub.message_count(), 0, "{published_ms} {restored_ms}");
    }
}
