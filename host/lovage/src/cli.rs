//! The command line, as typed. What it means is decided in `config`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod bench;
mod dlq;
mod projects;
mod remote;

pub(crate) use bench::BenchArguments;
pub(crate) use dlq::{
    DlqChange, DlqCommand, DlqFilter, DlqKind, DlqLsArguments, DlqPurgeArguments,
    DlqReplayArguments, DlqShowArguments,
};
pub(crate) use projects::{
    BuildArguments, CheckArguments, CompileArguments, DevArguments, NewArguments,
};
pub(crate) use remote::{
    AuditCommand, ModulesCommand, PushArguments, Remote, ServeArguments, TenantsCommand,
    TokensCommand,
};

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
    /// Measure a task on a worker of its own: calls a second, their CPU time, one call's way
    Bench(Box<BenchArguments>),
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
    /// Broker: redis://, rediss://, amqp://, amqps:// or sqla+sqlite:///FILE
    #[arg(short, long, value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// Result backend: redis://, rediss://, rpc:// or db+sqlite:///FILE
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
