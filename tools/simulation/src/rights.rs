//! Who may what: a naive reader of the settings and of tokens.
//!
//! Owns this judgement, and shares no code with the server's: neither its patterns, nor its keys,
//! nor its table of blocked subjects.

use std::rc::Rc;

use encke_core::config::{Config, Policy, Publish, Subscribe};
use encke_core::engine::Access;

use crate::chance::Chance;
use crate::token::{AUDIENCE, COOKIE, Card, Cards, KEYS, Token, key, pattern};

/// The leeway of `nbf`, in milliseconds.
const LEEWAY_MS: u64 = 5_000;

/// The rights that settings give.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rights {
    pub(crate) publish_key: Option<String>,
    /// The numbers of the keys in force.
    pub(crate) keys: Vec<usize>,
    audience: Option<String>,
    anonymous: Option<Vec<String>>,
    rules: Vec<(String, Option<Subscribe>, Publish)>,
    has_cookie: bool,
}

/// The operation of a request.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    Receive(Vec<usize>),
    Publish(usize),
    /// The channels of a batch, line by line.
    Batch(Vec<usize>),
    /// Something of the control surface that no token gives.
    Control,
}

/// Who asks, as the credential proves.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    Anonymous,
    /// The holder of this publish key.
    Publisher(String),
    Token(Rc<Token>),
}

/// The outcome that a request must have.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Allowed(Identity),
    Refused(u16),
    /// A block that has ended and begins again as the calendar is set back: it may be forgotten.
    Unsure(Identity),
}

/// A subject whose tokens are refused.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) subject: &'static str,
    pub(crate) until_ms: u64,
    /// It has ended once, so that it may be forgotten.
    pub(crate) has_ended: bool,
}

/// Whether a pattern matches a name, segment by segment.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    fn rest(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (["**"], [_, ..]) => true,
            ([one, pattern @ ..], [segment, name @ ..]) => {
                (*one == "*" || one == segment) && rest(pattern, name)
            }
            _ => false,
        }
    }
    let pattern: Vec<&str> = pattern.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    rest(&pattern, &name)
}

