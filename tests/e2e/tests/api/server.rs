//! A host that serves, in a folder of its own.

use std::fs;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lovage_test_support::{LovageCommand, Process, RedisServer};
use serde_json::json;
use tempfile::TempDir;

use crate::http::Client;

/// What the tests' tenants are: `acme` and `beta` with a queue each, generous where a test is not
/// about it.
const CONFIGURATION: &str = "
[tenants.acme]
queues = ['acme.*']
uploads_per_minute = 10000
[tenants.beta]
queues = ['beta.*']
uploads_per_minute = 10000
";

/// Tests that measure run alone, all others beside each other.
static MACHINE: RwLock<()> = RwLock::new(());

/// A test's turn on the machine.
#[expect(dead_code, reason = "held, and not looked at")]
enum Turn {
    Alone(RwLockWriteGuard<'static, ()>),
    Together(RwLockReadGuard<'static, ()>),
}

fn together() -> Turn {
    Turn::Together(MACHINE.read().unwrap_or_else(PoisonError::into_inner))
}

/// A host that serves.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) folder: TempDir,
    redis: Option<RedisServer>,
    _turn: Turn,
    /// What tenants reach, as the admin.
    pub(crate) public: Client,
    /// What admins reach, as the admin.
    pub(crate) admin: Client,
}

impl Server {
    /// One with the embedded queue.
    pub(crate) fn start() -> Self {
        Self::set(None, "", together())
    }

    /// One while no other test runs: for what is measured.
    pub(crate) fn alone() -> Self {
        let turn = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        Self::set(None, "", Turn::Alone(turn))
    }

    /// One on Redis.
    pub(crate) fn on_redis() -> Self {
        Self::set(Some(RedisServer::start()), "", together())
    }

    /// One on Redis with more configuration.
    pub(crate) fn on_redis_configured(more: &str) -> Self {
        Self::set(Some(RedisServer::start()), more, together())
    }

    /// One with more configuration.
    pub(crate) fn configured(more: &str) -> Self {
        Self::set(None, more, together())
    }

    fn set(redis: Option<RedisServer>, more: &str, turn: Turn) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("lovage.toml");
        fs::write(&file, format!("{CONFIGURATION}{more}")).expect("a configuration");
        let mut command = LovageCommand::new().arg("serve").folder(folder.path()).args([
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ]);
        if let Some(redis) = &redis {
            command = command.args(["-b", &redis.url(0), "--result-backend", &redis.url(1)]);
        }
        let process = command.start_until("ready:");
        let line = process.wait_for_line("api http://");
        let mut words = line.split_whitespace().filter(|word| word.starts_with("http://"));
        let (public, admin) = (words.next().expect("a URL"), words.next().expect("a URL"));
        let token = fs::read_to_string(folder.path().join(".lovage/admin-token")).expect("a token");
        let (public, admin) = (Client::new(public, token.trim()), Client::new(admin, token.trim()));
        Self { process, folder, redis, _turn: turn, public, admin }
    }

    /// What producers call the broker and the results.
    pub(crate) fn urls(&self) -> (String, String) {
        if let Some(redis) = &self.redis {
            return (redis.url(0), redis.url(1));
        }
        let line = |name| {
            let line = self.process.wait_for_line(name);
            line.split('"').nth(1).unwrap_or_default().to_owned()
        };
        (line("broker_url ="), line("result_backend ="))
    }

    /// A second worker on the same queues, modules and tenants.
    pub(crate) fn another(&self) -> Process {
        let (broker, backend) = self.urls();
        let arguments = ["worker", "-b", &broker, "--result-backend", &backend, "-n", "other@test"];
        let registry = ["--registry", ".lovage/registry"];
        let command = LovageCommand::new().args(arguments).args(registry);
        command.folder(self.folder.path()).start_until("ready:")
    }

    /// A token of a tenant.
    pub(crate) fn token(&self, tenant: &str, scopes: &[&str]) -> String {
        let wish = json!({ "scopes": scopes, "label": "test" });
        let made = self.admin.post(&format!("/v1/tenants/{tenant}/tokens"), &wish).ok();
        made["token"].as_str().expect("a token").to_owned()
    }

    /// Somebody of a tenant who may do everything that tenants do.
    pub(crate) fn tenant(&self, tenant: &str) -> Client {
        let scopes =
            ["tasks:send", "tasks:read", "modules:read", "modules:write", "dlq:read", "dlq:write"];
        self.public.with(&self.token(tenant, &scopes))
    }

    /// Files below the registry's folder, but for shelves and the records.
    pub(crate) fn orphans(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join(".lovage/registry")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                let name = entry.file_name().to_string_lossy().into_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if !name.starts_with("shelf.") && !name.contains("lovage.db") {
                    found.push(path);
                }
            }
        }
        found.retain(|path| !path.ends_with("changed"));
        found
    }
}
