//! When events happen, and how old what is under way is: by chance, from a seed.

use fastrand::Rng;

/// An event of the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Nanoseconds since the begin of the window; negative before it.
    pub(super) at: i64,
    /// On which channel.
    pub(super) channel: u32,
}

/// Events at random, so many a second on each channel, in order of time.
pub(super) fn poisson(seed: u64, channels: u32, rate: f64, from: i64, until: i64) -> Vec<Event> {
    let mut events = Vec::new();
    for channel in 0..channels {
        let mut rng = Rng::with_seed(seed ^ u64::from(channel) << 32);
        let mut at = from;
        loop {
            at += (exponential(&mut rng, 1.0) / rate * 1e9) as i64 + 1;
            if at >= until {
                break;
            }
            events.push(Event { at, channel });
        }
    }
    events.sort_by_key(|event| (event.at, event.channel));
    events
}

/// How long what lasts until an event, or `most` seconds at most, has lasted when one looks at it:
/// in seconds.
pub(super) fn age(rng: &mut Rng, rate: f64, most: f64) -> f64 {
    exponential(rng, 1.0 - (-rate * most).exp()) / rate
}

/// An exponential of mean 1, of its lowest `part`.
fn exponential(rng: &mut Rng, part: f64) -> f64 {
    -(1.0 - rng.f64() * part).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_as_many_as_asked_for_and_the_same_for_a_seed() {
        let events = poisson(7, 10, 5.0, -20_000_000_000, 80_000_000_000);
        // 5,000 expected, with a standard deviation of 71.
        assert!((4_600..5_400).contains(&events.len()), "{}", events.len());
        assert!(events.is_sorted_by_key(|event| event.at));
        let squares: usize = (0..100)
            .map(|second| {
                let from = second * 1_000_000_000 - 20_000_000_000;
                let within = |event: &&Event| (from..from + 1_000_000_000).contains(&event.at);
                events.iter().filter(within).count().pow(2)
            })
            .sum();
        // The variance of a Poisson count is its mean, 50; even spacing would have none.
        let variance = squares as f64 / 100.0 - (events.len() as f64 / 100.0).powi(2);
        assert!((20.0..100.0).contains(&variance), "{variance}");
        assert_eq!(events, poisson(7, 10, 5.0, -20_000_000_000, 80_000_000_000));
        assert_ne!(events, poisson(8, 10, 5.0, -20_000_000_000, 80_000_000_000));
    }

    #[test]
    fn ages_stay_below_the_most() {
        let mut rng = Rng::with_seed(1);
        let ages: Vec<f64> = (0..10_000).map(|_| age(&mut rng, 0.001, 30.0)).collect();
        assert!(ages.iter().all(|age| (0.0..30.0).contains(age)));
        // Next to no events: any age is as likely.
        let mean = ages.iter().sum::<f64>() / 10_000.0;
        assert!((14.0..16.0).contains(&mean), "{mean}");
    }
}
