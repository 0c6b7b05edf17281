//! How operators write the addresses that a process listens on.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on: `127.0.0.1:8080`, `[::1]:0`, `unix:/run/example.sock` or `/run/example.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address with a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
}

/// Says that a text is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not an address to listen on; write 127.0.0.1:8080, [::1]:8080 or unix:/an/absolute/path"
)]
pub struct BadAddress {
    /// The text.
    pub given: String,
}

impl Address {
    /// Returns `true` if only this machine can reach the address.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Returns the IP address, unless it stands for all that the machine has.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()).filter(|ip| !ip.is_unspecified()),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(given: &str) -> Result<Self, BadAddress> {
        let path = match given.strip_prefix("unix:") {
            // `unix:///path` is how URIs write it.
            Some(rest) => Some(rest.strip_prefix("//").unwrap_or(rest)),
            None => given.starts_with('/').then_some(given),
        };
        let address = match path {
            Some(path) => {
                // A relative path would depend on where the process was started, and a directory holds none.
                let is_good = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
                is_good.then(|| Self::Unix(PathBuf::from(path)))
            }
            None => given.parse().ok().map(Self::Tcp),
        };
        address.ok_or_else(|| BadAddress { given: given.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: Option<(&str, bool)>) {
        let address = given.parse::<Address>();
        let seen = address.as_ref().ok().map(|address| (address.to_string(), address.is_local()));
        assert_eq!(seen, expected.map(|(text, local)| (text.to_owned(), local)), "{given}");
    }

    #[test]
    fn addresses_are_read_in_every_accepted_form_and_written_in_one() {
        check("127.0.0.1:0", Some(("127.0.0.1:0", true)));
        check("[::1]:80", Some(("[::1]:80", true)));
        check("[::ffff:127.0.0.1]:80", Some(("[::ffff:127.0.0.1]:80", true)));
        check("0.0.0.0:80", Some(("0.0.0.0:80", false)));
        check("192.0.2.1:80", Some(("192.0.2.1:80", false)));
        for path in ["unix:/run/a.sock", "unix:///run/a.sock", "/run/a.sock"] {
            check(path, Some(("unix:/run/a.sock", true)));
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused_with_an_example() {
        for given in ["", "localhost:80", "127.0.0.1", ":80", "::1:80", "unix:", "unix:a.sock", "unix:/a/"] {
            check(given, None);
        }
        assert_eq!(
            "localhost:80".parse::<Address>().unwrap_err().to_string(),
            "\"localhost:80\" is not an address to listen on; \
             write 127.0.0.1:8080, [::1]:8080 or unix:/an/absolute/path"
        );
    }

    #[test]
    fn an_address_that_stands_for_all_has_no_ip_of_its_own() {
        let ip = |given: &str| given.parse::<Address>().unwrap().ip();
        assert_eq!(ip("192.0.2.1:80"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!((ip("[::]:80"), ip("0.0.0.0:80"), ip("/a")), (None, None, None));
    }
}
