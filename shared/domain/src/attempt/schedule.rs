//! The delays between attempts.

use std::str::FromStr;
use std::time::Duration;

/// The delays between the attempts of one round, in order. With four delays a round has five attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    delays: Vec<Duration>,
}

/// The longest schedule, in delays. More than twenty-one attempts would be more than customers and the log expect.
pub const MAX_DELAYS: usize = 20;

/// The longest single delay: a day. A Step Functions execution could wait for a year, but deliveries are not stored
/// that long.
pub const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A text that is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_DELAYS} delays such as `1m,5m,30m,2h`, each from 1s to 24h")]
pub struct InvalidSchedule;

impl Schedule {
    /// The delay after the attempt with this index within its round, from 0; `None` after the last.
    pub fn delay_after(&self, index: u32) -> Option<Duration> {
        self.delays.get(usize::try_from(index).ok()?).copied()
    }

    /// How many attempts a round has.
    pub fn attempts(&self) -> usize {
        self.delays.len() + 1
    }
}

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let delays =
            text.split(',').map(|part| delay(part.trim())).collect::<Option<Vec<_>>>().ok_or(InvalidSchedule)?;
        (delays.len() <= MAX_DELAYS).then_some(Self { delays }).ok_or(InvalidSchedule)
    }
}

fn delay(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds_per_unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        _ => return None,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let delay = Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds_per_unit)?);
    (!delay.is_zero() && delay <= MAX_DELAY).then_some(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_schedule_is_five_attempts() {
        let schedule: Schedule = "1m,5m,30m,2h".parse().unwrap();
        assert_eq!(schedule.attempts(), 5);
        let delays: Vec<_> = (0..5).map(|index| schedule.delay_after(index).map(|delay| delay.as_secs())).collect();
        assert_eq!(delays, [Some(60), Some(300), Some(1_800), Some(7_200), None]);
    }

    #[track_caller]
    fn refused(text: &str) {
        assert_eq!(text.parse::<Schedule>(), Err(InvalidSchedule), "{text}");
    }

    #[test]
    fn anything_else_is_refused() {
        assert!("1s, 3s ,24h".parse::<Schedule>().is_ok());
        refused("");
        refused("1m,");
        refused("0s");
        refused("25h");
        refused("5");
        refused("m");
        refused("+1m");
        refused("1.5h");
        refused("1d");
        refused("1m5m");
        refused("1µ");
        refused("99999999999999999999h");
        refused(&vec!["1s"; MAX_DELAYS + 1].join(","));
    }
}
