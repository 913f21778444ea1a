//! The requests in `tests/corpus`, and the expected outcome of each: see the README there.
//!
//! Owns the format of those files. What is not of the format fails, and so does an answer that no
//! request gets.

mod parser;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The limits that all requests are tried with.
pub(crate) const MAX_HEAD_BYTES: usize = 1_000;
pub(crate) const MAX_BODY_BYTES: usize = 100;

/// One request, or several on one connection.
#[derive(Debug)]
pub(crate) struct Case {
    /// File, section and title.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) answers: Vec<Expected>,
    /// Whether it has not ended, so that nothing more is answered.
    pub(crate) is_unfinished: bool,
    /// Whether it has ended, and its answer is held back.
    pub(crate) is_held: bool,
    /// The messages that are in the channel afterwards.
    pub(crate) messages: Vec<Vec<u8>>,
}

/// An answer as it must be.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) answer: Rc<Definition>,
    /// Without its body.
    pub(crate) head_only: bool,
    /// Its `Connection` field.
    pub(crate) connection: Option<String>,
    /// It may come before all of the body is there, and then closes.
    pub(crate) may_be_early: bool,
}

/// The expected responses, by the names that requests use for them.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    /// The body, `*` standing for anything.
    pub(crate) body: Option<String>,
    /// The body is a problem document with this detail.
    pub(crate) problem: Option<String>,
}

type Definitions = BTreeMap<String, Rc<Definition>>;

impl Case {
    /// Whether its last request has no answer.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_unfinished || self.is_held
    }

    /// Whether the connection is closed after the last answer.
    pub(crate) fn closes(&self) -> bool {
        self.answers.last().is_some_and(Expected::closes)
    }
}

impl Expected {
    pub(crate) fn closes(&self) -> bool {
        self.connection.as_deref() == Some("close")
    }
}

impl Definition {
    /// Whether it is the parser that refuses: those are named as its errors.
    pub(crate) fn is_of_parser(&self) -> bool {
        self.name.starts_with(|first: char| first.is_uppercase())
    }
}

/// All requests, of all files.
pub(crate) fn cases() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let definitions = definitions(&fs::read_to_string(directory.join("answers")).unwrap());
    let entries = fs::read_dir(&directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "http")
    });
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let file = path.file_stem().unwrap().to_string_lossy();
        cases.extend(read(
            &file,
            &fs::read_to_string(&path).unwrap(),
            &definitions,
        ));
    }
    let names: BTreeSet<&str> = cases.iter().map(|case| &*case.name).collect();
    assert_eq!(names.len(), cases.len(), "every name is there once");
    let answers = cases.iter().flat_map(|case| &case.answers);
    let used: BTreeSet<&str> = answers.map(|expected| &*expected.answer.name).collect();
    let unused: Vec<&String> = definitions
        .keys()
        .filter(|name| !used.contains(name.as_str()))
        .collect();
    assert!(unused.is_empty(), "no request gets the answers {unused:?}");
    cases
}

/// Tries all cases, and fails with the names of those that fail.
pub(crate) fn each(cases: &[Case], check: impl Fn(&Case)) {
    let fails = |case: &&Case| catch_unwind(AssertUnwindSafe(|| check(case))).is_err();
    let failed: Vec<&str> = cases.iter().filter(fails).map(|case| &*case.name).collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:#?}",
        failed.len(),
        cases.len()
    );
}

fn definitions(text: &str) -> Definitions {
    let lines = text.lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let definitions = lines.map(|line| {
        let mut parts = line.split(" | ");
        let name = parts.next().expect("a name").to_owned();
        let status = parts.next().and_then(|status| status.parse().ok());
        let mut definition = Definition {
            status: status.unwrap_or_else(|| panic!("{line}: no status")),
            fields: Vec::new(),
            body: None,
            problem: None,
            name,
        };
        for part in parts {
            if let Some(body) = part.strip_prefix("body ") {
                definition.body = Some(String::from_utf8(unescaped(body)).unwrap());
            } else if let Some(detail) = part.strip_prefix("problem ") {
                definition.problem = Some(detail.to_owned());
            } else {
                let (name, value) = part.split_once(": ").expect("a field");
                definition.fields.push((name.to_owned(), value.to_owned()));
            }
        }
        (definition.name.clone(), Rc::new(definition))
    });
    definitions.collect()
}

