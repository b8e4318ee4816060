//! How to delay the message of an attempt that is due later.

use std::time::Duration;

use jiff::Timestamp;

use crate::ids::DeliveryId;

/// The longest delay of a message that SQS supports: 15 minutes.
pub const MAX_QUEUE_DELAY: Duration = Duration::from_secs(15 * 60);

/// How to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// On the queue, with a delay in whole seconds: 0 to 900.
    OnQueue { delay_seconds: i32 },
    /// In an execution of the state machine.
    InExecution,
}

/// Chooses the wait for an attempt that is due at `due_at`. If that has passed, the delay is 0.
pub fn wait_until(due_at: Timestamp, now: Timestamp) -> Wait {
    match queue_delay(due_at, now) {
        Ok(delay_seconds) => Wait::OnQueue { delay_seconds },
        Err(TooLong) => Wait::InExecution,
    }
}

/// The delay, in seconds, of a message that is sent because the execution could not be started: until `due_at`, but at
/// most [`MAX_QUEUE_DELAY`].
pub fn longest_queue_delay(due_at: Timestamp, now: Timestamp) -> i32 {
    queue_delay(due_at, now).unwrap_or(MAX_QUEUE_DELAY.as_secs() as i32)
}

struct TooLong;

/// The delay in whole seconds, rounded up so that the message does not arrive early.
fn queue_delay(due_at: Timestamp, now: Timestamp) -> Result<i32, TooLong> {
    let millis_left = due_at.as_millisecond().saturating_sub(now.as_millisecond()).max(0);
    let seconds = (millis_left + 999) / 1_000;
    if seconds > MAX_QUEUE_DELAY.as_secs() as i64 {
        return Err(TooLong);
    }
    Ok(seconds as i32)
}

/// The name of the execution that waits for an attempt. The same wait always has the same name, so that it is started
/// only once. At most 80 characters, all of them ones that Step Functions can log.
pub fn execution_name(delivery: DeliveryId, attempt: u32, due_at: Timestamp) -> String {
    format!("{delivery}-{attempt}-{}", due_at.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(millis_left: i64, expected: Wait) {
        let now = Timestamp::from_millisecond(1_736_500_000_000).unwrap();
        let due_at = Timestamp::from_millisecond(1_736_500_000_000 + millis_left).unwrap();
        assert_eq!(wait_until(due_at, now), expected, "{millis_left} ms");
    }

    fn on_queue(delay_seconds: i32) -> Wait {
        Wait::OnQueue { delay_seconds }
    }

    #[test]
    fn up_to_fifteen_minutes_wait_on_the_queue() {
        check(-7_200_000, on_queue(0));
        check(0, on_queue(0));
        check(1, on_queue(1));
        check(1_000, on_queue(1));
        check(60_000, on_queue(60));
        check(300_000, on_queue(300));
        check(900_000, on_queue(900));
        check(900_001, Wait::InExecution);
        check(1_800_000, Wait::InExecution);
        check(7_200_000, Wait::InExecution);
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        assert_eq!(wait_until(Timestamp::MAX, Timestamp::MIN), Wait::InExecution);
        assert_eq!(wait_until(Timestamp::MIN, Timestamp::MAX), on_queue(0));
    }

    #[test]
    fn without_an_execution_the_delay_is_at_most_fifteen_minutes() {
        let now = Timestamp::from_second(1_736_500_000).unwrap();
        let left = |seconds: i64| longest_queue_delay(Timestamp::from_second(1_736_500_000 + seconds).unwrap(), now);
        assert_eq!((left(-1), left(30), left(900), left(7_200)), (0, 30, 900, 900));
    }

    #[test]
    fn an_execution_is_named_after_what_it_waits_for() {
        let delivery: DeliveryId = "dlv_01JH7VVHV81KJMEKY94GFHBBTY".parse().unwrap();
        let due_at = Timestamp::from_millisecond(1_736_500_000_999).unwrap();
        let name = execution_name(delivery, 4, due_at);
        assert_eq!(name, "dlv_01JH7VVHV81KJMEKY94GFHBBTY-4-1736500000");
        assert!(execution_name(delivery, u32::MAX, Timestamp::MAX).len() <= 80);
    }
}
