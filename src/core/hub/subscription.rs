//! One follower of one channel, as it stands in the channel's lists.
//!
//! Owns the entry and its links. `readers` decides in which list it stands.

use slab::Slab;

use crate::base::list::{LinkTable, Links};

/// No subscription.
pub(super) const NONE: u32 = u32::MAX;

/// One follower of one channel.
pub(super) struct Subscription {
    links: Links,
    pub(super) follower: u32,
    pub(super) channel: u32,
    /// The next of the same reader.
    pub(super) sibling: u32,
    /// Evictions before its first message of this channel are not reported as gaps: the reader
    /// asked for all history or its newest part, or got a gap already. Ends with that message.
    pub(super) ignores_earlier_losses: bool,
}

impl Subscription {
    /// A subscription that is in no list.
    pub(super) fn new(
        follower: u32,
        channel: u32,
        sibling: u32,
        ignores_earlier_losses: bool,
    ) -> Subscription {
        Subscription {
            links: Links::default(),
            follower,
            channel,
            sibling,
            ignores_earlier_losses,
        }
    }
}

impl LinkTable for Slab<Subscription> {
    fn links(&self, index: u32) -> Links {
        self[index as usize].links
    }

    fn links_mut(&mut self, index: u32) -> &mut Links {
        &mut self[index as usize].links
    }
}

const _: () = assert!(size_of::<Subscription>() <= 24);
