//! A comparison as one page of HTML: plots, tables, what it was measured on and what to beware of.
//!
//! The page needs nothing else: no script, no file beside it, no network. All text goes through
//! maud, which escapes it.

pub(crate) mod chart;
pub(crate) mod scale;
mod tables;

use chart::{Across, Bars, Dots, Point, Series};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use scale::short;

use crate::comparison::{Comparison, Measure, Results, median};
use crate::conductor::Mode;
use crate::report::Report;

/// The most decades of a percentile axis that are told by name.
const PERCENTILES: [(f64, &str); 6] = [
    (0.5, "50 %"),
    (0.1, "90 %"),
    (0.01, "99 %"),
    (0.001, "99.9 %"),
    (0.000_1, "99.99 %"),
    (0.000_01, "99.999 %"),
];

/// The whole page.
pub fn render(comparison: &Comparison) -> String {
    let title = title(comparison);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                style { (PreEscaped(include_str!("page/style.css"))) }
            }
            body {
                (head(comparison, &title))
                (overview(comparison))
                (growth(comparison))
                (memory(comparison))
                (delays(comparison))
                (tables::main(comparison))
                (tables::nodes(comparison))
                (tables::details(comparison))
                (caveats(comparison))
            }
        }
    };
    page.into_string()
}

fn title(comparison: &Comparison) -> String {
    match (&comparison.servers[..], &comparison.rows[..]) {
        ([server], [row]) => format!("{server}: {}", row.name),
        ([first, second, rest @ ..], _) => {
            let others = [&[first.clone()][..], rest].concat();
            format!("{second} beside {}", others.join(", "))
        }
        (servers, _) => servers.join(", "),
    }
}

fn head(comparison: &Comparison, title: &str) -> Markup {
    let machines = distinct(comparison.runs().map(|run| run.machine.line()));
    let moments = distinct(comparison.runs().map(|run| run.machine.at.clone()));
    let loads = comparison
        .runs()
        .filter_map(|run| run.machine.load.parse::<f64>().ok());
    let loads = loads.fold(None, |range: Option<(f64, f64)>, load| {
        let (least, most) = range.unwrap_or((load, load));
        Some((least.min(load), most.max(load)))
    });
    html! {
        header {
            h1 { (title) }
            @for machine in machines { p { (machine) } }
            @if let (Some(first), Some((least, most))) = (moments.first(), loads) {
                p {
                    "Begun " (first) "; the machine's load was "
                    (short(least)) " to " (short(most)) "."
                }
            }
            ul.key-list {
                @for (place, server) in comparison.servers.iter().enumerate() {
                    li { (chart::key(place)) b { (server) } span { (comparison.version(server)) } }
                }
            }
        }
    }
}

fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// Processor time beside the yardstick's, row by row.
fn overview(comparison: &Comparison) -> Markup {
    let rows = comparison.rows.iter().filter_map(|row| {
        let dots = (1..comparison.servers.len()).filter_map(|place| {
            let ratio = row.ratio(place)?;
            let name = comparison.servers[place].clone();
            Some((place, name, [ratio.median, ratio.least, ratio.most]))
        });
        let dots: Vec<_> = dots.collect();
        (row.measure == Measure::Cpu && !dots.is_empty()).then(|| Dots {
            title: row.name.clone(),
            mark: row.mark,
            dots,
        })
    });
    let rows: Vec<Dots> = rows.collect();
    if rows.is_empty() {
        return html! {};
    }
    let yardstick = &comparison.servers[0];
    html! {
        h2 { "Processor time of the server, beside " (yardstick) }
        p {
            "For the same work, as a multiple of what " (yardstick) " takes: the middle of all runs, \
             and their range. Less is better. The upright strokes are the marks that encke is to \
             reach."
        }
        figure data-plot="overview" {
            (chart::dots(&rows, &format!("times {yardstick}, logarithmic")))
        }
    }
}

