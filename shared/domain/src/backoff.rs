//! What becomes of a message whose handling ended in a fault of ours: how long its queue hides it before it comes back, or
//! when it is given up.

use std::time::Duration;

use jiff::Timestamp;

/// How long a message is hidden that met a fault at its first receive. It doubles with each further receive: a fault that is
/// over within seconds costs an alert seconds, and not the queue's whole visibility timeout.
const FIRST: Duration = Duration::from_secs(5);

/// The longest that a message is hidden. A queue's twenty receives then span three hours.
pub const LONGEST: Duration = Duration::from_secs(15 * 60);

/// How long after the end of somebody's lease the message comes back.
const BEHIND_A_LEASE: Duration = Duration::from_secs(5);

/// How long a message is tried again whose fault time does not mend, before it goes to the dead-letter queue.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(60 * 60);

/// What has to pass before a message can be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A fault that may be over soon: an AWS call failed, too little time was left.
    Passing,
    /// Somebody else's lease on the same attempt.
    Lease { until: Timestamp },
    /// A fault that time does not mend: something that is stored cannot be read.
    Lasting,
}

/// What a message's queue says of its receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receives {
    /// How often it was received, this time included.
    pub count: u32,
    pub first_at: Timestamp,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Back to its queue, which hides it for so long from now on.
    Hidden(Duration),
    /// To the dead-letter queue.
    DeadLetter,
}

/// Decides where a message goes whose handling ended in a fault.
pub fn give_back(cause: Cause, receives: Receives, now: Timestamp) -> Return {
    match cause {
        Cause::Lease { until } => {
            let rest = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            Return::Hidden((rest + BEHIND_A_LEASE).min(LONGEST))
        }
        Cause::Lasting if now.duration_since(receives.first_at).unsigned_abs() >= GIVEN_UP_AFTER => Return::DeadLetter,
        Cause::Passing | Cause::Lasting => Return::Hidden(hidden_for(receives.count)),
    }
}

/// How long a message is hidden after so many receives, whose last ended in a fault.
pub fn hidden_for(receives: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(receives.saturating_sub(1));
    FIRST.saturating_mul(doubled).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_736_500_000, 0);
    const SECOND: Duration = Duration::from_secs(1);

    fn given_back(cause: Cause, count: u32, received_for: Duration) -> Return {
        give_back(cause, Receives { count, first_at: NOW - received_for }, NOW)
    }

    #[test]
    fn a_fault_hides_a_message_ever_longer() {
        let hidden: Vec<_> = (0..=12).map(|receives| hidden_for(receives).as_secs()).collect();
        assert_eq!(hidden, [5, 5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]);
        assert_eq!(hidden_for(u32::MAX), LONGEST);
        assert_eq!(given_back(Cause::Passing, 3, 15 * SECOND), Return::Hidden(20 * SECOND));
        assert_eq!(given_back(Cause::Passing, 19, 3 * GIVEN_UP_AFTER), Return::Hidden(LONGEST));
    }

    #[test]
    fn a_lease_is_waited_for_whatever_the_receives() {
        let busy = |until| given_back(Cause::Lease { until }, 7, SECOND);
        assert_eq!(busy(NOW + 80 * SECOND), Return::Hidden(85 * SECOND));
        assert_eq!(busy(NOW), Return::Hidden(5 * SECOND));
        assert_eq!(busy(NOW - 80 * SECOND), Return::Hidden(5 * SECOND));
        assert_eq!(busy(Timestamp::MAX), Return::Hidden(LONGEST));
    }

    #[test]
    fn what_time_does_not_mend_is_given_up_after_an_hour() {
        assert_eq!(given_back(Cause::Lasting, 1, Duration::ZERO), Return::Hidden(5 * SECOND));
        assert_eq!(given_back(Cause::Lasting, 9, GIVEN_UP_AFTER - SECOND), Return::Hidden(LONGEST));
        assert_eq!(given_back(Cause::Lasting, 10, GIVEN_UP_AFTER), Return::DeadLetter);
    }
}
