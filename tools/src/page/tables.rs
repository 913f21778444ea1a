//! The page's tables.

use maud::{Markup, html};

use super::scale::short;
use crate::comparison::{Comparison, Results, median};
use crate::measure::Delays;
use crate::nodes::Figure;
use crate::report::{Parked, Report};

/// Each row, each server, and the marks.
pub(super) fn main(comparison: &Comparison) -> Markup {
    let servers = &comparison.servers;
    html! {
        h2 { "All rows" }
        p {
            "The middle of all runs"
            @if servers.len() > 1 {
                ", and as a multiple of " (servers[0]) " (the least and the greatest of the runs)"
            }
            "."
        }
        div.scroll {
            table {
                thead {
                    tr {
                        th { "load" }
                        @for (place, server) in servers.iter().enumerate() {
                            th { (server) }
                            @if place > 0 { th { "× " (servers[0]) } }
                        }
                        th { "mark" }
                    }
                }
                tbody { @for row in &comparison.rows { (main_row(row, servers)) } }
            }
        }
    }
}

fn main_row(row: &Results, servers: &[String]) -> Markup {
    let encke = servers.iter().position(|server| server == "encke");
    html! {
        tr {
            th { (row.name) }
            @for place in 0..servers.len() {
                @match row.median(place) {
                    Some(value) => td { (row.measure.show(value)) },
                    None => td.none { "–" },
                }
                @if place > 0 {
                    @match row.ratio(place) {
                        Some(ratio) => td {
                            (short(ratio.median))
                            @if ratio.least < ratio.most {
                                small { " " (short(ratio.least)) " to " (short(ratio.most)) }
                            }
                        },
                        None => td.none { "–" },
                    }
                }
            }
            td {
                @if let Some(mark) = row.mark {
                    "≤ " (short(mark)) " " (row.measure.mark_unit()) " "
                }
                @match encke.and_then(|place| row.is_reached(place)) {
                    Some(true) => span.ok { "reached" },
                    Some(false) => span.missed { "missed" },
                    None => {},
                }
            }
        }
    }
}

/// The figures of several nodes.
pub(super) fn nodes(comparison: &Comparison) -> Markup {
    if comparison.figures.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Several nodes over Redis" }
        p {
            "The middle of all rounds, beside a node that is alone or what is named, and the \
             middle of what the rounds say of the two."
        }
        div.scroll {
            table {
                thead {
                    tr {
                        th { "" }
                        th { "beside" }
                        th { "several nodes" }
                        th { "compared" }
                        th { "mark" }
                    }
                }
                tbody { @for figure in &comparison.figures { (nodes_row(figure)) } }
            }
        }
    }
}

fn nodes_row(figure: &Figure) -> Markup {
    html! {
        tr {
            th { (figure.figure) ", " (figure.unit) }
            @match figure.beside() {
                Some(value) => td {
                    (short(value))
                    @if figure.beside_of != "alone" { small { " " (figure.beside_of) } }
                },
                None => td.none { "–" },
            }
            @match figure.nodes() {
                Some(value) => td { (short(value)) small { " " (figure.range_text()) } },
                None => td.none { "–" },
            }
            td { (figure.result_text()) @if !figure.note.is_empty() { small { " " (figure.note) } } }
            td {
                (figure.mark_text()) " "
                @match figure.is_reached() {
                    Some(true) => span.ok { "reached" },
                    Some(false) => span.missed { "missed" },
                    None => {},
                }
            }
        }
    }
}

const COLUMNS: [&str; 17] = [
    "load", "server", "runs", "a second", "core", "p50", "p90", "p99", "p99.9", "longest", "RSS",
    "PSS", "kernel", "empty", "calls", "received", "dropped",
];

/// The table of everything else that was measured.
pub(super) fn details(comparison: &Comparison) -> Markup {
    html! {
        details {
            summary { "Everything else that was measured" }
            p {
                "Middles of the runs. Delays are in milliseconds; memory in bytes for each \
                 connection: the server's, and the kernel's at both ends. Dropped are \
                 connections that a server closed before their first message, and that were made \
                 again."
            }
            div.scroll {
                table {
                    thead {
                        tr {
                            @for name in COLUMNS {
                                th { (name) }
                            }
                        }
                    }
                    tbody {
                        @for row in &comparison.rows {
                            @for (server, cell) in comparison.servers.iter().zip(&row.cells) {
                                @if !cell.runs.is_empty() {
                                    (detail(&row.name, server, &cell.runs))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn detail(name: &str, server: &str, runs: &[Report]) -> Markup {
    let middle = |value: &dyn Fn(&Report) -> Option<f64>| {
        let value = median(runs.iter().filter_map(value).collect());
        value.map_or_else(|| "–".into(), short)
    };
    let delay = |point: &dyn Fn(&Delays) -> u64| {
        middle(&|run| (run.delays.count > 0).then(|| point(&run.delays) as f64 / 1e6))
    };
    let bytes = |part: &dyn Fn(&Parked) -> f64| middle(&|run| run.parked.as_ref().map(part));
    let calls = middle(&|run| (!run.syscalls.is_empty()).then(|| run.syscalls_each()));
    html! {
        tr {
            th { (name) }
            td { (server) }
            td { (runs.len()) }
            td { (middle(&|run| Some(run.units as f64 / run.seconds.max(1e-9)))) }
            td { (middle(&|run| Some(run.cpu_ns as f64 / run.seconds.max(1e-9) / 1e7))) " %" }
            td { (delay(&|delays| delays.p50)) }
            td { (delay(&|delays| delays.p90)) }
            td { (delay(&|delays| delays.p99)) }
            td { (delay(&|delays| delays.p999)) }
            td { (delay(&|delays| delays.max)) }
            td { (bytes(&|parked| parked.rss_each)) }
            td { (bytes(&|parked| parked.pss_each)) }
            td { (bytes(&|parked| parked.kernel_each)) }
            td { (bytes(&|parked| (parked.empty.rss >> 10) as f64)) }
            td { (calls) }
            td { (middle(&|run| Some(run.counts.received as f64))) }
            td { (middle(&|run| Some(run.counts.dropped as f64))) }
        }
    }
}
