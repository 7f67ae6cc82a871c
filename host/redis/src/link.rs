//! A connection that comes back.

use std::sync::Arc;
use std::time::Duration;

use lovage_core::ports::PortError;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, PushInfo, PushKind, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::error::ends_connection;
use crate::{Address, Backoff, Call, Script, port_error};

/// What a server sends unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// These keys have changed since they were read. They are not told of again until they are read.
    Changed(Vec<Vec<u8>>),
    /// Whatever was read may have changed: the connection has ended, or the database was emptied.
    Lost,
    /// Something else.
    Other,
}

/// Who is told what a server sends unasked.
pub type Listener = Arc<dyn Fn(&Pushed) + Send + Sync>;

impl Pushed {
    fn of(push: PushInfo) -> Self {
        match (push.kind, push.data.into_iter().next()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => {
                let key = |value| match value {
                    Value::BulkString(key) => Some(key),
                    _ => None,
                };
                Self::Changed(keys.into_iter().filter_map(key).collect())
            }
            (PushKind::Invalidate | PushKind::Disconnection, _) => Self::Lost,
            _ => Self::Other,
        }
    }
}

/// How a [`Link`] is set up.
#[derive(Clone)]
pub struct LinkOptions {
    /// What it is for, as log lines name it.
    pub role: &'static str,
    /// How long an answer may take. A connection that stays silent longer is given up: its other end
    /// may be gone without a word.
    pub patience: Duration,
    /// Called with whatever the server sends unasked, and when the connection ends; it must not
    /// block. `None` speaks the older protocol, which has no such thing.
    pub on_push: Option<Listener>,
    /// Commands that every new connection begins with.
    pub greeting: Vec<Cmd>,
}

impl std::fmt::Debug for LinkOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LinkOptions").field("role", &self.role).finish_non_exhaustive()
    }
}

impl LinkOptions {
    /// A link for commands that are answered at once.
    pub fn new(role: &'static str, patience: Duration) -> Self {
        Self { role, patience, on_push: None, greeting: Vec::new() }
    }
}

/// One connection to a server, made when it is needed and made again when it broke.
///
/// Calls share it: each is one write, and answers come in order. After a failure the next call waits
/// a while first (full jitter), so whoever simply calls again does not hammer a server that is down.
#[derive(Debug)]
pub struct Link {
    address: Address,
    client: Client,
    options: LinkOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Which of the connections so far this one is: a late failure of an old one ends no new one.
    generation: u64,
    backoff: Backoff,
    not_before: Option<Instant>,
    checked: bool,
}

