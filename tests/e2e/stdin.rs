//! Standard input of the real binary as a producer.

use std::io::Write;
use std::process::Stdio;

use crate::child::Encke;
use crate::stream::Stream;

#[test]
fn lines_reach_a_channel_on_every_transport() {
    let mut encke = Encke::with_stdin(&["--stdin=ticker"], Stdio::piped());
    let mut input = encke.program.stdin().take().unwrap();
    let mut held = encke.client();
    held.ask("GET", "/long-poll/ticker", "");
    let mut sse = encke.stream("/sse/ticker");
    let mut ndjson = encke.stream("/ndjson/ticker");
    let mut frame = encke.stream("/frame/ticker");
    encke.wait_subscribers("ticker", 4);
    input.write_all(b"first line\n").unwrap();
    assert_eq!(held.answer().batch().data(), ["first line"]);
    sse.opening();
    assert_eq!(sse.event().unwrap().data.as_deref(), Some("first line"));
    for (stream, read) in [
        (&mut ndjson, Stream::object as fn(&mut Stream) -> _),
        (&mut frame, Stream::script),
    ] {
        read(stream);
        assert_eq!(read(stream).unwrap()["data"], "first line");
    }
    // A line need not end, and an input that ends does not end the server.
    input.write_all(b"{\"not\":\"parsed\"}\r\nlast").unwrap();
    drop(input);
    assert_eq!(
        sse.event().unwrap().data.as_deref(),
        Some("{\"not\":\"parsed\"}")
    );
    assert_eq!(sse.event().unwrap().data.as_deref(), Some("last"));
    let batch = encke.get("/poll/ticker").batch();
    assert_eq!(batch.data(), ["first line", "{\"not\":\"parsed\"}", "last"]);
}

#[test]
fn ndjson_lines_name_their_channels() {
    let mut encke = Encke::with_stdin(&["--stdin"], Stdio::piped());
    let mut input = encke.program.stdin().take().unwrap();
    let mut stream = encke.stream("/ndjson/a,b");
    stream.object();
    let lines = concat!(
        "{\"channel\":\"a\",\"data\":{\"n\":1.0},\"event\":\"e\"}\n",
        "this line is skipped\n",
        "{\"channel\":\"b\",\"data\":\"text\"}\n",
    );
    input.write_all(lines.as_bytes()).unwrap();
    let first = stream.object().unwrap();
    assert_eq!(
        (&first["channel"], &first["event"]),
        (&"a".into(), &"e".into())
    );
    assert_eq!(first["data"].to_string(), "{\"n\":1.0}");
    assert_eq!(stream.object().unwrap()["data"], "text");
    encke
        .program
        .line_with("line 2 of standard input was skipped");
}

#[test]
fn fast_input_loses_nothing() {
    let args = ["--stdin=fast", "--queue=4", "--history-messages=100000"];
    let mut encke = Encke::with_stdin(&args, Stdio::piped());
    let mut input = encke.program.stdin().take().unwrap();
    let mut stream = encke.stream("/sse/fast");
    stream.opening();
    let writer = std::thread::spawn(move || {
        let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
        input.write_all(lines.as_bytes()).unwrap();
    });
    for number in 0..20_000 {
        assert_eq!(stream.message().unwrap().data, Some(number.to_string()));
    }
    writer.join().unwrap();
}
