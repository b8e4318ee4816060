//! A process under measurement: the time and memory that it has used, and freezing it.

use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// A process under measurement.
#[derive(Clone, Copy, Debug)]
pub struct Process(Pid);

impl Process {
    pub fn new(id: u32) -> Self {
        Self(Pid::from_raw(id.cast_signed()))
    }

    /// The processor time of all its threads so far, those that have ended included.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn cpu_time(self) -> io::Result<Duration> {
        let time = clock_getcpuclockid(self.0).and_then(clock_gettime)?;
        Ok(Duration::from(time))
    }

    /// Stops it where it is, as Lambda does between two invocations.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn freeze(self) -> io::Result<()> {
        Ok(kill(self.0, Signal::SIGSTOP)?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn thaw(self) -> io::Result<()> {
        Ok(kill(self.0, Signal::SIGCONT)?)
    }

    /// The most memory that it ever held resident, in bytes.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn peak_memory(self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| io::Error::other("no peak of memory is known"))
    }
}
