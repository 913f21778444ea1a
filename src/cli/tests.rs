use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use encke::producer::stdin::Lines;
use encke::{Config, Cors};

use super::*;

fn arguments(args: &[&str]) -> Arguments {
    let args = ["encke"].iter().chain(args).map(OsString::from);
    match Arguments::parse(args, Sockets::default()) {
        Ok(arguments) => arguments,
        Err(exit) => panic!("{exit:?}"),
    }
}

fn parsed(args: &[&str]) -> Loaded {
    match arguments(args).start() {
        Ok(loaded) => loaded,
        Err(exit) => panic!("{exit:?}"),
    }
}

#[test]
fn no_argument_means_the_defaults() {
    for args in [&[][..], &["serve"]] {
        let loaded = parsed(args);
        let expected = format!("{:?}", Config::default());
        assert_eq!(format!("{:?}", loaded.config()), expected);
        assert_eq!((loaded.stdin, &*loaded.options.log), (None, "info"));
    }
}

#[test]
fn command_definition_is_valid() {
    arguments::command().debug_assert();
}

#[test]
fn every_option_reaches_its_own_setting() {
    let args = "serve --listen=127.0.0.1:1,[::1]:2 --listen=unix:/l --control=127.0.0.1:3 \
        --unix-mode=660 --reuse-port --publish-key=k --cors-origin=https://a --cors-origin=https://b,https://c \
        --no-page --hold=1 --max-hold=2 --heartbeat=3 --max-batch=4 --max-batch-bytes=5 --stream-max-bytes=6 \
        --stream-max-age=7 --history-messages=8 --history-age=9 --history-bytes=10 \
        --history-total-bytes=11K --max-channels=12 --max-connections=13 \
        --data-dir=/d --data-sync=always --data-full=forget --engine-namespace=n --engine-wait=26 \
        --engine-patience=27 --engine-ready=28 --engine-log-bytes=29 --node=o \
        --max-connections-per-address=14 --max-head-bytes=15K --max-body-bytes=16 \
        --max-buffer-bytes=17K --head-timeout=18 --body-timeout=19 --idle-timeout=20 \
        --write-timeout=21 --queue=22 --drain=23 --drain-delay=24 --upgrade-timeout=25 --log=warn";
    let s = Duration::from_secs;
    let tcp = |text: &str| encke::Address::Tcp(text.parse().unwrap());
    let origins = ["https://a", "https://b", "https://c"];
    let expected = Config {
        listen: vec![
            tcp("127.0.0.1:1"),
            tcp("[::1]:2"),
            encke::Address::Unix("/l".into()),
        ],
        control: vec![tcp("127.0.0.1:3")],
        unix_mode: Some(0o660),
        reuse_port: true,
        publish_key: Some("k".into()),
        tokens: encke::tokens::Rules::default(),
        token_cookie: None,
        anonymous: None,
        cors: Cors::Origins(origins.map(String::from).to_vec()),
        page: false,
        hold: s(1),
        max_hold: s(2),
        heartbeat: s(3),
        max_batch: 4,
        max_batch_bytes: 5,
        stream_max_bytes: 6,
        stream_max_age: s(7),
        history: encke::History {
            max_messages: 8,
            max_age: s(9),
            max_bytes: 10,
            max_total_bytes: 11 << 10,
        },
        saving: encke::Saving {
            dir: Some("/d".into()),
            sync: encke::DataSync::Always,
            full: encke::DataFull::Forget,
        },
        engine: encke::EngineConfig {
            url: None,
            password: None,
            namespace: "n".into(),
            wait: 26,
            patience: s(27),
            ready: s(28),
            log_bytes: Some(29),
            node: Some("o".into()),
        },
        policies: Vec::new(),
        max_channels: 12,
        max_connections: Some(13),
        max_connections_per_address: Some(14),
        max_head_bytes: 15 << 10,
        max_body_bytes: 16,
        max_buffer_bytes: 17 << 10,
        head_timeout: s(18),
        body_timeout: s(19),
        idle_timeout: s(20),
        write_timeout: s(21),
        queue: 22,
        drain: s(23),
        drain_delay: s(24),
        upgrade_timeout: s(25),
    };
    let loaded = parsed(&args.split_whitespace().collect::<Vec<_>>());
    assert_eq!(format!("{:?}", loaded.config()), format!("{expected:?}"));
    assert_eq!(loaded.options.log, "warn");
}

#[test]
fn engine_and_its_password_are_read() {
    let file = std::env::temp_dir().join(format!("encke-password-{}", std::process::id()));
    std::fs::write(&file, "sesame\n").unwrap();
    let option = format!("--engine-password-file={}", file.display());
    let args = ["--engine=redis://user@host/1", &option];
    let [loaded, shown] = [0o600, 0o644].map(|mode| {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        parsed(&args)
    });
    std::fs::remove_file(&file).unwrap();
    let is_warned = |loaded: &Loaded| {
        let mut warnings = loaded.warnings.iter();
        warnings.any(|text| text.contains("can be read by all users"))
    };
    assert!(!is_warned(&loaded) && is_warned(&shown));
    let engine = &loaded.config().engine;
    let url = engine.url.as_ref().map(ToString::to_string);
    assert_eq!(url.as_deref(), Some("redis://user@host:6379/1"));
    assert_eq!(engine.password.as_deref(), Some("sesame"));
}

#[test]
fn stdin_option_selects_the_form_of_lines() {
    assert_eq!(parsed(&["--stdin"]).stdin, Some(Lines::Ndjson));
    assert_eq!(parsed(&["--stdin="]).stdin, Some(Lines::Ndjson));
    assert_eq!(parsed(&["--stdin", "serve"]).stdin, Some(Lines::Ndjson));
    let vmstat = Lines::to_channel("vmstat").unwrap();
    assert_eq!(parsed(&["--stdin=vmstat"]).stdin, Some(vmstat));
}

#[test]
fn no_page_option_disables_the_page() {
    for (arg, page) in [
        ("--no-page", false),
        ("--no-page=no", true),
        ("--no-page=1", false),
    ] {
        assert_eq!(parsed(&[arg]).config().page, page, "{arg}");
    }
    assert!(!parsed(&["--no-page", "serve"]).config().page);
}

#[test]
fn star_allows_every_origin() {
    assert_eq!(parsed(&["--cors-origin=*"]).config().cors, Cors::Any);
    assert_eq!(parsed(&["--cors-origin", "*"]).config().cors, Cors::Any);
}
