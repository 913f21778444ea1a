//! From values to places on a page, and the numbers that stand along an axis.

/// An axis: the mapping of values to places.
pub(crate) struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    is_log: bool,
}

/// Ticks that a linear axis has at most.
const TICKS: f64 = 6.0;

/// Decades up to which a logarithmic axis has ticks within each.
const FEW_DECADES: f64 = 3.0;

impl Scale {
    /// From zero to a round number not below the greatest.
    pub(crate) fn from_zero(greatest: f64, start: f64, end: f64) -> Scale {
        let step = round_step(greatest);
        Scale {
            low: 0.0,
            high: (greatest / step).ceil().max(1.0) * step,
            start,
            end,
            is_log: false,
        }
    }

    /// Between two values as they are.
    pub(crate) fn between(low: f64, high: f64, start: f64, end: f64) -> Scale {
        Scale {
            low,
            high,
            start,
            end,
            is_log: false,
        }
    }

    /// Logarithmic, from a round number not above the least value to one not below the greatest.
    /// Values of zero and less have no place on it.
    pub(crate) fn log(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Scale {
        let values = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = match low <= high {
            true => (round_down(low), round_up(high)),
            false => (1.0, 10.0),
        };
        Scale {
            low,
            high: if high > low { high } else { low * 10.0 },
            start,
            end,
            is_log: true,
        }
    }

    /// Returns the place of a value.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value / self.low).log10() / (self.high / self.low).log10(),
            false => (value - self.low) / (self.high - self.low),
        };
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Round values along it.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        if !self.is_log {
            let step = round_step(self.high - self.low);
            let count = ((self.high - self.low) / step).round() as u32;
            return (0..=count)
                .map(|number| self.low + f64::from(number) * step)
                .collect();
        }
        let decades = (self.high / self.low).log10();
        let within: &[f64] = match decades < FEW_DECADES {
            true => &[1.0, 2.0, 5.0],
            false => &[1.0],
        };
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let all = (first..=last)
            .flat_map(|decade| within.iter().map(move |step| step * 10_f64.powi(decade)));
        let bounds = self.low * 0.999..=self.high * 1.001;
        all.filter(|tick| bounds.contains(tick)).collect()
    }
}

/// A step of 1, 2 or 5 and zeros that divides a length into a few.
fn round_step(length: f64) -> f64 {
    match length > 0.0 {
        true => round_up(length / TICKS),
        false => 1.0,
    }
}

const ROUND: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let step = ROUND
        .iter()
        .find(|step| **step * decade >= value * 0.999_999);
    step.unwrap_or(&10.0) * decade
}

fn round_down(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let step = ROUND
        .iter()
        .rev()
        .find(|step| **step * decade <= value * 1.000_001);
    step.unwrap_or(&1.0) * decade
}

/// A number in three digits, thousands set apart.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if size == 0.0 || size >= 100.0 => 0,
        _ => (2 - size.log10().floor() as i32).clamp(0, 6) as usize,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let mut out = String::new();
    let first = whole.trim_start_matches('-').len();
    out.push_str(&whole[..whole.len() - first]);
    for (place, digit) in whole[whole.len() - first..].chars().enumerate() {
        if place > 0 && (first - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_numbers_shortly() {
        let numbers = [0.0, 0.01234, 1.0, 1.5, 12.34, 999.6, 10_270.0, -1_234_567.0];
        let texts = [
            "0",
            "0.0123",
            "1",
            "1.5",
            "12.3",
            "1,000",
            "10,270",
            "-1,234,567",
        ];
        assert_eq!(numbers.map(short), texts);
    }

    #[test]
    fn an_axis_holds_its_values_between_round_numbers() {
        let scale = Scale::log([3.0, 700.0, 0.0, f64::NAN].into_iter(), 0.0, 100.0);
        assert_eq!(
            scale.ticks(),
            [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
        );
        assert_eq!(scale.at(2.0), 0.0);
        assert_eq!(scale.at(1_000.0), 100.0);
        let scale = Scale::from_zero(48_000.0, 10.0, 110.0);
        assert_eq!(
            scale.ticks(),
            [0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0, 50_000.0]
        );
        assert_eq!(scale.at(25_000.0), 60.0);
    }

    #[test]
    fn one_value_or_none_is_no_reason_to_fail() {
        for values in [vec![], vec![5.0], vec![0.0]] {
            let scale = Scale::log(values.into_iter(), 0.0, 1.0);
            assert!(scale.ticks().len() > 1);
            assert!(scale.at(5.0).is_finite());
        }
        assert!(Scale::from_zero(0.0, 0.0, 1.0).at(0.0).is_finite());
    }
}
