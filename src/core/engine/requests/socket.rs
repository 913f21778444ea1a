//! The commands of clients of WebSockets: to follow other channels, and to publish.
//!
//! Owns the answers to their messages. A refused command gets an error object, and the connection
//! stays open. On a raw socket, which has no error objects, and for binary frames, which cannot be
//! commands, a refusal closes the connection.

use super::command::{self, Command};
use super::state::Requests;
use crate::encode::{cursor_object, gap_object, write_json_strings};
use crate::engine::delivery::{
    Answer, Delivery, Followed, Form, Unnumbered, close_socket, end_command, follow, tell_ends,
    wait_behind, wait_for_ids, wait_for_log, write_error, write_published,
};
use crate::engine::response::Problem;
use crate::engine::routing::{Identity, Names, Since, publish_to, receive_from, serves_publishing};
use crate::hub::Published;
use crate::log::cluster::Ticket;
use crate::log::{Log, Placed};
use crate::message::{ChannelName, Data, Draft};
use crate::transport::Options;
use crate::ws::{self, CloseCode, Opcode};

/// Why a raw socket may send nothing.
pub(super) const ONLY_RECEIVES: &str =
    "this socket only receives; connect with publish=1 to publish";

/// A message of a client.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClientMessage<'s> {
    Text(&'s str),
    Binary(&'s [u8]),
}

/// Executes what a message asks for, and answers it.
pub(super) fn execute(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    message: ClientMessage<'_>,
) {
    let options = delivery.connections[index].transport_options;
    match (message, options.contains(Options::RAW)) {
        (ClientMessage::Text(text), false) => answer(requests, delivery, index, text),
        (ClientMessage::Binary(_), false) => {
            let reason = "commands are text; bytes are published with raw=1 and publish=1";
            close_socket(delivery, index, CloseCode::Refused, reason);
        }
        (_, true) if options.only_receives() => {
            close_socket(delivery, index, CloseCode::Refused, ONLY_RECEIVES);
        }
        (message, true) => publish_raw(requests, delivery, index, message),
    }
}

/// The result of a command.
enum Executed<'t> {
    Followed(Names<'static>, Followed),
    Published(ChannelName<'t>, Published),
    /// To be answered when the log of the cluster has it.
    HandedOver {
        channel: ChannelName<'t>,
        ticket: Ticket,
        /// As in [`Placed::Later`].
        message: Option<Published>,
    },
}

/// Executes a command, and writes the frame that answers it.
fn answer(requests: &mut Requests, delivery: &mut Delivery, index: u32, text: &str) {
    let (reference, command) = command::parse(text, delivery.hub.numbering());
    let waits = delivery.connections[index].awaits_log();
    if waits && matches!(command, Ok(Command::Follow { .. })) {
        // Its answer comes before what it makes the socket receive, so it cannot wait itself.
        let request = delivery.connections.request_state(index);
        request.delayed_command = Some(text.into());
        return request.update_charge();
    }
    let executed = command.and_then(|command| execute_command(requests, delivery, index, command));
    if let Ok(Executed::Published(channel, published)) = &executed
        && let Some(mark) = requests.log.unsaved(published.id.seq)
    {
        let mut object = Vec::new();
        write_accepted(&mut object, channel, published);
        let reference = reference.map(Box::from);
        let answer = Answer::Command { object, reference };
        return wait_for_log(delivery, index, mark, answer);
    }
    if let Ok(Executed::HandedOver {
        channel,
        ticket,
        message,
    }) = &executed
    {
        let answer = Answer::Command {
            object: Vec::new(),
            reference: reference.map(Box::from),
        };
        let unnumbered = Unnumbered::one(Form::Command, channel, *message);
        return wait_for_ids(delivery, index, *ticket, answer, unnumbered);
    }
    let out = &mut delivery.response.out;
    let before = out.len();
    ws::write(out, Opcode::Text, |out| {
        match &executed {
            Ok(Executed::Followed(names, followed)) => write_followed(out, names, *followed),
            Ok(Executed::Published(channel, published)) => write_accepted(out, channel, published),
            Ok(Executed::HandedOver { .. }) => unreachable!("its answer waits"),
            Err(problem) => write_error(out, problem),
        }
        end_command(out, reference);
    });
    if let Ok(Executed::Followed(_, Followed { gap, .. })) = executed {
        if let Some(gap) = gap {
            ws::write(out, Opcode::Text, |out| gap_object(out, gap));
        }
        tell_ends(delivery, index);
    }
    if waits {
        let written = delivery.response.out.split_off(before);
        wait_behind(delivery, index, written);
    }
}

/// Executes a command.
fn execute_command<'t>(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    command: Command<'t>,
) -> Result<Executed<'t>, Problem> {
    match command {
        Command::Follow { names, since } => {
            let followed = change_channels(requests, delivery, index, &names, since)?;
            Ok(Executed::Followed(names, followed))
        }
        Command::Publish(draft) => {
            let channel = draft.channel.clone();
            Ok(match publish(requests, delivery, index, draft)? {
                Placed::Now(published) => Executed::Published(channel, published),
                Placed::Later { ticket, message } => Executed::HandedOver {
                    channel,
                    ticket,
                    message,
                },
            })
        }
    }
}

