//! The commands that talk to an API, and the one that serves it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Common;

/// Where an API is, and who asks.
#[derive(Debug, Args, Default)]
pub(crate) struct Remote {
    /// The API [env: LOVAGE_URL; for admins LOVAGE_ADMIN_URL] [default: http://127.0.0.1:5555; for
    /// admins port 5556]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The token [env: LOVAGE_TOKEN] [default: the one in .lovage/admin-token]
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Folder for the registry, the first token, native code, and the queue if none is named
    #[arg(long, value_name = "DIR", default_value = ".lovage")]
    pub(crate) state: PathBuf,
    /// Address of the API that tenants reach
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Loopback address of what admins reach
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<String>,
    /// Queues to take from, separated by commas, besides those of tenants
    #[arg(short = 'Q', long, value_name = "NAMES")]
    pub(crate) queues: Option<String>,
    /// Calls in work at once
    #[arg(short, long, value_name = "N")]
    pub(crate) concurrency: Option<String>,
    /// Folder whose *.wasm files are run for the default tenant
    #[arg(long, value_name = "DIR")]
    pub(crate) modules: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct PushArguments {
    /// The module: a WebAssembly component or core module
    pub(crate) file: PathBuf,
    /// Its name [default: the file's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Answer a share of the calls at first, percent
    #[arg(long, value_name = "PERCENT", conflicts_with = "store_only")]
    pub(crate) canary: Option<u8>,
    /// Answer no calls yet
    #[arg(long)]
    pub(crate) store_only: bool,
    /// Let it do more than the live version
    #[arg(long)]
    pub(crate) accept: bool,
    /// Sign it with the ed25519 key in this file: 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    pub(crate) sign: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModulesCommand {
    /// List modules and their channels
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a module with its versions, or a version with its manifest
    Show {
        /// The module
        module: String,
        /// A version: digits of its digest, live or canary
        version: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Say what a version may do that another may not
    Diff {
        /// The module
        module: String,
        /// The version: digits of its digest, live or canary
        to: String,
        /// The version to compare with
        #[arg(long, value_name = "VERSION", default_value = "live")]
        from: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Have a version answer all calls: the canary, or the one that is named
    Promote {
        /// The module
        module: String,
        /// The version: digits of its digest
        version: Option<String>,
        /// Let it do more than the live version
        #[arg(long)]
        accept: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Have a version answer a share of the calls; 0 ends that
    Canary {
        /// The module
        module: String,
        /// Percent
        percentage: u8,
        /// The version: digits of its digest [default: the canary that there is]
        version: Option<String>,
        /// Let it do more than the live version
        #[arg(long)]
        accept: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Go back to the version that answered before
    Rollback {
        /// The module
        module: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a version that answers no calls, or a module
    Rm {
        /// The module
        module: String,
        /// The version: digits of its digest; the whole module, without
        version: Option<String>,
        /// Although it answers calls: they wait until it is back
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantsCommand {
    /// List tenants
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a tenant
    Show {
        /// The tenant
        tenant: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a tenant, or replace it
    Put {
        /// The tenant
        tenant: String,
        /// A queue it owns; * stands for any text. May be repeated
        #[arg(long = "queue", value_name = "NAME")]
        queues: Vec<String>,
        /// Its share of the workers beside the others', 1 to 1000
        #[arg(long, default_value_t = 1)]
        weight: u32,
        /// What its modules may be granted. May be repeated
        #[arg(long = "grant", value_name = "CAPABILITY")]
        grants: Vec<String>,
        /// A quota, such as running=8. May be repeated
        #[arg(long = "quota", value_name = "NAME=NUMBER")]
        quotas: Vec<String>,
        /// off, warn or require
        #[arg(long, default_value = "off")]
        signatures: String,
        /// An ed25519 public key of its uploads, 64 hexadecimal digits. May be repeated
        #[arg(long = "signing-key", value_name = "HEX")]
        signing_keys: Vec<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Forget a tenant that has no modules, and its tokens
    Rm {
        /// The tenant
        tenant: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// List a tenant's tokens
    Ls {
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a token, and print it this once
    New {
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        /// What it may do. May be repeated [default: all but admin]
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Days that it is good for
        #[arg(long, default_value_t = 90)]
        days: u32,
        /// What people call it
        #[arg(long, default_value = "")]
        label: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Revoke a token
    Revoke {
        /// The token's id: what is between the first two underscores
        id: String,
        /// The tenant
        #[arg(long, default_value = "default")]
        tenant: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List changes, the oldest first
    Ls {
        /// Those behind this number
        #[arg(long, default_value_t = 0)]
        after: u64,
        #[command(flatten)]
        remote: Remote,
    },
    /// Check the whole log; exits with 1 when it was altered
    Verify {
        #[command(flatten)]
        remote: Remote,
    },
}
