//! Running a program until its work is done or it is interrupted.

use std::fmt::Display;
use std::future::pending;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::screen::Screen;

/// Does the work unless it is interrupted, and returns the process's exit code. An error is printed with its causes.
/// Everything that the work has started is stopped when this returns.
pub async fn run<E: Display>(screen: &Screen, work: impl Future<Output = Result<ExitCode, E>>) -> ExitCode {
    let interruption = async {
        let code = interrupted().await;
        screen.clear();
        screen.say("\n  Stopping …");
        code
    };
    let ended = tokio::select! {
        biased;
        code = interruption => Err(code),
        ended = work => Ok(ended),
    };
    screen.clear();
    match ended {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("  {error:#}");
            ExitCode::FAILURE
        }
        Err(code) => {
            screen.say("  Stopped.");
            code
        }
    }
}

/// Waits for a signal to stop: Ctrl-C, one from a supervisor, or the end of the terminal. Returns the exit code that a
/// shell would report: 128 and the signal's number.
async fn interrupted() -> ExitCode {
    let wait_for = |kind: SignalKind, code| async move {
        match signal(kind) {
            Ok(mut signals) => signals.recv().await,
            // Without a handler the signal ends the process.
            Err(_) => pending().await,
        };
        ExitCode::from(code)
    };
    tokio::select! {
        code = wait_for(SignalKind::interrupt(), 130) => code,
        code = wait_for(SignalKind::terminate(), 143) => code,
        code = wait_for(SignalKind::hangup(), 129) => code,
    }
}
