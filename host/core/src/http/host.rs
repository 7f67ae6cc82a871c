//! Which hosts are meant: `api.bank.example`, `*.bank.example:8443`, `[::1]:*`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A host that a task asks for, or that an operator grants: a name in which a `*` at the beginning
/// stands for any text, and a port. Without a port, the usual one of `http` or `https` is meant; `*`
/// is any port, and `*` alone any host at any port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    host: String,
    port: Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Any,
    Usual,
    One(u16),
}

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host, such as api.bank.example, *.bank.example:8443 or 10.0.0.7:*")]
pub struct HostPatternError(String);

impl HostPattern {
    /// Whether a request to there is meant.
    pub fn matches(&self, destination: &Destination) -> bool {
        let port = match self.port {
            Port::Any => true,
            Port::Usual => destination.port == destination.usual_port(),
            Port::One(port) => destination.port == port,
        };
        port && has(&self.host, &destination.host)
    }

    /// Whether everything that another means is meant.
    pub fn covers(&self, wish: &Self) -> bool {
        let port = self.port == Port::Any || self.port == wish.port;
        port && has(&self.host, &wish.host)
    }
}

fn has(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(end) => host.ends_with(end),
        None => pattern == host,
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let error = || HostPatternError(text.chars().take(80).collect());
        if text == "*" {
            return Ok(Self { host: text.into(), port: Port::Any });
        }
        let (host, port) = split(text).ok_or_else(error)?;
        let port = match port {
            None => Port::Usual,
            Some("*") => Port::Any,
            Some(port) => Port::One(number(port).ok_or_else(error)?),
        };
        let host = match host.strip_prefix('*') {
            Some("") => host.into(),
            Some(end) => {
                format!("*.{}", name(end.strip_prefix('.').ok_or_else(error)?).ok_or_else(error)?)
            }
            None => name(host).ok_or_else(error)?,
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.host)?;
        match self.port {
            Port::Any if self.host == "*" => Ok(()),
            Port::Any => formatter.write_str(":*"),
            Port::Usual => Ok(()),
            Port::One(port) => write!(formatter, ":{port}"),
        }
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Whether the connection is TLS.
    pub is_secure: bool,
    /// The name, in small letters, or an address; one of IPv6 in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Destination {
    /// Reads the `HOST[:PORT]` of a URL. User names and passwords are no part of it.
    pub fn parse(is_secure: bool, authority: &str) -> Option<Self> {
        let (host, port) = split(authority)?;
        let mut destination = Self { is_secure, host: name(host)?, port: 0 };
        destination.port = match port {
            Some(port) => number(port)?,
            None => destination.usual_port(),
        };
        Some(destination)
    }

    /// The port of URLs that name none.
    pub const fn usual_port(&self) -> u16 {
        if self.is_secure { 443 } else { 80 }
    }

    /// The host as it is resolved: an address of IPv6 without its brackets.
    pub fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Destination {
    /// As in a URL: with the port where that is not the usual one.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.host)?;
        if self.port == self.usual_port() { Ok(()) } else { write!(formatter, ":{}", self.port) }
    }
}

/// Host and port; an address of IPv6 has its brackets.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let end = text.starts_with('[').then(|| text.find(']')).flatten().map_or(0, |end| end + 1);
    let (address, rest) = text.split_at_checked(end)?;
    match (address.is_empty(), rest.split_once(':')) {
        (true, Some((host, port))) => Some((host, Some(port))),
        (true, None) => Some((rest, None)),
        (false, Some(("", port))) => Some((address, Some(port))),
        (false, None) if rest.is_empty() => Some((address, None)),
        (false, _) => None,
    }
}

fn number(port: &str) -> Option<u16> {
    let is_plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| is_plain && *port != 0)
}

/// A host as it is compared: in small letters, without the dot that may end it.
fn name(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_good = (1..=253).contains(&host.len()) && !host.starts_with('.') && !host.contains("..");
    (is_good && host.bytes().all(is_plain)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::{Destination, HostPattern};

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    fn to(url: &str) -> Destination {
        let (scheme, authority) = url.split_once("://").unwrap();
        Destination::parse(scheme == "https", authority).unwrap()
    }

    #[test]
    fn a_pattern_means_its_host_at_its_port() {
        for (text, url, is) in [
            ("api.bank.example", "https://api.bank.example", true),
            ("api.bank.example", "https://API.bank.example.", true),
            ("api.bank.example", "http://api.bank.example:80", true),
            ("api.bank.example", "https://api.bank.example:8443", false),
            ("api.bank.example", "https://api.bank.example.evil.example", false),
            ("api.bank.example:8443", "https://api.bank.example:8443", true),
            ("api.bank.example:*", "http://api.bank.example:1", true),
            ("*.bank.example", "https://a.b.bank.example", true),
            ("*.bank.example", "https://bank.example", false),
            ("*.bank.example", "https://evilbank.example", false),
            ("*", "http://anything:81", true),
            ("*:443", "http://anything:81", false),
            ("[::1]:80", "http://[0:0:0:0:0:0:0:1]", true),
        ] {
            assert_eq!(pattern(text).matches(&to(url)), is, "{text} {url}");
        }
    }

    #[test]
    fn a_grant_covers_no_more_than_it_says() {
        for (grant, wish, is) in [
            ("*", "*.bank.example:*", true),
            ("*.bank.example", "api.bank.example", true),
            ("*.bank.example", "*.api.bank.example", true),
            ("api.bank.example", "*.bank.example", false),
            ("api.bank.example", "api.bank.example:*", false),
            ("api.bank.example:*", "api.bank.example", true),
            ("api.bank.example", "api.bank.example:443", false),
        ] {
            assert_eq!(pattern(grant).covers(&pattern(wish)), is, "{grant} {wish}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "user@host",
            "a:b",
            "a:0",
            "a:65536",
            "a:+1",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%eth0]",
            "a..b",
            ".a",
            "é.example",
            "a*b",
            "**",
            "a\u{0}",
            "a:1:2",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
            assert!(Destination::parse(true, text).is_none(), "{text:?}");
        }
        assert_eq!(to("https://a:8443").to_string(), "a:8443");
        assert_eq!(pattern("*.A.example:*").to_string(), "*.a.example:*");
    }
}
