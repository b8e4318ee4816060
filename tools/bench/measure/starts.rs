//! Cold starts: the time from a function's execution to its first poll for events, and its size.

use anyhow::Result;
use serde::Serialize;

use crate::statistics::{Spread, milliseconds};
use crate::testbed::sizes;
use crate::worker::{Program, Worker};

/// How often each is started. The first is not counted: it reads the file from disk.
const STARTS: usize = 11;

/// A program's start.
#[derive(Clone, Debug, Serialize)]
pub struct Start {
    pub who: &'static str,
    pub wall_ms: Spread,
    pub cpu_ms: Spread,
    /// Bytes, of what is one file.
    pub size: Option<Size>,
}

/// The size of a function, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Size {
    pub binary: u64,
    pub zipped: u64,
}

/// Whether a program is one file, whose size says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Executable,
    Interpreted,
}

/// Starts programs in turn, several times each.
///
/// # Errors
/// When one does not start.
pub async fn starts(programs: &[(Program, Kind)]) -> Result<Vec<Start>> {
    let mut times = vec![(Vec::new(), Vec::new()); programs.len()];
    for round in 0..=STARTS {
        for ((program, _), (wall, cpu)) in programs.iter().zip(&mut times) {
            let start = Worker::start(program).await?.start_up();
            if round > 0 {
                wall.push(milliseconds(start.wall));
                cpu.push(milliseconds(start.cpu));
            }
        }
    }
    let starts = programs.iter().zip(times).map(|((program, kind), (wall, cpu))| {
        let size = match kind {
            Kind::Executable => sizes(program).map(|(binary, zipped)| Some(Size { binary, zipped }))?,
            Kind::Interpreted => None,
        };
        Ok(Start { who: program.name, wall_ms: Spread::of(wall), cpu_ms: Spread::of(cpu), size })
    });
    starts.collect()
}
