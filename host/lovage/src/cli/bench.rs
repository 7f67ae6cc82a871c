//! What measuring takes.

use clap::Args;

use super::Common;

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// The task's name; one that does nothing measures everything around it
    pub(crate) task: String,
    /// Positional arguments of every call, a JSON array
    #[arg(short, long, value_name = "JSON", default_value = "[]")]
    pub(crate) args: String,
    /// Calls that are there when the worker starts
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) calls: usize,
    /// Calls that are made one at a time after that
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) single: usize,
    /// Calls in work at once
    #[arg(short, long, value_name = "N", default_value = "256")]
    pub(crate) concurrency: String,
    /// Folder with the task's module
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}
