//! A body that has arrived in part, in a state that is handed over.
//!
//! Owns the form of its decoder, and the check that a decoder could have come there.

use serde::{Deserialize, Serialize};

use super::{Decoder, MAX_EXTENSION_BYTES, MAX_SIZE_LINE_BYTES, MAX_TRAILER_BYTES, State};
use crate::frozen::ThawError;

/// A [`Decoder`] in a state that is handed over.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FrozenDecoder {
    state: u8,
    left_bytes: u64,
    found_bytes: u64,
    line_bytes: u16,
    extension_bytes: u16,
}

/// The states, in the order of their numbers.
const STATES: [State; 14] = [
    State::Counted,
    State::Size,
    State::SizeSpace,
    State::Extension,
    State::SizeLf,
    State::Chunk,
    State::ChunkCr,
    State::ChunkLf,
    State::TrailerStart,
    State::TrailerName,
    State::TrailerValue,
    State::TrailerLf,
    State::EndLf,
    State::Done,
];

impl From<&Decoder> for FrozenDecoder {
    fn from(decoder: &Decoder) -> FrozenDecoder {
        FrozenDecoder {
            state: decoder.state as u8,
            left_bytes: decoder.left_bytes,
            found_bytes: decoder.found_bytes,
            line_bytes: decoder.line_bytes,
            extension_bytes: decoder.extension_bytes,
        }
    }
}

impl TryFrom<FrozenDecoder> for Decoder {
    type Error = ThawError;

    fn try_from(frozen: FrozenDecoder) -> Result<Decoder, ThawError> {
        let state = STATES.get(usize::from(frozen.state)).copied();
        let decoder = Decoder {
            state: state.ok_or(ThawError::Damaged("a body is in no state that there is"))?,
            left_bytes: frozen.left_bytes,
            found_bytes: frozen.found_bytes,
            line_bytes: frozen.line_bytes,
            extension_bytes: frozen.extension_bytes,
        };
        match decoder.is_possible() {
            true => Ok(decoder),
            false => Err(ThawError::Damaged("a body cannot have come to its state")),
        }
    }
}

impl Decoder {
    /// Whether its numbers are within the limits of its state.
    fn is_possible(&self) -> bool {
        let max_line_bytes = match self.state {
            State::Size | State::SizeSpace | State::Extension | State::SizeLf => {
                MAX_SIZE_LINE_BYTES
            }
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => MAX_TRAILER_BYTES,
            State::Counted | State::Chunk | State::ChunkCr | State::ChunkLf | State::Done => {
                u16::MAX
            }
        };
        let has_content = match self.state {
            State::Counted | State::Chunk => self.left_bytes > 0,
            State::Size => self.line_bytes > 0 || self.left_bytes == 0,
            State::SizeSpace | State::Extension | State::SizeLf => self.line_bytes > 0,
            _ => self.left_bytes == 0,
        };
        self.line_bytes <= max_line_bytes
            && self.extension_bytes <= MAX_EXTENSION_BYTES
            && has_content
            && self.found_bytes.checked_add(self.left_bytes).is_some()
    }
}
