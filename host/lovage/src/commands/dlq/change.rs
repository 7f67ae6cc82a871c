//! Replaying and purging: counted first, confirmed, and no faster than was asked for.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use lovage_core::ports::{Ledger, PortError};
use lovage_core::{End, KeptEntry, KeptFilter, KeptId, LedgerKey, State};
use tokio::time::Instant;

use super::choice;
use crate::cli::{DlqChange, DlqPurgeArguments, DlqReplayArguments};
use crate::config::Config;
use crate::wiring::Keeping;

/// Messages that are changed in one call at most.
const BATCH_MAX: usize = 100;

/// What is done to messages.
#[derive(Clone, Copy)]
enum Change {
    Replay {
        /// Messages a second.
        rate: f64,
        forget_steps: bool,
    },
    Purge,
}

/// All that is still needed of a message that was chosen.
struct Target {
    id: KeptId,
    ledger_key: Option<LedgerKey>,
}

/// `lovage dlq replay`.
///
/// # Errors
/// When the command cannot be meant, or the broker or the ledger cannot be reached.
pub(super) fn replay(arguments: &DlqReplayArguments) -> anyhow::Result<ExitCode> {
    let rate = rate(&arguments.rate)?;
    let change = Change::Replay { rate, forget_steps: arguments.forget_steps };
    run(&arguments.change, change)
}

/// `lovage dlq purge`.
///
/// # Errors
/// When the command cannot be meant, or the broker cannot be reached.
pub(super) fn purge(arguments: &DlqPurgeArguments) -> anyhow::Result<ExitCode> {
    run(&arguments.change, Change::Purge)
}

fn run(asked: &DlqChange, change: Change) -> anyhow::Result<ExitCode> {
    let filter = choice::filter(&asked.filter)?;
    let everything = filter == KeptFilter::default();
    if asked.ids.is_empty() && everything && !asked.all {
        bail!("no message is named\nname ids or a filter, or everything with --all");
    }
    if !asked.ids.is_empty() && (!everything || asked.all) {
        bail!("ids and a filter exclude each other\nleave one of them out");
    }
    let config = Config::read(&crate::commands::layers(&asked.common)?)?;
    crate::commands::block_on(async {
        let keeping = Keeping::open(&config).await?;
        let code = decide(&keeping, asked, &filter, change).await;
        keeping.leave().await;
        code
    })
}

/// Counts, has it confirmed, does it. What is kept meanwhile is left alone: a message that fails
/// again at once would be replayed for ever.
async fn decide(
    keeping: &Keeping,
    asked: &DlqChange,
    filter: &KeptFilter,
    change: Change,
) -> anyhow::Result<ExitCode> {
    let mut targets = Vec::new();
    let mut take = |entry: KeptEntry| {
        targets.push(Target { id: entry.id, ledger_key: entry.kept.ledger_key });
    };
    if asked.ids.is_empty() {
        choice::each(&*keeping.kept, filter, take).await?;
    } else {
        for id in &asked.ids {
            let found = choice::named(&*keeping.kept, id).await?;
            if found.is_empty() {
                return Ok(choice::tell_missing(id));
            }
            found.into_iter().for_each(&mut take);
        }
    }
    let count = targets.len();
    if count > 0 && !confirmed(asked, count, change) {
        if asked.json {
            tell(asked, count, 0, change);
        }
        let (what, verb) = (messages(count), change.verb());
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(
            std::io::stderr(),
            "lovage: {what} would be {}; nothing was done\nrun it again with --yes to {verb}",
            change.done()
        );
        return Ok(ExitCode::from(1));
    }
    let done = carry_out(keeping, &targets, change).await?;
    tell(asked, count, done, change);
    Ok(ExitCode::SUCCESS)
}

/// Whether to go on: it was said so, or somebody at a terminal says it now.
fn confirmed(asked: &DlqChange, count: usize, change: Change) -> bool {
    if asked.yes {
        return true;
    }
    let (mut errors, input) = (std::io::stderr(), std::io::stdin());
    if asked.json || !errors.is_terminal() || !input.is_terminal() {
        return false;
    }
    let mut answer = String::new();
    let asked = write!(errors, "{} {}? [y/N] ", change.name(), messages(count));
    asked.and_then(|()| errors.flush()).is_ok()
        && input.lock().read_line(&mut answer).is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}

