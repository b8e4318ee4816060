//! The built functions under a Runtime API, with an AWS and an endpoint on loopback that count: those of the benchmark.

mod calls;
mod faults;
mod moves;
mod thaw;
