//! The plot of costs against delays.

use maud::{Markup, PreEscaped, html};

use super::row::Row;
use super::technique::Technique;
use crate::page::chart::{self, Across, Point, Series};
use crate::page::scale::{Scale, short};

/// Colours beside those of pages: blues for polls, warm colours for long polls, green and purple
/// for streams.
const COLORS: &str = "\
.s0 { --c: #08306b } .s1 { --c: #2171b5 } .s2 { --c: #56a0d3 } .s3 { --c: #9ecae1 }
.s4 { --c: #c83c14 } .s5 { --c: #f59628 } .s6 { --c: #288c3c } .s7 { --c: #823ca0 }
@media (prefers-color-scheme: dark) { .s0 { --c: #3f6fb5 } }";

/// Draws a picture in SVG with a line over the rates for each technique: costs upwards, delays from
/// left to right, both by powers of ten.
pub fn plot(rows: &[Row]) -> String {
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1140 350" width="1140" height="350" {
            style { (PreEscaped(include_str!("../page/style.css"))) (PreEscaped(COLORS)) }
            rect width="1140" height="350" style="fill: var(--card)" {}
            (panel(rows, 5, "server CPU, ms per client and hour", Row::cpu_ms_hourly))
            (panel(rows, 575, "bytes both ways, kB per client and hour", kilobytes))
        }
    };
    picture.into_string()
}

fn kilobytes(row: &Row) -> f64 {
    row.bytes_hourly() / 1e3
}

fn panel(rows: &[Row], left: u32, title: &str, cost: fn(&Row) -> f64) -> Markup {
    let marks: Vec<&Row> = rows
        .iter()
        .filter(|row| row.technique != Technique::Nobody && row.received > 0 && cost(row) > 0.0)
        .collect();
    let mut series: Vec<Series> = Vec::new();
    for row in &marks {
        let name = row.technique.to_string();
        let place = match series.iter().position(|one| one.name == name) {
            Some(place) => place,
            None => {
                series.push(Series {
                    place: series.len(),
                    name: name.clone(),
                    points: Vec::new(),
                });
                series.len() - 1
            }
        };
        let points = &mut series[place].points;
        let (x, y) = (row.p50_ms(), cost(row));
        points.push(Point {
            x,
            y,
            hint: Some(format!(
                "{name}, {} a second: {} ms, {}",
                short(row.rate),
                short(x),
                short(y)
            )),
            size: 0.7 + 0.25 * points.len() as f64,
        });
    }
    let delays = Scale::log(marks.iter().map(|row| row.p50_ms()), 0.0, 1.0);
    let across = Across {
        title: "delay p50, ms (the larger the mark, the more events a second)",
        ticks: delays
            .ticks()
            .into_iter()
            .map(|tick| (tick, short(tick)))
            .collect(),
        is_log: true,
    };
    html! {
        svg x=(left) y="10" width="560" height="330" { (chart::lines(&across, title, &series)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::sample;
    use super::*;

    #[test]
    fn each_row_has_its_mark_in_both_panels() {
        let rows: Vec<Row> = Technique::all().into_iter().map(sample).collect();
        let svg = plot(&rows);
        // The names at the right have one more of each.
        assert_eq!(svg.matches("class=\"marker\"").count(), 4 * rows.len());
        assert!(
            svg.starts_with("<svg xmlns") && !svg.contains("NaN"),
            "{svg}"
        );
    }

    #[test]
    fn nothing_received_is_no_error() {
        let mut row = sample(Technique::Sse);
        row.received = 0;
        assert!(!plot(&[row]).contains("NaN"));
    }
}
