//! A real RabbitMQ server of the test's own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::{PATIENCE, Process, free_port};

/// The script that starts a server without becoming another user.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Where the command-line tool is that becomes no other user either.
const TOOL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

/// Virtual hosts that a server has besides `/`: making one later takes seconds.
const VIRTUAL_HOSTS: usize = 96;

/// The user `guest` with the password `guest`, salted and hashed.
const PASSWORD_HASH: &str = "AQIDBEMMOXwY6PKx/JKP9PAqfsb4ozuD0Ta3pxxa9gEYBMmD";

/// How often a port that somebody else took first is replaced by another.
const PORTS_TRIED_MAX: usize = 5;

/// A RabbitMQ server on a free port of 127.0.0.1 with its data in a temporary folder. Dropping it
/// kills its processes and removes the folder.
#[derive(Debug)]
pub struct RabbitServer {
    ports: Ports,
    folder: TempDir,
    next: AtomicUsize,
    process: Option<Process>,
    // The servers' own name service, which they would leave running behind them.
    names: Process,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    clients: u16,
    nodes: u16,
    names: u16,
}

impl RabbitServer {
    /// Starts a server, and waits until it answers.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with more lines of `rabbitmq.conf`, such as `consumer_timeout = 8000`.
    pub fn with(settings: &[&str]) -> Self {
        Self::begin(settings, "[].")
    }

    /// Starts a server with its management API, and says where that is.
    pub fn managed() -> (Self, String) {
        let port = free_port();
        let settings = [&*format!("management.tcp.port = {port}"), "management.tcp.ip = 127.0.0.1"];
        let server = Self::begin(&settings, "[rabbitmq_management].");
        (server, format!("http://127.0.0.1:{port}/api"))
    }

    fn begin(settings: &[&str], plugins: &str) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "rabbitmq-server is not installed: run `make setup` first"
        );
        let folder = match tempfile::tempdir() {
            Ok(folder) => folder,
            Err(error) => panic!("cannot make a folder for rabbitmq-server: {error}"),
        };
        configure(folder.path(), settings, plugins);
        for _ in 0..PORTS_TRIED_MAX {
            let ports = Ports { clients: free_port(), nodes: free_port(), names: free_port() };
            let mut names = Command::new("epmd");
            names.args(["-address", "127.0.0.1", "-port", &ports.names.to_string()]);
            let names = Process::start(names);
            if let Some(process) = launch(ports, folder.path()) {
                let next = AtomicUsize::new(0);
                return Self { ports, folder, next, process: Some(process), names };
            }
        }
        panic!("rabbitmq-server found no free port in {PORTS_TRIED_MAX} attempts");
    }

    /// The URL of a virtual host that nobody was given yet; after many, the first comes again.
    pub fn url(&self) -> String {
        self.url_of(self.port())
    }

    /// The same by way of another port, which leads here.
    pub fn url_of(&self, port: u16) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % VIRTUAL_HOSTS;
        format!("amqp://guest:guest@127.0.0.1:{port}/v{number}")
    }

    /// The port it listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.ports.clients
    }

    /// The process id of the running server; `None` while it is down.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Kills the server (SIGKILL), as a crash would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops the server as an operator would.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate();
        }
    }

    /// Starts it again on the same port with the same folder, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        self.process = launch(self.ports, self.folder.path());
        assert!(self.process.is_some(), "rabbitmq-server lost its port {}", self.ports.clients);
    }

    /// Runs `rabbitmqctl` with these words and returns what it printed. It takes a second or two.
    pub fn control(&self, words: &[&str]) -> String {
        let mut tool = Command::new(TOOL);
        environment(&mut tool, self.ports, self.folder.path());
        tool.arg("-q").args(words);
        let mut process = Process::start(tool);
        let status = process.wait();
        assert!(status.success(), "rabbitmqctl {words:?} failed:\n{}", process.output());
        process.output()
    }

    /// Whether its own name service still runs; it does, unless somebody ended it.
    pub fn is_named(&mut self) -> bool {
        self.names.wait_within(Duration::ZERO).is_none()
    }
}

fn configure(folder: &Path, settings: &[&str], plugins: &str) {
    let hosts = (0..VIRTUAL_HOSTS).map(|number| format!("v{number}"));
    let hosts: Vec<_> = std::iter::once("/".to_owned()).chain(hosts).collect();
    let list =
        |each: &dyn Fn(&String) -> String| hosts.iter().map(each).collect::<Vec<_>>().join(",");
    let definitions = format!(
        r#"{{"users":[{{"name":"guest","password_hash":"{PASSWORD_HASH}","hashing_algorithm":"rabbit_password_hashing_sha256","tags":"administrator"}}],"vhosts":[{}],"permissions":[{}]}}"#,
        list(&|host| format!(r#"{{"name":"{host}"}}"#)),
        list(&|host| format!(
            r#"{{"user":"guest","vhost":"{host}","configure":".*","write":".*","read":".*"}}"#
        )),
    );
    let definitions_path = folder.join("definitions.json");
    let configuration = format!(
        "load_definitions = {}\nlog.console = true\nlog.console.level = info\nlog.file = false\n{}\n",
        definitions_path.display(),
        settings.join("\n")
    );
    for (path, text) in [
        (definitions_path, definitions),
        (folder.join("rabbitmq.conf"), configuration),
        (folder.join("plugins"), plugins.to_owned()),
    ] {
        if let Err(error) = fs::write(&path, text) {
            panic!("cannot write {}: {error}", path.display());
        }
    }
}

fn environment(command: &mut Command, ports: Ports, folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    command
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", ports.names.to_string())
        .env("HOME", folder)
        // Without this the script would start another process to watch over the server.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
        .env("RABBITMQ_DIST_PORT", ports.nodes.to_string())
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_MNESIA_BASE", path("db"))
        .env("RABBITMQ_NODENAME", format!("t{}@localhost", ports.clients))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", ports.clients.to_string());
}

/// `None` if somebody else has a port by now.
fn launch(ports: Ports, folder: &Path) -> Option<Process> {
    let mut server = Command::new(PROGRAM);
    environment(&mut server, ports, folder);
    // It shares the machine: it is to wait asleep, not spinning.
    let quiet = "-noinput +sbwt none +sbwtdcpu none +sbwtdio none";
    server.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", quiet);
    let process = Process::start(server);
    if process.find_line("Server startup complete", PATIENCE).is_none() {
        let output = process.output();
        assert!(output.contains("eaddrinuse"), "rabbitmq-server did not start:\n{output}");
        return None;
    }
    Some(process)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::RabbitServer;

    #[test]
    fn a_server_is_killed_and_comes_back_and_ends_with_its_handle() {
        let mut server = RabbitServer::start();
        let port = server.port();
        let listens = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        assert!(listens() && server.is_named());
        server.kill();
        assert!(!listens() && server.id().is_none());
        server.restart();
        assert!(listens() && server.url() != server.url());
        drop(server);
        assert!(!listens());
    }
}
