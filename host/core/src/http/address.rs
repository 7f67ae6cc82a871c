//! Which addresses a guest's request may go to.
//!
//! A name stands for whatever its owner wants, this machine and its neighbours included. So it is
//! resolved once, each address is looked at here, and the connection is made to that address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses that begin alike, such as `10.0.0.0/8` or `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network, such as 10.0.0.0/8, 192.0.2.7 or fd00::/8")]
pub struct NetworkError(String);

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(first: u16, second: u16, third: u16, prefix: u8) -> Self {
        let address = IpAddr::V6(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0));
        Self { address, prefix }
    }

    /// Whether an address is in it. One of IPv4 is in none of IPv6's.
    pub fn contains(&self, address: IpAddr) -> bool {
        let mask = |bits: u32| u32::MAX.checked_shl(bits - u32::from(self.prefix)).unwrap_or(0);
        let wide = |bits: u32| u128::MAX.checked_shl(bits - u32::from(self.prefix)).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(it)) => (ours.to_bits() ^ it.to_bits()) & mask(32) == 0,
            (IpAddr::V6(ours), IpAddr::V6(it)) => (ours.to_bits() ^ it.to_bits()) & wide(128) == 0,
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError(text.chars().take(80).collect());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits),
            None => Some(bits),
        };
        Ok(Self { address, prefix: prefix.ok_or_else(error)? })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

/// The networks that an operator lets guests reach although the public does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Whether a request may go to this address.
    pub fn allow(&self, address: IpAddr) -> bool {
        let plain = address.to_canonical();
        is_public(address) || self.0.iter().any(|network| network.contains(plain))
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// What is not for the public in IPv4, by IANA's registry of special addresses; and one that is, but
/// answers every machine of a cloud with what is that machine's own.
const PRIVATE_V4: [Network; 17] = [
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(100, 64, 0, 0, 10),
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(168, 63, 129, 16, 32),
    Network::v4(169, 254, 0, 0, 16),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 0, 0, 0, 24),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(192, 31, 196, 0, 24),
    Network::v4(192, 52, 193, 0, 24),
    Network::v4(192, 88, 99, 0, 24),
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    // Multicast, what is reserved, and everyone.
    Network::v4(224, 0, 0, 0, 3),
];

/// What is handed out to the public in IPv6, and what of it leads elsewhere: tunnels that carry an
/// address of IPv4, and what is for examples.
const GLOBAL_V6: Network = Network::v6(0x2000, 0, 0, 3);
const PRIVATE_V6: [Network; 5] = [
    Network::v6(0x2001, 0, 0, 23),
    Network::v6(0x2001, 0xdb8, 0, 32),
    Network::v6(0x2002, 0, 0, 16),
    Network::v6(0x2620, 0x4f, 0x8000, 48),
    Network::v6(0x3fff, 0, 0, 20),
];

/// Translated to the address of IPv4 in its last four bytes, which is looked at in its place.
const TRANSLATED: Network = Network::v6(0x64, 0xff9b, 0, 96);

/// Whether an address belongs to the public network: not to this machine, its neighbours, its
/// provider, a group of machines, or nobody.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => !PRIVATE_V4.iter().any(|network| network.contains(it.into())),
        it @ IpAddr::V6(bits) if TRANSLATED.contains(it) => {
            let [.., a, b, c, d] = bits.octets();
            is_public(Ipv4Addr::new(a, b, c, d).into())
        }
        it @ IpAddr::V6(_) => {
            GLOBAL_V6.contains(it) && !PRIVATE_V6.iter().any(|network| network.contains(it))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, Networks, is_public};

    #[test]
    fn only_what_the_public_may_reach_is_public() {
        for address in ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "64:ff9b::1.1.1.1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_operator_opens_a_network_and_no_more() {
        let networks: Networks =
            ["10.1.0.0/16", "::1"].iter().map(|it| it.parse::<Network>().unwrap()).collect();
        for address in ["10.1.255.1", "::1", "::ffff:10.1.0.1", "1.1.1.1"] {
            assert!(networks.allow(address.parse().unwrap()), "{address}");
        }
        for address in ["10.2.0.1", "::2", "127.0.0.1", "::ffff:10.2.0.1"] {
            assert!(!networks.allow(address.parse().unwrap()), "{address}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("9.9.9.9".parse().unwrap()));
        for text in ["", "10", "10.0.0.0/33", "::/129", "a/8", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
