//! A real `redis-server` of the test's own.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::{PATIENCE, Process};

/// How often a port that somebody else took first is replaced by another.
const PORTS_TRIED_MAX: usize = 5;

/// How a [`RedisServer`] is set up. The default keeps everything in memory.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Write every command to disk before it is answered, so that a killed server that is
    /// restarted has lost nothing.
    pub append_only: bool,
    /// More settings as on the command line, without the dashes: `("maxmemory", "10mb")`.
    pub settings: Vec<(String, String)>,
}

/// A `redis-server` on a free port of 127.0.0.1 with its data in a temporary folder. Dropping it
/// kills the process and removes the folder.
#[derive(Debug)]
pub struct RedisServer {
    options: RedisOptions,
    port: u16,
    folder: TempDir,
    process: Option<Process>,
}

impl RedisServer {
    /// Starts a server that keeps everything in memory, and waits until it answers.
    pub fn start() -> Self {
        Self::with(RedisOptions::default())
    }

    /// Starts a server as `options` say, and waits until it answers.
    pub fn with(options: RedisOptions) -> Self {
        let folder = match tempfile::tempdir() {
            Ok(folder) => folder,
            Err(error) => panic!("cannot make a folder for redis-server: {error}"),
        };
        for _ in 0..PORTS_TRIED_MAX {
            let port = free_port();
            if let Some(process) = launch(port, folder.path(), &options) {
                return Self { options, port, folder, process: Some(process) };
            }
        }
        panic!("redis-server found no free port in {PORTS_TRIED_MAX} attempts");
    }

    /// The URL of database `number`, for producers and workers alike.
    pub fn url(&self, number: u8) -> String {
        format!("redis://127.0.0.1:{}/{number}", self.port)
    }

    /// The port it listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
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

    /// Starts it again on the same port with the same folder, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        self.process = launch(self.port, self.folder.path(), &self.options);
        assert!(self.process.is_some(), "redis-server lost its port {}", self.port);
    }

    /// Sends one command to database 0 and returns the answer as Redis wrote it, with the marks of
    /// its protocol: `+PONG`, `:3`, `$5\r\nhello`.
    pub fn command(&self, words: &[&str]) -> String {
        match command(self.port, words) {
            Ok(answer) => answer,
            Err(error) => panic!("redis-server did not answer {words:?}: {error}"),
        }
    }
}

/// A port of 127.0.0.1 that nobody listens on at this moment.
pub fn free_port() -> u16 {
    let found = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    match found {
        Ok(address) => address.port(),
        Err(error) => panic!("127.0.0.1 has no free port: {error}"),
    }
}

/// `None` if somebody else has the port by now.
fn launch(port: u16, folder: &Path, options: &RedisOptions) -> Option<Process> {
    let mut server = Command::new("redis-server");
    server.args(["--bind", "127.0.0.1", "--save", "", "--port"]).arg(port.to_string());
    server.arg("--dir").arg(folder).args(["--appendonly"]);
    if options.append_only {
        server.args(["yes", "--appendfsync", "always"]);
    } else {
        server.arg("no");
    }
    for (name, value) in &options.settings {
        server.arg(format!("--{name}")).arg(value);
    }
    assert!(installed("redis-server"), "redis-server is not installed: run `make setup` first");
    let process = Process::start(server);
    if process.find_line("eady to accept connections", PATIENCE).is_none() {
        let output = process.output();
        assert!(output.contains("already in use"), "redis-server did not start:\n{output}");
        return None;
    }
    let pong = command(port, &["PING"]);
    assert!(pong.as_ref().is_ok_and(|pong| pong == "+PONG"), "redis-server is deaf: {pong:?}");
    Some(process)
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// One command over a connection of its own. `QUIT` behind it ends the answer, whatever its shape.
fn command(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut request = Vec::new();
    write!(request, "*{}\r\n", words.len())?;
    for word in words {
        write!(request, "${}\r\n{word}\r\n", word.len())?;
    }
    request.extend_from_slice(b"*1\r\n$4\r\nQUIT\r\n");
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(&request)?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let answer = answer.strip_suffix("+OK\r\n").unwrap_or(&answer);
    Ok(answer.strip_suffix("\r\n").unwrap_or(answer).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_and_ends_with_its_handle() {
        let redis = RedisServer::start();
        assert_eq!(redis.command(&["SET", "key", "value"]), "+OK");
        assert_eq!(redis.command(&["GET", "key"]), "$5\r\nvalue");
        let port = redis.port();
        drop(redis);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }

    #[test]
    fn an_append_only_server_that_is_killed_comes_back_with_everything() {
        let options = RedisOptions { append_only: true, ..RedisOptions::default() };
        let mut redis = RedisServer::with(options);
        assert_eq!(redis.command(&["INCR", "count"]), ":1");
        redis.restart();
        assert_eq!(redis.command(&["INCR", "count"]), ":2");
    }
}
