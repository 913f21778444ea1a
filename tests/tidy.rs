//! The house rules that a reader of imports can check: who may know whom, who touches the world,
//! and how long a file may be.
//!
//! Owns a small scanner: comments, the insides of literals and what is compiled for tests alone
//! are not code here. The scanner and each rule are tried on texts that break them.

use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 500;

/// Each room, and the rooms it must not know. What the core may not know is not here: it is a crate
/// without it (`src/core/Cargo.toml`, `src/core/clippy.toml`).
const MUST_NOT_KNOW: [(&str, &[&str]); 7] = [
    (
        "authority",
        &[
            "base", "config", "encode", "engine", "http1", "hub", "message",
        ],
    ),
    (
        "base",
        &["config", "encode", "engine", "http1", "hub", "message"],
    ),
    ("http1", &["config", "encode", "engine", "hub", "message"]),
    ("message", &["config", "encode", "engine", "http1", "hub"]),
    ("encode", &["config", "engine", "http1", "hub"]),
    ("hub", &["encode", "engine", "http1"]),
    ("producer", &["reactor", "server"]),
];

/// The files that read and write sockets.
const SOCKET_FILES: [&str; 2] = ["reactor/sockets.rs", "reactor/accept.rs"];

/// Ways to read or write a socket.
const SOCKET_CALLS: [&str; 9] = [
    "rustix::io::read",
    "rustix::io::readv",
    "rustix::io::write",
    "rustix::io::writev",
    "rustix::net::recv",
    "rustix::net::send",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "mio::net",
];

/// A source file without its tests.
struct Source {
    /// Its path under `src`, or under `src/core` for a file of the core.
    path: String,
    /// Its code: comments and the insides of literals are blanks, tests are gone.
    code: String,
}

/// Lines that say something.
fn code_lines(code: &str) -> usize {
    code.lines().filter(|line| !line.trim().is_empty()).count()
}

/// Puts blanks in place of comments and of what stands in quotes.
fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest, out.chars().last()) {
            length
        } else if first == '"' {
            quoted(rest)
        } else if let Some(length) = character(rest) {
            length
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        // Lines stay lines.
        out.push(' ');
        out.extend(rest[..length].chars().filter(|&c| c == '\n'));
        rest = &rest[length..];
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let step = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a raw string, if one begins here and not within a name.
fn raw_string(text: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_') {
        return None;
    }
    let rest = text.strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let inside = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).unwrap_or(inside.len() - end.len());
    Some(1 + hashes + 1 + length + end.len())
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    if let Some(escape) = inside.strip_prefix('\\') {
        let end = escape.char_indices().skip(1).find(|&(_, c)| c == '\'')?.0;
        return Some(2 + end + 1);
    }
    let mut chars = inside.char_indices().skip(1);
    let (end, '\'') = chars.next()? else {
        return None;
    };
    Some(1 + end + 1)
}

/// Takes away what is compiled for tests alone; the names of files that are.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut kept = String::new();
    let mut files = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let opens = item.find('{').unwrap_or(item.len());
        let ends = item.find(';').unwrap_or(item.len());
        let length = if ends < opens {
            let words: Vec<&str> = item[..ends].split_whitespace().collect();
            if let [.., "mod", name] = &words[..] {
                files.push((*name).to_owned());
            }
            ends + 1
        } else {
            balanced(item)
        };
        rest = &item[length.min(item.len())..];
    }
    kept.push_str(rest);
    (kept, files)
}

/// The length up to and with the brace that closes the first.
fn balanced(item: &str) -> usize {
    let mut depth = 0;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    item.len()
}

/// Every path that a `use` brings in, groups spelt out.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let begins = code[..at].chars().last();
        if begins.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let tree = &code[at + "use ".len()..];
        let tree = &tree[..tree.find(';').unwrap_or(0)];
        let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
        spell_out("", &tree, &mut found);
    }
    found
}

fn spell_out(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        found.push(format!("{prefix}{path}"));
        return;
    };
    let prefix = format!("{prefix}{}", &tree[..open]);
    let inside = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                spell_out(&prefix, &inside[from..at], found);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !inside[from..].trim().is_empty() {
        let tail = &inside[from..];
        // The braces of an inner group at the end went with the outer ones.
        let closed = format!("{tail}{}", "}".repeat(depth));
        spell_out(&prefix, &closed, found);
    }
}

/// A path as seen from the crate's root.
fn resolve(path: &str, file: &str) -> String {
    let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let mut here: Vec<&str> = module.split('/').collect();
    let mut rest = path;
    if let Some(tail) = rest.strip_prefix("self::") {
        rest = tail;
    } else if !rest.starts_with("super::") {
        return path.trim_start_matches("crate::").to_owned();
    }
    while let Some(tail) = rest.strip_prefix("super::") {
        here.pop();
        rest = tail;
    }
    here.push(rest);
    here.join("::")
}

/// Whether `code` says `path`, and not as a part of a longer name.
fn says(code: &str, path: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().last().is_some_and(is_name);
        let after = code[at + path.len()..].chars().next().is_some_and(is_name);
        !before && !after
    })
}

impl Source {
    fn new(path: &str, text: &str) -> (Source, Vec<String>) {
        let (code, tests) = without_tests(&strip(text));
        let path = path.to_owned();
        (Source { path, code }, tests)
    }

    /// The room it is in.
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// Whether it says a path, by a `use` in any form or in its code.
    fn mentions(&self, path: &str) -> bool {
        let names = imports(&self.code);
        let is_it = |name: &String| name == path || name.starts_with(&format!("{path}::"));
        says(&self.code, path) || names.iter().any(is_it)
    }

