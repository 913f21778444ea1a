//! The plot: what a technique costs against how late it is.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::row::Row;
use super::technique::Technique;

const SIZE: (u32, u32) = (1_000, 520);

/// Blues for polls, warm colours for long polls, green and purple for streams.
const COLORS: [RGBColor; 8] = [
    RGBColor(8, 48, 107),
    RGBColor(33, 113, 181),
    RGBColor(86, 160, 211),
    RGBColor(158, 202, 225),
    RGBColor(200, 60, 20),
    RGBColor(245, 150, 40),
    RGBColor(40, 140, 60),
    RGBColor(130, 60, 160),
];

type Fault = Box<dyn std::error::Error>;

/// A picture in SVG: for each technique a line over the rates, the lowest cost being the lowest
/// rate; delays from left to right, cost upwards, both by powers of ten.
pub fn plot(rows: &[Row]) -> Result<String, String> {
    let mut svg = String::new();
    draw(rows, &mut svg).map_err(|error| format!("no plot: {error}"))?;
    Ok(svg)
}

fn draw(rows: &[Row], svg: &mut String) -> Result<(), Fault> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let halves = area.split_evenly((1, 2));
    panel(
        &halves[0],
        rows,
        "server CPU, ms per client and hour",
        Row::cpu_ms_hourly,
        true,
    )?;
    panel(
        &halves[1],
        rows,
        "bytes both ways, kB per client and hour",
        kilobytes,
        false,
    )?;
    area.present()?;
    Ok(())
}

fn kilobytes(row: &Row) -> f64 {
    row.bytes_hourly() / 1e3
}

fn panel<B>(
    area: &DrawingArea<B, Shift>,
    rows: &[Row],
    title: &str,
    cost: fn(&Row) -> f64,
    has_legend: bool,
) -> Result<(), Fault>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let marks: Vec<&Row> = rows
        .iter()
        .filter(|row| row.technique != Technique::Nobody && row.received > 0 && cost(row) > 0.0)
        .collect();
    let delays = bounds(marks.iter().map(|row| row.p50_ms()));
    let costs = bounds(marks.iter().map(|row| cost(row)));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .margin_right(28)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (delays.0..delays.1).log_scale(),
            (costs.0..costs.1).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("delay p50, ms (the larger the mark, the more events a second)")
        .label_style(("sans-serif", 13))
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|value| format!("{value}"))
        .y_label_formatter(&|value| format!("{value}"))
        .draw()?;
    let mut techniques: Vec<Technique> = Vec::new();
    for row in &marks {
        if !techniques.contains(&row.technique) {
            techniques.push(row.technique);
        }
    }
    for (technique, color) in techniques.into_iter().zip(COLORS.iter().cycle()) {
        let of = marks.iter().filter(|row| row.technique == technique);
        let points: Vec<(f64, f64)> = of.map(|row| (row.p50_ms(), cost(row))).collect();
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(1));
        chart
            .draw_series(line)?
            .label(technique.to_string())
            .legend(|(x, y)| Circle::new((x + 8, y), 4, color.filled()));
        let dots = points.into_iter().zip(3..);
        chart.draw_series(dots.map(|(point, size)| Circle::new(point, size, color.filled())))?;
    }
    if has_legend {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerMiddle)
            .label_font(("sans-serif", 13))
            .border_style(BLACK.mix(0.2))
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
    Ok(())
}

/// Whole powers of ten around the values.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    if least > most {
        return (0.1, 1.0);
    }
    let low = least.log10().floor();
    (
        10_f64.powf(low),
        10_f64.powf(most.log10().ceil().max(low + 1.0)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::row::sample;
    use super::*;

    #[test]
    fn each_row_has_its_mark_in_both_halves() {
        let rows: Vec<Row> = Technique::all().into_iter().map(sample).collect();
        let svg = plot(&rows).unwrap();
        // The legend has one more of each.
        assert_eq!(svg.matches("<circle").count(), 3 * rows.len());
        assert!(svg.starts_with("<svg") && !svg.contains("NaN"), "{svg}");
        assert!(svg.len() < 50_000);
    }

    #[test]
    fn bounds_are_powers_of_ten() {
        assert_eq!(bounds([0.3, 20.0].into_iter()), (0.1, 100.0));
        assert_eq!(bounds([10.0].into_iter()), (10.0, 100.0));
        assert_eq!(bounds([].into_iter()), (0.1, 1.0));
    }

    #[test]
    fn nothing_received_is_no_fault() {
        let mut row = sample(Technique::Sse);
        row.received = 0;
        assert!(plot(&[row]).is_ok());
    }
}