/// The requests of one file.
fn read(file: &str, text: &str, definitions: &Definitions) -> Vec<Case> {
    let (mut section, mut prefix) = ("", Vec::new());
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}.http, line {}: {line}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            (section, prefix) = (name, Vec::new());
            continue;
        }
        let (sign, rest) = line.split_at(1);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        if sign == "^" {
            prefix.extend(sent(rest));
            continue;
        }
        if sign == ":" {
            cases.push(Case {
                name: format!("{file}: {section}: {rest}"),
                bytes: prefix.clone(),
                answers: Vec::new(),
                is_unfinished: false,
                is_held: false,
                messages: Vec::new(),
            });
            continue;
        }
        let case = cases.last_mut().expect("a title comes first");
        match sign {
            ">" => case.bytes.extend(sent(rest)),
            "<" if rest == "nothing" => case.is_unfinished = true,
            "<" if rest == "held" => case.is_held = true,
            "<" => case
                .answers
                .push(expected(rest, definitions).expect(&place)),
            "!" => case.messages.push(unescaped(rest)),
            _ => panic!("{place}"),
        }
    }
    for case in &cases {
        let has_end = match case.is_silent() {
            true => !case.closes(),
            false => !case.answers.is_empty(),
        };
        assert!(has_end, "{}: how does it end?", case.name);
    }
    cases
}

fn expected(text: &str, definitions: &Definitions) -> Option<Expected> {
    let mut words = text.split(' ');
    let mut expected = Expected {
        answer: Rc::clone(definitions.get(words.next()?)?),
        head_only: false,
        connection: None,
        may_be_early: false,
    };
    for word in words {
        match word {
            "head" => expected.head_only = true,
            "early" => expected.may_be_early = true,
            "close" | "keep-alive" => expected.connection = Some(word.to_owned()),
            _ => return None,
        }
    }
    Some(expected)
}

/// A line of a request as it is sent.
fn sent(line: &str) -> Vec<u8> {
    let begun = line.strip_suffix('\\').filter(|rest| !rest.ends_with('\\'));
    match begun {
        Some(rest) => unescaped(rest),
        None => [unescaped(line), b"\r\n".to_vec()].concat(),
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (kind, after) = after.split_at(1);
        rest = after;
        match kind {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "0" => bytes.push(0),
            "\\" => bytes.push(b'\\'),
            "x" => {
                let (digits, after) = rest.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                rest = after;
            }
            "(" => {
                let (repeated, after) = rest.split_once(')').expect("a closing parenthesis");
                let (part, count) = repeated.rsplit_once('*').expect("a count");
                bytes.extend(unescaped(part).repeat(count.parse().expect("a count")));
                rest = after;
            }
            _ => panic!("\\{kind} in {text}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[test]
fn corpus_file_is_parsed() {
    let definitions = definitions("# none\n\nok | 200 | A: b | body x*\\n\nno | 400 | problem why");
    assert_eq!(definitions["ok"].fields, [("A".to_owned(), "b".to_owned())]);
    assert_eq!(definitions["ok"].body.as_deref(), Some("x*\n"));
    assert_eq!(definitions["no"].problem.as_deref(), Some("why"));
    let text = "[s]\n^ G\n\n: one\n> a\\(b\\t*2)\\x41\\\\\n>\n> \\0\\\n< no head\n< ok close\n! \\r\n\
                [t]\n: two\n>  c\n< nothing\n";
    let cases = read("f", text, &definitions);
    let [one, two] = &cases[..] else {
        panic!("{cases:?}")
    };
    assert_eq!((&*one.name, &*two.name), ("f: s: one", "f: t: two"));
    assert_eq!(one.bytes, b"G\r\nab\tb\tA\\\r\n\r\n\0");
    assert_eq!(two.bytes, b" c\r\n");
    assert!(one.closes() && !one.is_unfinished && one.answers[0].head_only);
    assert!(two.is_unfinished && two.answers.is_empty());
    assert_eq!(one.messages, [b"\r"]);
}
