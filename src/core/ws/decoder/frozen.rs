//! A message that has arrived in part, in a state that is handed over.
//!
//! Owns the form of its decoder, and the check that a decoder could have come there: what is
//! decoded next relies on the header and the lengths.

use serde::{Deserialize, Serialize};

use super::{Control, Decoder, Frame, Kind, MAX_CONTROL_BYTES};
use crate::frozen::ThawError;
use crate::ws::Opcode;

/// A [`Decoder`] that is not between two messages, in a state that is handed over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FrozenDecoder<'d> {
    /// As much of a header as has arrived.
    header: &'d [u8],
    frame: Option<FrozenFrame>,
    /// Whether the message that is unfinished is text.
    is_text: Option<bool>,
    message: &'d [u8],
    control: &'d [u8],
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct FrozenFrame {
    opcode: u8,
    is_final: bool,
    mask: [u8; 4],
    length: u64,
    arrived: u64,
}

impl<'d> From<&'d Decoder> for FrozenDecoder<'d> {
    fn from(decoder: &'d Decoder) -> FrozenDecoder<'d> {
        debug_assert!(!decoder.is_returned, "a message has arrived in part");
        let frame = decoder.frame.map(|frame| FrozenFrame {
            opcode: frame.opcode.number(),
            is_final: frame.is_final,
            mask: frame.mask,
            length: frame.length as u64,
            arrived: frame.arrived as u64,
        });
        let is_control = decoder.frame.is_some_and(|frame| frame.opcode.is_control());
        let control = match is_control {
            true => &decoder.control.bytes[..decoder.control.length],
            // What is left of an earlier one.
            false => &[],
        };
        FrozenDecoder {
            header: &decoder.header[..decoder.header_bytes],
            frame,
            is_text: decoder.kind.map(|kind| kind == Kind::Text),
            message: &decoder.message,
            control,
        }
    }
}

impl TryFrom<FrozenDecoder<'_>> for Decoder {
    type Error = ThawError;

    fn try_from(frozen: FrozenDecoder<'_>) -> Result<Decoder, ThawError> {
        const DAMAGED: ThawError = ThawError::Damaged("a message cannot have arrived like this");
        let mut decoder = Decoder {
            header_bytes: frozen.header.len(),
            kind: frozen.is_text.map(|is_text| match is_text {
                true => Kind::Text,
                false => Kind::Binary,
            }),
            message: frozen.message.to_vec(),
            control: Control {
                length: frozen.control.len(),
                ..Control::default()
            },
            ..Decoder::default()
        };
        let header = decoder.header.get_mut(..frozen.header.len());
        header.ok_or(DAMAGED)?.copy_from_slice(frozen.header);
        let control = decoder.control.bytes.get_mut(..frozen.control.len());
        control.ok_or(DAMAGED)?.copy_from_slice(frozen.control);
        decoder.frame = frozen.frame.map(Frame::try_from).transpose()?;
        match decoder.is_possible() {
            true => Ok(decoder),
            false => Err(DAMAGED),
        }
    }
}

impl TryFrom<FrozenFrame> for Frame {
    type Error = ThawError;

    fn try_from(frozen: FrozenFrame) -> Result<Frame, ThawError> {
        const DAMAGED: ThawError = ThawError::Damaged("a frame is of no kind that there is");
        Ok(Frame {
            opcode: Opcode::from_number(frozen.opcode).ok_or(DAMAGED)?,
            is_final: frozen.is_final,
            mask: frozen.mask,
            length: usize::try_from(frozen.length).map_err(|_| DAMAGED)?,
            arrived: usize::try_from(frozen.arrived).map_err(|_| DAMAGED)?,
        })
    }
}

impl Decoder {
    /// Whether it is not between two messages, and can have come there by decoding.
    fn is_possible(&self) -> bool {
        let has_header = self.header_bytes > 0;
        let is_header_right = match self.header_bytes {
            0 => true,
            1 => self.frame.is_none(),
            bytes => {
                self.frame.is_none()
                    && bytes < self.wanted_header_bytes()
                    && self.check_start().is_ok()
            }
        };
        let is_frame_right = match self.frame {
            None => self.control.length == 0,
            Some(frame) if frame.opcode.is_control() => {
                frame.is_final
                    && frame.length <= MAX_CONTROL_BYTES
                    && frame.arrived < frame.length
                    && self.control.length == frame.arrived
            }
            Some(frame) => {
                self.kind.is_some()
                    && frame.length <= isize::MAX as usize
                    && frame.arrived < frame.length
                    && frame.arrived <= self.message.len()
                    && self.control.length == 0
            }
        };
        let has_part = has_header || self.frame.is_some() || self.kind.is_some();
        let is_message_right = self.kind.is_some() || self.message.is_empty();
        is_header_right && is_frame_right && is_message_right && has_part
    }
}
