//! The command line, as typed. What it means is decided in `config`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod remote;

pub(crate) use remote::{
    AuditCommand, ModulesCommand, PushArguments, Remote, ServeArguments, TenantsCommand,
    TokensCommand,
};

use crate::commands::build::Language;
use crate::commands::new::Template;

/// A Celery worker that runs every task in a WebAssembly sandbox of its own.
#[derive(Debug, Parser)]
#[command(name = "lovage", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take tasks from a broker and run them
    Worker(Box<WorkerArguments>),
    /// Run an embedded queue and a worker for a project or a folder of modules; build on each save
    Dev(Box<DevArguments>),
    /// Run a worker and the API: people upload modules, send calls and look at them over HTTP
    Serve(Box<ServeArguments>),
    /// Upload a module
    Push(Box<PushArguments>),
    /// Look at uploaded modules, and say which version answers
    #[command(subcommand)]
    Modules(ModulesCommand),
    /// Look at tenants, make them, remove them
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// Look at tokens, make them, revoke them
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Read the audit log, or check that nobody altered it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the document of the API in OpenAPI 3.1
    Openapi,
    /// Start a project in a language: a folder with a first task
    New(NewArguments),
    /// Build the module of a project, with the tools of its language
    Build(BuildArguments),
    /// Say what cannot work in a project or a module; exits with 1 when something cannot
    Check(CheckArguments),
    /// Call a task and wait for its result; exits with 1 when the task failed
    Call(Box<CallArguments>),
    /// Ask workers what they do, Celery's included: active, stats, registered, ping …
    Inspect(Box<AskArguments>),
    /// Have workers do something, Celery's included: revoke, rate_limit, add_consumer, shutdown …
    Control(Box<AskArguments>),
    /// Say which workers answer
    Status(Box<StatusArguments>),
    /// Check what a worker needs: broker, results, modules, this machine
    Doctor(Box<DoctorArguments>),
    /// Look at messages that were kept (dead letters, parked calls), run them again, delete them
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Show every setting, its value and where it came from
    Config(Box<ConfigArguments>),
    /// Compile one module, as workers do before they load it
    Compile(CompileArguments),
    /// The inside of an executor process; started by a worker
    #[command(hide = true)]
    Executor,
}

/// What every command that reads the configuration takes.
#[derive(Debug, Args, Default)]
pub(crate) struct Common {
    /// Configuration file [default: lovage.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Broker: redis://, rediss:// or sqla+sqlite:///FILE
    #[arg(short, long, value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// Result backend: redis://, rediss:// or db+sqlite:///FILE
    #[arg(long, value_name = "URL")]
    pub(crate) result_backend: Option<String>,
    /// Log level: trace, debug, info, warning or error
    #[arg(short, long, value_name = "LEVEL")]
    pub(crate) loglevel: Option<String>,
    /// Log format: text or json
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Queues to take from, separated by commas
    #[arg(short = 'Q', long, value_name = "NAMES")]
    pub(crate) queues: Option<String>,
    /// Calls in work at once
    #[arg(short, long, value_name = "N")]
    pub(crate) concurrency: Option<String>,
    /// Folder whose *.wasm files are run
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<String>,
    /// Folder of uploaded modules, which are run as they come and go
    #[arg(long, value_name = "DIR")]
    pub(crate) registry: Option<String>,
    /// Node name; %h is this machine's name
    #[arg(short = 'n', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Executor processes [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) executors: Option<String>,
    /// Hard time limit of every call, seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time_limit: Option<String>,
    /// Soft time limit of every call, seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) soft_time_limit: Option<String>,
    /// Tell monitors of every task
    #[arg(short = 'E', long)]
    pub(crate) task_events: bool,
    /// File that keeps what is revoked over a restart
    #[arg(short = 'S', long, value_name = "FILE")]
    pub(crate) statedb: Option<String>,
    /// Most and least calls in work at once, following the load
    #[arg(long, value_name = "MAX,MIN")]
    pub(crate) autoscale: Option<String>,
    /// Ask no other worker at the start what is revoked
    #[arg(long)]
    pub(crate) without_mingle: bool,
    /// Send no heartbeats
    #[arg(long)]
    pub(crate) without_heartbeat: bool,
    /// Celery's gossip, which this worker never takes part in
    #[arg(long, hide = true)]
    pub(crate) without_gossip: bool,
    /// Celery's pool; only `wasm` means something here
    #[arg(short = 'P', long, value_name = "POOL", hide = true)]
    pub(crate) pool: Option<String>,
}

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
pub(crate) struct CallArguments {
    /// The task's name
    pub(crate) task: String,
    /// Positional arguments, a JSON array
    #[arg(short, long, value_name = "JSON", default_value = "[]")]
    pub(crate) args: String,
    /// Keyword arguments, a JSON object
    #[arg(short, long, value_name = "JSON", default_value = "{}")]
    pub(crate) kwargs: String,
    /// Queue to send to
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
    /// Seconds to wait before the task may run
    #[arg(long, value_name = "SECONDS")]
    pub(crate) countdown: Option<f64>,
    /// Seconds after which the task is no longer wanted
    #[arg(long, value_name = "SECONDS")]
    pub(crate) expires: Option<f64>,
    /// The key under which the call happens once
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Seconds to wait for the result; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub(crate) timeout: f64,
    /// Print the whole result document as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// API to send it over, instead of the broker [env: LOVAGE_URL]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Token for the API [env: LOVAGE_TOKEN]
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Which workers are meant, and how long they may take.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// Nodes, separated by commas [default: all]
    #[arg(short, long, value_name = "NODES", value_delimiter = ',')]
    pub(crate) destination: Vec<String>,
    /// Nodes whose names fit this pattern
    #[arg(long, value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
    /// What the pattern is: glob or pcre
    #[arg(long, value_name = "KIND", default_value = "glob")]
    pub(crate) matcher: String,
    /// Seconds to wait for answers
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(crate) timeout: f64,
    /// Print JSON
    #[arg(short, long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct AskArguments {
    /// The command, such as ping or revoke
    pub(crate) command: String,
    /// Its arguments, in Celery's order
    pub(crate) words: Vec<String>,
    /// With revoke: end what runs, too
    #[arg(long)]
    pub(crate) terminate: bool,
    /// With revoke: the signal that monitors are told of
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) signal: Option<String>,
    #[command(flatten)]
    pub(crate) whom: Whom,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) whom: Whom,
}

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

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Folder whose *.wasm files are checked, too
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
