//! From a name to a connection, by way of an address that was looked at.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use lovage_core::http::{Destination, HttpError, Networks};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// Names that are resolved at once. Each takes a thread until the system has an answer, which may be
/// long after anybody waits for it.
const LOOKUPS_MAX: usize = 16;

/// Addresses of a name that are tried, one after another.
const ADDRESSES_MAX: usize = 4;

/// A connection, secure or not.
pub(crate) type Connection = Box<dyn Duplex>;

/// What bytes go over, both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How a name is resolved.
pub(crate) type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Makes connections to addresses that guests may reach.
pub(crate) struct Connector {
    networks: Networks,
    tls: Arc<ClientConfig>,
    lookups: Arc<Semaphore>,
    lookup: Lookup,
}

impl Connector {
    pub(crate) fn new(networks: Networks, tls: Arc<ClientConfig>) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { networks, tls, lookups, lookup: by_the_system }
    }

    /// The same with another way to resolve names.
    #[cfg(test)]
    pub(crate) fn looking_up(self, lookup: Lookup) -> Self {
        Self { lookup, ..self }
    }

    /// Connects; the name is resolved once, and the connection goes to an address that was looked at.
    pub(crate) async fn connect(
        &self,
        destination: &Destination,
        within: Duration,
    ) -> Result<Connection, HttpError> {
        let begun = Instant::now();
        let addresses = self.addresses(destination).await?;
        let stream = reach(&addresses, begun + within).await?;
        // Without it, the last small part of a request may wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        if !destination.is_secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(destination.name().to_owned())
            .map_err(|error| HttpError::Insecure(error.to_string()))?;
        let connecting = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream);
        let stream = connecting.await.map_err(|error| HttpError::Insecure(error.to_string()))?;
        Ok(Box::new(stream))
    }

    /// The addresses of a name that guests may reach; one at least.
    async fn addresses(&self, destination: &Destination) -> Result<Vec<SocketAddr>, HttpError> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        let (name, port, lookup) = (destination.name().to_owned(), destination.port, self.lookup);
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            lookup(&name, port)
        });
        let unknown = || HttpError::NameUnknown(destination.host.clone());
        let mut found = found.await.map_err(|_| unknown())?.map_err(|_| unknown())?;
        if found.is_empty() {
            return Err(unknown());
        }
        found.retain(|address| self.networks.allow(address.ip()));
        found.truncate(ADDRESSES_MAX);
        if found.is_empty() {
            return Err(HttpError::AddressRefused(destination.host.clone()));
        }
        Ok(found)
    }
}

pub(crate) fn by_the_system(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((name, port).to_socket_addrs()?.collect())
}

/// A connection to the first address that answers; each has its share of the time that is left.
async fn reach(addresses: &[SocketAddr], until: Instant) -> Result<TcpStream, HttpError> {
    let mut failed = HttpError::Unreachable;
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(1);
        let share = until.saturating_duration_since(Instant::now()) / left;
        failed = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                HttpError::Refused
            }
            Ok(Err(_)) => HttpError::Unreachable,
            Err(_) => HttpError::ConnectTimeout,
        };
    }
    Err(failed)
}
