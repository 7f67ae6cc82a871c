//! What is published on a channel, as long as it is listened to.

use futures::StreamExt as _;
use lovage_core::ports::PortError;
use redis::aio::PubSub;
use redis::{Client, RedisError};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{Address, Backoff, port_error};

/// A connection that listens on one channel, made when it is needed and made again when it broke.
/// What is published meanwhile is missed: that is how channels are.
pub struct Subscription {
    address: Address,
    client: Client,
    channel: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listening: Option<PubSub>,
    backoff: Backoff,
    not_before: Option<Instant>,
    was_connected: bool,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Subscription({} on {})", self.channel, self.address)
    }
}

impl Subscription {
    /// A subscription; it connects at the first call.
    ///
    /// # Errors
    /// When the address's certificates are of no use.
    pub fn new(address: &Address, channel: String) -> Result<Self, PortError> {
        let client = address
            .client(false)
            .map_err(|error| PortError::permanent("setting up a Redis client failed", error))?;
        Ok(Self { address: address.clone(), client, channel, state: Mutex::default() })
    }

    /// Listens, if it does not yet: what is published after this is heard.
    ///
    /// # Errors
    /// When the server cannot be reached, or forbids it.
    pub async fn listen(&self) -> Result<(), PortError> {
        self.connected(&mut *self.state.lock().await).await
    }

    /// The next message; waits for it. Dropping the future loses none.
    ///
    /// # Errors
    /// When the server cannot be reached, or forbids it.
    pub async fn next(&self) -> Result<Vec<u8>, PortError> {
        let mut state = self.state.lock().await;
        self.connected(&mut state).await?;
        let heard = match &mut state.listening {
            Some(listening) => listening.on_message().next().await,
            None => None,
        };
        if let Some(message) = heard {
            return Ok(message.get_payload_bytes().to_vec());
        }
        state.listening = None;
        let wait = state.backoff.failed(fastrand::f64());
        state.not_before = Some(Instant::now() + wait);
        warn!(channel = self.channel, "Lost the subscription on {}", self.address);
        Err(PortError::transient("listening failed", "the connection ended"))
    }

    async fn connected(&self, state: &mut State) -> Result<(), PortError> {
        if state.listening.is_some() {
            return Ok(());
        }
        if let Some(moment) = state.not_before {
            tokio::time::sleep_until(moment).await;
        }
        match self.connect().await {
            Ok(listening) => {
                if state.was_connected {
                    info!(channel = self.channel, "Listening on {} again", self.address);
                }
                state.backoff.succeeded();
                state.was_connected = true;
                state.listening = Some(listening);
                Ok(())
            }
            Err(error) => {
                let wait = state.backoff.failed(fastrand::f64());
                state.not_before = Some(Instant::now() + wait);
                Err(port_error(&format!("listening on {}", self.address), error))
            }
        }
    }

    async fn connect(&self) -> Result<PubSub, RedisError> {
        let mut listening = self.client.get_async_pubsub().await?;
        listening.subscribe(&self.channel).await?;
        Ok(listening)
    }
}
