//! Steps of the wall clock. libfaketime steps the time of day that encke reads and leaves the
//! monotonic clock alone, as a step by NTP or by hand does.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use encke_test_rig::{Directory, Program, needs};
use rustix::process::Signal;
use serde_json::Value;

use crate::ENCKE;

/// Times that the clock is set to, and the year in the `Date` field then; there is none before
/// 1970.
const STEPS: [(&str, &str); 4] = [
    ("@1999-06-01 12:00:00", "1999"),
    ("@2046-06-01 12:00:00", "2046"),
    ("@1960-06-01 12:00:00", "1970"),
    ("@2001-06-01 12:00:00", "2001"),
];

fn library() -> PathBuf {
    let directories = fs::read_dir("/usr/lib").unwrap();
    let paths = directories.map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"));
    let mut found = paths.filter(|path| path.exists());
    found.next().expect("libfaketime is where Debian puts it")
}

fn data(batch: &Value) -> Vec<String> {
    let messages = batch["messages"].as_array().unwrap();
    let data = messages.iter().map(|message| message["data"].as_str());
    data.map(|data| data.unwrap().to_owned()).collect()
}

/// Holds, history and heartbeats continue as before; the `Date` field follows the clock.
#[test]
fn steps_of_the_clock_change_nothing_but_the_date() {
    if !needs("faketime", "faketime") {
        return;
    }
    let directory = Directory::new();
    let clock = directory.path("clock");
    fs::write(&clock, "@2020-06-01 12:00:00").unwrap();
    let options = "--listen 127.0.0.1:0 --max-channels 1000 --heartbeat 200ms";
    let mut command = Command::new(ENCKE);
    command
        .env_clear()
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .args(options.split(' '));
    let mut encke = Program::start(&mut command);
    let address = crate::http::Address::Tcp(encke.address());

    let mut stream = address.open("/sse/news");
    let mut held = address.ask("GET", "/long-poll/other?hold=100", b"");
    let mut published = Vec::new();
    for (time, year) in STEPS {
        fs::write(&clock, time).unwrap();
        let name = format!("after {time}");
        let mut answer = address.ask("POST", "/publish/news", name.as_bytes());
        let date = answer.date().to_owned();
        assert_eq!(answer.status, 200, "{name}");
        assert!(date.contains(&format!(" {year} ")), "{name}: {date}");
        published.push(name.clone());
        assert_eq!(data(&address.get_json("/poll/news")), published);
        stream.read_to(&format!("data: {name}\n"));
        // Two heartbeats, as one may have been on its way.
        stream.read_to("\n:\n");
        stream.read_to("\n:\n");
        let other = address.get_json("/channels/other");
        assert_eq!(other["subscribers"]["total"], 1, "{name}");
    }
    assert_eq!(address.status("POST", "/publish/other", b"at last"), 200);
    assert_eq!(data(&held.json()), ["at last"]);
    drop(stream);
    encke.signal(Signal::TERM);
    assert_eq!(encke.exit_code(), Some(0));
}