async fn carry_out(keeping: &Keeping, targets: &[Target], change: Change) -> anyhow::Result<usize> {
    let progress = progress(targets.len());
    let (batch, pause) = change.pace();
    let (mut done, begun) = (0, Instant::now());
    for (number, some) in targets.chunks(batch).enumerate() {
        // By the clock and not after each batch, so that the work itself costs no rate.
        let turn = u32::try_from(number).unwrap_or(u32::MAX);
        tokio::time::sleep_until(begun + pause.saturating_mul(turn)).await;
        let ids: Vec<_> = some.iter().map(|target| target.id.clone()).collect();
        done += match change {
            Change::Purge => keeping.kept.purge(&ids).await?,
            Change::Replay { forget_steps, .. } => {
                // First the ledger: a message that is back must find its call free to run. Whoever
                // dies in between leaves the message kept, and it can be replayed again.
                if let Some(ledger) = &keeping.ledger {
                    free(&**ledger, some, forget_steps).await?;
                }
                keeping.kept.replay(&ids).await?
            }
        };
        progress.inc(some.len() as u64);
    }
    progress.finish_and_clear();
    Ok(done)
}

/// Forgets what the ledger knows of calls that failed or are parked. A call that was done since, by
/// another message with its key, is not done again: its caller gets that result. One that runs is
/// left alone.
async fn free(ledger: &dyn Ledger, targets: &[Target], steps: bool) -> Result<(), PortError> {
    let mut over = Vec::new();
    for key in targets.iter().filter_map(|target| target.ledger_key) {
        let record = ledger.get(&key).await?;
        let failed = record.is_some_and(|record| {
            matches!(record.state, State::Over { end: End::Failed | End::Parked, .. })
        });
        if failed {
            over.push(key);
        }
    }
    if !over.is_empty() {
        ledger.purge(&over, steps).await?;
    }
    Ok(())
}

impl Change {
    const fn name(self) -> &'static str {
        match self {
            Self::Replay { .. } => "Replay",
            Self::Purge => "Purge",
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Replay { .. } => "replay them",
            Self::Purge => "delete them for good",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Replay { .. } => "replayed",
            Self::Purge => "purged",
        }
    }

    /// Messages in a batch, and the time from one batch to the next: ten batches a second where the
    /// rate has so many messages.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped")]
    fn pace(self) -> (usize, Duration) {
        match self {
            Self::Purge => (BATCH_MAX, Duration::ZERO),
            Self::Replay { rate, .. } => {
                let batch = (rate / 10.0).clamp(1.0, 100.0) as usize;
                let batch = batch.min(BATCH_MAX);
                let seconds = f64::from(u32::try_from(batch).unwrap_or(1)) / rate;
                (batch, Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
            }
        }
    }
}

/// `10/s`, `100/m` or `10` as messages a second.
fn rate(text: &str) -> anyhow::Result<f64> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => f64::NAN,
    };
    let number = number.trim().parse::<f64>().ok();
    let rate = number.map(|number| number / seconds).filter(|rate| (1e-6..=1e9).contains(rate));
    rate.with_context(|| format!("--rate {text:?} is no rate\nwrite it as 10/s or 100/m"))
}

fn messages(count: usize) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

fn tell(asked: &DlqChange, count: usize, done: usize, change: Change) {
    if asked.json {
        println!("{}", serde_json::json!({"matched": count, change.done(): done}));
    } else {
        println!("{} {} of {count}", change.done(), done);
    }
}

/// A bar on standard error, where somebody watches.
fn progress(count: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {per_sec}  {eta}");
    ProgressBar::new(count as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Change, rate};

    fn pace(text: &str) -> (usize, Duration) {
        Change::Replay { rate: rate(text).unwrap(), forget_steps: false }.pace()
    }

    #[test]
    fn a_rate_is_kept_in_ten_batches_a_second_at_most() {
        assert_eq!(pace("10/s"), (1, Duration::from_millis(100)));
        assert_eq!(pace("100"), (10, Duration::from_millis(100)));
        assert_eq!(pace("60/m"), (1, Duration::from_secs(1)));
        assert_eq!(pace("2000/s"), (100, Duration::from_millis(50)));
        assert_eq!(pace("0.5/s"), (1, Duration::from_secs(2)));
        for text in ["", "0", "-1/s", "10/d", "ten", "nan", "inf"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
