//! Numbers, ids, names and lists as the bytes of entries.
//!
//! Owns their encoding: numbers as LEB128 in the fewest bytes, so that each value has one form.

use crate::log::EntryError;
use crate::message::{ChannelName, EntryId};

/// Appends a number.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends an id.
pub(super) fn write_id(out: &mut Vec<u8>, id: EntryId) {
    write_number(out, id.term);
    write_number(out, id.number);
}

/// Appends a list: its length, then each item.
pub(super) fn write_list<T: Copy>(out: &mut Vec<u8>, list: &[T], write: fn(&mut Vec<u8>, T)) {
    write_number(out, list.len() as u64);
    for &item in list {
        write(out, item);
    }
}

/// Appends a number of fixed length, one that is random.
pub(super) fn write_word(out: &mut Vec<u8>, word: u64) {
    out.extend_from_slice(&word.to_le_bytes());
}

/// Reads a text, which is all of `bytes`.
pub(super) fn read_text(bytes: &[u8]) -> Result<&str, EntryError> {
    std::str::from_utf8(bytes).map_err(|_| EntryError::Invalid("text"))
}

/// Reads the name of a channel, which is all of `bytes`.
pub(super) fn read_name(bytes: &[u8]) -> Result<ChannelName<'_>, EntryError> {
    ChannelName::parse(bytes).map_err(|_| EntryError::Invalid("channel name"))
}

/// Reads the name of a channel with its length.
pub(super) fn read_short_name<'e>(rest: &mut Bytes<'e>) -> Result<ChannelName<'e>, EntryError> {
    let length = rest.byte()?;
    read_name(rest.take(length.into())?)
}

/// The unread bytes of an entry.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'e>(pub(super) &'e [u8]);

impl<'e> Bytes<'e> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, EntryError> {
        let (&byte, rest) = self.0.split_first().ok_or(EntryError::Short)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(super) fn word(&mut self) -> Result<u64, EntryError> {
        let (word, rest) = self.0.split_first_chunk().ok_or(EntryError::Short)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*word))
    }

    pub(super) fn number(&mut self) -> Result<u64, EntryError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            // A number has no more bits than 64, and no zeros before its first digit.
            if part << shift >> shift != part || (byte == 0 && shift > 0) {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(EntryError::Invalid("number"))
    }

    pub(super) fn id(&mut self) -> Result<EntryId, EntryError> {
        Ok(EntryId::new(self.number()?, self.number()?))
    }

    /// Bytes of a length that was read before.
    pub(super) fn take(&mut self, length: u64) -> Result<&'e [u8], EntryError> {
        let length = usize::try_from(length).map_err(|_| EntryError::Short)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(EntryError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A list of at most `most`.
    pub(super) fn list<T>(
        &mut self,
        most: usize,
        read: fn(&mut Bytes<'e>) -> Result<T, EntryError>,
    ) -> Result<Vec<T>, EntryError> {
        let length = self.number()?;
        if length > most as u64 {
            return Err(EntryError::Invalid("length of a list"));
        }
        (0..length).map(|_| read(self)).collect()
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self) -> Result<bool, EntryError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(EntryError::Invalid("flag")),
        }
    }
}
