//! The rules of the source in `src`: no circular dependencies, inherent methods in the file of
//! their type, system calls on sockets in two files, and a maximum size of files.
//!
//! Owns a graph of the source files, built from their syntax: an edge means that a file uses an
//! item of another file. Code that is compiled only for tests is not in it. Each rule is tested
//! with sources that violate it. Cargo and `src/core/clippy.toml` enforce the rules for what the
//! core may use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// Lines of code in a file, blank lines, comments and tests not counted.
const MAX_LINES: usize = 500;

/// The folder in which inherent methods must be in the file of their type. A file of it can
/// therefore call only what it imports.
const METHODS_BESIDE_TYPES: &str = "engine/";

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

/// A path in the source, with its segments spelled out.
type Segments = Vec<String>;

/// The definitions and uses of a file, without code that is compiled only for tests.
#[derive(Default)]
struct Source {
    /// Its path below the root of its crate.
    path: String,
    /// The path of its module.
    module: Segments,
    /// Names of types, functions, constants and macros that it defines.
    defines: BTreeSet<String>,
    /// Its modules that are files of their own.
    children: BTreeSet<String>,
    /// Modules of files that are compiled for tests alone.
    tests: BTreeSet<String>,
    /// Names that it re-exports, and their paths.
    reexports: BTreeMap<String, Segments>,
    /// Paths that it uses.
    uses: Vec<Segments>,
    /// Types for which it has inherent methods.
    impls: BTreeSet<String>,
    /// Lines of tests.
    test_lines: Vec<std::ops::RangeInclusive<usize>>,
    text: String,
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .meta
                .require_list()
                .is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn spell_out(prefix: &Segments, tree: &UseTree, found: &mut Vec<(String, Segments)>) {
    let with = |name: &syn::Ident| {
        let mut path = prefix.clone();
        if name != "self" || prefix.is_empty() {
            path.push(name.to_string());
        }
        path
    };
    match tree {
        UseTree::Path(tree) => spell_out(&with(&tree.ident), &tree.tree, found),
        UseTree::Name(tree) => {
            let path = with(&tree.ident);
            found.push((path.last().cloned().unwrap_or_default(), path));
        }
        UseTree::Rename(tree) => found.push((tree.rename.to_string(), with(&tree.ident))),
        UseTree::Glob(_) => found.push(("*".into(), prefix.clone())),
        UseTree::Group(group) => {
            for tree in &group.items {
                spell_out(prefix, tree, found);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes(item)) {
            if let Item::Mod(module) = item
                && module.content.is_none()
            {
                self.tests.insert(module.ident.to_string());
            }
            let span = item.span();
            self.test_lines.push(span.start().line..=span.end().line);
            return;
        }
        let name = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.defines.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        match item.content {
            None => drop(self.children.insert(item.ident.to_string())),
            // A module within a file is part of the file.
            Some(_) => visit::visit_item_mod(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut found = Vec::new();
        spell_out(&Segments::new(), &item.tree, &mut found);
        if matches!(item.vis, Visibility::Inherited) {
            self.uses.extend(found.into_iter().map(|(_, path)| path));
        } else {
            // A re-export is not a use.
            self.reexports.extend(found);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if item.trait_.is_none()
            && let syn::Type::Path(path) = &*item.self_ty
            && let Some(last) = path.path.segments.last()
        {
            self.impls.insert(last.ident.to_string());
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {
        // The path in `pub(in path)` is not a use.
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.uses.push(segments.collect());
        visit::visit_path(self, path);
    }
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let is_root = matches!(module, "lib" | "main");
        let mut source = Source {
            path: path.into(),
            module: match is_root {
                true => Segments::new(),
                false => module.split('/').map(String::from).collect(),
            },
            text: text.into(),
            ..Source::default()
        };
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        source.visit_file(&file);
        source
    }

    /// Resolves a path of this file from the root of its crate; `None` if it is of another crate.
    fn resolve(&self, path: &Segments) -> Option<Segments> {
        let mut here = self.module.clone();
        let mut rest = &path[..];
        match rest.first().map(String::as_str) {
            Some("crate") => {
                here.clear();
                rest = &rest[1..];
            }
            Some("self") => rest = &rest[1..],
            Some("super") => {
                while rest.first().is_some_and(|first| first == "super") {
                    here.pop();
                    rest = &rest[1..];
                }
            }
            Some(first) if self.children.contains(first) || self.reexports.contains_key(first) => {}
            _ => return None,
        }
        here.extend(rest.iter().cloned());
        Some(here)
    }

    fn code_lines(&self) -> usize {
        let lines = self.text.lines().enumerate();
        let is_code = |(index, line): &(usize, &str)| {
            let line = line.trim();
            let is_test = self
                .test_lines
                .iter()
                .any(|test| test.contains(&(index + 1)));
            !line.is_empty() && !line.starts_with("//") && !is_test
        };
        lines.filter(is_code).count()
    }

    /// The violations of this file alone.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for used in self.uses.iter().chain(self.reexports.values()) {
            let used = used.join("::");
            let is_call = |call: &&&str| used == ***call || used.starts_with(&format!("{call}::"));
            if let Some(call) = SOCKET_CALLS.iter().find(is_call)
                && !SOCKET_FILES.contains(&&*self.path)
            {
                faults.push(format!("{} touches sockets by {call}", self.path));
            }
        }
        let lines = self.code_lines();
        if lines > MAX_LINES {
            faults.push(format!("{} has {lines} lines of code", self.path));
        }
        faults
    }
}

/// The files of one crate.
struct Crate(Vec<Source>);

impl Crate {
    fn new(sources: impl IntoIterator<Item = Source>) -> Crate {
        let sources: Vec<Source> = sources.into_iter().collect();
        let mut tests = BTreeSet::new();
        for source in &sources {
            for name in &source.tests {
                tests.insert([&source.module[..], std::slice::from_ref(name)].concat());
            }
        }
        let is_test = |source: &Source| tests.iter().any(|test| source.module.starts_with(test));
        Crate(sources.into_iter().filter(|s| !is_test(s)).collect())
    }

    /// The file that defines the item of a path from the crate's root.
    fn definer(&self, path: &[String], depth: usize) -> Option<&Source> {
        let is_prefix = |source: &&Source| path.starts_with(&source.module);
        let module = self.0.iter().filter(is_prefix);
        let source = module.max_by_key(|source| source.module.len())?;
        let Some(name) = path.get(source.module.len()) else {
            return Some(source);
        };
        if let Some(target) = source.reexports.get(name).filter(|_| depth < 8)
            && let Some(target) = source.resolve(target)
        {
            return self.definer(&target, depth + 1);
        }
        Some(source)
    }

    /// For each file, the files that it uses.
    fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let arrows = self.0.iter().map(|source| {
            let resolved = source.uses.iter().filter_map(|path| source.resolve(path));
            let used = resolved.filter_map(|path| self.definer(&path, 0));
            // The root of a crate assembles its modules, so its uses do not count.
            let used = used.filter(|used| !used.module.is_empty());
            let others: BTreeSet<&str> = used.map(|used| &*used.path).collect();
            let others = others
                .into_iter()
                .filter(|path| *path != source.path)
                .collect();
            (&*source.path, others)
        });
        arrows.collect()
    }

    /// The violations of all files together.
    fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.0.iter().flat_map(Source::faults).collect();
        let arrows = self.arrows();
        faults.extend(circle(&arrows).map(|circle| format!("files in a circle: {circle}")));
        for depth in [1, 2] {
            let rooms = rooms(&arrows, depth);
            faults.extend(circle(&rooms).map(|circle| format!("rooms in a circle: {circle}")));
        }
        let is_held = |source: &&Source| source.path.starts_with(METHODS_BESIDE_TYPES);
        for source in self.0.iter().filter(is_held) {
            for name in source.impls.difference(&source.defines) {
                faults.push(format!(
                    "{} has methods of {name}, defined elsewhere",
                    source.path
                ));
            }
        }
        faults
    }
}

/// The edges between folders, down to `depth`.
fn rooms<'a>(
    arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    depth: usize,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let room = |path: &'a str| {
        let ends = path.match_indices('/').map(|(at, _)| at);
        let end = ends.take(depth).last().unwrap_or(path.len() - ".rs".len());
        &path[..end]
    };
    let mut rooms: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, others) in arrows {
        // The files beside the subfolders of a folder assemble them, so their uses do not count.
        let from_room = room(from);
        if depth > 1 && from.matches('/').count() < depth {
            continue;
        }
        let others = others.iter().map(|to| room(to));
        let others = others.filter(|to| *to != from_room);
        rooms.entry(from_room).or_default().extend(others);
    }
    rooms
}

