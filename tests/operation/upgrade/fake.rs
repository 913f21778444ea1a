//! A program that speaks the protocol of an upgrade up to a point: this test itself, started again.
//!
//! Steps, separated by spaces:
//!
//! ```text
//! hello state descriptors   hear what comes next: all of it
//! go                        hear it, and let go of everything
//! ready taken serving       say it
//! format-9                  say that it is ready for a format that was not offered
//! refuse                    say that it refuses
//! garbage long nothing      say what is no message: no JSON, too much of it, an unknown word
//! hang                      wait for ever
//! ```
//!
//! Then it ends, with the code 7.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendFlags};
use serde_json::{Value, json};

#[test]
#[ignore = "it is run by an upgrade"]
fn program() {
    let Ok(steps) = std::env::var("ENCKE_FAKE") else {
        return;
    };
    fs::write(
        std::env::var("ENCKE_FAKE_PID").unwrap(),
        std::process::id().to_string(),
    )
    .unwrap();
    let mut expected = 0;
    for step in steps.split_ascii_whitespace() {
        match step {
            "hello" => {
                let hello = &hear()["hello"];
                assert_eq!(hello["formats"], json!([2, 1]));
                hear_descriptors(1 + hello["opened"].as_array().unwrap().len() as u64);
            }
            "state" => expected = hear()["state"]["descriptors"].as_u64().unwrap(),
            "descriptors" => hear_descriptors(expected),
            "ready" => say(json!({"ready": {"version": "9.9.9", "format": 1}}).to_string()),
            "format-9" => say(json!({"ready": {"version": "9.9.9", "format": 9}}).to_string()),
            "taken" => say(json!("taken").to_string()),
            "go" => assert!(hear()["go"].is_object()),
            "serving" => say(json!("serving").to_string()),
            "refuse" => say(json!({"refused": {"reason": "it is Sunday"}}).to_string()),
            "garbage" => say("\0\u{1}{".into()),
            "long" => say(format!("\"{}\"", "x".repeat(100_000))),
            "nothing" => say(json!({"greeting": {}}).to_string()),
            "hang" => loop {
                std::thread::park();
            },
            step => panic!("{step}"),
        }
    }
    std::process::exit(7);
}

/// The next packet. Its descriptors are closed.
fn hear() -> Value {
    let mut text = vec![0; 64 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut text)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received =
        rustix::net::recvmsg(rustix::stdio::stdin(), &mut slices, &mut ancillary, flags).unwrap();
    serde_json::from_slice(&text[..received.bytes]).unwrap()
}

fn hear_descriptors(mut expected: u64) {
    while expected > 0 {
        expected -= hear()["descriptors"]["count"].as_u64().unwrap();
    }
}

fn say(text: String) {
    rustix::net::send(rustix::stdio::stdin(), text.as_bytes(), SendFlags::empty()).unwrap();
}
