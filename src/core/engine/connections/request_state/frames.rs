//! Frames in a state that is handed over.
//!
//! Owns the numbers by which frames that several connections hold are shared again.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::meter::{Meter, SharedBytes};
use crate::frozen::{Bytes, ThawError};

/// The frozen form of a frame.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::engine::connections) enum FrozenFrame<'f> {
    /// A frame that was not met before.
    New {
        /// Its bytes.
        #[serde(borrow)]
        bytes: Bytes<'f>,
        /// Where its payload begins and ends.
        payload: (u64, u64),
        /// The place of its meter among those that frames are charged to.
        meter: u8,
    },
    /// The same frame as an earlier one, which is counted from 0.
    Earlier(u32),
}

/// Freezes frames: each once, however many hold it.
pub(in crate::engine::connections) struct FreezingFrames<'m> {
    meters: [&'m Arc<Meter>; 2],
    numbers: HashMap<*const SharedBytes, u32>,
}

impl<'m> FreezingFrames<'m> {
    /// Every frame is charged to one of these meters.
    pub(in crate::engine::connections) fn new(meters: [&'m Arc<Meter>; 2]) -> FreezingFrames<'m> {
        FreezingFrames {
            meters,
            numbers: HashMap::new(),
        }
    }

    /// The frozen form of a frame. All frames of a state are frozen and thawed in one order.
    pub(in crate::engine::connections) fn freeze<'f>(
        &mut self,
        frame: &'f Arc<SharedBytes>,
    ) -> FrozenFrame<'f> {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(Arc::as_ptr(frame)).or_insert(next);
        if number < next {
            return FrozenFrame::Earlier(number);
        }
        let is_its = |meter: &&Arc<Meter>| Arc::ptr_eq(meter, frame.meter());
        let meter = self.meters.iter().position(is_its);
        debug_assert!(meter.is_some(), "a frame is charged to one of the meters");
        FrozenFrame::New {
            bytes: Bytes(frame.bytes()),
            payload: (frame.payload().start as u64, frame.payload().end as u64),
            meter: meter.unwrap_or(0) as u8,
        }
    }
}

/// Thaws frames.
pub(in crate::engine::connections) struct ThawingFrames<'m> {
    meters: [&'m Arc<Meter>; 2],
    frames: Vec<Arc<SharedBytes>>,
}

impl<'m> ThawingFrames<'m> {
    /// Frames are charged to these meters, which are in the same places as they were.
    pub(in crate::engine::connections) fn new(meters: [&'m Arc<Meter>; 2]) -> ThawingFrames<'m> {
        ThawingFrames {
            meters,
            frames: Vec::new(),
        }
    }

    /// The frame of a frozen one.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub(in crate::engine::connections) fn thaw(
        &mut self,
        frozen: FrozenFrame<'_>,
    ) -> Result<Arc<SharedBytes>, ThawError> {
        let frame = match frozen {
            FrozenFrame::Earlier(number) => self.frames.get(number as usize).cloned(),
            FrozenFrame::New {
                bytes: Bytes(bytes),
                payload: (start, end),
                meter,
            } => {
                let meter = self.meters.get(usize::from(meter));
                let is_within = start <= end && end <= bytes.len() as u64;
                let payload = start as usize..end as usize;
                let meter = meter.filter(|_| is_within);
                let frame = meter.map(|meter| SharedBytes::with_payload(bytes, payload, meter));
                self.frames.extend(frame.clone());
                frame
            }
        };
        frame.ok_or(ThawError::Damaged("a frame has no bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_two_hold_is_one_afterwards() {
        let meters = [Meter::new(100), Meter::new(100)];
        let [first, second] = &meters;
        let frames = [
            SharedBytes::with_payload(*b"[one]", 1..4, first),
            SharedBytes::new(*b"two", second),
        ];
        let mut freezing = FreezingFrames::new([first, second]);
        let order = [0, 1, 0, 1, 1];
        let frozen = order.map(|place| freezing.freeze(&frames[place]));
        let others = [Meter::new(100), Meter::new(100)];
        let mut thawing = ThawingFrames::new([&others[0], &others[1]]);
        let thawed = frozen.map(|frozen| thawing.thaw(frozen).unwrap());
        for (place, frame) in order.into_iter().zip(&thawed) {
            assert_eq!(frame.bytes(), frames[place].bytes());
            assert_eq!(frame.payload(), frames[place].payload());
        }
        assert!(Arc::ptr_eq(&thawed[0], &thawed[2]) && Arc::ptr_eq(&thawed[1], &thawed[4]));
        assert_eq!(others.map(|meter| meter.used()), [5, 3]);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let meter = Meter::new(100);
        let new = |payload, meter| FrozenFrame::New {
            bytes: Bytes(b"abc"),
            payload,
            meter,
        };
        for frozen in [
            FrozenFrame::Earlier(0),
            new((0, 4), 0),
            new((2, 1), 0),
            new((0, u64::MAX), 0),
            new((0, 3), 2),
        ] {
            let mut frames = ThawingFrames::new([&meter, &meter]);
            assert!(frames.thaw(frozen).is_err(), "{frozen:?}");
        }
        assert_eq!(meter.used(), 0);
    }
}
