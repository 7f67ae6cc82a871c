//! Where a RabbitMQ is, as Celery's configuration writes it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};

/// Query parameters that tune Python's client; this one is tuned by its role.
const PASSED_OVER: [&str; 6] =
    ["channel_max", "connect_timeout", "connection_timeout", "frame_max", "heartbeat", "transport"];

/// A RabbitMQ: one server or several of a cluster, and a virtual host.
///
/// URLs are those of Celery: `amqp://[user:password@]host[:5672]/vhost` (also `pyamqp://`), `amqps://`
/// with `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile`. Several are separated by `;`; what is no URL
/// among them is a host (and a port), and shares everything else with the first.
#[derive(Clone, PartialEq)]
pub struct AmqpAddress {
    servers: Vec<AMQPUri>,
    certificates: OwnedTLSConfig,
}

/// A URL that names no server this crate can speak to. It never repeats the URL: passwords are in
/// there.
#[derive(Debug, thiserror::Error)]
pub enum AmqpAddressError {
    /// It is no URL of a RabbitMQ.
    #[error("no URL of a RabbitMQ server: {0}")]
    Syntax(&'static str),
    /// The servers of a list are to share user, virtual host and encryption with each other.
    #[error("the servers of a list differ in their virtual host or in their encryption")]
    Several,
    /// A parameter is unknown.
    #[error("unknown parameter `{0}`")]
    Unknown(String),
    /// The server's certificate is always checked.
    #[error("`ssl_cert_reqs` cannot be `{0}`: the server's certificate is always checked")]
    Unchecked(String),
    /// A certificate or a key cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A certificate is given without its key, or the other way round.
    #[error("`ssl_certfile` and `ssl_keyfile` go together")]
    HalfIdentity,
}

impl AmqpAddress {
    /// Reads a URL, or several.
    ///
    /// # Errors
    /// When one of them is none, or says what is not understood; when a certificate that it names
    /// cannot be read.
    pub fn parse(urls: &str) -> Result<Self, AmqpAddressError> {
        let mut parts = urls.split(';').map(str::trim).filter(|part| !part.is_empty());
        let first = parts.next().ok_or(AmqpAddressError::Syntax("it is empty"))?;
        let (scheme, rest) =
            first.split_once("://").ok_or(AmqpAddressError::Syntax("it has no scheme"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let first = server(scheme, rest)?;
        let mut servers = vec![first.clone()];
        for part in parts {
            let next = if let Some((scheme, rest)) = part.split_once("://") {
                server(scheme, rest.split('?').next().unwrap_or(rest))?
            } else {
                let (host, port) = host_and_port(part, &first.scheme)?;
                let authority = AMQPAuthority { host, port, ..first.authority.clone() };
                AMQPUri { authority, ..first.clone() }
            };
            if (&next.scheme, &next.vhost) != (&first.scheme, &first.vhost) {
                return Err(AmqpAddressError::Several);
            }
            servers.push(next);
        }
        Ok(Self { servers, certificates: Parameters::read(query)?.certificates()? })
    }

    /// How many servers there are to choose from; at least one.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// The virtual host.
    pub fn virtual_host(&self) -> &str {
        self.servers.first().map_or("/", |server| &server.vhost)
    }

    /// The user, as monitors show it.
    pub fn user(&self) -> &str {
        self.servers.first().map_or("", |server| &server.authority.userinfo.username)
    }

    /// The user's password.
    pub fn password(&self) -> &str {
        self.servers.first().map_or("", |server| &server.authority.userinfo.password)
    }

    /// The server of this turn, with the heartbeat that is asked for.
    pub(super) fn server(&self, turn: usize, heartbeat: Duration) -> (AMQPUri, OwnedTLSConfig) {
        let mut server =
            self.servers.get(turn % self.servers.len().max(1)).cloned().unwrap_or_default();
        let seconds = heartbeat.as_secs().max(1);
        server.query.heartbeat = Some(u16::try_from(seconds).unwrap_or(u16::MAX));
        (server, self.certificates.clone())
    }
}

impl std::fmt::Debug for AmqpAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AmqpAddress({self})")
    }
}

/// The servers and the virtual host, without users and passwords.
impl std::fmt::Display for AmqpAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, server) in self.servers.iter().enumerate() {
            let AMQPAuthority { host, port, .. } = &server.authority;
            match number {
                0 => write!(formatter, "{}://{host}:{port}", server.scheme)?,
                _ => write!(formatter, ";{host}:{port}")?,
            }
        }
        write!(formatter, "/{}", self.virtual_host().trim_start_matches('/'))
    }
}

/// One server: `rest` is `[user[:password]@]host[:port][/vhost]`.
fn server(scheme: &str, rest: &str) -> Result<AMQPUri, AmqpAddressError> {
    let scheme = match scheme {
        "amqp" | "pyamqp" => AMQPScheme::AMQP,
        "amqps" | "pyamqps" => AMQPScheme::AMQPS,
        _ => return Err(AmqpAddressError::Syntax("its scheme is neither amqp nor amqps")),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    let userinfo = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        Some((username, password)) => {
            AMQPUserInfo { username: decoded(username)?, password: decoded(password)? }
        }
        None => AMQPUserInfo::default(),
    };
    let (host, port) = host_and_port(place, &scheme)?;
    // What is behind the first slash is the virtual host; nothing means the one that is called `/`.
    let vhost = if path.is_empty() { "/".to_owned() } else { decoded(path)? };
    let authority = AMQPAuthority { userinfo, host, port };
    Ok(AMQPUri { scheme, authority, vhost, query: AMQPQueryString::default() })
}

