//! Lua scripts, run by their digest.

use redis::{Cmd, RedisWrite, cmd};

/// A script and the digest by which a server that knows it runs it.
#[derive(Debug, Clone)]
pub struct Script {
    what: &'static str,
    text: String,
    digest: String,
}

impl Script {
    /// A script; `what` it does is said in errors.
    pub fn new(what: &'static str, text: &str) -> Self {
        let digest = redis::Script::new(text).get_hash().to_owned();
        Self { what, text: text.to_owned(), digest }
    }

    /// What it does, for errors.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Starts a call.
    pub fn call(&self) -> Call {
        let mut command = cmd("EVALSHA");
        command.arg(&self.digest).arg(0);
        Call { command }
    }

    pub(crate) fn load(&self) -> Cmd {
        let mut command = cmd("SCRIPT");
        command.arg("LOAD").arg(&self.text);
        command
    }
}

/// A script's call, to which arguments are added. Scripts know their keys' prefix; none is named in
/// a call, since nothing here runs on a cluster.
#[derive(Debug)]
pub struct Call {
    command: Cmd,
}

impl Call {
    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.command.write_arg(bytes);
        self
    }

    /// Adds a number.
    pub fn number(&mut self, number: impl Into<i128>) -> &mut Self {
        self.command.write_arg_fmt(number.into());
        self
    }

    pub(crate) fn command(&self) -> &Cmd {
        &self.command
    }
}
