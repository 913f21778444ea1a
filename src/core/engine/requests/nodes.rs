//! `GET /nodes`: the nodes of a cluster.
//!
//! Owns the form of the answer. What is known of the other nodes is what their last beats said.

use crate::encode::write_json_string;
use crate::engine::response::Problem;
use crate::log::{Clustered, Log};
use crate::message::{EntryId, Epoch};

/// The nodes, as JSON.
pub(super) fn list(log: &Log) -> Result<Vec<u8>, Problem> {
    match log {
        Log::Clustered(log) => Ok(write(log)),
        Log::Memory(_) | Log::Saved(_) => Err(Problem::new(
            404,
            "this server is no node of a cluster; see --engine",
        )),
    }
}

fn write(log: &Clustered) -> Vec<u8> {
    let mut out = b"{\"nodes\":[".to_vec();
    for (place, node) in log.node().nodes().iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        write_json_string(&mut out, &node.name);
        let EntryId { term, number } = node.applied;
        let epoch = Epoch::from_seed(term);
        let lag = node.lag.map_or("null".to_owned(), |lag| lag.to_string());
        let (epoch, is_self) = (epoch.as_str(), node.is_self);
        let (connections, beat_age_ms) = (node.connections, node.beat_age_ms);
        let rest = format!(
            ",\"self\":{is_self},\"term\":\"{epoch}\",\"applied\":\"{epoch}-{number}\",\"lag\":{lag},\
             \"connections\":{connections},\"beat_age_ms\":{beat_age_ms}}}"
        );
        out.extend_from_slice(rest.as_bytes());
    }
    out.extend_from_slice(b"]}");
    out
}
