//! Who a request comes from, when there are proxies in between. Pure functions.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Networks whose word is taken for who a request comes from.
///
/// A client can write whatever it likes into `X-Forwarded-For`; a proxy adds whom it got the request from at the end. So the
/// list is read from its end, for as long as the addresses are those of trusted proxies, and the first that is not is
/// the client.
///
/// # Example
/// ```
/// use quorate_http::limit::TrustedProxies;
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])?;
/// # let _ = proxies;
/// # Ok::<_, quorate_http::limit::NetworkError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<Network>);

/// What was to be a network is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` must be an address, or an address, `/`, and how many of its bits count",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NetworkError {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: u128,
    /// Of 128: an IPv4 address is one of IPv6.
    bits: u32,
}

impl TrustedProxies {
    /// Addresses, or networks as `10.0.0.0/8`.
    ///
    /// # Errors
    /// If one of them is neither.
    pub fn new<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, NetworkError> {
        let networks = networks.into_iter();
        let networks = networks.map(|network| network.as_ref().parse());
        networks.collect::<Result<_, _>>().map(Self)
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client of a request that came over a connection from `peer`.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        for line in lines.into_iter().rev() {
            let Ok(line) = line.to_str() else {
                return client;
            };
            for part in line.rsplit(',') {
                if !self.contains(client) {
                    return client;
                }
                // What is no address was written by nobody who is trusted.
                let Some(address) = read(part.trim()) else {
                    return client;
                };
                client = address;
            }
        }
        client
    }
}

/// An address, perhaps with a port, and in brackets.
fn read(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some((inside, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let port = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return port
            .then(|| inside.parse::<Ipv6Addr>().ok())
            .flatten()
            .map(IpAddr::V6);
    }
    let (address, port) = text.rsplit_once(':')?;
    is_port(port).then(|| address.parse().ok()).flatten()
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let unlike = self.address ^ wide(address);
        unlike.leading_zeros() >= self.bits
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let (most, before) = if address.is_ipv4() {
            (32, 96)
        } else {
            (128, 0)
        };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().map_err(|_| error())?,
        };
        if bits > most {
            return Err(error());
        }
        Ok(Self {
            address: wide(address),
            bits: bits + before,
        })
    }
}

/// What is counted of an address: of IPv6 the first half, since who has one of those has all of them.
pub(super) fn counted(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
            format!("{network}/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let trusted = TrustedProxies::new(["10.0.0.0/8", "fd00::/8", "192.0.2.7"]).unwrap();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_says_who_the_client_is() {
        assert_eq!(client("203.0.113.9", &["1.1.1.1"]), "203.0.113.9");
        assert_eq!(client("10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.1.2.3", &[]), "10.1.2.3");
        // What the client wrote itself stands in front of what the proxies added.
        assert_eq!(
            client("10.1.2.3", &["1.1.1.1, 203.0.113.9, 192.0.2.7"]),
            "203.0.113.9"
        );
        assert_eq!(
            client("10.1.2.3", &["1.1.1.1", "203.0.113.9", "fd00::1"]),
            "203.0.113.9"
        );
        assert_eq!(client("10.1.2.3", &["garbage, 10.9.9.9"]), "10.9.9.9");
        assert_eq!(client("10.1.2.3", &["203.0.113.9:8080"]), "203.0.113.9");
        assert_eq!(client("10.1.2.3", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("::ffff:10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn networks_are_checked() {
        for bad in ["", "10.0.0.0/33", "x/8", "fd00::/129", "10.0.0.0/-1"] {
            assert!(TrustedProxies::new([bad]).is_err(), "{bad}");
        }
        assert!(TrustedProxies::new(["0.0.0.0/0", "::/0"]).is_ok());
    }

    #[test]
    fn half_of_an_address_of_ipv6_is_counted() {
        let counted = |text: &str| counted(text.parse().unwrap());
        assert_eq!(counted("203.0.113.9"), "203.0.113.9");
        assert_eq!(counted("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }
}
