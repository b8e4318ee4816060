//! The terminal: lines that stay, and below them a status line with a spinner.
//!
//! When standard output is not a terminal, there is no status line and no colour. `NO_COLOR` is honoured.

use std::cell::Cell;
use std::fmt::Display;
use std::time::{Duration, Instant};

use console::{Term, style, truncate_str};

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

const FRAME_TIME: Duration = Duration::from_millis(100);

/// The columns that the status line needs besides its text: indentation, spinner, and the `^C` that a terminal adds.
const MARGIN: usize = 8;

/// Standard output. Errors in writing to it are ignored: when a reader has gone away (`| head`), the program still has
/// to stop its local cloud.
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

    /// Shows a text in the status line, in place of the last one.
    pub fn show_status(&self, text: &str) {
        if !self.terminal.is_term() {
            return;
        }
        let (_, columns) = self.terminal.size();
        let text = truncate_str(text, usize::from(columns).saturating_sub(MARGIN), "…");
        let frame = FRAMES[self.frame.get() % FRAMES.len()];
        self.frame.set(self.frame.get().wrapping_add(1));
        self.clear();
        let _ = self.terminal.write_str(&format!("  {} {}", style(frame).cyan(), style(text).dim()));
    }

    /// Removes the status line.
    pub fn clear(&self) {
        if self.terminal.is_term() {
            let _ = self.terminal.clear_line();
        }
    }

    /// Shows in the status line what is being done, then writes a line about the result and how long it took.
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
            self.show_status(&format!("{doing} … {}s", begun.elapsed().as_secs()));
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
