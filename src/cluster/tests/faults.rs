//! Servers that refuse, or that cannot be used at present.

use super::fake::Fake;
use super::scripts::{earlier, once};
use encke_test_rig::free_ports;
use rustix::process::Signal;

use super::*;
use crate::cluster::{Fault, probe};

fn refusal(config: &EngineConfig) -> String {
    match probe(config) {
        Err(Fault::Refused(text)) => text,
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn password_is_needed_and_checked() {
    let Some(server) = redis(&["--requirepass", "sesame"]) else {
        return;
    };
    let mut config = config(&server);
    let text = refusal(&config);
    assert!(
        text.contains("wants a password: give it in --engine-password-file"),
        "{text}"
    );
    config.password = Some("open".into());
    let text = refusal(&config);
    assert!(text.contains("refuses the password or the user"), "{text}");
    assert!(!text.contains("open"), "{text}");
    config.password = Some("sesame".into());
    assert_eq!(probe(&config), Ok(vec![]));
    Lanes::connected(&config);
}

#[test]
fn user_without_a_password_logs_in_too() {
    let Some(server) = redis(&[]) else { return };
    let mut config = config(&server);
    let url = format!("redis+unix://encke@{}", server.socket().display());
    config.url = Some(url.parse().expect("a URL"));
    // The default user may do all. If that one were logged in, the server could be used.
    let text = refusal(&config);
    assert!(text.contains("refuses the password or the user"), "{text}");
    let set = "ACL SETUSER encke on nopass ~{encke}:* -@all +info +exists";
    server.tell(set).expect("OK");
    assert!(refusal(&config).contains("+xadd"));
    server.tell("ACL SETUSER encke +@all").expect("OK");
    assert_eq!(probe(&config), Ok(vec![]));
}

#[test]
fn missing_rights_are_named() {
    let rights = "on >sesame ~{encke}:* -@all +info +xread +exists +xinfo +hmget +get \
                +time +script +evalsha +wait";
    let Some(server) = redis(&[]) else { return };
    let set = |rights: &str| server.tell(&format!("ACL SETUSER encke {rights}"));
    set(rights).expect("OK");
    let mut config = config(&server);
    let url = format!("redis+unix://encke@{}", server.socket().display());
    config.url = Some(url.parse().expect("a URL"));
    config.password = Some("sesame".into());
    let text = refusal(&config);
    assert!(
        text.contains("ACL SETUSER NAME +xadd +xtrim +hset +set ~{encke}:* (NOPERM"),
        "{text}"
    );
    // Once they are there, nothing more is missing, and nothing was changed by trying.
    set("+xadd +xtrim +hset +set").expect("OK");
    assert_eq!(probe(&config), Ok(vec![]));
    assert_eq!(server.ask("DBSIZE").expect("it answers"), ":0\r\n");
    let mut lanes = Lanes::connected(&config);
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    // A right that is taken away later shows in the answer to the command.
    set("-xadd").expect("OK");
    let Reply::Refused(words) = lanes.reply_to(append(term, "a")) else {
        panic!("it is refused");
    };
    assert!(words.starts_with("NOPERM"), "{words}");
    // Opening the log is tried again, because an operator may give the right back.
    lanes.send(open(OpenMode::Fence, EntryId::new(term, 0)));
    assert_eq!(lanes.until_broken(Lane::Publish), Cause::Unready);
    set("+xadd").expect("OK");
    lanes.until_connected(Lane::Publish);
    assert!(lanes.open(OpenMode::Fence, EntryId::new(term, 0)).term > term);

    // Keys of another namespace are not allowed.
    config.namespace = "other".into();
    let text = refusal(&config);
    assert!(text.contains("~{other}:*"), "{text}");
}

#[test]
fn command_that_the_server_does_not_have_is_named() {
    let Some(server) = redis(&["--rename-command", "XINFO", ""]) else {
        return;
    };
    let text = refusal(&config(&server));
    assert!(text.contains("has no command xinfo"), "{text}");
}

/// The text with which a server is refused that takes these commands, answers each, and closes.
fn refusal_of<const N: usize>(turns: [(&'static str, String); N]) -> String {
    let fake = Fake::new();
    let url = format!("redis://{}", fake.address());
    let served = fake.serve(turns);
    let config = EngineConfig {
        url: Some(url.parse().expect("a URL")),
        ..EngineConfig::default()
    };
    let text = refusal(&config);
    served.join().expect("no panic");
    text
}

#[test]
fn server_that_is_too_old_is_refused() {
    let info = "# Server\r\nredis_version:6.2.0\r\nrole:master\r\n";
    let info = format!("${}\r\n{info}\r\n", info.len());
    let text = refusal_of([("EXISTS", ":0\r\n".into()), ("INFO", info)]);
    assert!(text.contains("Redis 6.2.0, which is too old"), "{text}");
}

#[test]
fn server_that_turns_connections_away_is_heard() {
    for words in [
        "ERR max number of clients reached",
        "DENIED Redis is running in protected mode",
    ] {
        let text = refusal_of([("EXISTS", format!("-{words}\r\n"))]);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn full_memory_refuses_entries_alone() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    server.tell("CONFIG SET maxmemory 1").expect("OK");
    assert_eq!(lanes.reply_to(append(term, "a")), Reply::Full);
    // If the log cannot be opened, the lane tries again.
    lanes.send(open(OpenMode::Fence, EntryId::new(term, 0)));
    assert_eq!(lanes.until_broken(Lane::Publish), Cause::Unready);
    server.tell("CONFIG SET maxmemory 0").expect("OK");
    lanes.until_connected(Lane::Publish);
    let opened = lanes.open(OpenMode::Fence, EntryId::new(term, 0));
    assert!(opened.term > term);
}

#[test]
fn policy_that_evicts_is_a_warning() {
    let Some(server) = redis(&["--maxmemory-policy", "allkeys-lru"]) else {
        return;
    };
    let warnings = probe(&config(&server)).expect("it can be used");
    assert!(warnings[0].contains("maxmemory-policy is allkeys-lru"));
}

#[test]
fn master_that_becomes_a_replica_is_left() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    assert!(lanes.redis.follow(EntryId::ZERO));
    assert_eq!(lanes.read(1).len(), 1);
    let server = &server;
    server.tell("REPLICAOF 127.0.0.1 1").expect("OK");
    lanes.send(append(term, "a"));
    assert_eq!(lanes.until_broken(Lane::Publish), Cause::Replica);
    assert_eq!(lanes.until_broken(Lane::Publish), Cause::Replica);
    // If it waited at that moment, it was unblocked; else it reads on from the replica.
    server.tell("REPLICAOF NO ONE").expect("OK");
    lanes.until_connected(Lane::Publish);
    let opened = lanes.open(OpenMode::Look, EntryId::new(term, 0));
    assert_eq!(opened.last, EntryId::new(term, 0));
}

#[test]
fn scripts_that_were_flushed_are_loaded_again() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    server.tell("SCRIPT FLUSH").expect("OK");
    lanes.send(open(OpenMode::Look, EntryId::ZERO));
    assert_eq!(lanes.until_broken(Lane::Publish), Cause::Unexpected);
    lanes.until_connected(Lane::Publish);
    lanes.open(OpenMode::Look, EntryId::ZERO);
}

#[test]
fn replies_wait_for_replicas() {
    let Some(server) = redis(&[]) else { return };
    let mut config = config(&server);
    config.wait = 1;
    let mut lanes = Lanes::connected(&config);
    // What opens the log is not held.
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    for number in 0..3 {
        lanes.send(append(term, [number]));
    }
    assert!(lanes.redis.follow(EntryId::new(term, 0)));
    // They are in the log, and not answered.
    assert_eq!(lanes.read(3).len(), 3);
    assert!(lanes.redis.next_event(Lane::Publish).is_none());
    // Nor is what the node says of itself.
    let mut beat = append(term, "beat");
    if let Command::Append { is_publish, .. } = &mut beat {
        *is_publish = false;
    }
    let beat = lanes.reply_to(beat);
    assert_eq!(beat, Reply::Appended(EntryId::new(term, 4)));
    let Some(replica) = redis(&[]) else { return };
    replicate(&server, &replica);
    let replies = lanes.replies(3);
    assert_eq!(replies[2], Reply::Appended(EntryId::new(term, 3)));
}

#[test]
fn id_that_a_key_has_waits_for_replicas_too() {
    let [Some(server), Some(replica)] = [(); 2].map(|()| redis(&[])) else {
        return;
    };
    replicate(&server, &replica);
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    let until_there = |id: &str| {
        let begun = Instant::now();
        let range = format!("XRANGE {{encke}}:log {id} {id}");
        while !replica
            .ask(&range)
            .is_ok_and(|all| all.starts_with("*1\r\n"))
        {
            assert!(begun.elapsed() < DEADLINE, "it is replicated");
            std::thread::yield_now();
        }
    };
    until_there(&EntryId::new(term, 0).to_string());
    replica.signal(Signal::STOP).expect("it is ours");
    // One that waits for no replica appends an entry, which the replica does not have.
    let id = EntryId::new(term, 1);
    assert_eq!(lanes.reply_to(once(term, 1, None)), Reply::Appended(id));
    let mut config = config(&server);
    config.wait = 1;
    let mut waiting = Lanes::connected(&config);
    waiting.open(OpenMode::Look, id);
    let key = format!("{{encke}}:once:{}", "01".repeat(16));
    let ttl = || number(&server, &format!("PTTL {key}"));
    let before = ttl();
    waiting.send(once(term, 1, None));
    // The reply to what it says of itself comes, and that to the publish does not.
    let mut beat = append(term, "beat");
    if let Command::Append { is_publish, .. } = &mut beat {
        *is_publish = false;
    }
    assert_eq!(waiting.reply_to(beat), Reply::Appended(id.next()));
    assert!(waiting.redis.next_event(Lane::Publish).is_none());
    replica.signal(Signal::CONT).expect("it is ours");
    assert_eq!(waiting.replies(1), [earlier(id, id)]);
    until_there(&id.to_string());
    assert!((1..=before).contains(&ttl()), "it expires when it did");
}

#[test]
fn full_server_is_trimmed_and_asked_again() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    let used = || {
        let info = server.ask("INFO memory").expect("it answers");
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        used.expect("a line").parse::<u64>().expect("a number")
    };
    let before = used();
    for _ in 0..40 {
        lanes.reply_to(append(term, vec![b'x'; 100_000]));
    }
    let most = before + 2_000_000;
    let limit = format!("CONFIG SET maxmemory {most}");
    server.tell(&limit).expect("OK");
    // Nothing may be removed.
    assert_eq!(lanes.reply_to(append(term, "a")), Reply::Full);
    let mut commands = [append(term, "b"), append(term, "c"), once(term, 1, None)];
    for command in &mut commands {
        match command {
            Command::Append { keep_from, .. } | Command::Once { keep_from, .. } => {
                *keep_from = EntryId::new(term, 38);
            }
            Command::Open { .. } => {}
        }
    }
    commands.into_iter().for_each(|command| lanes.send(command));
    let appended = [41, 42, 43].map(|number| Reply::Appended(EntryId::new(term, number)));
    assert_eq!(lanes.replies(3), appended);
}

/// Makes `replica` one of `server`. Replication is by TCP, so the server gets a port.
fn replicate(server: &Server, replica: &Server) {
    let [address] = free_ports().expect("a port");
    let port = address.port();
    server.tell(&format!("CONFIG SET port {port}")).expect("OK");
    replica
        .tell(&format!("REPLICAOF 127.0.0.1 {port}"))
        .expect("OK");
}

/// The number that a command is answered with.
fn number(server: &Server, command: &str) -> i64 {
    let answer = server.ask(command).expect("it answers");
    let number = answer.strip_prefix(':').map(|text| text.trim().parse());
    number.expect("a number").expect("a number")
}