fn grant(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Whether a token is good, as far as that can be known.
enum Good {
    Yes,
    No,
    Unsure,
}

impl Rights {
    /// The rights of settings whose keys have these numbers.
    pub(crate) fn of(config: &Config, keys: Vec<usize>) -> Rights {
        let text = |pattern: &encke_core::pattern::Pattern| pattern.as_str().to_owned();
        let rule = |policy: &Policy| (text(&policy.pattern), policy.subscribe, policy.publish);
        let anonymous = config.anonymous.as_ref();
        Rights {
            publish_key: config.publish_key.clone(),
            keys,
            audience: config.tokens.audience.clone(),
            anonymous: anonymous.map(|patterns| patterns.iter().map(text).collect()),
            rules: config.policies.iter().map(rule).collect(),
            has_cookie: config.token_cookie.as_deref() == Some(COOKIE),
        }
    }

    /// Who may receive from a channel.
    pub(crate) fn subscribe(&self, name: &str) -> Subscribe {
        if self.anonymous.as_ref().is_some_and(|all| grant(all, name)) {
            return Subscribe::Anyone;
        }
        let default = match self.keys.is_empty() && self.anonymous.is_none() {
            true => Subscribe::Anyone,
            false => Subscribe::Token,
        };
        let subscribe = self.rule(name).and_then(|(_, subscribe, _)| *subscribe);
        subscribe.unwrap_or(default)
    }

    fn publish(&self, name: &str) -> Publish {
        let rule = self.rule(name);
        rule.map_or(Publish::Token, |(.., publish)| *publish)
    }

    /// The first rule that is for a channel.
    fn rule(&self, name: &str) -> Option<&(String, Option<Subscribe>, Publish)> {
        let mut rules = self.rules.iter();
        rules.find(|(pattern, ..)| matches(pattern, name))
    }

    fn lets_anyone_publish(&self) -> bool {
        self.rules
            .iter()
            .any(|(.., publish)| *publish == Publish::Anyone)
    }

    /// Whether the key and the audience of a token are those in force.
    pub(crate) fn trusts(&self, token: &Token) -> bool {
        let is_key = token.key.is_some_and(|key| self.keys.contains(&key));
        is_key && (self.audience.is_none() || self.audience.as_deref() == token.audience)
    }

    /// Whether nothing differs that concerns parked connections or publishers.
    pub(crate) fn is_same_for_parked(&self, other: &Rights) -> bool {
        let has_cookie = other.has_cookie;
        let same = Rights {
            has_cookie,
            ..self.clone()
        };
        same == *other
    }

    /// Whether a server with these rights asks the same of a token, its key aside.
    pub(crate) fn asks_as(&self, other: &Rights) -> bool {
        self.audience == other.audience
    }

    fn judge_token(&self, token: &Token, wall_ms: u64, blocks: &[Block]) -> Good {
        let has_begun = token.nbf_s * 1_000 <= wall_ms + LEEWAY_MS;
        if !self.trusts(token) || wall_ms >= token.exp_s * 1_000 || !has_begun {
            return Good::No;
        }
        let is_it = |block: &&Block| Some(block.subject) == token.subject;
        match blocks.iter().find(is_it) {
            Some(block) if wall_ms < block.until_ms && block.has_ended => Good::Unsure,
            Some(block) if wall_ms < block.until_ms => Good::No,
            _ => Good::Yes,
        }
    }

    /// The outcome that a request must have at a time of day.
    pub(crate) fn judge(
        &self,
        names: &[String],
        ask: &Ask<'_>,
        wall_ms: u64,
        blocks: &[Block],
    ) -> Verdict {
        let takes_token = !matches!(ask.purpose, Purpose::Control);
        let is_receive = matches!(ask.purpose, Purpose::Receive(_));
        let has_keys = !self.keys.is_empty();
        if ask.access == Access::Public && !is_receive && !(takes_token && has_keys) {
            return Verdict::Refused(404);
        }
        let mut is_unsure = false;
        let bearer = ask.cards.bearer.as_ref();
        let is_key = |key: &String| matches!(bearer, Some(Card::Key(given)) if *given == key);
        let key = self.publish_key.as_ref().filter(|key| is_key(key));
        let takes_cookie = self.has_cookie && !ask.has_callback;
        let identity = match (key, ask.cards.shown(takes_cookie)) {
            (Some(key), _) if ask.access != Access::Public => Identity::Publisher(key.clone()),
            _ if !has_keys || !takes_token => Identity::Anonymous,
            (_, None) => Identity::Anonymous,
            (_, Some(Card::Token(token))) => {
                match self.judge_token(token, wall_ms, blocks) {
                    Good::No => return Verdict::Refused(401),
                    Good::Yes => {}
                    Good::Unsure => is_unsure = true,
                }
                Identity::Token(token.clone())
            }
            (_, Some(_)) => return Verdict::Refused(401),
        };
        let refusal = match &ask.purpose {
            Purpose::Receive(channels) => {
                let mut each = channels.iter();
                each.find_map(|&channel| self.refuse_receiver(&names[channel], ask, &identity))
            }
            Purpose::Publish(channel) => self.refuse_publisher(&names[*channel], ask, &identity),
            Purpose::Batch(channels) => self.refuse_batch(ask, &identity).or_else(|| {
                let mut each = channels.iter();
                each.find_map(|&channel| self.refuse_line(&names[channel], ask, &identity))
            }),
            Purpose::Control => self.refuse_control(ask, &identity),
        };
        match refusal {
            Some(_) | None if is_unsure => Verdict::Unsure(identity),
            Some(status) => Verdict::Refused(status),
            None => Verdict::Allowed(identity),
        }
    }

    /// The outcome that the command of a socket with this identity must have at a time of day.
    pub(crate) fn judge_command(
        &self,
        names: &[String],
        access: Access,
        identity: &Identity,
        purpose: Purpose,
        wall_ms: u64,
        blocks: &[Block],
    ) -> Verdict {
        let good = match identity {
            Identity::Token(token) => self.judge_token(token, wall_ms, blocks),
            Identity::Anonymous | Identity::Publisher(_) => Good::Yes,
        };
        let ask = &Ask {
            access,
            cards: &Cards::default(),
            purpose,
            has_callback: false,
        };
        let refusal = match &ask.purpose {
            Purpose::Receive(channels) => {
                let mut each = channels.iter();
                each.find_map(|&channel| self.refuse_receiver(&names[channel], ask, identity))
            }
            // A public address serves publishing by tokens alone.
            Purpose::Publish(_) if access == Access::Public && self.keys.is_empty() => Some(404),
            Purpose::Publish(channel) => self.refuse_line(&names[*channel], ask, identity),
            Purpose::Batch(_) | Purpose::Control => unreachable!("no command asks for it"),
        };
        match (good, refusal) {
            (Good::No, _) => Verdict::Refused(401),
            (Good::Unsure, _) => Verdict::Unsure(identity.clone()),
            (Good::Yes, Some(status)) => Verdict::Refused(status),
            (Good::Yes, None) => Verdict::Allowed(identity.clone()),
        }
    }

    fn refuse_receiver(&self, name: &str, ask: &Ask<'_>, identity: &Identity) -> Option<u16> {
        if ask.access == Access::Trusted {
            return None;
        }
        match (self.subscribe(name), identity) {
            (_, Identity::Publisher(_)) | (Subscribe::Anyone, _) => None,
            (Subscribe::Token, Identity::Token(token)) if grant(&token.subscribe, name) => None,
            (Subscribe::Token, Identity::Anonymous) => Some(401),
            (Subscribe::Token | Subscribe::Nobody, _) => Some(403),
        }
    }

    /// Whether publishers are asked for a credential.
    fn asks_publishers(&self, access: Access) -> bool {
        match access {
            Access::Trusted => false,
            Access::Guarded => self.publish_key.is_some(),
            Access::Public => true,
        }
    }

    fn refuse_control(&self, ask: &Ask<'_>, identity: &Identity) -> Option<u16> {
        let is_free = !self.asks_publishers(ask.access);
        let is_publisher = matches!(identity, Identity::Publisher(_));
        (!is_free && !is_publisher).then_some(401)
    }

    /// Whether the key is all that there is, so that nothing else is said to anybody.
    fn is_for_key_alone(&self, access: Access) -> bool {
        let others = !self.keys.is_empty() || self.lets_anyone_publish();
        access == Access::Guarded && self.publish_key.is_some() && !others
    }

    fn refuse_publisher(&self, name: &str, ask: &Ask<'_>, identity: &Identity) -> Option<u16> {
        match self.is_for_key_alone(ask.access) {
            true => self.refuse_control(ask, identity),
            false => self.refuse_line(name, ask, identity),
        }
    }

    /// Judges a batch before its lines are known.
    fn refuse_batch(&self, ask: &Ask<'_>, identity: &Identity) -> Option<u16> {
        let is_nobody = matches!(identity, Identity::Anonymous);
        let is_asked = self.asks_publishers(ask.access) && !self.lets_anyone_publish();
        (is_asked && is_nobody).then_some(401)
    }

    fn refuse_line(&self, name: &str, ask: &Ask<'_>, identity: &Identity) -> Option<u16> {
        let is_asked = self.asks_publishers(ask.access);
        match (self.publish(name), identity) {
            _ if ask.access == Access::Trusted => None,
            (_, Identity::Publisher(_)) | (Publish::Anyone, _) => None,
            (Publish::Nobody, _) => Some(403),
            (Publish::Token | Publish::Key, _) if !is_asked => None,
            (Publish::Token, Identity::Token(token)) if grant(&token.publish, name) => None,
            (Publish::Token | Publish::Key, Identity::Token(_)) => Some(403),
            (Publish::Token | Publish::Key, Identity::Anonymous) => Some(401),
        }
    }

    /// Whether a receiver that is parked still has its right, its dates aside.
    pub(crate) fn lets_receive(
        &self,
        names: &[String],
        channels: &[usize],
        access: Access,
        identity: &Identity,
    ) -> bool {
        let is_granted =
            |token: &Token, name: &str| self.trusts(token) && grant(&token.subscribe, name);
        let each = |&channel: &usize| {
            let name = &names[channel];
            match (self.subscribe(name), identity) {
                (Subscribe::Anyone, _) => true,
                (Subscribe::Token, Identity::Token(token)) => is_granted(token, name),
                _ => false,
            }
        };
        match identity {
            _ if access == Access::Trusted => true,
            Identity::Publisher(key) => self.publish_key.as_ref() == Some(key),
            _ => channels.iter().all(each),
        }
    }
}

/// A request as it is judged.
pub(crate) struct Ask<'a> {
    pub(crate) access: Access,
    pub(crate) cards: &'a Cards,
    pub(crate) purpose: Purpose,
    pub(crate) has_callback: bool,
}

