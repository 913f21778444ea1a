//! A connection to the master: found, connected to, and checked.
//!
//! Owns the order of these steps.

use super::check::{self, Facts};
use super::connection::Connection;
use super::fault::{Cause, Fault};
use super::target::Target;

/// Finds the master, connects, logs in, and checks what it is.
///
/// # Errors
///
/// No server can be reached that is the master, or it refuses.
pub(super) fn open(target: &Target) -> Result<(Connection, Facts), Fault> {
    let mut last = Fault::Broken(Cause::Unreachable, "there is no server".into());
    for candidate in target.candidates()? {
        match Connection::to(target, &candidate) {
            Ok(mut connection) => {
                let facts = check::facts(&mut connection)?;
                return Ok((connection, facts));
            }
            Err(fault) => last = fault,
        }
    }
    Err(last)
}
