//! The terminal: lines that stay, and below them one that says what is under way or waited for.
//!
//! Where standard output is no terminal there is neither that line nor colour. `NO_COLOR` is honoured.

use std::cell::Cell;
use std::fmt::Display;
use std::time::{Duration, Instant};

use console::{Term, style, truncate_str};

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

const FRAME_TIME: Duration = Duration::from_millis(100);

/// What the line below needs besides its text: indentation, spinner, and the `^C` that a terminal writes behind it.
const MARGIN: usize = 8;

/// Standard output, as the demo writes to it. A reader that has gone away (`| head`) is no reason to leave a local cloud
/// running, so failing to write is no failure.
#[derive(Debug)]
pub struct Screen {
    terminal: Term,
    frame: Cell<usize>,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    pub fn new() -> Self {
        Self { terminal: Term::stdout(), frame: Cell::new(0) }
    }

    /// Writes a line that stays.
    pub fn say(&self, line: impl Display) {
        self.clear();
        let _ = self.terminal.write_line(&line.to_string());
    }

    /// Shows what is under way or waited for, below all lines, in place of what was shown there before.
    pub fn wait_for(&self, what: &str) {
        if !self.terminal.is_term() {
            return;
        }
        let (_, columns) = self.terminal.size();
        let text = truncate_str(what, usize::from(columns).saturating_sub(MARGIN), "…");
        let frame = FRAMES[self.frame.get() % FRAMES.len()];
        self.frame.set(self.frame.get().wrapping_add(1));
        self.clear();
        let _ = self.terminal.write_str(&format!("  {} {}", style(frame).cyan(), style(text).dim()));
    }

    /// Removes what is shown below all lines.
    pub fn clear(&self) {
        if self.terminal.is_term() {
            let _ = self.terminal.clear_line();
        }
    }

    /// Shows that something takes time until it is done, then says what came of it and how long it took.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn step<T, E>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T, E>>,
        done: impl FnOnce(&T) -> String,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let mut work = std::pin::pin!(work);
        let result = loop {
            self.wait_for(&format!("{doing} … {}s", begun.elapsed().as_secs()));
            if let Ok(result) = tokio::time::timeout(FRAME_TIME, &mut work).await {
                break result?;
            }
        };
        let took = format!("{:.1}s", begun.elapsed().as_secs_f64());
        self.say(format!("  {} {:<75}{:>8}", style("✓").green(), done(&result), style(took).dim()));
        Ok(result)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}
