//! The invariants of a hub, by looking at all that it has.

use crate::hub::subscription::NONE;
use crate::hub::{Channel, Hub};
use crate::message::Seq;

/// Panics where a hub keeps something that it should not.
pub(super) fn check(hub: &Hub) {
    for (index, channel) in &hub.channels {
        let index = index as u32;
        assert_eq!(hub.find(channel.name()), Some(index));
        assert!(channel.evicted_up_to() <= hub.head());
        check_ring(hub, index, channel);
        check_lists(hub, index, channel);
        let runs = hub.run.iter().filter(|&&other| other == index).count();
        assert_eq!(usize::from(channel.running), runs);
        assert!(channel.running || channel.ready.is_empty());
        let idles = hub.idle.iter().filter(|&&(other, _)| other == index);
        assert_eq!(usize::from(channel.idle), idles.count());
        assert!(channel.idle || !channel.is_unused(), "it stays for ever");
    }
    let channels = || hub.channels.iter().map(|(_, channel)| channel);
    let names: usize = channels().map(|c| Channel::footprint(c.name())).sum();
    assert_eq!(hub.channel_bytes(), names);
    assert!(
        hub.run
            .iter()
            .all(|&index| hub.channels.contains(index as usize))
    );
    assert!(
        hub.idle
            .iter()
            .all(|&(index, _)| hub.channels.contains(index as usize))
    );
    assert!(hub.channels.iter().all(|(index, _)| index < hub.slots_used));

    let bytes: usize = hub
        .messages
        .iter()
        .map(|(_, stored)| stored.footprint())
        .sum();
    assert_eq!(hub.meter().used(), bytes);
    assert!(bytes <= hub.meter().limit());
    assert_eq!(channels().map(Channel::bytes).sum::<usize>(), bytes);
    let ends = hub.messages.iter().filter(|(_, stored)| stored.is_end());
    assert_eq!(hub.ends, ends.count());
    let by_age = hub.ages.iter(&hub.messages);
    let by_age: Vec<Seq> = by_age.map(|key| hub.messages[key as usize].seq()).collect();
    assert!(by_age.is_sorted_by(|one, other| one < other));
    assert_eq!(by_age.len(), hub.messages.len());
    let times = hub.ages.iter(&hub.messages);
    let times: Vec<_> = times.map(|key| hub.messages[key as usize].at()).collect();
    assert!(times.is_sorted() && times.last().is_none_or(|&last| last <= hub.now()));
}

fn check_ring(hub: &Hub, index: u32, channel: &Channel) {
    let deadline = hub.ages.deadline(index);
    let Some(ring) = channel.ring() else {
        assert_eq!(deadline, None);
        return;
    };
    let mut last = channel.evicted_up_to();
    for entry in &ring.entries {
        assert!(entry.seq > last && entry.seq <= hub.head());
        last = entry.seq;
        let stored = &hub.messages[entry.key() as usize];
        assert_eq!((stored.seq(), stored.channel()), (entry.seq, index));
        assert_eq!(stored.is_end(), entry.is_end());
        assert!(!entry.is_end() || channel.newest_item() == entry.seq);
    }
    let oldest = ring.entries.front().expect("a ring is not empty").seq;
    assert_eq!(ring.has_end(), channel.has_ended());
    assert!(deadline.is_some() || !hub.ages.is_examined(&hub.messages, oldest));
}

fn check_lists(hub: &Hub, index: u32, channel: &Channel) {
    let waiting: Vec<u32> = channel.waiting.iter(&hub.subscriptions).collect();
    assert_eq!(channel.waiting_count as usize, waiting.len());
    let ready: Vec<u32> = channel.ready.iter(&hub.subscriptions).collect();
    for &at in waiting.iter().chain(&ready) {
        let subscription = &hub.subscriptions[at as usize];
        assert_eq!(subscription.channel, index);
        if subscription.sibling != NONE {
            let sibling = &hub.subscriptions[subscription.sibling as usize];
            assert_eq!(sibling.follower, subscription.follower);
        }
    }
    let entries = channel.ring().into_iter().flat_map(|ring| &ring.entries);
    let pending: u32 = entries.map(|entry| entry.pending).sum();
    assert!(pending as usize <= ready.len());
    let followed = hub.subscriptions.iter().filter(|(_, s)| s.channel == index);
    assert_eq!(channel.reader_counts().total() as usize, followed.count());
}