/// Processor time per delivery against subscribers, a plot for each transport.
fn growth(comparison: &Comparison) -> Markup {
    let rows: Vec<&Results> = comparison
        .rows
        .iter()
        .filter(|row| {
            row.measure == Measure::Cpu
                && sample(row).is_some_and(|run| {
                    run.mode == Mode::FanOut && run.channels == 1 && run.rate == 0.0
                })
        })
        .collect();
    let transports = distinct(
        rows.iter()
            .filter_map(|row| Some(sample(row)?.transport.clone())),
    );
    if transports.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Processor time per delivery against subscribers" }
        p { "One message to all, the next when all have it. Both axes are logarithmic." }
        div.cards {
            @for transport in transports {
                figure data-plot="growth" {
                    h3 { (transport) }
                    (growth_plot(comparison, &rows, &transport))
                }
            }
        }
    }
}

fn growth_plot(comparison: &Comparison, rows: &[&Results], transport: &str) -> Markup {
    let mut ticks = Vec::new();
    let mut all = Vec::new();
    for (place, name) in comparison.servers.iter().enumerate() {
        let mut points = Vec::new();
        for row in rows {
            let (Some(run), Some(cpu)) = (
                row.cells.get(place).and_then(|cell| cell.runs.first()),
                row.median(place),
            ) else {
                continue;
            };
            if run.transport == transport {
                let x = f64::from(run.subscribers);
                let hint = format!("{name}, {} subscribers: {} µs", short(x), short(cpu / 1e3));
                ticks.push((x, short(x)));
                points.push(Point {
                    x,
                    y: cpu / 1e3,
                    hint: Some(hint),
                    size: 1.0,
                });
            }
        }
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        all.push(Series {
            place,
            name: name.clone(),
            points,
        });
    }
    ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
    ticks.dedup();
    // Of numbers that are close to each other, the greater one is said.
    let next: Vec<f64> = ticks.iter().skip(1).map(|tick| tick.0).collect();
    let mut number = 0;
    ticks.retain(|tick| {
        number += 1;
        next.get(number - 1).is_none_or(|next| next / tick.0 > 1.9)
    });
    let across = Across {
        title: "subscribers",
        ticks,
        is_log: true,
    };
    chart::lines(&across, "µs per delivery", &all)
}

/// The first run of a row.
fn sample(row: &Results) -> Option<&Report> {
    row.cells.iter().flat_map(|cell| &cell.runs).next()
}

/// Bytes per parked connection.
fn memory(comparison: &Comparison) -> Markup {
    let rows = comparison
        .rows
        .iter()
        .filter(|row| row.measure == Measure::Rss);
    let groups: Vec<Bars> = rows
        .map(|row| {
            let servers = comparison.servers.iter().enumerate();
            let bars = servers.map(|(place, name)| (place, name.clone(), row.median(place)));
            Bars {
                title: row.name.clone(),
                bars: bars.collect(),
            }
        })
        .collect();
    if groups.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Bytes per parked connection" }
        p {
            "Resident memory of the server's processes, less what they had without subscribers, \
             for each connection. The kernel's own buffers, the same for all, are in the second \
             table."
        }
        figure data-plot="memory" { (chart::bars(&groups, "B")) }
    }
}

/// The distribution of delays, a plot for each row in which messages arrive.
fn delays(comparison: &Comparison) -> Markup {
    let rows: Vec<(&Results, Vec<Series>)> = comparison
        .rows
        .iter()
        .filter_map(|row| {
            let run = sample(row)?;
            let counts =
                !matches!(run.mode, Mode::Park | Mode::Idle) && row.measure != Measure::Syscalls;
            let series = distribution(comparison, row);
            (counts && !series.is_empty()).then_some((row, series))
        })
        .collect();
    if rows.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Delays" }
        p {
            "From the time a message was to be sent until it arrived, or of a request until its \
             answer: so much of all took no longer than that. The driver's own time is in them. \
             Where the next message waits until all have the last, they show how long serving \
             all takes; only at a rate do they show what a client waits."
        }
        div.cards {
            @for (row, series) in rows {
                figure data-plot="delays" {
                    h3 { (row.name) }
                    (chart::lines(&percentiles(&series), "ms", &series))
                }
            }
        }
    }
}

