//! A connection to the master: found, connected to, and checked.
//!
//! Owns the order of these steps.

use redis::cmd;

use super::check::{self, Facts};
use super::connection::Connection;
use super::fault::{Cause, Fault, words};
use super::target::{Candidate, Target};

/// How often one server of a Redis Cluster may name another. While the log moves they may not agree.
const MAX_MOVES: u32 = 3;

/// Finds the master, connects, logs in, and checks its version and rights.
///
/// # Errors
///
/// No server that is the master can be reached, or it refuses. A fault of one address is returned
/// only if no other address works.
pub(super) fn open(target: &Target) -> Result<(Connection, Facts), Fault> {
    open_one_of(target, target.candidates()?, MAX_MOVES)
}

fn open_one_of(
    target: &Target,
    candidates: Vec<Candidate>,
    moves: u32,
) -> Result<(Connection, Facts), Fault> {
    let mut last = Fault::Broken(Cause::Unreachable, "there is no server".into());
    for candidate in candidates {
        let opened = match open_at(target, &candidate) {
            Err(Fault::Moved(at)) if moves > 0 => candidate
                .others_at(&at)
                .and_then(|others| open_one_of(target, others, moves - 1)),
            opened => opened,
        };
        match opened {
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
    // A server of a Redis Cluster that has not got the log says who has, also if it is a replica. Most
    // other errors are those of the checks, which say what to do.
    let asked = connection.ask(cmd("EXISTS").arg(target.log()))?;
    let mut facts = match (check::facts(&mut connection), asked) {
        // A server that turns connections away says why to the first command, and closes.
        (Err(Fault::Broken(Cause::Closed, _)), Err(error)) => {
            let text = format!("{}: {}", candidate.address(), words(&error));
            return Err(Fault::Refused(text));
        }
        (facts, _) => facts?,
    };
    facts.version += &format!(" at {}", candidate.address());
    Ok((connection, facts))
}
