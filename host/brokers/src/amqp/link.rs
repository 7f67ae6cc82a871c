//! A connection that comes back: the one place where a RabbitMQ is connected to.
//!
//! Whoever speaks to RabbitMQ holds an [`AmqpLink`] and asks it for a [`channel`](AmqpLink::channel)
//! whenever the one it had is closed. The link connects when it is first asked, to the next server of
//! its address each time, and waits a while between attempts that fail (full jitter). What was
//! declared or consumed on a channel is gone with it: whoever opened it does that again.
//!
//! Left out on purpose: the client's own recovery, which would declare and consume behind our back
//! and keep receipts alive that mean nothing any more.

use std::sync::Arc;
use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Channel, Connection, ConnectionProperties, Error, ErrorKind};
use lovage_core::ports::PortError;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, info};

use super::address::AmqpAddress;

/// The first pause's upper end.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// No pause is longer: a lease of 30 s must survive a few of them.
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// How an [`AmqpLink`] is set up.
#[derive(Debug, Clone)]
pub struct AmqpLinkOptions {
    /// What it is for, as log lines and the server's list of connections name it.
    pub role: &'static str,
    /// How long the server may take to let us in.
    pub patience: Duration,
    /// How often both sides show that they are alive, in whole seconds; the server may want it more
    /// often. An end that is silent for twice as long is given up.
    pub heartbeat: Duration,
}

impl AmqpLinkOptions {
    /// For this role, with a patience of 10 s and a heartbeat of 7 s: an end that is gone without a
    /// word is noticed within 18 s.
    pub fn new(role: &'static str) -> Self {
        Self { role, patience: Duration::from_secs(10), heartbeat: Duration::from_secs(7) }
    }
}

/// One connection to a RabbitMQ, made when it is needed and made again when it broke. Cheap to clone;
/// clones share the connection.
#[derive(Clone)]
pub struct AmqpLink {
    inner: Arc<Inner>,
}

struct Inner {
    address: AmqpAddress,
    options: AmqpLinkOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    connected_before: bool,
    failures: u32,
    not_before: Option<Instant>,
    turn: usize,
}

impl AmqpLink {
    /// A link; it connects at the first call.
    pub fn new(address: AmqpAddress, options: AmqpLinkOptions) -> Self {
        Self { inner: Arc::new(Inner { address, options, state: Mutex::default() }) }
    }

    /// Where it leads.
    pub fn address(&self) -> &AmqpAddress {
        &self.inner.address
    }

    /// A new channel, on the connection there is or on a new one.
    ///
    /// # Errors
    /// Transient when no server can be reached. Permanent when the first attempt was refused for what
    /// the address says: after that the server is known to be right, whatever it says while it starts.
    pub async fn channel(&self, what: &str) -> Result<Channel, PortError> {
        let connection = self.connection(what).await?;
        let patience = self.inner.options.patience;
        match tokio::time::timeout(patience, connection.create_channel()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(PortError::transient(format!("{what} failed"), error)),
            Err(_) => {
                self.give_up(&connection).await;
                Err(silent(what))
            }
        }
    }

    /// The connection, made now if there is none.
    ///
    /// # Errors
    /// As [`channel`](Self::channel).
    pub async fn connection(&self, what: &str) -> Result<Arc<Connection>, PortError> {
        let Inner { address, options, state } = &*self.inner;
        let mut state = state.lock().await;
        if let Some(connection) = state.connection.take_if(|it| !it.status().connected()) {
            info!(role = options.role, "Lost the connection to {address}");
            drop(connection);
        }
        if let Some(connection) = &state.connection {
            return Ok(Arc::clone(connection));
        }
        if let Some(moment) = state.not_before {
            tokio::time::sleep_until(moment).await;
        }
        state.turn = state.turn.wrapping_add(1);
        let (server, certificates) = address.server(state.turn - 1, options.heartbeat);
        let properties = ConnectionProperties::default().with_connection_name(options.role.into());
        let runtime = lapin::runtime::default_runtime().map_err(|error| port_error(what, error))?;
        let connecting =
            Connection::connect_uri_with_config(server, properties, certificates, runtime);
        let error = match tokio::time::timeout(options.patience, connecting).await {
            Ok(Ok(connection)) => {
                if state.connected_before {
                    info!(role = options.role, "Connected to {address} again");
                }
                let connection = Arc::new(connection);
                state.connection = Some(Arc::clone(&connection));
                (state.connected_before, state.failures, state.not_before) = (true, 0, None);
                return Ok(connection);
            }
            Ok(Err(error)) => port_error(&format!("{what}: connecting to {address}"), error),
            Err(_) => silent(&format!("{what}: connecting to {address}")),
        };
        let wait = pause(state.failures, fastrand::f64());
        state.failures = state.failures.saturating_add(1);
        state.not_before = Some(Instant::now() + wait);
        debug!(role = options.role, %error, "Cannot connect to {address}");
        if state.connected_before && !error.is_transient() {
            return Err(PortError::transient(error.to_string(), error));
        }
        Err(error)
    }

