//! Finds the addresses of a host, passed in like the time, so that a test can say what they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::future::BoxFuture;

/// Finds the addresses of a host.
pub trait Resolve: Send + Sync + 'static {
    /// Returns all addresses of a host, in any order.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// Asks the machine. Names below `localhost` are this machine, whatever its name servers say (RFC 6761).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            if host.to_ascii_lowercase().ends_with(".localhost") {
                let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                return Ok(loopback.map(|ip| SocketAddr::new(ip, port)).to_vec());
            }
            Ok(tokio::net::lookup_host((host, port)).await?.collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_below_localhost_are_this_machine() {
        let found = SystemResolver.resolve("rescind-controller.localhost", 7401).await.unwrap();
        assert_eq!(found, ["127.0.0.1:7401".parse().unwrap(), "[::1]:7401".parse().unwrap()]);
    }
}
