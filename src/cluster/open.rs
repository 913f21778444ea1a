//! A connection to the master: found, connected to, and checked.
//!
//! Owns the order of these steps.

use super::check::{self, Facts};
use super::connection::Connection;
use super::fault::{Cause, Fault};
use super::target::{Candidate, Target};

/// Finds the master, connects, logs in, and checks its version and rights.
///
/// # Errors
///
/// No server that is the master can be reached, or it refuses. A fault of one address is returned
/// only if no other address works.
pub(super) fn open(target: &Target) -> Result<(Connection, Facts), Fault> {
    let mut last = Fault::Broken(Cause::Unreachable, "there is no server".into());
    for candidate in target.candidates()? {
        match open_at(target, &candidate) {
            Ok(opened) => return Ok(opened),
            // A refusal, which an operator must mend, is reported before a fault that may pass.
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
