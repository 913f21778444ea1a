//! Plots as SVG: lines over two axes, bars, and dots beside a line at one.
//!
//! Hand-written because plotting libraries write colours into each element. Here the class of an
//! element says which series it belongs to, and a style sheet gives the colours, for light and dark
//! pages. No text leaves its place however long a name is; nothing here reads a result.

use maud::{Markup, html};

use super::scale::{Scale, short};

const WIDTH: f64 = 560.0;
/// Of a plot that has the page's whole width.
const WIDE: f64 = 1_120.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 84.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 48.0;

/// Room for a line of text.
const LINE: f64 = 14.0;

/// The points of one server or technique.
pub(crate) struct Series {
    /// Its place among all, which chooses its class and shape.
    pub(crate) place: usize,
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// A value. Without a hint, which is shown when it is pointed at, it has no marker and only leads
/// the line.
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) hint: Option<String>,
    /// How many times larger than usual its marker is.
    pub(crate) size: f64,
}

/// An axis from left to right.
pub(crate) struct Across {
    pub(crate) title: &'static str,
    pub(crate) ticks: Vec<(f64, String)>,
    pub(crate) is_log: bool,
}

/// Lines over two axes, the upright one logarithmic.
pub(crate) fn lines(across: &Across, up: &str, series: &[Series]) -> Markup {
    let points = || series.iter().flat_map(|series| &series.points);
    let (left, right) = (LEFT, WIDTH - RIGHT);
    let (top, bottom) = (TOP + LINE, HEIGHT - BOTTOM);
    let xs = points().map(|point| point.x);
    let x = match across.is_log {
        true => Scale::log(xs, left + 8.0, right - 8.0),
        false => Scale::between(0.0, xs.fold(1.0, f64::max), left, right),
    };
    let y = Scale::log(points().map(|point| point.y), bottom, top);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" {
            text.axis x=(px(left)) y=(px(TOP)) { (up) }
            @for tick in y.ticks() {
                line.grid x1=(px(left)) x2=(px(right)) y1=(px(y.at(tick))) y2=(px(y.at(tick))) {}
                text.tick.end x=(px(left - 8.0)) y=(px(y.at(tick) + 4.0)) { (short(tick)) }
            }
            @for (value, text) in &across.ticks {
                @let at = px(x.at(*value));
                line.grid x1=(at) x2=(at) y1=(px(bottom)) y2=(px(bottom + 5.0)) {}
                text.tick.middle x=(at) y=(px(bottom + 5.0 + LINE)) { (text) }
            }
            text.axis.middle x=(px((left + right) / 2.0)) y=(px(HEIGHT - 8.0)) { (across.title) }
            @for one in series {
                g class=(format!("series s{}", one.place)) {
                    path.line d=(path(one, &x, &y)) {}
                    @for point in &one.points {
                        @if let Some(hint) = &point.hint {
                            @let (x, y) = (x.at(point.x), y.at(point.y));
                            (marker(one.place, x, y, point.size, hint))
                        }
                    }
                }
            }
            @for (name, place, at) in labels(series, &y, bottom) {
                g class=(format!("series s{place}")) { (marker(place, right + 14.0, at, 1.0, name)) }
                text.label x=(px(right + 23.0)) y=(px(at + 4.0)) { (name) }
            }
        }
    }
}

fn path(series: &Series, x: &Scale, y: &Scale) -> String {
    let points = series.points.iter().enumerate();
    let steps = points.map(|(number, point)| {
        let letter = if number == 0 { 'M' } else { 'L' };
        format!("{letter}{} {}", px(x.at(point.x)), px(y.at(point.y)))
    });
    steps.collect()
}

/// Names at the ends of lines, moved apart where they would lie on each other.
fn labels<'s>(series: &'s [Series], y: &Scale, bottom: f64) -> Vec<(&'s str, usize, f64)> {
    let ends = series.iter().filter_map(|series| {
        let end = series.points.last()?;
        Some((series.name.as_str(), series.place, y.at(end.y)))
    });
    let mut labels: Vec<_> = ends.collect();
    labels.sort_by(|a, b| b.2.total_cmp(&a.2));
    let mut below = bottom + LINE;
    for label in &mut labels {
        label.2 = label.2.min(below - LINE);
        below = label.2;
    }
    // Many that end at the top were moved above it.
    let mut above = TOP;
    for label in labels.iter_mut().rev() {
        label.2 = label.2.max(above + LINE);
        above = label.2;
    }
    labels
}

/// The marker of a value: a shape for each series, so that colour is not the only difference.
fn marker(place: usize, x: f64, y: f64, size: f64, hint: &str) -> Markup {
    let shape = match place % 4 {
        0 => "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
        1 => "M-4 -4h8v8h-8z",
        2 => "M-4 0l4 -5l4 5l-4 5z",
        _ => "M-4 4l4 -8l4 8z",
    };
    let place = format!("translate({} {}) scale({size:.2})", px(x), px(y));
    html! {
        path.marker transform=(place) d=(shape) { title { (hint) } }
    }
}