/// A change of rights.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    All,
    Keys,
    Audience,
    Anonymous,
    Policies,
    PublishKey,
}

impl Part {
    pub(crate) fn by_chance(chance: &mut Chance) -> Part {
        use Part::{All, Anonymous, Audience, Keys, Policies, PublishKey};
        chance.pick(&[
            All, Keys, Keys, Keys, Audience, Anonymous, Policies, Policies, PublishKey,
        ])
    }
}

/// Gives settings other rights, and `keys` the numbers of the keys in force.
pub(crate) fn change(
    config: &mut Config,
    chance: &mut Chance,
    names: &[String],
    part: Part,
    keys: &mut Vec<usize>,
) {
    let is = |wanted: fn(&Part) -> bool| wanted(&part) || matches!(part, Part::All);
    if is(|part| matches!(part, Part::Keys)) {
        let has_keys = chance.u8(..8) > 0;
        *keys = (0..KEYS)
            .filter(|_| has_keys && chance.u8(..3) > 0)
            .collect();
        config.tokens.keys = keys.iter().map(|&number| key(number)).collect();
    }
    if is(|part| matches!(part, Part::Audience)) {
        config.tokens.audience = (chance.u8(..5) == 0).then(|| AUDIENCE.to_owned());
        config.token_cookie = (chance.u8(..4) > 0).then(|| COOKIE.to_owned());
    }
    if is(|part| matches!(part, Part::Anonymous)) {
        let one = |chance: &mut Chance| pattern(chance, names).parse().expect("a pattern");
        config.anonymous =
            (chance.u8(..3) == 0).then(|| (0..chance.usize(..3)).map(|_| one(chance)).collect());
    }
    if is(|part| matches!(part, Part::Policies)) {
        change_policies(&mut config.policies, chance, names);
    }
    if matches!(part, Part::PublishKey) && config.publish_key.is_some() {
        config.publish_key = Some(chance.pick(&["secret", "other"]).to_owned());
    }
    config.check().expect("settings within their ranges");
}

/// Gives policies other rights, and adds some that give nothing else.
fn change_policies(policies: &mut Vec<Policy>, chance: &mut Chance, names: &[String]) {
    policies.retain(|policy| *policy != only_rights(policy));
    for _ in 0..chance.usize(..3) {
        let pattern = pattern(chance, names).parse().expect("a pattern");
        let place = chance.usize(..=policies.len());
        policies.insert(place, Policy::of(pattern));
    }
    for policy in policies {
        use Subscribe::{Anyone, Nobody, Token};
        let subscribe = [None, Some(Anyone), Some(Token), Some(Token), Some(Nobody)];
        policy.subscribe = chance.pick(&subscribe);
        policy.publish = match chance.u8(..6) {
            0 => Publish::Key,
            1 => Publish::Anyone,
            2 => Publish::Nobody,
            _ => Publish::Token,
        };
    }
}

/// A policy that gives the same rights as another, and nothing else.
fn only_rights(policy: &Policy) -> Policy {
    Policy {
        subscribe: policy.subscribe,
        publish: policy.publish,
        ..Policy::of(policy.pattern.clone())
    }
}
