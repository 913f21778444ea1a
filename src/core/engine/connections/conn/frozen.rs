//! One connection in a state that is handed over, without what only some connections have.
//!
//! Owns its form.

use serde::{Deserialize, Serialize};

use super::{Access, Conn, Flags, Moment, State};
use crate::frozen::ThawError;
use crate::hub::FrozenReader;
use crate::transport::Options;

/// The frozen form of a [`Conn`].
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(in crate::engine::connections) struct FrozenConn {
    reader: FrozenReader,
    generation: u32,
    measure: u32,
    ends_at: u32,
    state: u8,
    transport_options: u8,
    access: u8,
    flags: u8,
}

impl From<&Conn> for FrozenConn {
    fn from(conn: &Conn) -> FrozenConn {
        FrozenConn {
            reader: conn.reader.freeze(),
            generation: conn.generation,
            // fault: measure-begins-again
            measure: conn.measure,
            // fault: end-is-not-handed-over
            ends_at: conn.ends_at.0,
            state: conn.state as u8,
            transport_options: conn.transport_options.bits(),
            access: conn.access as u8,
            // fault: flags-are-not-handed-over
            flags: conn.flags.bits(),
        }
    }
}

impl TryFrom<FrozenConn> for Conn {
    type Error = ThawError;

    fn try_from(frozen: FrozenConn) -> Result<Conn, ThawError> {
        const ACCESSES: [Access; 3] = [Access::Public, Access::Guarded, Access::Trusted];
        const DAMAGED: ThawError = ThawError::Damaged("a connection has a number of no meaning");
        let state = State::ALL.get(usize::from(frozen.state)).copied();
        let access = ACCESSES.get(usize::from(frozen.access)).copied();
        let options = Options::from_bits(frozen.transport_options);
        let is_open = state != Some(State::Gone) && frozen.generation > 0;
        Ok(Conn {
            reader: frozen.reader.thaw()?,
            request: None,
            generation: frozen.generation,
            measure: frozen.measure,
            ends_at: Moment(frozen.ends_at),
            state: state.filter(|_| is_open).ok_or(DAMAGED)?,
            transport_options: options.ok_or(DAMAGED)?,
            access: access.ok_or(DAMAGED)?,
            flags: Flags::from_bits(frozen.flags).ok_or(DAMAGED)?,
        })
    }
}
