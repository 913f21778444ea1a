//! A page can be made of what runs left, by itself and complete.

mod support;
mod swarm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use encke_tools::comparison::{Comparison, Line};
use encke_tools::page;

const COMPARE: &str = env!("CARGO_BIN_EXE_compare");

/// The page's body as XML, which it is too: so that a tag that is not closed is noticed.
fn check(page: &str) -> Vec<String> {
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    for outside in [
        "http:", "https:", "//", "src=", "href=", "@import", "url(", "<script",
    ] {
        assert!(!page.contains(outside), "{outside} in {page}");
    }
    let body = &page[page.find("<body>").unwrap()..page.find("</html>").unwrap()];
    let tree = roxmltree::Document::parse(body).unwrap();
    let figures = tree
        .descendants()
        .filter(|node| node.has_tag_name("figure"));
    let plots = figures.map(|figure| {
        for svg in figure.descendants().filter(|node| node.has_tag_name("svg")) {
            let shapes = svg
                .descendants()
                .filter(|node| node.has_tag_name("path") || node.has_tag_name("rect"));
            assert!(shapes.count() > 0, "an empty plot: {page}");
            for attribute in svg.descendants().flat_map(|node| node.attributes()) {
                let value = attribute.value();
                assert!(
                    !value.contains("NaN") && !value.contains("inf"),
                    "{value} in {page}"
                );
            }
        }
        figure.attribute("data-plot").unwrap().to_owned()
    });
    plots.collect()
}

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Has compare write a page of what was kept; what it prints.
fn show(kept: &Path, written: &Path) -> String {
    let mut command = Command::new(COMPARE);
    command.arg("--from").arg(kept).arg("--html").arg(written);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn all_plots_can_be_made_of_what_swarm_printed() {
    let mut lines = String::new();
    for server in ["floor", "encke"] {
        for load in [
            "fan-out -n 20",
            "fan-out -n 50",
            "fan-out -n 20 -t long-poll",
            "fan-out -n 20 --rate 50",
            "park -n 50",
        ] {
            lines += &swarm::line(server, load);
        }
    }
    let (kept, written) = (scratch("runs.jsonl"), scratch("runs.html"));
    fs::write(&kept, &lines).unwrap();
    let table = show(&kept, &written);
    assert!(table.contains("fan-out, long-poll, 20"), "{table}");
    let page = fs::read_to_string(&written).unwrap();
    let plots = check(&page);
    assert_eq!(plots[..4], ["overview", "growth", "growth", "memory"]);
    assert_eq!(plots[4..], ["delays"; 4]);
    assert!(page.contains("swarm fan-out -n 50"), "{page}");
    assert!(page.contains("encke 0."), "no version in {page}");
}

#[test]
fn a_comparison_is_kept_and_shown_again() {
    swarm::build_encke();
    let (kept, written) = (scratch("compared.jsonl"), scratch("compared.html"));
    let again = scratch("again.html");
    let output = Command::new(COMPARE)
        .args("--no-build --repeats 1 --seconds 0.2 --servers floor encke".split(' '))
        .args(["--only", "fan-out, stream, 100", "--pin-driver", "0"])
        .arg("--save")
        .arg(&kept)
        .arg("--html")
        .arg(&written)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let page = fs::read_to_string(&written).unwrap();
    assert_eq!(check(&page), ["overview", "growth", "delays"]);
    show(&kept, &again);
    assert_eq!(fs::read_to_string(&again).unwrap(), page);
}

#[test]
fn swarm_writes_a_page_of_one_run() {
    let written = scratch("one.html");
    let load = format!("fan-out -n 20 --html {}", written.display());
    swarm::line("encke", &load);
    let plots = check(&fs::read_to_string(&written).unwrap());
    assert_eq!(plots, ["growth", "delays"]);
}

#[test]
fn what_a_server_cannot_do_is_said_and_not_plotted() {
    let mut comparison = Comparison::default();
    comparison.take(Line::Begun {
        command: "compare <&>".into(),
        servers: vec!["floor".into(), "other".into()],
    });
    comparison.take(Line::Left {
        row: "poll, keep-alive, 50".into(),
        server: "other".into(),
        reason: "it has no <polls>".into(),
    });
    let page = page::render(&comparison);
    assert_eq!(check(&page), Vec::<String>::new());
    assert!(
        page.contains("poll, keep-alive, 50: it has no &lt;polls&gt;"),
        "{page}"
    );
}

#[test]
fn an_empty_file_gives_an_empty_page() {
    assert_eq!(
        check(&page::render(&Comparison::read("\n").unwrap())),
        Vec::<String>::new()
    );
    assert!(Comparison::read("{}").is_err());
}
