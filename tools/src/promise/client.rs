//! One client: what it follows, what it has asked, where it stands, and what it makes of the bytes
//! it gets.
//!
//! Owns the rule of resuming: from the last whole message, cursor or gap of a stream; from the last
//! whole batch. Sockets and moments are the crowd's.

use std::fmt::Write;
use std::net::SocketAddrV4;

use encke_test_client::websocket::HANDSHAKE;
use encke_test_client::{self as test_client, Part, ResponseReader, StreamDecoder};
use fastrand::Rng;

use super::decode::{self, channel_name};
use super::pass::Pass;
use super::plan::LINGER_MS;
use encke_oracle::id::Id;
use encke_oracle::log::{Event, Since, Transport};

/// Where a client stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Away,
    Connecting,
    /// It has asked, and not all has come.
    Waiting,
    /// Connected, with nothing to wait for.
    Idle,
    /// It has said that it sends nothing more, and takes what still comes.
    Leaving,
}

/// The result of reading some bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// The answer is whole: ask again after so many milliseconds, if the server advises any.
    pub(super) answered: Option<Option<u64>>,
    /// The stream is over.
    pub(super) ended: bool,
}

/// A client. It has a reader of responses from its first connection on.
#[derive(Default)]
pub(super) struct Client {
    pub(super) stage: Stage,
    pub(super) rng: Rng,
    pub(super) transport: Transport,
    pub(super) channels: Vec<u32>,
    /// Its connections take little that is not read.
    pub(super) is_narrow: bool,
    /// It makes a connection for each request.
    pub(super) reconnects: bool,
    pub(super) is_paused: bool,
    pub(super) is_nudged: bool,
    /// It will end the connection in the middle of what it reads next.
    pub(super) is_cut: bool,
    /// When it connects or asks next; when it does something else next.
    pub(super) ask_due: u64,
    pub(super) act_due: u64,
    pub(super) hold_ms: u32,
    /// The node that it connected to last.
    pub(super) node: u32,
    /// The token that it has.
    pub(super) pass: Option<Pass>,
    /// A server may refuse that token.
    pub(super) may_be_refused: bool,
    place: Option<Id>,
    begins: Since,
    responses: ResponseReader,
    /// Decodes a stream; none of a poll.
    decoder: Option<StreamDecoder>,
    body: Vec<u8>,
    status: u16,
    closes: bool,
    is_closing: bool,
    /// The next answer is to the request that gave up a hold.
    skips: bool,
    run: u32,
}

impl Client {
    pub(super) fn new(run: u32, seed: u64) -> Client {
        Client {
            rng: Rng::with_seed(seed),
            run,
            ..Client::default()
        }
    }

    /// Becomes a new client that follows some of the channels in use.
    pub(super) fn begin(&mut self, first_channel: u32, channels: u32) -> Event {
        let count = match self.rng.u32(0..20) {
            0..14 => 1,
            14..19 => self.rng.u32(2..=8),
            _ => self.rng.u32(9..=64),
        };
        let mut all: Vec<u32> = (first_channel..first_channel + channels).collect();
        self.rng.shuffle(&mut all);
        all.truncate(count as usize);
        self.channels = all;
        self.transport = self.any_transport();
        self.is_narrow = self.rng.u8(0..4) == 0;
        self.reconnects = self.rng.u8(0..4) == 0;
        self.begins = match self.rng.u8(0..4) {
            0 => Since::Earliest,
            1 => Since::Newest(20),
            _ => Since::Now,
        };
        self.place = None;
        Event::Begin(self.channels.clone().into())
    }

    pub(super) fn any_transport(&mut self) -> Transport {
        Transport::ALL[self.rng.usize(0..Transport::ALL.len())]
    }

    /// It has a connection.
    pub(super) fn connected(&mut self) {
        self.responses = ResponseReader::without_extensions();
        self.closes = false;
        self.is_nudged = false;
        self.skips = false;
        self.is_cut = false;
    }

