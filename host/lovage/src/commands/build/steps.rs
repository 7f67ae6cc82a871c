//! What a build shows while it goes on: a line that moves on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// The steps of a build, one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    quiet: bool,
}

impl Steps {
    pub(crate) const fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// A line by itself.
    pub(crate) fn say(self, line: &str) {
        if !self.quiet && !line.is_empty() {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Does something that takes a while.
    ///
    /// # Errors
    /// Those of what is done.
    pub(crate) fn step<T>(
        self,
        what: &str,
        act: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        let moves = !self.quiet && std::io::stderr().is_terminal();
        let bar = moves.then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            let bar = ProgressBar::new_spinner()
                .with_message(what.to_owned())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            self.say(&format!("{what} …"));
        }
        let done = act();
        if let Some(bar) = bar {
            bar.finish_and_clear();
            let mark = if done.is_ok() { "✓" } else { "×" };
            self.say(&format!("{mark} {what} {:.1} s", begun.elapsed().as_secs_f64()));
        }
        done
    }
}

/// Runs a tool to its end; what it printed is told only when it fails.
///
/// # Errors
/// When it cannot be started or ends with an error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        let errors = String::from_utf8_lossy(&done.stderr);
        bail!("{name} ended with {}\n{}", done.status, format!("{said}{errors}").trim());
    }
    Ok(said)
}
