//! Writing a state.

use std::io::{self, Write};
use std::mem;

use serde::Serialize;

use super::{FORMAT, FORMATS, LAST, MORE, NODES, PIECE_BYTES};
use crate::base::record::{self, MAX_ENTRY_BYTES};

/// Writes values as records, one after another.
pub struct Freezer<W> {
    out: W,
    format: u32,
    value: Vec<u8>,
    record: Vec<u8>,
}

impl<W: Write> Freezer<W> {
    /// Writes to `out` in the newest format, with one call for each value: a file should be
    /// buffered.
    pub fn new(out: W) -> Freezer<W> {
        Freezer::of_format(out, FORMAT)
    }

    /// The same in a format of [`FORMATS`].
    pub fn of_format(out: W, format: u32) -> Freezer<W> {
        assert!(FORMATS.contains(&format), "format {format} is not known");
        Freezer {
            out,
            format,
            value: Vec::new(),
            record: Vec::new(),
        }
    }

    /// Whether the format has what a node of a cluster has.
    pub fn has_nodes(&self) -> bool {
        self.format >= NODES
    }

    /// Writes a value, whose encoding must not be empty.
    ///
    /// # Errors
    ///
    /// It could not be written, or is larger than a record may be (1 GiB).
    pub fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        self.value.clear();
        self.encode(value)?;
        self.write_record()
    }

    /// Writes values, any number of them, many in a record: what [`Thawer::take_all`] reads. The
    /// encoding of none must be empty.
    ///
    /// [`Thawer::take_all`]: super::Thawer::take_all
    ///
    /// # Errors
    ///
    /// As [`Freezer::put`].
    pub fn put_all<T: Serialize>(&mut self, values: impl IntoIterator<Item = T>) -> io::Result<()> {
        self.begin_piece();
        for value in values {
            self.encode(&value)?;
            if self.value.len() >= PIECE_BYTES {
                self.write_record()?;
                self.begin_piece();
            }
        }
        self.value[0] = LAST;
        self.write_record()
    }

    fn begin_piece(&mut self) {
        self.value.clear();
        self.value.push(MORE);
    }

    fn encode<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        self.value =
            postcard::to_extend(value, mem::take(&mut self.value)).map_err(io::Error::other)?;
        Ok(())
    }

    fn write_record(&mut self) -> io::Result<()> {
        if self.value.len() > MAX_ENTRY_BYTES {
            return Err(io::Error::other("a value is larger than a record may be"));
        }
        self.record.clear();
        record::append(&mut self.record, |out| out.extend_from_slice(&self.value));
        self.out.write_all(&self.record)
    }

    /// Returns what it wrote to, which is not flushed.
    pub fn into_inner(self) -> W {
        self.out
    }
}
