//! A connection to the master: found, connected to, and checked.
//!
//! Owns the order of these steps.

use super::check::{self, Facts};
use super::connection::Connection;
use super::fault::{Cause, Fault};
use super::target::{Candidate, Target};

/// Finds the master, connects, logs in, and checks what it is.
///
/// # Errors
///
/// No server can be reached that is the master, or it refuses. What is wrong with one address is
/// said only if no other will do.
pub(super) fn open(target: &Target) -> Result<(Connection, Facts), Fault> {
    let mut last = Fault::Broken(Cause::Unreachable, "there is no server".into());
    for candidate in target.candidates()? {
        match open_at(target, &candidate) {
            Ok(opened) => return Ok(opened),
            // What somebody must change is told rather than what may pass.
            Err(_) if matches!(last, Fault::Refused(_)) => {}
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

fn open_at(target: &Target, candidate: &Candidate) -> Result<(Connection, Facts), Fault> {
    let mut connection = Connection::to(target, candidate)?;
    let facts = check::facts(&mut connection)?;
    Ok((connection, facts))
}
