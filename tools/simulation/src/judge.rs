//! Whether requests got what they have a right to, and what changes rights in a world.
//!
//! Owns the credentials that clients send, the verdicts on what they were answered, operators'
//! requests about connections, reloads of rights, and blocks.

use std::rc::Rc;

use serde_json::Value;

use crate::client::{Answer, lossy};
use crate::command::Command;
use crate::request::{self, Kind, Manner, Search};
use crate::rights::{self, Ask, Block, Identity, Part, Purpose, Rights, Verdict};
use crate::rule::ensure;
use crate::term::Term;
use crate::token::{Card, Cards, SUBJECTS, Token};
use crate::world::World;

/// Tokens that clients use again.
const POOL: usize = 6;

/// The refusals of a request before its rights are judged: it is too slow, or too large.
const BEFORE: [u16; 4] = [408, 413, 414, 431];

impl World {
    /// Gives a request credentials: mostly a token, of a place that is looked at.
    pub(crate) fn dress(&mut self, manner: &mut Manner, is_receive: bool) {
        if !self.setup.has_rights {
            if is_receive {
                manner.cards = Cards::default();
            }
            return;
        }
        match self.chance.u8(..12) {
            0 => manner.cards = Cards::default(),
            1 => {}
            2..4 if !is_receive => {}
            _ => {
                manner.cards = Cards::default();
                let card = match self.chance.u8(..30) {
                    0 => Card::Empty,
                    _ => Card::Token(self.token()),
                };
                let less = match self.chance.u8(..8) {
                    0 => Some(Card::Token(self.token())),
                    _ => None,
                };
                let cards = &mut manner.cards;
                match self.chance.u8(..4) {
                    0 | 1 => (cards.bearer, cards.query) = (Some(card), less),
                    2 => (cards.query, cards.cookie) = (Some(card), less),
                    _ => cards.cookie = Some(card),
                }
            }
        }
    }

    /// A token: a new one, or one that was used before.
    fn token(&mut self) -> Rc<Token> {
        if self.tokens.len() < POOL || self.chance.u8(..3) == 0 {
            let names = &self.setup.names;
            let keys = &self.rights.keys;
            let token = Token::by_chance(&mut self.chance, names, self.wall_ms, keys);
            let token = Rc::new(token);
            if self.tokens.len() == POOL {
                self.tokens.pop_front();
            }
            self.tokens.push_back(token.clone());
            return token;
        }
        let place = self.chance.usize(..self.tokens.len());
        self.tokens[place].clone()
    }

    /// An operator's request about the connections of a subject.
    pub(crate) fn search(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
        let chance = &mut self.chance;
        let subjects = SUBJECTS.iter().flatten().copied();
        let subjects: Vec<&'static str> = subjects.collect();
        let ends = chance.bool();
        let search = Search {
            subject: chance.pick(&subjects),
            channel: (ends && chance.u8(..3) == 0).then(|| chance.usize(..self.setup.names.len())),
            ends,
            block_s: (ends && chance.u8(..8) == 0).then(|| chance.pick(&[1, 5, 300])),
        };
        request::search(manner, search, &self.setup.names)
    }

    /// The server takes other rights.
    pub(crate) fn change_rights(&mut self) {
        if !self.setup.has_rights {
            return;
        }
        let part = Part::by_chance(&mut self.chance);
        self.choose_rights(part);
        self.reconfigure();
    }

    /// The settings get other rights.
    pub(crate) fn choose_rights(&mut self, part: Part) {
        let setup = &mut self.setup;
        rights::change(
            &mut setup.config,
            &mut self.chance,
            &setup.names,
            part,
            &mut setup.keys,
        );
        self.tally.rights += 1;
    }

    /// Other rights may be in force, for whose change the parked connections are reviewed.
    pub(crate) fn begin_rights(&mut self) {
        let rights = Rights::of(&self.setup.config, self.setup.keys.clone());
        self.say(|| format!("{rights:?}"));
        let earlier = std::mem::replace(&mut self.rights, rights);
        if !earlier.is_same_for_parked(&self.rights) {
            self.changes += 1;
            self.reviews.push_back((self.changes, earlier));
        }
    }

    /// All tokens of a subject are refused for so many seconds.
    pub(crate) fn block(&mut self, subject: &'static str, block_s: u64) {
        self.blocks.retain(|block| block.subject != subject);
        self.blocks.push(Block {
            subject,
            until_ms: self.wall_ms + block_s * 1_000,
            has_ended: false,
        });
    }

    /// The time of day has changed.
    pub(crate) fn note_wall(&mut self) {
        for block in &mut self.blocks {
            block.has_ended |= self.wall_ms >= block.until_ms;
        }
    }

    /// The outcome that the request in this place of a connection must have; `None` if it is not
    /// judged.
    fn verdict(&self, index: u32, place: usize) -> Option<Verdict> {
        let client = self.clients[index as usize].as_ref()?;
        let request = &client.requests[place];
        let channels =
            |lines: &[crate::model::Said]| lines.iter().map(|said| said.channel).collect();
        let mut has_callback = false;
        let purpose = match &request.kind {
            Kind::Receive(receive) => {
                has_callback = receive.callback.is_some();
                Purpose::Receive(receive.session.channels.clone())
            }
            Kind::Publish(said, _) => Purpose::Publish(said.channel),
            Kind::Batch(lines) => Purpose::Batch(channels(lines)),
            Kind::Delete(..) | Kind::Search(_) => Purpose::Control,
            // Judged more than once, while it lasts.
            Kind::Lines(_) | Kind::Other => return None,
        };
        let ask = Ask {
            access: client.access,
            cards: &request.cards,
            purpose,
            has_callback,
        };
        let names = &self.setup.names;
        Some(self.rights.judge(names, &ask, self.wall_ms, &self.blocks))
    }

