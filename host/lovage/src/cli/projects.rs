//! What the commands that make modules take.

use std::path::PathBuf;

use clap::Args;

use super::Common;
use crate::commands::build::Language;
use crate::commands::new::Template;

#[derive(Debug, Args)]
pub(crate) struct NewArguments {
    /// The language, or `command` for a program without an SDK
    #[arg(value_name = "LANG")]
    pub(crate) language: Template,
    /// The project's name: its folder is made here
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// The project's folder, or the one file that it is
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) project: PathBuf,
    /// File to write [default: NAME.wasm in the project's folder]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The language, where the files do not tell it
    #[arg(long, value_name = "LANG")]
    pub(crate) language: Option<Language>,
    /// Build even if nothing changed
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Say nothing but the result
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// The project's folder or file, or a module
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) project: PathBuf,
    /// The language, where the files do not tell it
    #[arg(long, value_name = "LANG")]
    pub(crate) language: Option<Language>,
}

#[derive(Debug, Args)]
pub(crate) struct DevArguments {
    /// A project's folder, or one whose *.wasm files are run
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) modules: PathBuf,
    /// Folder for the queue, the results and native code
    #[arg(long, value_name = "DIR", default_value = ".lovage")]
    pub(crate) state: PathBuf,
    /// Calls in work at once
    #[arg(short, long, value_name = "N")]
    pub(crate) concurrency: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct CompileArguments {
    /// The module
    pub(crate) module: PathBuf,
    /// Where its native code goes
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}
