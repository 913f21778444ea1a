//! The answers that a client has read whole, and what it checks of them.

use encke_core::config::Config;
use encke_oracle::finding::Kind as Broken;
use encke_oracle::log::{Event, Since, Transport};
use encke_test_client as client;
use encke_test_client::StreamDecoder;

use super::{Desk, lossy};
use crate::command::{Command, parse};
use crate::request::Receive;
use crate::response::ResponseHead;
use crate::rule::{broken, ensure};

/// Takes the lines that are whole, each of JSON.
pub(super) fn whole_lines(bytes: &mut Vec<u8>) -> Vec<serde_json::Value> {
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    let lines: Vec<u8> = bytes.drain(..end.map_or(0, |end| end + 1)).collect();
    let lines = lines.split(|&byte| byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| parse(&lossy(line)))
        .collect()
}

/// A client reads the answer to its command.
pub(super) fn answered(
    receive: &mut Receive,
    command: Command,
    answer: &serde_json::Value,
    desk: &mut Desk<'_>,
) {
    let Command::Follow {
        channels,
        since,
        at,
    } = command
    else {
        return;
    };
    let Some(cursor) = answer["cursor"].as_str() else {
        return;
    };
    let cursor = desk.model.parse(cursor);
    if let (None, Some(place)) = (since, receive.session.cursor())
        && place.epoch == cursor.epoch
        && place.seq < cursor.seq
    {
        // It goes on from where it is: nothing is left out of what it followed before.
        for &channel in receive
            .session
            .channels
            .iter()
            .filter(|c| channels.contains(c))
        {
            let left_out = desk.model.between(channel, place.seq, cursor.seq);
            ensure!(
                left_out.is_empty(),
                Undelivered,
                "a change of channels goes from {place} to {cursor}, over {left_out:?}"
            );
        }
    }
    let since = match since {
        Some(since @ (Since::Earliest | Since::Unknown)) => since,
        Some(since @ Since::Newest(_)) => since,
        _ => Since::After(cursor),
    };
    let Desk { model, tally, .. } = desk;
    receive
        .session
        .follow(at, channels, since, cursor, model, tally);
}

/// A stream ends with a cursor and the time at which to come back, or was refused with that alone.
pub(super) fn check_last_words(decoder: &StreamDecoder) {
    ensure!(
        decoder.is_closed(),
        Dropped,
        "a stream ended without its last words"
    );
}

pub(super) fn batch(receive: &mut Receive, head: &ResponseHead, json: &str, desk: &mut Desk<'_>) {
    let batch = client::Batch::decode(json.as_bytes());
    let batch = batch.unwrap_or_else(|error| broken(Broken::Nonsense, error));
    match &head.cursor {
        Some(cursor) => ensure!(
            *cursor == batch.cursor,
            Nonsense,
            "the head says {cursor}, the batch {}",
            batch.cursor
        ),
        None => ensure!(receive.early, Nonsense, "no cursor in the head"),
    }
    desk.tally.received[receive.endpoint as usize] += batch.messages.len() as u64;
    let cursor = desk.model.parse(&batch.cursor);
    if batch.end {
        desk.model.check_ended(&receive.followed, cursor.seq);
        desk.tally.done += 1;
    } else {
        let is_done = desk.model.is_done(&receive.followed, cursor.seq);
        ensure!(
            !is_done || batch.more,
            Undelivered,
            "all channels have ended, and {json} does not say so"
        );
    }
    let ended = desk.model.places(&batch.ended);
    desk.model.check_ended(&ended, cursor.seq);
    desk.tally.done_in_part += u64::from(!ended.is_empty());
    if batch.messages.is_empty() && !batch.end && (receive.endpoint == Transport::Poll || batch.gap)
    {
        ensure!(
            batch.retry_ms.is_some(),
            Nonsense,
            "an answer without messages does not say when to come back"
        );
    }
    ensure!(
        !batch.more || !batch.messages.is_empty() && !batch.end,
        Nonsense,
        "an empty batch, and more"
    );
    desk.tally.lingered += u64::from(receive.linger_ms > 0 && batch.messages.len() > 1);
    let receipts = batch.messages.iter();
    let receipts: Box<[_]> = receipts
        .map(|message| desk.model.receipt(message))
        .collect();
    let bytes = receipts
        .iter()
        .map(|receipt| desk.model.bytes(receipt.id.seq));
    check_size(&bytes.collect::<Vec<_>>(), receive, desk.config);
    desk.model.check_latest(&receipts);
    let event = Event::Batch(encke_oracle::log::Batch {
        receipts,
        cursor: desk.model.parse(&batch.cursor),
        gap: batch.gap,
        more: batch.more,
        tells_ends: batch.end || !batch.ended.is_empty(),
    });
    let session = &mut receive.session;
    session.note_blocks(desk.blocks, desk.model, desk.tally);
    session.record(event, desk.model, desk.tally);
}

/// A batch holds no more messages than were asked for, and no more bytes than the settings allow.
fn check_size(bytes: &[usize], receive: &Receive, config: &Config) {
    let most = receive.limit.unwrap_or(usize::MAX).min(config.max_batch);
    ensure!(
        bytes.len() <= most,
        Oversized,
        "{} messages in a batch, and at most {most} may be",
        bytes.len()
    );
    // The first always fits; after one that fills the batch, those without bytes still do.
    let first = bytes.first().copied().unwrap_or(0);
    ensure!(
        bytes.iter().sum::<usize>() <= first.max(config.max_batch_bytes),
        Oversized,
        "{bytes:?} bytes in a batch"
    );
}
