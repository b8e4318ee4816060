//! How busy this machine is. The local cloud, the functions, the endpoints and everybody else share its processors.

/// The load averages over 1, 5 and 15 minutes, as the system tells them.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// What the processors had done until some moment, in clock ticks of all of them together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processors {
    busy: u64,
    idle: u64,
}

impl Processors {
    pub fn now() -> Self {
        Self::read(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// Reads the first line of `/proc/stat`: user, nice, system, idle, waiting for a disk, interrupts and stolen time.
    fn read(text: &str) -> Self {
        let ticks = text.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = ticks.filter_map(|number| number.parse().ok()).collect();
        let idle = ticks.iter().skip(3).take(2).sum();
        Self { busy: ticks.iter().sum::<u64>() - idle, idle }
    }

    /// How much of the time since then they were busy, in percent.
    pub fn busy_percent_since(self, then: Self) -> f64 {
        let (busy, idle) = (self.busy.saturating_sub(then.busy), self.idle.saturating_sub(then.idle));
        if busy + idle == 0 { 0.0 } else { busy as f64 * 100.0 / (busy + idle) as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_idle_nor_waiting_is_busy() {
        let before = Processors::read("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 1 1 1\n");
        let after = Processors::read("cpu  30 0 20 130 20 5 5 0 0 0\n");
        assert_eq!(after.busy_percent_since(before), 40.0 * 100.0 / 110.0);
        assert_eq!(before.busy_percent_since(before), 0.0);
    }
}
