//! Reading a state.

use std::io::{self, Read};

use serde::Deserialize;
use thiserror::Error;

use crate::base::record::{self, HEAD_BYTES, MAX_ENTRY_BYTES};

/// Bytes of a record that are read at once: a length alone allocates no more.
const PIECE_BYTES: usize = 64 << 10;

/// A state cannot be taken over.
#[derive(Debug, Error)]
pub enum ThawError {
    /// The state could not be read, or ends too early.
    #[error("the state cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The bytes are no state of this format.
    #[error("the state is damaged: {0}")]
    Damaged(&'static str),
    /// The state does not fit the settings.
    #[error("{0}")]
    Exceeds(String),
}

/// Reads the values that a [`Freezer`](super::Freezer) wrote, in their order.
pub struct Thawer<R> {
    input: R,
    record: Vec<u8>,
}

impl<R: Read> Thawer<R> {
    /// Reads from `input`, with a few calls for each value: a file should be buffered.
    pub fn new(input: R) -> Thawer<R> {
        Thawer {
            input,
            record: Vec::new(),
        }
    }

    /// Reads the next value, which may borrow from the reader.
    ///
    /// # Errors
    ///
    /// There is no value of this type.
    pub fn take<'t, T: Deserialize<'t>>(&'t mut self) -> Result<T, ThawError> {
        self.read_record()?;
        let value = &self.record[HEAD_BYTES..];
        match postcard::take_from_bytes(value) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(ThawError::Damaged("a value is followed by other bytes")),
            Err(_) => Err(ThawError::Damaged("a value is not of its type")),
        }
    }

    /// Checks that nothing follows.
    ///
    /// # Errors
    ///
    /// Something does.
    pub fn finish(mut self) -> Result<(), ThawError> {
        match self.input.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(ThawError::Damaged("bytes follow the last value")),
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.record.capacity()
    }

    fn read_record(&mut self) -> Result<(), ThawError> {
        self.record.clear();
        self.read_more(HEAD_BYTES)?;
        let length = record::length(&self.record).unwrap_or(0);
        if length > HEAD_BYTES + MAX_ENTRY_BYTES {
            return Err(ThawError::Damaged("a length is out of range"));
        }
        while self.record.len() < length {
            self.read_more((length - self.record.len()).min(PIECE_BYTES))?;
        }
        match record::read(&self.record) {
            record::Read::Record { .. } => Ok(()),
            _ => Err(ThawError::Damaged("a checksum does not match")),
        }
    }

    fn read_more(&mut self, bytes: usize) -> io::Result<()> {
        let start = self.record.len();
        self.record.resize(start + bytes, 0);
        self.input.read_exact(&mut self.record[start..])
    }
}
