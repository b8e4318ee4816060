//! Running until the work is done or until told to stop, and what the process exits with.

use std::fmt::Display;
use std::future::pending;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::screen::Screen;

/// Does the work, unless told to stop before. Whatever the work has started is stopped when this returns.
pub async fn run<E: Display>(screen: &Screen, work: impl Future<Output = Result<ExitCode, E>>) -> ExitCode {
    let told_to_stop = async {
        let code = interrupted().await;
        screen.clear();
        screen.say("\n  Stopping …");
        code
    };
    let ended = tokio::select! {
        biased;
        code = told_to_stop => Err(code),
        ended = work => Ok(ended),
    };
    screen.clear();
    match ended {
        Ok(Ok(code)) => code,
        Ok(Err(trouble)) => {
            eprintln!("  {trouble}");
            ExitCode::FAILURE
        }
        Err(code) => {
            screen.say("  Stopped.");
            code
        }
    }
}

/// Waits until the process is told to stop: by Ctrl-C, by a supervisor, or because its terminal is gone. Returns the exit
/// code that a shell gives to it: 128 and the signal's number.
async fn interrupted() -> ExitCode {
    let told = |kind: SignalKind, code| async move {
        match signal(kind) {
            Ok(mut signals) => signals.recv().await,
            // Then the signal has its usual effect.
            Err(_) => pending().await,
        };
        ExitCode::from(code)
    };
    tokio::select! {
        code = told(SignalKind::interrupt(), 130) => code,
        code = told(SignalKind::terminate(), 143) => code,
        code = told(SignalKind::hangup(), 129) => code,
    }
}