/// A circle of edges, as a text, if there is one.
fn circle(arrows: &BTreeMap<&str, BTreeSet<&str>>) -> Option<String> {
    fn walk<'a>(
        at: &'a str,
        arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<String> {
        if let Some(start) = path.iter().position(|seen| *seen == at) {
            return Some([&path[start..], &[at]].concat().join(" → "));
        }
        if done.contains(at) {
            return None;
        }
        path.push(at);
        let next = arrows.get(at).into_iter().flatten();
        let found = next
            .filter_map(|next| walk(next, arrows, path, done))
            .next();
        path.pop();
        done.insert(at);
        found
    }
    let mut done = BTreeSet::new();
    arrows
        .keys()
        .find_map(|start| walk(start, arrows, &mut Vec::new(), &mut done))
}

/// All Rust files under a folder, except those under `without`.
fn files_under(folder: &Path, without: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path != without {
            found.extend(files_under(&path, without));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(root: &Path, without: &Path) -> Crate {
    let files = files_under(root, without);
    Crate::new(files.iter().map(|file| {
        let path = file.strip_prefix(root).expect("it is under it");
        let text = fs::read_to_string(file).expect("UTF-8");
        Source::new(path.to_str().expect("UTF-8"), &text)
    }))
}

#[test]
fn sources_follow_every_rule() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let core = src.join("core");
    for (root, least) in [(&src, 20), (&core, 60)] {
        let files = read(root, if *root == src { &core } else { Path::new("") });
        assert!(files.0.len() > least, "{} files", files.0.len());
        let faults = files.faults();
        assert!(
            faults.is_empty(),
            "{}:\n{}",
            root.display(),
            faults.join("\n")
        );
    }
}

fn faults(sources: &[(&str, &str)]) -> Vec<String> {
    let sources = sources.iter().map(|(path, text)| Source::new(path, text));
    Crate::new(sources).faults()
}

#[test]
fn each_rule_finds_a_violation() {
    let long = "const X: u8 = 1;\n".repeat(MAX_LINES + 1);
    for (sources, word) in [
        (
            &[
                ("a.rs", "use crate::b::B; pub struct A;"),
                ("b.rs", "use crate::a::A; pub struct B;"),
            ][..],
            "files in a circle: a.rs → b.rs → a.rs",
        ),
        (
            // By a path in the code, a group, and a re-exported name.
            &[
                (
                    "a/mod.rs",
                    "mod x; pub use x::X; pub fn f() { crate::b::g(); }",
                ),
                ("a/x.rs", "pub struct X;"),
                ("b.rs", "use crate::{a::{X, f}}; pub fn g() {}"),
            ],
            "files in a circle: a/mod.rs → b.rs → a/mod.rs",
        ),
        (
            &[
                ("a/x.rs", "use crate::b::y::Y; pub struct X;"),
                ("a/z.rs", "pub struct Z;"),
                ("b/y.rs", "use crate::a::z::Z; pub struct Y;"),
            ],
            "rooms in a circle: a → b → a",
        ),
        (
            &[
                ("e/a/x.rs", "use crate::e::b::y::Y; pub struct X;"),
                ("e/a/z.rs", "pub struct Z;"),
                ("e/b/y.rs", "use super::super::a::z::Z; pub struct Y;"),
            ],
            "rooms in a circle: e/a → e/b → e/a",
        ),
        (
            &[
                ("engine/a.rs", "pub struct A;"),
                ("engine/b.rs", "use super::a::A; impl A { fn f() {} }"),
            ],
            "engine/b.rs has methods of A",
        ),
        (
            &[("reactor/mod.rs", "fn f() { rustix::io::read(a, b); }")],
            "rustix::io::read",
        ),
        (
            &[("a.rs", "use rustix::io::{Errno, write};")],
            "rustix::io::write",
        ),
        (
            &[("a.rs", "use std::net::{IpAddr, TcpStream};")],
            "TcpStream",
        ),
        (&[("a.rs", &long)], "lines of code"),
    ] {
        let found = faults(sources);
        let is_found = found.iter().any(|fault| fault.contains(word));
        assert!(is_found, "{word}: {found:?}");
    }
}

#[test]
fn sources_that_follow_the_rules_have_no_faults() {
    let tests = format!(
        "#[cfg(test)]\nmod tests {{ {} }}",
        "fn f() {}\n".repeat(900)
    );
    for sources in [
        &[
            (
                "a.rs",
                "#[cfg(test)]\nmod tests { use crate::b::B; } pub struct A;",
            ),
            ("b.rs", "use crate::a::A;"),
        ][..],
        &[
            ("a/mod.rs", "#[cfg(test)] mod tests; pub struct A;"),
            ("a/tests.rs", "use super::A; use crate::b;"),
            ("b.rs", "use crate::a::A;"),
        ],
        // A folder re-exports names of its files, which use each other.
        &[
            ("a/mod.rs", "mod x; mod y; pub use x::X; pub use y::Y;"),
            ("a/x.rs", "use super::y::Y; pub struct X;"),
            ("a/y.rs", "pub struct Y;"),
        ],
        &[(
            "a.rs",
            "// use std::net::TcpStream;\nconst A: &str = \"rustix::io::read\";",
        )],
        &[("reactor/sockets.rs", "use rustix::io::{read, write};")],
        &[("a.rs", &tests)],
    ] {
        assert_eq!(faults(sources), [""; 0]);
    }
}
