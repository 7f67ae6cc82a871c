//! What `lovage dlq` takes.

use clap::{Args, Subcommand, ValueEnum};

use super::Common;

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List what is kept, the newest last
    Ls(Box<DlqLsArguments>),
    /// Show one message with everything that is known of it
    Show(Box<DlqShowArguments>),
    /// Put messages back on their queues, to be run as if for the first time
    Replay(Box<DlqReplayArguments>),
    /// Delete messages for good
    Purge(Box<DlqPurgeArguments>),
}

/// Which kept messages are meant; what is said must all fit.
#[derive(Debug, Args)]
pub(crate) struct DlqFilter {
    /// Of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<DlqKind>,
    /// For this reason, such as unknown-task or out-of-memory
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// Of this task; * stands for any text
    #[arg(long, value_name = "NAME")]
    pub(crate) task: Option<String>,
    /// Of the call with this id
    #[arg(long = "id", value_name = "TASK_ID")]
    pub(crate) task_id: Option<String>,
    /// From this queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
    /// Kept since then: a time such as 2026-01-31T12:00Z, or how long ago, such as 90m or 2d
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// Kept before then
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DlqKind {
    /// Failed for good
    Dead,
    /// Waits for a person or a module
    Parked,
    /// Nobody can read it
    Quarantined,
}

#[derive(Debug, Args)]
pub(crate) struct DlqLsArguments {
    #[command(flatten)]
    pub(crate) filter: DlqFilter,
    /// How many to show, of the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct DlqShowArguments {
    /// The message's id, or that of its call
    pub(crate) id: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What replaying and purging are told alike.
#[derive(Debug, Args)]
pub(crate) struct DlqChange {
    /// Messages, by their ids or those of their calls
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: DlqFilter,
    /// Everything that is kept
    #[arg(long)]
    pub(crate) all: bool,
    /// Do it without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct DlqReplayArguments {
    #[command(flatten)]
    pub(crate) change: DlqChange,
    /// Messages a second or a minute, such as 10/s or 100/m
    #[arg(long, value_name = "RATE", default_value = "100/s")]
    pub(crate) rate: String,
    /// Forget the steps of the calls, too: those that were done or are in doubt are done again
    #[arg(long)]
    pub(crate) forget_steps: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DlqPurgeArguments {
    #[command(flatten)]
    pub(crate) change: DlqChange,
}
