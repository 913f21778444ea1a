//! Saved history: the real binary is killed, restarted, and given directories of all kinds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use encke::{DataSync, Publication};
use rustix::process::Signal;

use crate::child::Encke;
use crate::client::{Batch, Client};
use crate::eventually;
use crate::server::Server;

/// A directory that is removed at the end of its test.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> TempDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("encke-saved-{}-{number}", std::process::id());
        TempDir(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(dir: &TempDir, more: &[&str]) -> Encke {
    let args = ["--data-dir", dir.path(), "--drain", "0"];
    Encke::start(&[&args, more].concat())
}

fn publish(encke: &Encke, data: &str) -> String {
    let answer = encke.client().post("/publish/news", "", data);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn since(encke: &Encke, cursor: &str) -> Batch {
    encke.get(&format!("/poll/news?since={cursor}")).batch()
}

/// The line with which it refuses to start.
fn refused(dir: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_encke"))
        .env_clear()
        .args(["--listen", "127.0.0.1:0", "--log", "off", "--data-dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
fn history_and_cursors_outlive_a_clean_end() {
    for sync in DataSync::WORDS {
        let dir = TempDir::new();
        let mut encke = start(&dir, &["--data-sync", sync]);
        let first = publish(&encke, "one");
        publish(&encke, "two");
        encke.program.signal(Signal::TERM);
        assert_eq!(encke.program.exit_code(), Some(0));

        let encke = start(&dir, &["--data-sync", sync]);
        let third = publish(&encke, "three");
        let batch = since(&encke, &first);
        assert!(!batch.is_gap());
        assert_eq!(batch.data(), ["two", "three"]);
        let (epoch, seq) = first.split_once('-').unwrap();
        let next = seq.parse::<u64>().unwrap() + 2;
        assert_eq!(third, format!("{epoch}-{next}"), "numbers go on densely");
    }
}

/// A publisher that publishes one message after another until its server dies. Returns what was
/// answered for.
fn publish_until_killed(mut client: Client, first: u64) -> Vec<(u64, String)> {
    let mut answered = Vec::new();
    for number in first.. {
        let Some(answer) = client.try_post("/publish/news", &number.to_string()) else {
            break;
        };
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answered.push((number, answer.json()["id"].as_str().unwrap().to_owned()));
    }
    answered
}

/// Reads on from a cursor, to the end.
fn follow(encke: &Encke, cursor: &mut String, seen: &mut Vec<(u64, String)>) {
    loop {
        let batch = since(encke, cursor);
        assert!(!batch.is_gap());
        for message in batch.messages() {
            let number = message["data"].as_str().unwrap().parse().unwrap();
            seen.push((number, message["id"].as_str().unwrap().to_owned()));
        }
        *cursor = batch.cursor.clone();
        if !batch.has_more() {
            return;
        }
    }
}

#[test]
fn killed_server_goes_on_without_a_gap() {
    let dir = TempDir::new();
    let mut next = 0;
    let mut cursor = None::<String>;
    let mut answered = Vec::new();
    let mut seen: Vec<(u64, String)> = Vec::new();
    for _ in 0..10 {
        let mut encke = start(&dir, &["--history-messages", "1000000"]);
        match &mut cursor {
            Some(cursor) => follow(&encke, cursor, &mut seen),
            None => cursor = Some(encke.get("/poll/news").batch().cursor),
        }
        let more = std::thread::scope(|scope| {
            let client = encke.client();
            let publisher = scope.spawn(move || publish_until_killed(client, next));
            eventually("some messages", || {
                let metrics = encke.get("/metrics");
                let counted = metrics
                    .text()
                    .lines()
                    .find_map(|line| line.strip_prefix("encke_messages_published_total "));
                counted.is_some_and(|count| count.parse::<u64>().unwrap() > 50)
            });
            encke.program.signal(Signal::KILL);
            publisher.join().unwrap()
        });
        encke.program.exit_code();
        next = more.last().map_or(next, |(number, _)| number + 2);
        answered.extend(more);
    }
    let last = start(&dir, &["--history-messages", "1000000"]);
    follow(&last, &mut cursor.unwrap(), &mut seen);
    assert!(
        seen.is_sorted_by(|one, next| one.0 < next.0),
        "once and in order"
    );
    let missing = answered.iter().find(|message| !seen.contains(message));
    assert_eq!(missing, None, "of {} answered", answered.len());
}

/// A stream goes on where it was, with what came meanwhile, and with no gap.
#[test]
fn stream_resumes_after_a_kill() {
    let dir = TempDir::new();
    let mut encke = start(&dir, &[]);
    let mut stream = encke.stream("/sse/news");
    stream.opening();
    encke.wait_subscribers("news", 1);
    let first = publish(&encke, "one");
    assert_eq!(stream.event().unwrap().id.as_deref(), Some(&*first));
    publish(&encke, "two");
    encke.program.signal(Signal::KILL);
    encke.program.exit_code();

    let encke = start(&dir, &[]);
    let mut stream = encke.stream(&format!("/sse/news?since={first}"));
    publish(&encke, "three");
    let mut data = Vec::new();
    while data.len() < 2 {
        let event = stream.event().unwrap();
        assert_ne!(event.event.as_deref(), Some("gap"));
        data.extend(event.data.filter(|_| event.event.is_none()));
    }
    assert_eq!(data, ["two", "three"]);
}

#[test]
fn key_of_an_idempotent_publish_outlives_a_kill() {
    let dir = TempDir::new();
    let mut encke = start(&dir, &[]);
    let key = "Idempotency-Key: k\r\n";
    let id = |encke: &Encke| {
        let answer = encke.client().post("/publish/news", key, "x");
        answer.json()["id"].clone()
    };
    let first = id(&encke);
    encke.program.signal(Signal::KILL);
    encke.program.exit_code();
    assert_eq!(id(&start(&dir, &[])), first);
}

#[test]
fn policy_may_leave_channels_out() {
    let dir = TempDir::new();
    let config = TempDir::new();
    fs::write(
        &config.0,
        "[[channels]]\nmatch = \"news\"\npersist = false\n",
    )
    .unwrap();
    let mut encke = start(&dir, &["--config", config.path()]);
    let first = publish(&encke, "one");
    encke.client().post("/publish/other", "", "kept");
    encke.program.signal(Signal::TERM);
    encke.program.exit_code();
    let encke = start(&dir, &["--config", config.path()]);
    let batch = encke
        .get(&format!("/poll/news,other?since={first}"))
        .batch();
    assert_eq!(batch.data(), ["kept"]);
    assert!(
        encke
            .get("/poll/news?since=earliest")
            .batch()
            .messages()
            .is_empty()
    );
    let before = first.replace("-1", "-0");
    assert!(since(&encke, &before).is_gap(), "a message of it is lost");
    fs::remove_file(&config.0).unwrap();
}

/// Changes a line of the head, and its checksum with it.
fn edit_head(dir: &TempDir, from: &str, to: &str) {
    let head = fs::read_to_string(dir.file("head")).unwrap();
    let (text, _) = head.split_once("check ").unwrap();
    assert!(text.contains(from), "{text}");
    let text = text.replace(from, to);
    let checksum = crc32fast::hash(text.as_bytes());
    fs::write(dir.file("head"), format!("{text}check {checksum:08x}\n")).unwrap();
}

#[test]
fn reboot_is_told_as_one_gap_unless_every_message_was_synced() {
    for (sync, is_gap) in [("1s", true), ("never", true), ("always", false)] {
        let dir = TempDir::new();
        let mut encke = start(&dir, &["--data-sync", sync]);
        let first = publish(&encke, "one");
        publish(&encke, "two");
        encke.program.signal(Signal::KILL);
        encke.program.exit_code();
        edit_head(&dir, "end open ", "end open another-");

        let encke = start(&dir, &["--data-sync", sync]);
        let batch = since(&encke, &first);
        assert_eq!(batch.is_gap(), is_gap, "{sync}");
        assert!(batch.data().contains(&"two"), "what is there is kept");
        assert!(!since(&encke, &batch.cursor).is_gap(), "once");
    }
}

#[test]
fn damaged_tail_is_cut_off_and_told_as_a_gap() {
    let dir = TempDir::new();
    let mut encke = start(&dir, &[]);
    let first = publish(&encke, "one");
    publish(&encke, "two");
    encke.program.signal(Signal::TERM);
    encke.program.exit_code();
    let segment = dir.file("0000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&segment, bytes).unwrap();

    let encke = start(&dir, &[]);
    let batch = since(&encke, &first);
    assert!(batch.is_gap());
    assert!(!since(&encke, &batch.cursor).is_gap());
    let metrics = encke.get("/metrics");
    let cut = metrics
        .text()
        .lines()
        .find(|line| line.starts_with("encke_disk_cut_bytes "));
    assert_ne!(cut, Some("encke_disk_cut_bytes 0.0"));
}

#[test]
fn directory_of_another_process_or_format_or_owner_is_refused_in_one_line() {
    let dir = TempDir::new();
    let mut encke = start(&dir, &[]);
    publish(&encke, "one");
    assert!(refused(&dir.0).contains("in use by another process"));
    encke.program.signal(Signal::KILL);
    encke.program.exit_code();

    let newer = "encke-history 2\nwhat a newer encke knows\n";
    let old = fs::read(dir.file("head")).unwrap();
    fs::write(dir.file("head"), newer).unwrap();
    assert!(refused(&dir.0).contains("is of format 2"));
    assert_eq!(fs::read_to_string(dir.file("head")).unwrap(), newer);
    fs::write(dir.file("head"), old).unwrap();
    assert_eq!(since(&start(&dir, &[]), "earliest").data(), ["one"]);

    assert!(refused(Path::new("/proc/encke")).contains("give a --data-dir that encke can"));
    assert!(refused(&dir.file("head")).contains("give a --data-dir that encke can"));
}

/// A file system of its own; unmounted at the end.
struct Mount(TempDir);

impl Mount {
    /// `None` where mounting is not allowed.
    fn new(options: &str) -> Option<Mount> {
        let dir = TempDir::new();
        fs::create_dir(&dir.0).unwrap();
        let mount = Mount(dir);
        let is_root = rustix::process::geteuid().is_root();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "encke"])
            .arg(&mount.0.0)
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        if !is_mounted {
            let is_ci = std::env::var_os("CI").is_some() && is_root;
            assert!(!is_ci, "root cannot mount a file system");
            eprintln!("skipped: mounting is not allowed");
            return None;
        }
        Some(mount)
    }

    fn remount(&self, options: &str) {
        let mut command = Command::new("mount");
        command
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0.0);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // One that was not mounted is none.
        let mut command = Command::new("umount");
        let _ = command
            .arg("-l")
            .arg(&self.0.0)
            .stderr(Stdio::null())
            .status();
    }
}

/// Fills a file system, and returns the file that does.
fn fill(dir: &TempDir) -> PathBuf {
    let path = dir.file("filler");
    let block = vec![b'x'; 64 << 10];
    let mut file = fs::File::create(&path).unwrap();
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    path
}

/// Publishes messages that need room until one is refused, and returns those that were answered.
fn publish_until_refused(encke: &Encke) -> usize {
    let text = "x".repeat(20_000);
    let mut answered = 0;
    loop {
        let answer = encke.client().post("/publish/big", "", &text);
        if answer.status() == 503 {
            assert!(answer.field("Retry-After").is_some());
            return answered;
        }
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answered += 1;
    }
}

#[test]
fn full_disk_refuses_publishes_until_there_is_room() {
    let Some(mount) = Mount::new("size=8m") else {
        return;
    };
    let dir = &mount.0;
    let args = ["--history-messages", "1000", "--write-timeout", "2"];
    let mut encke = start(dir, &args);
    publish(&encke, "before");
    let filler = fill(dir);
    let answered = publish_until_refused(&encke);
    eventually("not ready", || encke.get("/readyz").status() == 503);
    assert_eq!(encke.client().post("/publish/news", "", "no").status(), 503);
    assert_eq!(
        since(&encke, "earliest").data(),
        ["before"],
        "reading goes on"
    );
    fs::remove_file(filler).unwrap();
    eventually("ready", || encke.get("/readyz").status() == 200);
    let cursor = publish(&encke, "after");
    encke.program.signal(Signal::KILL);
    encke.program.exit_code();

    let encke = start(dir, &args);
    assert_eq!(since(&encke, "earliest").data(), ["before", "after"]);
    assert!(!since(&encke, &cursor).is_gap());
    let big = encke.get("/poll/big?since=earliest").batch();
    assert!(big.messages().len() >= answered);
}

#[test]
fn full_disk_does_not_keep_a_server_from_starting() {
    let Some(mount) = Mount::new("size=8m") else {
        return;
    };
    let dir = &mount.0;
    let mut encke = start(dir, &[]);
    let first = publish(&encke, "before");
    encke.program.signal(Signal::TERM);
    encke.program.exit_code();
    let filler = fill(dir);
    let encke = start(dir, &[]);
    assert_eq!(since(&encke, "earliest").data(), ["before"]);
    assert_eq!(encke.client().post("/publish/news", "", "no").status(), 503);
    fs::remove_file(filler).unwrap();
    eventually("ready", || encke.get("/readyz").status() == 200);
    publish(&encke, "after");
    let batch = since(&encke, &first);
    assert!(!batch.is_gap());
    assert_eq!(batch.data(), ["after"]);
}

#[test]
fn disk_that_becomes_read_only_refuses_publishes_until_it_is_not() {
    let Some(mount) = Mount::new("size=8m") else {
        return;
    };
    let dir = &mount.0;
    let encke = start(dir, &["--write-timeout", "2"]);
    publish(&encke, "before");
    // A file that is open for writing keeps a file system from becoming read-only, so the server
    // writes to one that has gone.
    drop(encke);
    mount.remount("ro");
    assert!(refused(&dir.0).contains("give a --data-dir that encke can"));
    mount.remount("rw");
    assert_eq!(since(&start(dir, &[]), "earliest").data(), ["before"]);
}

#[test]
fn full_disk_is_forgotten_if_that_is_wanted() {
    let Some(mount) = Mount::new("size=8m") else {
        return;
    };
    let dir = &mount.0;
    let args = ["--data-full", "forget"];
    let mut encke = start(dir, &args);
    let first = publish(&encke, "before");
    let filler = fill(dir);
    let text = "x".repeat(20_000);
    eventually("it forgets", || {
        let answer = encke.client().post("/publish/big", "", &text);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        !dir.file("head").exists()
    });
    assert_eq!(encke.get("/readyz").status(), 200);
    publish(&encke, "after");
    assert_eq!(since(&encke, "earliest").data(), ["before", "after"]);
    fs::remove_file(filler).unwrap();
    encke.program.signal(Signal::KILL);
    encke.program.exit_code();
    let encke = start(dir, &args);
    let batch = since(&encke, &first);
    assert!(batch.is_gap() && batch.messages().is_empty());
}

#[test]
fn receipt_of_a_thread_comes_when_its_message_is_saved() {
    let dir = TempDir::new();
    let run = || {
        Server::with(|config| {
            config.saving.dir = Some(dir.0.clone());
            config.saving.sync = DataSync::Always;
        })
    };
    let server = run();
    let (message, receipt) = Publication::new("news", "x").with_receipt();
    server.publisher.send(message).unwrap();
    let id = receipt.wait().unwrap().id;
    drop(server);
    let server = run();
    let batch = server.get("/poll/news?since=earliest").batch();
    assert_eq!(batch.messages()[0]["id"], id);
}
