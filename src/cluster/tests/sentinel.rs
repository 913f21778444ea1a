//! The master that Sentinels name, over a failover.

use super::*;

/// A server on a port of its own, and a Sentinel that watches it.
struct Watched {
    master: RedisServer,
    replica: RedisServer,
    sentinel: RedisServer,
    sentinel_port: String,
}

impl Watched {
    fn start() -> Watched {
        let [master_port, replica_port, sentinel_port] = [(); 3].map(|()| redis::free_port());
        let master = RedisServer::start(&["--port", &master_port]);
        let replica = RedisServer::start(&["--port", &replica_port]);
        replica
            .ask(&["REPLICAOF", "127.0.0.1", &master_port])
            .expect("OK");
        let sentinel = RedisServer::start_sentinel(&format!(
            "port {sentinel_port}\n\
             sentinel monitor main 127.0.0.1 {master_port} 1\n\
             sentinel down-after-milliseconds main 300\n\
             sentinel failover-timeout main 3000\n"
        ));
        Watched {
            master,
            replica,
            sentinel,
            sentinel_port,
        }
    }

    fn config(&self) -> EngineConfig {
        let nobody = redis::free_port();
        let port = &self.sentinel_port;
        // The first Sentinel does not answer: the next one is asked.
        let url = format!("redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{port}/main");
        EngineConfig {
            url: Some(url.parse().expect("a URL")),
            ..EngineConfig::default()
        }
    }
}

#[test]
fn lanes_follow_a_failover() {
    if !redis::is_installed() {
        return;
    }
    let mut watched = Watched::start();
    let mut lanes = Lanes::connected(&watched.config());
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    assert!(lanes.redis.follow(EntryId::ZERO));
    assert_eq!(lanes.read(1)[0].0, EntryId::new(term, 0));
    // Until the replica has the log, and the Sentinel knows the replica.
    let begun = Instant::now();
    let has = |server: &RedisServer, words: &[&str]| {
        !matches!(
            server.ask(words),
            Ok(::redis::Value::Int(0)) | Ok(::redis::Value::Nil) | Err(_)
        )
    };
    while !has(&watched.replica, &["EXISTS", "{encke}:log"])
        || watched.sentinel.ask(&["SENTINEL", "REPLICAS", "main"])
            == Ok(::redis::Value::Array(vec![]))
    {
        assert!(begun.elapsed() < DEADLINE);
        std::thread::yield_now();
    }

    watched.master.kill();
    lanes.send(append(term, "a"));
    for lane in [Lane::Publish, Lane::Follow] {
        assert_eq!(lanes.until_broken(lane), Cause::Closed);
    }
    for lane in [Lane::Publish, Lane::Follow] {
        lanes.until_connected(lane);
    }
    // The replica is another server, so the log is opened anew, and goes on.
    let opened = lanes.open(OpenMode::Look, EntryId::new(term, 0));
    assert!(opened.term > term);
    assert_eq!(opened.last, EntryId::new(term, 0));
    let id = EntryId::new(opened.term, 1);
    assert_eq!(
        lanes.reply_to(append(opened.term, "b")),
        Reply::Appended(id)
    );
}

#[test]
fn master_of_an_unknown_name_is_not_found() {
    if !redis::is_installed() {
        return;
    }
    let watched = Watched::start();
    let mut config = watched.config();
    let url = format!("redis+sentinel://127.0.0.1:{}/other", watched.sentinel_port);
    config.url = Some(url.parse().expect("a URL"));
    let Err(crate::cluster::Fault::Broken(Cause::Unreachable, text)) = super::super::probe(&config)
    else {
        panic!("it is not found");
    };
    assert!(text.contains("it knows no master named other"), "{text}");
}
