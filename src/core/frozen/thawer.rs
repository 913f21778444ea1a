//! Reading a state.

use std::io::{self, Read};

use serde::Deserialize;
use thiserror::Error;

use super::{FORMAT, FORMATS, LAST, MORE, NODES, PIECE_BYTES};
use crate::base::record::{self, HEAD_BYTES, MAX_ENTRY_BYTES};

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
    format: u32,
    record: Vec<u8>,
}

impl<R: Read> Thawer<R> {
    /// Reads the newest format from `input`, with a few calls for each value: a file should be
    /// buffered.
    pub fn new(input: R) -> Thawer<R> {
        Thawer::of_format(input, FORMAT)
    }

    /// The same of a format of [`FORMATS`].
    pub fn of_format(input: R, format: u32) -> Thawer<R> {
        assert!(FORMATS.contains(&format), "format {format} is not known");
        Thawer {
            input,
            format,
            record: Vec::new(),
        }
    }

    /// Whether the format has what a node of a cluster has.
    pub fn has_nodes(&self) -> bool {
        self.format >= NODES
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

    /// Begins to read the values that one [`put_all`](super::Freezer::put_all) wrote. Nothing else
    /// can be taken before [`Values::take`] has returned `None`.
    pub fn take_all(&mut self) -> Values<'_, R> {
        self.record.clear();
        Values {
            at: 0,
            is_last: false,
            thawer: self,
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

/// Values of one sequence, in their order.
pub struct Values<'t, R> {
    thawer: &'t mut Thawer<R>,
    /// Where in the record the next value begins.
    at: usize,
    /// The record is the last of the sequence.
    is_last: bool,
}

impl<R: Read> Values<'_, R> {
    /// Reads the next value, which may borrow from the reader; `None` after the last.
    ///
    /// # Errors
    ///
    /// There is no value of this type, nor the end of the sequence.
    pub fn take<'v, T: Deserialize<'v>>(&'v mut self) -> Result<Option<T>, ThawError> {
        while self.at == self.thawer.record.len() {
            if self.is_last {
                return Ok(None);
            }
            self.thawer.read_record()?;
            self.is_last = match self.thawer.record.get(HEAD_BYTES) {
                Some(&MORE) => false,
                Some(&LAST) => true,
                _ => return Err(ThawError::Damaged("a sequence does not go on")),
            };
            self.at = HEAD_BYTES + 1;
        }
        let bytes = &self.thawer.record[self.at..];
        match postcard::take_from_bytes(bytes) {
            Ok((value, rest)) if rest.len() < bytes.len() => {
                self.at += bytes.len() - rest.len();
                Ok(Some(value))
            }
            _ => Err(ThawError::Damaged("a value is not of its type")),
        }
    }
}
