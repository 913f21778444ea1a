//! Counted bytes: every buffer whose size depends on a client is charged to a [`Meter`].
//!
//! Owns the count of bytes in use, their limit, and [`SharedBytes`], the type of shared bytes,
//! which releases its bytes when its last reference is dropped. It never refuses a charge: callers
//! check [`Meter::has_room`] first and decide how to refuse.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count of bytes in use and their limit.
///
/// Both are atomic only so that a server can be built on one thread and run on another; all
/// updates come from the reactor's thread.
#[derive(Debug)]
pub struct Meter {
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl Meter {
    /// A meter at zero with a limit in bytes.
    pub fn new(limit: usize) -> Arc<Meter> {
        Arc::new(Meter {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
        })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit, in bytes. It may be below what is in use: there is no room then until
    /// enough is released.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Sets the limit to `target`, or to the bytes in use if those are more. Returns whether the
    /// limit is now `target`.
    pub fn approach_limit(&self, target: usize) -> bool {
        self.set_limit(target.max(self.used()));
        self.limit() == target
    }

    /// Whether `bytes` more stay within the limit.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.limit()
    }

    /// Counts `bytes` as used.
    pub fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` as released.
    pub fn release(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "more bytes released than charged");
    }
}

/// Encoded bytes, shared by the connections that send them, and counted until the last reference is
/// dropped.
///
/// The payload is the bytes without the chunk framing of HTTP/1.1 around them: an HTTP/1.0
/// connection is sent the payload alone.
#[derive(Debug)]
pub struct SharedBytes {
    bytes: Box<[u8]>,
    payload: Range<usize>,
    meter: Arc<Meter>,
}

impl SharedBytes {
    /// These bytes, all of them payload, which are charged to the meter.
    pub fn new(bytes: impl Into<Box<[u8]>>, meter: &Arc<Meter>) -> Arc<SharedBytes> {
        let bytes = bytes.into();
        let payload = 0..bytes.len();
        SharedBytes::with_payload(bytes, payload, meter)
    }

    /// Takes bytes whose payload is a range of them, and charges the meter for all.
    pub fn with_payload(
        bytes: impl Into<Box<[u8]>>,
        payload: Range<usize>,
        meter: &Arc<Meter>,
    ) -> Arc<SharedBytes> {
        let bytes = bytes.into();
        debug_assert!(bytes.get(payload.clone()).is_some(), "a range of the bytes");
        meter.charge(bytes.len());
        Arc::new(SharedBytes {
            bytes,
            payload,
            meter: Arc::clone(meter),
        })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The meter that its bytes are charged to.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The range of the bytes that is the payload.
    pub fn payload(&self) -> Range<usize> {
        self.payload.clone()
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        self.meter.release(self.bytes.len());
    }
}

/// A variable number of bytes charged to a meter, released when dropped.
#[derive(Debug)]
pub struct Charge {
    bytes: usize,
    meter: Arc<Meter>,
}

impl Charge {
    /// A charge of no bytes.
    pub fn new(meter: &Arc<Meter>) -> Charge {
        Charge {
            bytes: 0,
            meter: Arc::clone(meter),
        }
    }

    /// Changes the charge to `bytes`.
    pub fn set(&mut self, bytes: usize) {
        self.meter.charge(bytes);
        self.meter.release(self.bytes);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_holder_releases_the_bytes() {
        let meter = Meter::new(10);
        let frame = SharedBytes::new(*b"12345678", &meter);
        let other = Arc::clone(&frame);
        assert_eq!(meter.used(), 8);
        assert!(meter.has_room(2));
        assert!(!meter.has_room(3));
        drop(frame);
        assert_eq!((other.bytes().len(), meter.used()), (8, 8));
        drop(other);
        assert_eq!(meter.used(), 0);
    }

    #[test]
    fn limit_is_not_lowered_below_the_bytes_in_use() {
        let meter = Meter::new(10);
        meter.charge(8);
        assert!(!meter.approach_limit(5));
        assert_eq!(meter.limit(), 8);
        meter.release(4);
        assert!(meter.approach_limit(5) && meter.has_room(1) && !meter.has_room(2));
        assert!(meter.approach_limit(20));
        assert_eq!(meter.limit(), 20);
    }
}