    /// Whether it knows a room of the crate.
    fn knows(&self, room: &str) -> bool {
        let is_it = |name: &String| {
            let from_root = resolve(name, &self.path);
            let is_ours = name.starts_with("crate::") || name.starts_with("super::");
            is_ours && from_root.split("::").next() == Some(room)
        };
        says(&self.code, &format!("crate::{room}")) || imports(&self.code).iter().any(is_it)
    }

    /// What is wrong with it.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (room, others) in MUST_NOT_KNOW {
            for other in others.iter().filter(|_| room == self.room()) {
                if self.knows(other) {
                    faults.push(format!("must not know {other}"));
                }
            }
        }
        for call in SOCKET_CALLS {
            if !SOCKET_FILES.contains(&&*self.path) && self.mentions(call) {
                faults.push(format!("touches sockets by {call}"));
            }
        }
        let lines = code_lines(&self.code);
        if lines > MAX_LINES {
            faults.push(format!("has {lines} lines of code, more than {MAX_LINES}"));
        }
        if says(&self.code, "unsafe") {
            faults.push("says unsafe".into());
        }
        faults
    }
}

/// All files under a directory, in order.
fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut tests = Vec::new();
    for file in files_under(&root) {
        let text = fs::read_to_string(&file).expect("a file of UTF-8");
        let path = file.strip_prefix(&root).expect("it is under it");
        let path = path.strip_prefix("core").unwrap_or(path);
        let path = path.to_str().expect("a path of UTF-8");
        let (source, names) = Source::new(path, &text);
        let home = Path::new(path).with_extension("");
        let home = match home.file_name() {
            Some(name) if name == "mod" => home.parent().expect("a room").to_owned(),
            _ => home,
        };
        tests.extend(names.into_iter().map(|name| home.join(name)));
        sources.push(source);
    }
    assert!(sources.len() > 30, "{} files", sources.len());
    let is_test = |path: &str| {
        let path = Path::new(path).with_extension("");
        tests.iter().any(|test| path.starts_with(test))
    };
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !is_test(&source.path)) {
        let mine = source.faults().into_iter();
        faults.extend(mine.map(|fault| format!("{} {fault}", source.path)));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_rooms_of_the_rules_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let is_there = |room: &str| {
        let places = [root.join(room), root.join("core").join(room)];
        let is_room = |place: &PathBuf| place.is_dir() || place.with_extension("rs").exists();
        places.iter().any(is_room)
    };
    for (room, others) in MUST_NOT_KNOW {
        for name in others.iter().chain([&room]) {
            assert!(is_there(name), "a rule speaks of {name}, which is gone");
        }
    }
    assert!(SOCKET_FILES.iter().all(|file| root.join(file).exists()));
}

fn faults(path: &str, text: &str) -> Vec<String> {
    Source::new(path, text).0.faults()
}

#[test]
fn each_rule_finds_who_breaks_it() {
    let long = "let x = 1;\n".repeat(MAX_LINES + 1);
    for (path, text, word) in [
        ("http1/a.rs", "use crate::engine::Engine;", "engine"),
        (
            "http1/a.rs",
            "use crate::{base::time::Time, hub::Hub};",
            "hub",
        ),
        ("http1/a.rs", "use super::super::hub;", "hub"),
        ("http1/mod.rs", "use super::hub::Hub;", "hub"),
        ("base/time.rs", "fn f(x: crate::message::Seq) {}", "message"),
        ("hub/a.rs", "use crate::encode::object;", "encode"),
        ("message/a.rs", "use crate::hub::Hub;", "hub"),
        ("encode/a.rs", "pub use crate::http1;", "http1"),
        ("hub/a.rs", "use crate::engine;", "engine"),
        (
            "reactor/mod.rs",
            "use rustix::io; fn f() { rustix::io::read(a, b); }",
            "rustix::io::read",
        ),
        (
            "reactor/listen.rs",
            "use rustix::io::{Errno, write};",
            "rustix::io::write",
        ),
        ("producer/a.rs", "use std::net::TcpStream;", "TcpStream"),
        ("server.rs", "fn f() { unsafe { g() } }", "unsafe"),
        ("server.rs", &long, "lines"),
    ] {
        let found = faults(path, text);
        let is_found = found.iter().any(|fault| fault.contains(word));
        assert!(is_found, "{path}: {text:.60}: {found:?}");
    }
}

#[test]
fn what_is_no_code_breaks_no_rule() {
    for (path, text) in [
        (
            "engine/a.rs",
            "// use mio::Poll;\n/* unsafe /* mio */ std::net */",
        ),
        (
            "engine/a.rs",
            "const A: &str = \"mio \\\" std::net\"; const Q: char = '\"';",
        ),
        (
            "engine/a.rs",
            "const A: &str = r#\"unsafe \" mio\"#; fn f<'a>(x: &'a str) {}",
        ),
        (
            "engine/a.rs",
            "#[cfg(test)]\nmod tests { use mio::Poll; mod x { } }",
        ),
        (
            "engine/a.rs",
            "use httpdate::fmt_http_date; struct Premium; fn unsafe_code() {}",
        ),
        ("engine/a.rs", "use crate::hub::Hub; use super::route;"),
        ("lib.rs", "#![forbid(unsafe_code)]"),
        ("reactor/sockets.rs", "use rustix::io::{read, write};"),
        ("reactor/listen.rs", "use std::os::unix::net::UnixStream;"),
    ] {
        assert_eq!(faults(path, text), [""; 0], "{path}: {text}");
    }
    let tests = format!("#[cfg(test)]\nmod tests {{ {} }}", "f();\n".repeat(900));
    assert_eq!(faults("server.rs", &tests), [""; 0]);
    let (_, files) = Source::new("http1/mod.rs", "#[cfg(test)]\nmod corpus;\nmod body;");
    assert_eq!(files, ["corpus"]);
}
