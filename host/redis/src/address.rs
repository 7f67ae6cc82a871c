//! Where a Redis is, as Celery's configuration writes it.

use std::fs;
use std::path::PathBuf;

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisError, TlsCertificates,
};

/// Query parameters that tune Python's client; connections of this one are tuned by their role.
const PASSED_OVER: [&str; 7] = [
    "health_check_interval",
    "max_connections",
    "protocol",
    "retry_on_timeout",
    "socket_keepalive",
    "socket_connect_timeout",
    "socket_timeout",
];

/// A Redis server and a database in it.
///
/// URLs are those of Celery: `redis://[user:password@]host[:6379]/0`, `rediss://` with
/// `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile`, `redis+socket:///path` with
/// `virtual_host`.
#[derive(Clone)]
pub struct Address {
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
}

/// A URL that names no server this crate can speak to. It never repeats the URL: passwords are in
/// there.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no URL of a Redis.
    #[error("no URL of a Redis server")]
    Syntax(#[source] Option<RedisError>),
    /// It lists several servers, or a Sentinel.
    #[error("lists of servers and Sentinel are not supported: name one server")]
    Several,
    /// A parameter is unknown.
    #[error("unknown parameter `{0}`")]
    Unknown(String),
    /// A parameter has a value that it cannot have.
    #[error("parameter `{name}` cannot be `{value}`")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
    },
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

#[derive(Default)]
struct Parameters {
    authority: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    unchecked: bool,
    database: Option<i64>,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// When it names no server, several, or says what is not understood; when a certificate that it
    /// names cannot be read.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        if url.contains(';') || url.starts_with("sentinel") {
            return Err(AddressError::Several);
        }
        let socket = url.strip_prefix("redis+socket://");
        let text = socket.map_or_else(|| url.to_owned(), |rest| format!("unix://{rest}"));
        let mut url = redis::parse_redis_url(&text).ok_or(AddressError::Syntax(None))?;
        let parameters = Parameters::read(url.query_pairs())?;
        url.set_query(None);
        url.set_fragment(parameters.unchecked.then_some("insecure"));
        let secure = url.scheme() == "rediss";
        let mut info =
            url.into_connection_info().map_err(|error| AddressError::Syntax(Some(error)))?;
        if let Some(database) = parameters.database {
            let settings = info.redis_settings().clone().set_db(database);
            info = info.set_redis_settings(settings);
        }
        let certificates = if secure { Some(parameters.certificates()?) } else { None };
        Ok(Self { info, certificates })
    }

    /// Whether the other address is the same database of the same server, as far as names tell:
    /// then one script can write both.
    pub fn is_same_database(&self, other: &Self) -> bool {
        self.is_same_server(other)
            && self.info.redis_settings().db() == other.info.redis_settings().db()
    }

    /// Whether the other address is on the same server, as far as names tell: then a script that may
    /// change its database can write both.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.info.addr() == other.info.addr()
    }

    /// The database's number.
    pub fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }

    /// A client; `pushes` when the server is to send what nobody asked for.
    pub(crate) fn client(&self, pushes: bool) -> Result<Client, RedisError> {
        let protocol = if pushes { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        let settings: RedisConnectionInfo =
            self.info.redis_settings().clone().set_protocol(protocol);
        let info = self.info.clone().set_redis_settings(settings);
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Address({self})")
    }
}

/// The server and the database, without user and password.
impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self.info.addr() {
            ConnectionAddr::TcpTls { .. } => "rediss",
            ConnectionAddr::Unix(_) => "redis+socket",
            _ => "redis",
        };
        write!(formatter, "{scheme}://{}/{}", self.info.addr(), self.database())
    }
}

impl Parameters {
    fn read<'a>(
        pairs: impl Iterator<Item = (std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
    ) -> Result<Self, AddressError> {
        let mut found = Self::default();
        for (name, value) in pairs {
            let value = value.into_owned();
            match &*name {
                "ssl_ca_certs" => found.authority = Some(value),
                "ssl_certfile" => found.certificate = Some(value),
                "ssl_keyfile" => found.key = Some(value),
                "ssl_cert_reqs" => match value.trim_start_matches("CERT_") {
                    "required" | "REQUIRED" | "optional" | "OPTIONAL" => {}
                    "none" | "NONE" => found.unchecked = true,
                    _ => return Err(AddressError::Value { name: "ssl_cert_reqs", value }),
                },
                "virtual_host" | "db" => {
                    let number = value.trim_start_matches('/').parse();
                    let number = number.ok().filter(|number| *number >= 0);
                    let name = "virtual_host";
                    found.database = Some(number.ok_or(AddressError::Value { name, value })?);
                }
                name if PASSED_OVER.contains(&name) => {}
                name => return Err(AddressError::Unknown(name.to_owned())),
            }
        }
        Ok(found)
    }

    fn certificates(self) -> Result<TlsCertificates, AddressError> {
        let read = |path: String| {
            fs::read(&path).map_err(|source| AddressError::File { path: path.into(), source })
        };
        let client_tls = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => {
                Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
            }
            (None, None) => None,
            _ => return Err(AddressError::HalfIdentity),
        };
        Ok(TlsCertificates { client_tls, root_cert: self.authority.map(read).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, AddressError};

    fn shown(url: &str) -> String {
        Address::parse(url).map_or_else(|error| error.to_string(), |address| address.to_string())
    }

    #[test]
    fn every_form_of_celery_is_understood() {
        for (url, expected) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://:secret@host:1234/5", "redis://host:1234/5"),
            ("redis://user:pass%40word@host/", "redis://host:6379/0"),
            ("rediss://host/1?ssl_cert_reqs=required", "rediss://host:6379/1"),
            ("rediss://host/1?ssl_cert_reqs=CERT_NONE", "rediss://host:6379/1"),
            ("redis+socket:///run/redis.sock?virtual_host=3", "redis+socket:///run/redis.sock/3"),
            ("redis://host/2?socket_timeout=5", "redis://host:6379/2"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_and_no_password_is_told() {
        for (url, expected) in [
            ("http://:secret@host", "no URL of a Redis server"),
            ("redis://:secret@host/x", "no URL of a Redis server"),
            ("redis://:secret@a/0;redis://b/0", "lists of servers and Sentinel"),
            ("sentinel://:secret@a:26379/0", "lists of servers and Sentinel"),
            ("redis://:secret@host/0?colour=red", "unknown parameter `colour`"),
            ("rediss://h?ssl_cert_reqs=maybe", "parameter `ssl_cert_reqs` cannot be `maybe`"),
            ("rediss://h?ssl_certfile=/a", "`ssl_certfile` and `ssl_keyfile` go together"),
            ("rediss://h?ssl_ca_certs=/does/not/exist", "cannot read `/does/not/exist`"),
        ] {
            let told = shown(url);
            assert!(told.starts_with(expected), "{url}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
        let secret = Address::parse("redis://:secret@host/0").map(|it| format!("{it:?}"));
        assert!(!format!("{secret:?}").contains("secret"));
    }

    #[test]
    fn two_urls_of_one_database_are_known_as_such() -> Result<(), AddressError> {
        let one = Address::parse("redis://host/1")?;
        assert!(one.is_same_database(&Address::parse("redis://:pass@host:6379/1")?));
        assert!(!one.is_same_database(&Address::parse("redis://host/2")?));
        assert!(one.is_same_server(&Address::parse("redis://host/2")?));
        assert!(!one.is_same_server(&Address::parse("redis://elsewhere/1")?));
        assert!(!one.is_same_database(&Address::parse("rediss://host/1")?));
        Ok(())
    }
}
