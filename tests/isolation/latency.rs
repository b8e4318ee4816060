//! What a sample of delays says: its middle, its tail, and how two samples compare.

use std::time::Duration;

use serde::Serialize;

/// The delays of many alerts, summed up. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub alerts: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Summary {
    pub fn of(delays: &[Duration]) -> Self {
        let mut millis: Vec<f64> = delays.iter().map(|delay| delay.as_secs_f64() * 1_000.0).collect();
        millis.sort_by(f64::total_cmp);
        Self {
            alerts: millis.len(),
            p50_ms: percentile(&millis, 50),
            p99_ms: percentile(&millis, 99),
            max_ms: percentile(&millis, 100),
        }
    }
}

/// The smallest of the sorted values that so many of a hundred do not exceed (nearest rank); 0 of no values.
fn percentile(sorted: &[f64], of_a_hundred: usize) -> f64 {
    let rank = (sorted.len() * of_a_hundred).div_ceil(100);
    rank.checked_sub(1).and_then(|index| sorted.get(index)).copied().unwrap_or_default()
}

/// How many times as long something takes under a disturbance as without it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    pub p50: f64,
    pub p99: f64,
}

impl Ratio {
    pub fn of(disturbed: &Summary, undisturbed: &Summary) -> Self {
        let ratio = |disturbed: f64, undisturbed: f64| if undisturbed > 0.0 { disturbed / undisturbed } else { 0.0 };
        Self { p50: ratio(disturbed.p50_ms, undisturbed.p50_ms), p99: ratio(disturbed.p99_ms, undisturbed.p99_ms) }
    }
}

/// The smallest and the largest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        numbers.into_iter().fold(None, |spread: Option<Self>, number| {
            let Self { least, most } = spread.unwrap_or(Self { least: number, most: number });
            Some(Self { least: least.min(number), most: most.max(number) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(count: u64, p50: f64, p99: f64) {
        let delays: Vec<_> = (1..=count).rev().map(Duration::from_millis).collect();
        let summary = Summary::of(&delays);
        assert_eq!((summary.p50_ms, summary.p99_ms, summary.max_ms), (p50, p99, count as f64));
    }

    #[test]
    fn percentiles_are_of_the_sample() {
        check(0, 0.0, 0.0);
        check(1, 1.0, 1.0);
        check(2, 1.0, 2.0);
        check(100, 50.0, 99.0);
        check(101, 51.0, 100.0);
        check(1_000, 500.0, 990.0);
    }

    #[test]
    fn two_samples_compare_by_their_percentiles() {
        let of = |millis: u64| Summary::of(&[Duration::from_millis(millis)]);
        assert_eq!(Ratio::of(&of(30), &of(20)), Ratio { p50: 1.5, p99: 1.5 });
        assert_eq!(Ratio::of(&of(30), &Summary::of(&[])), Ratio { p50: 0.0, p99: 0.0 });
    }

    #[test]
    fn a_spread_is_from_the_least_to_the_most() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([2.0, 1.0, 3.0]), Some(Spread { least: 1.0, most: 3.0 }));
    }
}