/// An axis of the percentiles that there are values for, by the number of nines.
fn percentiles(series: &[Series]) -> Across {
    let points = series.iter().flat_map(|series| &series.points);
    let furthest = points.map(|point| point.x).fold(0.0, f64::max);
    let ticks = PERCENTILES
        .iter()
        .map(|(longer, name)| (-longer.log10(), (*name).to_owned()));
    Across {
        title: "share of all, logarithmic towards the longest",
        ticks: ticks.filter(|tick| tick.0 <= furthest + 0.01).collect(),
        is_log: false,
    }
}

/// For each server, the middle of its runs at each point of the distribution.
fn distribution(comparison: &Comparison, row: &Results) -> Vec<Series> {
    let mut all = Vec::new();
    for (place, (name, cell)) in comparison.servers.iter().zip(&row.cells).enumerate() {
        let mut points = Vec::new();
        // As far as all runs have points: a middle of fewer would jump.
        let shortest = cell.runs.iter().min_by_key(|run| run.delays.curve.len());
        for (step, (longer, _)) in shortest
            .iter()
            .flat_map(|run| &run.delays.curve)
            .enumerate()
        {
            let values = cell
                .runs
                .iter()
                .filter_map(|run| Some(run.delays.curve.get(step)?.1 as f64));
            let Some(ns) = median(values.collect()) else {
                continue;
            };
            let said = PERCENTILES.iter().find(|said| said.0 == *longer);
            let ms = ns / 1e6;
            points.push(Point {
                x: -longer.log10(),
                y: ms,
                hint: said.map(|said| format!("{name}, {}: {} ms", said.1, short(ms))),
                size: 1.0,
            });
        }
        if !points.is_empty() {
            all.push(Series {
                place,
                name: name.clone(),
                points,
            });
        }
    }
    all
}

fn caveats(comparison: &Comparison) -> Markup {
    let reasons = comparison.reasons();
    html! {
        @if !reasons.is_empty() {
            h2 { "What is not here" }
            ul {
                @for (server, reason, rows) in reasons {
                    li { b { (server) } ", " (rows.join("; ")) ": " (reason) }
                }
            }
        }
        h2 { "How to read this" }
        ul {
            li {
                "Server and driver share a machine, each on a processor of its own, over \
                 loopback. Absolute figures say little; servers are run in turn, and what counts \
                 is the ratio of runs that follow each other. What else the machine does only \
                 ever adds."
            }
            li {
                "Processor time is that of all of a server's processes, from the kernel's \
                 scheduler. On loopback it holds the kernel's work of delivery, the receiving \
                 side's included: which is the same for all, and brings ratios closer to one \
                 than they would be over a network."
            }
            li {
                "floor does the least that any epoll server could, and keeps no history: a \
                 yardstick, not a server to be used. A burst may cost less than it does, by one \
                 write for several messages."
            }
            li {
                "Where BBR is the kernel's default, its timers are part of what each server \
                 costs. The driver's own sockets use Reno, since requests that are held back \
                 could be overtaken by a publish."
            }
            li {
                "At a rate that the machine does not keep up with, messages that have gathered \
                 leave in one write, as in a burst."
            }
            li {
                "\"publish, one by one\" is mostly what it costs to wake a sleeping processor. \
                 \"One apart\" is mostly the driver's time where it has one processor; beside \
                 other work it says nothing."
            }
            li {
                "Each server has its defaults but for limits that would end the run, and pings, \
                 which are too long apart to take part. nginx has one worker. Pushpin's \
                 processes, zurl included, are counted together; the application behind it is \
                 not."
            }
            li {
                "Each receipt is checked: a run in which anything was lost, came twice, out of \
                 order or to the wrong one is no run here."
            }
        }
        h2 { "How it was made" }
        pre { @for command in &comparison.commands { (command) "\n" } }
    }
}