fn host_and_port(place: &str, scheme: &AMQPScheme) -> Result<(String, u16), AmqpAddressError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed
                .split_once(']')
                .ok_or(AmqpAddressError::Syntax("a bracket of its host is open"))?;
            (host, port.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => {
            port.parse().map_err(|_| AmqpAddressError::Syntax("its port is no number"))?
        }
        None => scheme.default_port(),
    };
    let host = if host.is_empty() { "localhost".to_owned() } else { decoded(host)? };
    Ok((host, port))
}

/// Takes percent signs back.
fn decoded(text: &str) -> Result<String, AmqpAddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(AmqpAddressError::Syntax("a percent sign is followed by no number"));
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| AmqpAddressError::Syntax("it is not UTF-8"))
}

#[derive(Default)]
struct Parameters {
    authority: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Parameters {
    fn read(query: &str) -> Result<Self, AmqpAddressError> {
        let mut found = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match name {
                "ssl_ca_certs" | "ca_certs" | "cacertfile" => found.authority = Some(value),
                "ssl_certfile" | "certfile" => found.certificate = Some(value),
                "ssl_keyfile" | "keyfile" => found.key = Some(value),
                "ssl_cert_reqs" | "cert_reqs" | "verify" => match &*value {
                    "required" | "CERT_REQUIRED" | "verify_peer" => {}
                    _ => return Err(AmqpAddressError::Unchecked(value)),
                },
                name if PASSED_OVER.contains(&name) => {}
                name => return Err(AmqpAddressError::Unknown(name.to_owned())),
            }
        }
        Ok(found)
    }

    fn certificates(self) -> Result<OwnedTLSConfig, AmqpAddressError> {
        let read = |path: String| {
            fs::read(&path).map_err(|source| AmqpAddressError::File { path: path.into(), source })
        };
        let identity = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => {
                Some(OwnedIdentity::PKCS8 { pem: read(certificate)?, key: read(key)? })
            }
            (None, None) => None,
            _ => return Err(AmqpAddressError::HalfIdentity),
        };
        let chain = self.authority.map(read).transpose()?;
        let chain = chain.map(|chain| String::from_utf8_lossy(&chain).into_owned());
        Ok(OwnedTLSConfig { identity, cert_chain: chain })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AmqpAddress, AmqpAddressError};

    fn shown(url: &str) -> String {
        AmqpAddress::parse(url).map_or_else(|error| error.to_string(), |it| it.to_string())
    }

    #[test]
    fn celerys_urls_are_understood() {
        for (url, meaning) in [
            ("amqp://", "amqp://localhost:5672/"),
            ("amqp://host", "amqp://host:5672/"),
            ("pyamqp://guest@host//", "amqp://host:5672/"),
            ("amqp://u:p@host:5673/shop", "amqp://host:5673/shop"),
            ("amqps://host/%2f", "amqps://host:5671/"),
            ("amqp://[::1]:5672/a", "amqp://::1:5672/a"),
            ("amqp://a/v;amqp://b:1/v;c:2", "amqp://a:5672;b:1;c:2/v"),
            ("amqp://a?heartbeat=10", "amqp://a:5672/"),
        ] {
            assert_eq!(shown(url), meaning, "{url}");
        }
    }

    #[test]
    fn user_password_and_virtual_host_come_without_their_percent_signs() {
        let address = AmqpAddress::parse("amqp://us%40er:p%2Fw@host/v%2Fh;other").unwrap();
        for turn in 0..3 {
            let (server, _) = address.server(turn, Duration::from_secs(7));
            let user = &server.authority.userinfo;
            assert_eq!((&*user.username, &*user.password, &*server.vhost), ("us@er", "p/w", "v/h"));
            assert_eq!(server.authority.host, ["host", "other"][turn % 2]);
            assert_eq!(server.query.heartbeat, Some(7));
        }
        assert!(!format!("{address:?}").contains("p/w"));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_says_no_password() {
        for url in ["", "redis://host", "host", "amqp://host:port", "amqp://h/%zz", "amqp://[::1"] {
            assert!(matches!(AmqpAddress::parse(url), Err(AmqpAddressError::Syntax(_))), "{url}");
        }
        assert!(shown("amqp://u:secret@h/?x=1").contains("`x`"));
        assert!(shown("amqps://h/?ssl_cert_reqs=none").contains("always checked"));
        assert!(shown("amqps://h/?ssl_certfile=a").contains("together"));
        assert!(shown("amqps://h/?ssl_ca_certs=/no/such").contains("/no/such"));
        assert!(shown("amqp://a/v;amqp://b/w").contains("differ"));
    }
}
