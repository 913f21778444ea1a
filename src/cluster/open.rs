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
    open_one_of(target, target.candidates()?)
}

fn open_one_of(target: &Target, given: Vec<Candidate>) -> Result<(Connection, Facts), Fault> {
    let with_moves = |candidates: Vec<Candidate>, moves| {
        let candidates = candidates.into_iter().rev();
        candidates.map(move |candidate| (candidate, moves))
    };
    // The last one is the next: what a server names comes before what is given.
    let mut next: Vec<_> = with_moves(given, 0).collect();
    // Many servers may name the same one, which may not answer: it is waited for once.
    let mut tried = Vec::new();
    let mut faults = Vec::new();
    while let Some((candidate, moves)) = next.pop() {
        if tried.contains(&candidate) {
            continue;
        }
        let fault = match open_at(target, &candidate) {
            Ok(opened) => return Ok(opened),
            Err(fault) => fault,
        };
        if let Fault::Moved(at) = &fault
            && moves < MAX_MOVES
        {
            match candidate.others_at(at) {
                Ok(others) => next.extend(with_moves(others, moves + 1)),
                Err(fault) => faults.push(fault),
            }
        }
        faults.push(fault);
        tried.push(candidate);
    }
    let no_server = || Fault::Broken(Cause::Unreachable, "there is no server".into());
    Err(faults
        .into_iter()
        .max_by_key(weight)
        .unwrap_or_else(no_server))
}

/// The weight of a fault: of several the one with the most is reported. A refusal, which an operator
/// must mend, has more than a fault that may pass, and that a server has named another the least.
fn weight(fault: &Fault) -> u8 {
    match fault {
        Fault::Moved(_) => 0,
        Fault::Broken(..) => 1,
        Fault::Refused(_) => 2,
    }
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::cluster::tests::fake::Fake;
    use encke_core::config::EngineConfig;

    /// Has a server name the one at `at`, once.
    fn name(fake: Fake, at: SocketAddr) {
        fake.serve([("EXISTS", format!("-MOVED 1 {at}\r\n"))]);
    }

    /// The fault that is reported of servers at these addresses.
    fn fault_of(addresses: &[SocketAddr]) -> Fault {
        let url = "redis://127.0.0.1:1".parse().expect("a URL");
        let config = EngineConfig {
            url: Some(url),
            ..EngineConfig::default()
        };
        let target = Target::new(&config).expect("there is a URL");
        let given = addresses.iter().copied().map(Candidate::Tcp).collect();
        open_one_of(&target, given)
            .err()
            .expect("there is no master")
    }

    #[test]
    fn server_that_several_name_is_tried_once() {
        let gone = Fake::new();
        let at = gone.address();
        let all = [(); 3].map(|()| Fake::new());
        let addresses = all.each_ref().map(Fake::address);
        all.into_iter().for_each(|fake| name(fake, at));
        // It closes the first connection, and refuses others.
        gone.serve([("EXISTS", String::new())]);
        let fault = fault_of(&addresses);
        assert!(matches!(fault, Fault::Broken(Cause::Closed, _)), "{fault}");
    }

    #[test]
    fn servers_that_name_each_other_are_asked_once() {
        let [one, other] = [(); 2].map(|()| Fake::new());
        let addresses = [one.address(), other.address()];
        name(one, addresses[1]);
        name(other, addresses[0]);
        assert_eq!(fault_of(&addresses), Fault::Moved(addresses[0].to_string()));
    }
}
