//! A real PostgreSQL server of the test's own.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{PATIENCE, Process, free_port};

/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// How often a port that somebody else took first is replaced by another.
const PORTS_TRIED_MAX: usize = 5;

/// A PostgreSQL server on a free port of 127.0.0.1 with its data in a temporary folder. Everybody on
/// the machine may use it as `postgres`. Dropping it ends the process and removes the folder.
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    // The process goes before its folder.
    process: Process,
    _folder: TempDir,
}

impl PostgresServer {
    /// Starts a server, and waits until it answers.
    pub fn start() -> Self {
        let folder = match tempfile::tempdir() {
            Ok(folder) => folder,
            Err(error) => panic!("cannot make a folder for postgres: {error}"),
        };
        let user = unprivileged();
        if let Some((user, group)) = user
            && let Err(error) = chown(folder.path(), Some(user), Some(group))
        {
            panic!("cannot give a folder to postgres: {error}");
        }
        let data = folder.path().join("data");
        let mut init = program("initdb", user);
        init.args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N", "-D"]);
        let mut init = Process::start({
            init.arg(&data);
            init
        });
        assert!(init.wait().success(), "initdb failed:\n{}", init.output());
        for _ in 0..PORTS_TRIED_MAX {
            let port = free_port();
            let mut server = program("postgres", user);
            server.arg("-D").arg(&data).arg("-k").arg(&data).args(["-p", &port.to_string()]);
            server.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300"]);
            let process = Process::start(server);
            if process.find_line("is ready to accept connections", PATIENCE).is_some() {
                return Self { port, process, _folder: folder };
            }
            let output = process.output();
            assert!(output.contains("in use"), "postgres did not start:\n{output}");
        }
        panic!("postgres found no free port in {PORTS_TRIED_MAX} attempts");
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The process id of the server.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for PostgresServer {
    /// Ends it at once, but lets it give back the memory that its processes share.
    fn drop(&mut self) {
        self.process.signal(Signal::QUIT);
        let _ended = self.process.wait_within(PATIENCE);
    }
}

/// One of the server's programs, to be run by a user that it does not refuse.
fn program(name: &str, user: Option<(u32, u32)>) -> Command {
    let newest = fs::read_dir(VERSIONS).ok().and_then(|versions| {
        versions.flatten().map(|version| version.path().join("bin")).max_by_key(|it| version(it))
    });
    let path =
        newest.unwrap_or_else(|| panic!("postgresql is not installed: run `make setup` first"));
    let mut command = Command::new(path.join(name));
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
}

fn version(folder: &Path) -> u32 {
    let version = folder.parent().and_then(Path::file_name).map(PathBuf::from);
    version.and_then(|version| version.to_str()?.parse().ok()).unwrap_or(0)
}

/// The user and the group `postgres` if this is root, whom the server refuses to run as.
fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    let mut fields = line.unwrap_or_default().split(':').skip(1).map(str::parse);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Some((user, group)),
        _ => panic!("postgresql is not installed: run `make setup` first"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::PostgresServer;

    #[test]
    fn a_server_listens_and_ends_with_its_handle() {
        let server = PostgresServer::start();
        let port = server.port;
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        drop(server);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }
}
