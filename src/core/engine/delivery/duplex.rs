//! Duplex streams: what their clients change while they are parked, and how they are closed.
//!
//! Owns the change of the channels that a stream follows, and its closing frames. What is written
//! here is sent by the caller.

use super::start::{check_names, check_subscribers, start};
use super::state::Delivery;
use super::stream::{self, leave, position};
use crate::engine::response::Problem;
use crate::engine::routing::{Names, Receive, Since};
use crate::message::MessageId;
use crate::ws::{self, CloseCode, Opcode};

/// The position of a stream after it follows other channels.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Followed {
    /// The cursor from which it goes on.
    pub(in crate::engine) cursor: MessageId,
    /// The gap that it is told of first.
    pub(in crate::engine) gap: Option<MessageId>,
}

/// Replaces the channels of a stream. It continues from its cursor, or from `since` if the client
/// gave one. The caller has checked the right to receive.
///
/// # Errors
///
/// 404 for a channel that only publishers create, 503 for one that has no room for another reader,
/// or if there are too many channels. The stream is then what it was.
pub(in crate::engine) fn follow(
    delivery: &mut Delivery,
    index: u32,
    names: &Names<'_>,
    since: Option<Since>,
) -> Result<Followed, Problem> {
    let Delivery {
        connections,
        hub,
        review,
        ..
    } = delivery;
    let transport = connections[index].transport();
    let begin = since.map(|since| start(hub, Receive::Park(transport), names, since));
    check_names(hub, names, begin)?;
    let channels = hub.open_all(names.iter())?;
    let conn = &mut connections[index];
    let followed: Vec<u32> = hub.followed(&conn.reader).collect();
    let is_new = |channel: &u32| !followed.contains(channel);
    // It has its place already in those that it follows.
    let joined: Vec<u32> = channels.iter().copied().filter(is_new).collect();
    check_subscribers(hub, &joined)?;
    hub.dequeue(&mut conn.reader);
    let gap = match begin {
        None => {
            // fault: change-forgets-what-is-owed
            let cursor = position(hub, &conn.reader);
            hub.refollow(&mut conn.reader, index, &channels);
            conn.reader.cursor = cursor;
            false
        }
        Some(begin) => {
            let class = conn.reader.class();
            hub.unfollow(&mut conn.reader);
            conn.reader.cursor = begin.cursor;
            hub.follow(
                &mut conn.reader,
                index,
                &channels,
                class,
                begin.ignores_earlier_losses,
            );
            begin.gap
        }
    };
    let from = hub.id(conn.reader.cursor);
    if !connections.holders.is_anonymous(index) {
        // What it follows was judged by the rights that are in force now.
        review.note_parked(index);
    }
    connections.stats.gaps += u64::from(gap);
    Ok(match gap {
        // A client that reconnects before it has received the gap must get it again.
        true => Followed {
            cursor: MessageId::UNKNOWN,
            gap: Some(from),
        },
        false => Followed {
            cursor: from,
            gap: None,
        },
    })
}

/// Tells a stream, after the answer to a change, which of its channels have ended.
pub(in crate::engine) fn tell_ends(delivery: &mut Delivery, index: u32) {
    stream::tell_ends(delivery, index);
}

/// Ends a stream with a close frame.
pub(in crate::engine) fn close(delivery: &mut Delivery, index: u32, code: CloseCode, reason: &str) {
    ws::write_close(&mut delivery.response.out, code, reason.as_bytes());
    leave(delivery, index);
}

/// Ends a stream after its client's close frame, with the same code.
pub(in crate::engine) fn echo_close(delivery: &mut Delivery, index: u32, code: Option<u16>) {
    ws::write(&mut delivery.response.out, Opcode::Close, |out| {
        let code = code.map(u16::to_be_bytes);
        out.extend_from_slice(code.as_ref().map_or(&[], |code| code));
    });
    leave(delivery, index);
}