/// A marker by itself, for a legend.
pub(super) fn key(place: usize) -> Markup {
    html! {
        svg.key viewBox="0 0 12 12" aria-hidden="true" {
            g class=(format!("series s{place}")) { (marker(place, 6.0, 6.0, 1.0, "")) }
        }
    }
}

/// A group of bars under one heading: the server's place, its name, and a value if it has one.
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) bars: Vec<(usize, String, Option<f64>)>,
}

/// Bars from zero, with their values at their ends.
pub(super) fn bars(groups: &[Bars], unit: &str) -> Markup {
    const BAR: f64 = 18.0;
    const NAME: f64 = 68.0;
    let values = groups.iter().flat_map(|group| &group.bars);
    let greatest = values.filter_map(|bar| bar.2).fold(1.0, f64::max);
    let x = Scale::from_zero(greatest, NAME, WIDE - RIGHT);
    let mut at = TOP;
    let mut places = Vec::new();
    for group in groups {
        at += LINE;
        let title = at;
        at += 8.0;
        let first = at;
        at += group.bars.len() as f64 * BAR + 10.0;
        places.push((group, title, first));
    }
    html! {
        svg viewBox=(format!("0 0 {WIDE} {}", at.ceil())) role="img" {
            @for (group, title, first) in places {
                text.axis x="0" y=(px(title)) { (group.title) }
                @for (row, (place, name, value)) in group.bars.iter().enumerate() {
                    @let y = first + row as f64 * BAR;
                    text.tick.end x=(px(NAME - 8.0)) y=(px(y + 11.0)) { (name) }
                    @let text = value.map(|value| format!("{} {unit}", short(value)));
                    @let end = x.at(value.unwrap_or(0.0)).max(NAME + 1.0);
                    @if value.is_some() {
                        rect class=(format!("bar s{place}")) x=(px(NAME)) y=(px(y))
                            width=(px(end - NAME)) height=(px(BAR - 4.0)) rx="2" {}
                    }
                    text.value x=(px(end + 6.0)) y=(px(y + 11.0)) {
                        (text.as_deref().unwrap_or("–"))
                    }
                }
            }
        }
    }
}

/// A row of dots: what it is about, the mark if there is one, and for each server its place, name,
/// and middle, least and greatest value.
pub(super) struct Dots {
    pub(super) title: String,
    pub(super) mark: Option<f64>,
    pub(super) dots: Vec<(usize, String, [f64; 3])>,
}

/// Dots beside a line at one, on a logarithmic axis.
pub(super) fn dots(rows: &[Dots], title: &str) -> Markup {
    const NAMES: f64 = 250.0;
    const ROW: f64 = 24.0;
    let bottom = TOP + rows.len() as f64 * ROW;
    let ranges = rows.iter().flat_map(|row| &row.dots);
    let values = ranges.flat_map(|dot| dot.2).chain([0.9, 1.1]);
    let x = Scale::log(values, NAMES, WIDE - 20.0);
    html! {
        svg viewBox=(format!("0 0 {WIDE} {}", (bottom + 40.0).ceil())) role="img" {
            @for tick in x.ticks() {
                line.grid x1=(px(x.at(tick))) x2=(px(x.at(tick))) y1=(px(TOP)) y2=(px(bottom)) {}
                text.tick.middle x=(px(x.at(tick))) y=(px(bottom + LINE)) { (short(tick)) "×" }
            }
            line.one x1=(px(x.at(1.0))) x2=(px(x.at(1.0))) y1=(px(TOP)) y2=(px(bottom)) {}
            text.axis.middle x=(px((NAMES + WIDE) / 2.0)) y=(px(bottom + 34.0)) { (title) }
            @for (number, row) in rows.iter().enumerate() {
                @let y = TOP + (number as f64 + 0.5) * ROW;
                text.axis.end x=(px(NAMES - 14.0)) y=(px(y + 4.0)) { (row.title) }
                @if let Some(mark) = row.mark {
                    path.mark d=(format!("M{} {}v16", px(x.at(mark)), px(y - 8.0))) {
                        title { "encke's mark: at most " (short(mark)) "×" }
                    }
                }
                @for (place, name, [middle, least, most]) in &row.dots {
                    g class=(format!("series s{place}")) {
                        @let hint = format!("{name}: {middle:.2}× ({least:.2} to {most:.2})");
                        line.range x1=(px(x.at(*least))) x2=(px(x.at(*most)))
                            y1=(px(y)) y2=(px(y)) {}
                        (marker(*place, x.at(*middle), y, 1.0, &hint))
                    }
                }
            }
        }
    }
}

/// A coordinate: a tenth of a unit is finer than any screen.
fn px(value: f64) -> String {
    format!("{value:.1}")
}
