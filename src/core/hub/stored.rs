//! A stored message: its data, and its encoded bytes per shape, cached at first use. The end of a
//! channel is stored the same way, without data.
//!
//! Owns one message. It never encodes: the caller brings the bytes of a shape.

use std::sync::Arc;

use slab::Slab;

use crate::base::list::{LinkTable, Links};
use crate::base::meter::SharedBytes;
use crate::base::time::Time;
use crate::message::{Data, Draft, EventName, IdempotencyKey, Seq};

/// A shape in which a message's bytes are shared: a number that the caller gave a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(u8);

impl Shape {
    /// How many shapes there are. A stored message has a pointer for each.
    pub const COUNT: u8 = 9;

    /// The shape of this number, which is below [`Shape::COUNT`].
    pub const fn new(number: u8) -> Shape {
        assert!(number < Shape::COUNT, "there are so many shapes");
        Shape(number)
    }
}

/// A stored message.
pub struct Stored {
    pub(super) frames: [Option<Arc<SharedBytes>>; Shape::COUNT as usize],
    pub(super) data: Data,
    pub(super) event: Option<EventName>,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) seq: Seq,
    pub(super) at: Time,
    pub(super) bytes: usize,
    /// Place among all stored messages, oldest first.
    pub(super) links: Links,
    pub(super) channel: u32,
    pub(super) subscribers: u32,
    pub(super) is_end: bool,
}

impl Stored {
    /// Bytes that a message costs beside its own: this entry, and the overhead of the allocator.
    pub(super) const OVERHEAD_BYTES: usize = size_of::<Stored>() + 32;

    /// Stores a message whose footprint, the bytes that it is charged with, is `bytes`.
    pub(super) fn new(
        message: Draft<'_>,
        bytes: usize,
        seq: Seq,
        channel: u32,
        at: Time,
        subscribers: u32,
    ) -> Stored {
        Stored {
            is_end: false,
            frames: Default::default(),
            bytes,
            data: message.data,
            event: message.event,
            key: message.key,
            seq,
            at,
            links: Links::default(),
            channel,
            subscribers,
        }
    }

    /// Sets when it was accepted, if it is restored.
    pub(super) fn set_at(&mut self, at: Time) {
        self.at = at;
    }

    /// Its number.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Whether it is the end of its channel, which has no content.
    pub fn is_end(&self) -> bool {
        self.is_end
    }

    /// Its bytes and type.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Its event name.
    pub fn event(&self) -> Option<&EventName> {
        self.event.as_ref()
    }

    /// Its bytes in a shape, if they are cached.
    pub fn frame(&self, shape: Shape) -> Option<&Arc<SharedBytes>> {
        self.frames[usize::from(shape.0)].as_ref()
    }

    /// It is the end of its channel.
    pub(super) fn set_end(&mut self) {
        self.is_end = true;
    }

    pub(super) fn set_frame(&mut self, shape: Shape, frame: Arc<SharedBytes>) {
        self.frames[usize::from(shape.0)] = Some(frame);
    }

    pub(super) fn drop_frames(&mut self) {
        self.frames = Default::default();
    }

    pub(super) fn idempotency_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// When it was accepted.
    pub fn at(&self) -> Time {
        self.at
    }

    /// The bytes it was charged with, frames aside.
    pub(super) fn footprint(&self) -> usize {
        self.bytes
    }

    /// Its channel.
    pub fn channel(&self) -> u32 {
        self.channel
    }

    /// How many connections were parked on its channel when it was accepted.
    pub fn subscribers(&self) -> u32 {
        self.subscribers
    }
}

impl LinkTable for Slab<Stored> {
    fn links(&self, index: u32) -> Links {
        self[index as usize].links
    }

    fn links_mut(&mut self, index: u32) -> &mut Links {
        &mut self[index as usize].links
    }
}