    /// A request was answered, at the moment at which it was judged: as it must be?
    pub(crate) fn check_answer(&mut self, index: u32, answer: &Answer) {
        let client = self.client(index);
        let request = &client.requests[answer.place];
        let mut status = answer.status;
        if let Kind::Receive(receive) = &request.kind {
            if receive.session.term.is_some() {
                // It was accepted when it was parked.
                return self.check_status(index, answer.place, 200, status, &answer.body);
            }
            if receive.callback.is_some() {
                if request.head_only {
                    return;
                }
                status = status_of_script(&answer.body).unwrap_or(status);
            }
        }
        let expected = match self.verdict(index, answer.place) {
            Some(Verdict::Refused(expected)) => expected,
            Some(Verdict::Allowed(identity)) => {
                self.begin_stream(index, answer, identity);
                200
            }
            Some(Verdict::Unsure(identity)) => {
                return self.begin_stream(index, answer, identity);
            }
            None => return,
        };
        match expected {
            401 => self.tally.unauthorized += 1,
            403 => self.tally.forbidden += 1,
            _ => {}
        }
        self.check_status(index, answer.place, expected, status, &answer.body);
    }

    /// Notes the right of a stream that begins, and may end at once.
    fn begin_stream(&mut self, index: u32, answer: &Answer, identity: Identity) {
        let client = self.clients[index as usize].as_ref().expect("it answers");
        let access = client.access;
        let Kind::Receive(receive) = &client.requests[answer.place].kind else {
            return;
        };
        if !receive.endpoint.is_stream() || !matches!(answer.status, 101 | 200) {
            return;
        }
        let term = self.begin_term(access, identity, self.own_ms(receive));
        if let Kind::Receive(receive) = &mut self.client(index).requests[answer.place].kind {
            receive.session.term = Some(term);
        }
    }

    fn check_status(&self, index: u32, place: usize, expected: u16, status: u16, body: &[u8]) {
        let is_right = match expected {
            // What else may go wrong is judged elsewhere.
            200 => !matches!(status, 401 | 403),
            expected => status == expected || BEFORE.contains(&status),
        };
        if !is_right {
            let client = self.clients[index as usize].as_ref();
            let request = client.map(|client| &client.requests[place]);
            ensure!(
                is_right,
                Refused,
                "{status} instead of {expected}: {:?}: {}",
                request.map(|request| (&request.kind, &request.cards)),
                lossy(body)
            );
        }
    }

    /// The command of a socket was answered, at the moment at which it was judged: as it must be?
    pub(crate) fn check_command(&mut self, index: u32, command: &Command, answer: &Value) {
        let names = &self.setup.names;
        let receive = self.clients[index as usize].as_mut();
        let receive = receive.and_then(|client| client.parked());
        let receive = receive.expect("a socket is parked");
        let term = receive.session.term.as_ref().expect("its answer was seen");
        let status = answer["error"]["status"].as_u64().unwrap_or(200);
        ensure!(
            !term.has_ended(self.now) || status == 401,
            Misrouted,
            "{index} is answered {answer} without right: {term:?}"
        );
        let purpose = match command {
            Command::Follow { channels, .. } => Purpose::Receive(channels.clone()),
            Command::Publish(said, _) => Purpose::Publish(said.channel),
        };
        let (access, identity) = (term.access, &term.identity);
        let verdict = match term.is_distrusted {
            true => Verdict::Refused(401),
            false => {
                let (wall_ms, blocks) = (self.wall_ms, &self.blocks);
                let rights = &self.rights;
                rights.judge_command(names, access, identity, purpose, wall_ms, blocks)
            }
        };
        let is_right = match verdict {
            Verdict::Refused(expected) => status == u64::from(expected),
            // What else may go wrong is judged elsewhere.
            Verdict::Allowed(_) => !matches!(status, 401 | 403),
            Verdict::Unsure(_) => true,
        };
        self.tally.commands_forbidden += u64::from(matches!(status, 401 | 403));
        ensure!(
            is_right,
            Refused,
            "{answer} and not {verdict:?}: {command:?} by {term:?}"
        );
    }

    /// The right by which a request is parked now.
    pub(crate) fn new_term(&mut self, index: u32) -> Term {
        let client = self.clients[index as usize]
            .as_ref()
            .expect("parked is open");
        let (place, access) = (client.tapped, client.access);
        let Kind::Receive(receive) = &client.requests[place].kind else {
            unreachable!("only a request to receive is parked");
        };
        let own_ms = self.own_ms(receive);
        let verdict = self.verdict(index, place).expect("it is judged");
        match verdict {
            Verdict::Allowed(identity) | Verdict::Unsure(identity) => {
                let is_token = matches!(identity, Identity::Token(_));
                self.tally.by_token += u64::from(is_token);
                self.begin_term(access, identity, own_ms)
            }
            Verdict::Refused(expected) => {
                self.check_status(index, place, expected, 200, b"");
                unreachable!("it is not refused");
            }
        }
    }
}

/// The status of an error that is told to a script.
fn status_of_script(body: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(body).ok()?;
    let json = text.split_once("({\"error\":")?.1;
    let json = json.trim_end_matches(';').strip_suffix("})")?;
    let problem: serde_json::Value = serde_json::from_str(json).ok()?;
    problem["status"].as_u64().map(|status| status as u16)
}