    /// Forgets a connection that does not answer; whoever uses it finds it closed.
    pub async fn give_up(&self, connection: &Arc<Connection>) {
        let taken = {
            let mut state = self.inner.state.lock().await;
            state.connection.take_if(|current| Arc::ptr_eq(current, connection))
        };
        if taken.is_some() {
            let connection = Arc::clone(connection);
            // Nobody waits for the farewell of a server that does not answer.
            tokio::spawn(async move {
                connection.close(200, "no answer".into()).await.ok();
            });
        }
    }

    /// Ends the connection, if there is one.
    pub async fn close(&self) {
        let connection = self.inner.state.lock().await.connection.take();
        if let Some(connection) = connection {
            let farewell = connection.close(200, "done".into());
            tokio::time::timeout(self.inner.options.patience, farewell).await.ok();
        }
    }
}

impl std::fmt::Debug for AmqpLink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { address, options, .. } = &*self.inner;
        formatter
            .debug_struct("AmqpLink")
            .field("address", address)
            .field("options", options)
            .finish()
    }
}

/// How long to wait after so many failures in a row; `chance` is uniform in `0.0..1.0`. Jitter is
/// full, so that after an outage the workers of a fleet come back spread out, not all at once.
fn pause(failures: u32, chance: f64) -> Duration {
    let bound = PAUSE_FIRST.saturating_mul(1 << failures.min(10)).min(PAUSE_LONGEST);
    bound.mul_f64(chance.clamp(0.0, 1.0))
}

/// Nobody answered in time.
pub(super) fn silent(what: &str) -> PortError {
    PortError::transient(format!("{what} failed"), "the server did not answer in time")
}

/// A failed call as an error that says whether to try again.
pub fn port_error(what: &str, error: Error) -> PortError {
    if is_final(&error) {
        PortError::permanent(format!("{what} was refused"), error)
    } else {
        PortError::transient(format!("{what} failed"), error)
    }
}

/// Whether the server will say the same again: it forbids, does not have or cannot do what was asked.
fn is_final(error: &Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return matches!(error.kind(), ErrorKind::AuthProviderError(_));
    };
    matches!(
        error.kind(),
        AMQPErrorKind::Soft(
            AMQPSoftError::ACCESSREFUSED
                | AMQPSoftError::CONTENTTOOLARGE
                | AMQPSoftError::NOTFOUND
                | AMQPSoftError::PRECONDITIONFAILED
        ) | AMQPErrorKind::Hard(
            AMQPHardError::INVALIDPATH | AMQPHardError::NOTALLOWED | AMQPHardError::NOTIMPLEMENTED
        )
    )
}

/// Whether the server does not have what was asked for.
pub(super) fn is_not_found(error: &Error) -> bool {
    is_soft(error, &AMQPSoftError::NOTFOUND)
}

/// Whether this user may not have it, or somebody else has it alone.
pub(super) fn is_refused(error: &Error) -> bool {
    is_soft(error, &AMQPSoftError::ACCESSREFUSED) || is_soft(error, &AMQPSoftError::RESOURCELOCKED)
}

/// Whether the server has it otherwise than it was said to be.
pub(super) fn is_otherwise(error: &Error) -> bool {
    is_soft(error, &AMQPSoftError::PRECONDITIONFAILED)
}

fn is_soft(error: &Error, code: &AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(soft) if soft == code))
}

#[cfg(test)]
mod tests {
    use lapin::ErrorKind;
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    use super::{PAUSE_FIRST, PAUSE_LONGEST, pause, port_error};

    #[test]
    fn pauses_double_up_to_the_longest_with_full_jitter() {
        assert_eq!([0, 1, 2].map(|n| pause(n, 1.0)), [1, 2, 4].map(|n| PAUSE_FIRST * n));
        assert_eq!(pause(u32::MAX, 1.0), PAUSE_LONGEST);
        assert!(pause(7, 0.0).is_zero());
    }

    #[test]
    fn a_server_that_restarts_is_asked_again_and_one_that_forbids_is_not() {
        let failed = |kind: AMQPErrorKind| {
            let error = AMQPError::new(kind, "because".into());
            port_error("it", ErrorKind::ProtocolError(error).into()).is_transient()
        };
        for kind in [AMQPHardError::CONNECTIONFORCED, AMQPHardError::INTERNALERROR] {
            assert!(failed(kind.into()));
        }
        assert!(failed(AMQPSoftError::RESOURCELOCKED.into()));
        for kind in [AMQPSoftError::NOTFOUND, AMQPSoftError::PRECONDITIONFAILED] {
            assert!(!failed(kind.into()));
        }
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(port_error("it", lost.into()).is_transient());
    }
}