impl Link {
    /// A link; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(address: &Address, options: LinkOptions) -> Result<Self, PortError> {
        let client = address
            .client(options.on_push.is_some())
            .map_err(|error| PortError::permanent("setting up a Redis client failed", error))?;
        Ok(Self { address: address.clone(), client, options, state: Mutex::default() })
    }

    /// Runs a command.
    ///
    /// # Errors
    /// Transient when the server cannot be reached or is in no state to answer.
    pub async fn run(&self, what: &str, command: &Cmd) -> Result<Value, PortError> {
        let (mut connection, generation) = self.connection(what).await?;
        let answer = connection.send_packed_command(command).await.and_then(Value::extract_error);
        self.checked(what, generation, answer).await
    }

    /// Runs commands in one round trip.
    ///
    /// # Errors
    /// As [`run`](Self::run), also when the server refused one of them.
    pub async fn run_all(&self, what: &str, commands: &Pipeline) -> Result<Vec<Value>, PortError> {
        let (mut connection, generation) = self.connection(what).await?;
        let answer = commands.query_async(&mut connection).await;
        self.checked(what, generation, answer).await
    }

    /// Runs a script; a server that does not know it (any more) is told.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn call(&self, script: &Script, call: &Call) -> Result<Value, PortError> {
        self.call_and(script, call, None).await.map(|(answer, _)| answer)
    }

    /// Runs a script and then a command, in one round trip; returns the answers of both.
    ///
    /// # Errors
    /// As [`run`](Self::run), also when the server refused one of them.
    pub async fn call_then(
        &self,
        script: &Script,
        call: &Call,
        command: &Cmd,
    ) -> Result<(Value, Value), PortError> {
        self.call_and(script, call, Some(command)).await
    }

    async fn call_and(
        &self,
        script: &Script,
        call: &Call,
        then: Option<&Cmd>,
    ) -> Result<(Value, Value), PortError> {
        let what = script.what();
        let (mut connection, generation) = self.connection(what).await?;
        let mut answer = send(&mut connection, call, then).await;
        if matches!(&answer, Err(error) if error.code() == Some("NOSCRIPT")) {
            let loaded = connection.send_packed_command(&script.load()).await;
            self.checked(what, generation, loaded.and_then(Value::extract_error)).await?;
            answer = send(&mut connection, call, then).await;
        }
        self.checked(what, generation, answer).await
    }

    async fn checked<T>(
        &self,
        what: &str,
        generation: u64,
        answer: Result<T, redis::RedisError>,
    ) -> Result<T, PortError> {
        let error = match answer {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if ends_connection(&error) {
            let mut state = self.state.lock().await;
            if state.generation == generation && state.connection.take().is_some() {
                let wait = state.backoff.failed(fastrand::f64());
                state.not_before = Some(Instant::now() + wait);
                warn!(role = self.options.role, %error, "Lost the connection to {}", self.address);
            }
        }
        Err(port_error(what, error))
    }

    async fn connection(&self, what: &str) -> Result<(MultiplexedConnection, u64), PortError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((connection.clone(), state.generation));
        }
        if let Some(moment) = state.not_before {
            tokio::time::sleep_until(moment).await;
        }
        match self.connect(!state.checked).await {
            Ok(connection) => {
                if state.generation > 0 {
                    info!(role = self.options.role, "Connected to {} again", self.address);
                }
                state.backoff.succeeded();
                state.checked = true;
                state.generation += 1;
                state.connection = Some(connection.clone());
                Ok((connection, state.generation))
            }
            Err(error) => {
                let wait = state.backoff.failed(fastrand::f64());
                state.not_before = Some(Instant::now() + wait);
                debug!(role = self.options.role, %error, "Cannot connect to {}", self.address);
                Err(port_error(&format!("{what}: connecting to {}", self.address), error))
            }
        }
    }

    async fn connect(&self, check: bool) -> Result<MultiplexedConnection, redis::RedisError> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.patience))
            .set_response_timeout(Some(self.options.patience));
        if let Some(on_push) = self.options.on_push.clone() {
            config = config.set_push_sender(move |push: PushInfo| {
                on_push(&Pushed::of(push));
                Ok::<(), redis::aio::SendError>(())
            });
        }
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        for command in &self.options.greeting {
            command.exec_async(&mut connection).await?;
        }
        if check {
            refuse_cluster(&mut connection).await?;
        }
        Ok(connection)
    }
}

async fn send(
    connection: &mut MultiplexedConnection,
    call: &Call,
    then: Option<&Cmd>,
) -> Result<(Value, Value), redis::RedisError> {
    let Some(then) = then else {
        let answer = connection.send_packed_command(call.command()).await;
        return Ok((answer.and_then(Value::extract_error)?, Value::Nil));
    };
    let mut both = Pipeline::with_capacity(2);
    both.add_command(call.command().clone()).add_command(then.clone());
    both.query_async(connection).await
}

/// A node of a cluster would answer some keys and redirect others.
async fn refuse_cluster(connection: &mut MultiplexedConnection) -> Result<(), redis::RedisError> {
    let info: Result<String, _> =
        redis::cmd("INFO").arg("cluster").query_async(&mut *connection).await;
    match info {
        Ok(text) if text.contains("cluster_enabled:1") => Err(redis::RedisError::from((
            ErrorKind::InvalidClientConfig,
            "Redis Cluster is not supported: the keys of one task lie in different slots",
        ))),
        Err(error) if error.kind() == ErrorKind::Io => Err(error),
        _ => Ok(()),
    }
}