/// Appends that a message is published, without the last brace.
fn write_accepted(out: &mut Vec<u8>, channel: &str, published: &Published) {
    out.extend_from_slice(b"{\"published\":");
    write_published(out, channel, published);
}

/// Appends what a socket follows now, without the last brace.
fn write_followed(out: &mut Vec<u8>, names: &Names<'_>, followed: Followed) {
    out.extend_from_slice(b"{\"channels\":");
    write_json_strings(out, names.iter().map(|name| &**name));
    let member = out.len();
    cursor_object(out, followed.cursor);
    // The member alone: a comma in the place of one brace, and not the other.
    out[member] = b',';
    out.pop();
}

/// Makes a socket follow other channels.
fn change_channels(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    names: &Names<'_>,
    since: Option<Since>,
) -> Result<Followed, Problem> {
    let identity = identity(requests, delivery, index)?;
    let access = delivery.connections[index].access;
    receive_from(requests.authorizer.rights(), &identity, access, names)?;
    if let Some(Since::Later(term)) = since
        && let Some(log) = requests.log.as_clustered()
        && log.may_come(term)
    {
        let detail = "this node has not read as much of the log as the one that gave the cursor; \
                      send the command again";
        return Err(Problem::unavailable(detail, 1));
    }
    follow(delivery, index, names, since)
}

/// Publishes the message of a client that may.
fn publish(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    draft: Draft<'_>,
) -> Result<Placed, Problem> {
    let identity = identity(requests, delivery, index)?;
    let access = delivery.connections[index].access;
    let rights = requests.authorizer.rights();
    if !serves_publishing(rights, access) {
        let detail = "publishing is not served on this address; see --control";
        return Err(Problem::new(404, detail));
    }
    publish_to(rights, &identity, access, &draft.channel)?;
    if delivery.drain.is_some() {
        let detail = "the server is draining; publish to another";
        return Err(Problem::unavailable(detail, 1));
    }
    requests.check_room_to_wait(&delivery.connections.buffers, 0)?;
    let hub = &mut delivery.hub;
    let published = match &mut requests.log {
        Log::Clustered(log) => return Ok(log.publish(hub, &draft)?),
        log => log.publish(hub, draft),
    };
    match published {
        Ok(published) => Ok(Placed::Now(published)),
        Err((refusal, _)) => Err(refusal.into()),
    }
}

/// Publishes what a raw socket sends to the channel that it follows. A refusal ends it.
fn publish_raw(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    message: ClientMessage<'_>,
) {
    let data = match message {
        ClientMessage::Text(text) => Data::from(text),
        ClientMessage::Binary(bytes) => Data::from(bytes),
    };
    let reader = &delivery.connections[index].reader;
    let mut followed = delivery.hub.followed(reader);
    let channel = followed
        .next()
        .expect("a raw socket that publishes follows one channel");
    drop(followed);
    let name = delivery.hub.channel(channel).name().to_owned();
    let name = ChannelName::parse(name.into_bytes()).expect("a channel has a valid name");
    match publish(requests, delivery, index, Draft::new(name, data)) {
        Ok(Placed::Now(_)) => {}
        Ok(Placed::Later { ticket, .. }) => {
            wait_for_log(delivery, index, ticket.into(), Answer::Silence);
        }
        Err(problem) => {
            let code = match problem.status {
                413 => CloseCode::TooLarge,
                503 => CloseCode::TryLater,
                _ => CloseCode::Refused,
            };
            close_socket(delivery, index, code, ws::shortened(problem.detail()));
        }
    }
}

/// The identity that the credential of a parked socket, or of a request that publishes by lines,
/// proves now.
pub(super) fn identity(
    requests: &mut Requests,
    delivery: &Delivery,
    index: u32,
) -> Result<Identity, Problem> {
    let holders = &delivery.connections.holders;
    let (credential, token) = (holders.of(index), holders.token(index));
    let authorizer = &mut requests.authorizer;
    authorizer.identify_parked(credential, token, delivery.unix_ms)
}