    /// Appends the next request, and says what it is.
    pub(super) fn ask(&mut self, out: &mut Vec<u8>, server: SocketAddrV4) -> Event {
        let since = match self.place {
            Some(place) => Since::After(place),
            None => self.begins,
        };
        self.hold_ms = [0, 500, 2_000, 2_000, 8_000, 20_000][self.rng.usize(0..6)];
        self.decoder = decode::format(self.transport).map(StreamDecoder::new);
        self.body.clear();
        self.is_closing = false;
        let more = match self.transport {
            Transport::Early => "&early=1",
            Transport::Linger => "&linger=",
            Transport::Envelope => "&envelope=1",
            _ => "",
        };
        let mut text = format!("GET /{}/", self.transport.path());
        for (number, &channel) in self.channels.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let _ = write!(text, "{comma}{}", channel_name(self.run, channel));
        }
        let cursor = match since {
            Since::Now => "now".into(),
            Since::Earliest => "earliest".into(),
            Since::Newest(count) => format!("-{count}"),
            Since::After(id) => id.to_string(),
            // Only simulated clients ask so; no server has this epoch.
            Since::Unknown => "0-0".into(),
        };
        // A header means the same, wins, and is what an EventSource sends.
        let is_header = matches!(since, Since::After(_)) && self.rng.bool();
        let query = if is_header { "00000000-0" } else { &cursor };
        let _ = write!(text, "?since={query}{more}");
        if self.transport == Transport::Linger {
            let _ = write!(text, "{LINGER_MS}");
        }
        if self.transport.is_held() {
            let _ = write!(text, "&hold={}", f64::from(self.hold_ms) / 1_000.0);
        }
        let pass = self.pass.as_ref().map(|pass| &*pass.text);
        let is_field = self.rng.bool();
        if let Some(pass) = pass.filter(|_| !is_field) {
            let _ = write!(text, "&token={pass}");
        }
        let _ = write!(text, " HTTP/1.1\r\nHost: {server}\r\n");
        if is_header {
            let _ = write!(text, "Last-Event-ID: {cursor}\r\n");
        }
        if let Some(pass) = pass.filter(|_| is_field) {
            let _ = write!(text, "Authorization: Bearer {pass}\r\n");
        }
        if self.reconnects && self.transport.is_batch() {
            text += "Connection: close\r\n";
        }
        if self.transport == Transport::WebSocket {
            text += HANDSHAKE;
        }
        text += "\r\n";
        out.extend_from_slice(text.as_bytes());
        Event::Asked {
            transport: self.transport,
            since,
            hold_ms: self.hold_ms,
        }
    }

    /// Whether a further request would find a hold to give up.
    pub(super) fn may_nudge(&self) -> bool {
        self.stage == Stage::Waiting
            && self.transport.is_held()
            && !self.is_nudged
            && !self.reconnects
    }

    /// Whether the connection is to be closed after the answer.
    pub(super) fn closes(&self) -> bool {
        self.closes || self.reconnects
    }

    /// Takes in bytes; `on` is given what they say.
    pub(super) fn hear(&mut self, mut bytes: &[u8], mut on: impl FnMut(Event)) -> Heard {
        let mut responses = std::mem::take(&mut self.responses);
        let mut heard = Heard::default();
        loop {
            match responses.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Part::Interim(_))) => {}
                Ok(Some(Part::Head(head))) => {
                    self.status = head.status;
                    self.closes |= head.closes();
                    self.body.clear();
                }
                Ok(Some(Part::Body(data)))
                    if matches!(self.status, 101 | 200) && self.decoder.is_some() =>
                {
                    self.stream(data, &mut on);
                    // Nothing follows a close frame but the end of the connection.
                    heard.ended |= self.status == 101 && self.is_closing;
                }
                Ok(Some(Part::Body(data))) => self.body.extend_from_slice(data),
                Ok(Some(Part::End)) => self.end_answer(&mut heard, &mut on),
                Err(error) => {
                    on(Event::Nonsense(error.to_string()));
                    heard.ended = true;
                    break;
                }
            }
        }
        self.responses = responses;
        heard
    }

    fn stream(&mut self, mut data: &[u8], on: &mut impl FnMut(Event)) {
        let Some(decoder) = &mut self.decoder else {
            return;
        };
        loop {
            let event = match decoder.next(&mut data) {
                Ok(None) => return,
                Ok(Some(event)) => match note_expiry(&mut self.pass, &event) {
                    Some(text) => Err(text),
                    None => decode::event(self.run, &event),
                },
                Err(error) => {
                    // What follows cannot be read either.
                    data = &[];
                    Err(error.to_string())
                }
            };
            let event = event.unwrap_or_else(Event::Nonsense);
            match &event {
                Event::Message(receipt) => self.place = Some(receipt.id),
                Event::Gap(id) | Event::Cursor(id) => self.place = Some(*id),
                Event::Closing(id) => {
                    self.is_closing = true;
                    self.place = id.or(self.place);
                }
                _ => {}
            }
            on(event);
        }
    }

    fn end_answer(&mut self, heard: &mut Heard, on: &mut impl FnMut(Event)) {
        if std::mem::take(&mut self.skips) {
            self.is_nudged = false;
            return;
        }
        self.skips = self.is_nudged;
        if self.status == 401 && self.pass.take().is_some() {
            heard.answered = Some(Some(50));
            heard.ended = self.transport.is_stream();
            let is_due = self.may_be_refused;
            return on(Event::Unauthorized { is_due });
        }
        if self.status == 204 && self.transport.is_stream() {
            // An EventSource would not come back; this one does, as its channels are opened again.
            heard.answered = Some(Some(decode::REOPENED_MS));
            heard.ended = true;
            return on(Event::Closing(self.place));
        }
        if self.status != 200 {
            heard.answered = Some(Some(300));
            heard.ended = self.transport.is_stream();
            return on(Event::Refused(self.status));
        }
        if self.transport.is_stream() {
            heard.ended = true;
            if !self.is_closing {
                on(Event::Lost);
            }
            return;
        }
        match decode::batch(self.run, &self.body) {
            Ok((batch, advice)) => {
                self.place = Some(batch.cursor);
                let advice = if batch.more { Some(0) } else { advice };
                heard.answered = Some(advice);
                on(Event::Batch(batch));
            }
            Err(text) => {
                heard.answered = Some(None);
                on(Event::Nonsense(text));
            }
        }
    }
}

/// Gives up the token, if a stream says that the right has ended. Returns what is wrong with that.
fn note_expiry(pass: &mut Option<Pass>, event: &test_client::Event) -> Option<String> {
    let is_expiry = matches!(
        event,
        test_client::Event::Closing {
            has_expired: true,
            ..
        }
    );
    (is_expiry && pass.take().is_none()).then(|| "expired, and there was no token".into())
}
