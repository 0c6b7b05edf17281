//! How the connections of a controller are protected: every port has the same certificate.
//!
//! Off loopback there is TLS, or the start is refused.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::runtime::clock::Clock;
use crate::runtime::grpc_serve::Transport;
use crate::runtime::host_guard::{HostGuard, Literals};
use crate::runtime::listen::Address;
use crate::runtime::supervisor::Supervisor;
use crate::runtime::tls::{
    self, AuthorityFile, Clients, Identity, Protocols, ServerCertificate, ServerFiles,
};

use super::domain::Domain;

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// There is none: only this machine is served, in the clear.
    None,
    /// From files, which are read anew when they change.
    Files {
        /// What is shown.
        identity: Identity,
        /// Whose certificates sidecars must have.
        clients: Clients,
        /// The authorities that are published, so that sidecars trust what is shown.
        published: Option<PathBuf>,
    },
    /// From the controllers' own authority, for their services in this domain.
    Authority {
        /// Where they are.
        domain: Domain,
    },
}

/// Makes the transports of all ports.
pub(super) enum Transports {
    Clear,
    Files(Arc<ServerFiles>, Option<Arc<AuthorityFile>>),
    Authority(Arc<ServerCertificate>),
}

impl Transports {
    /// Reads the files, if it is to be files. The certificate of the authority comes later: until then, handshakes fail.
    pub(super) fn new(certificates: &Certificates) -> anyhow::Result<Self> {
        Ok(match certificates {
            Certificates::None => Self::Clear,
            Certificates::Files { identity, clients, published } => {
                let files = ServerFiles::read(identity, clients)?;
                let read = |path: &PathBuf| AuthorityFile::read(path.clone(), identity.certificates.clone());
                let published = published.as_ref().map(read).transpose()?;
                Self::Files(Arc::new(files), published.map(Arc::new))
            }
            Certificates::Authority { .. } => Self::Authority(Arc::default()),
        })
    }

    /// Returns how connections to an address are protected.
    pub(super) fn of(&self, address: &Address, protocols: Protocols) -> anyhow::Result<Transport> {
        if matches!(address, Address::Unix(_)) {
            return plain(address);
        }
        match self {
            Self::Clear => plain(address),
            Self::Files(files, _) => Ok(Transport::Tls(files.config(protocols)?)),
            Self::Authority(certificate) => {
                Ok(Transport::Tls(tls::server(Arc::clone(certificate), protocols)?))
            }
        }
    }

    /// Returns how connections to an address are protected whose callers show a token, or who they are by other means, and
    /// so no certificate.
    pub(super) fn of_callers(&self, address: &Address, protocols: Protocols) -> anyhow::Result<Transport> {
        match (self, address) {
            (Self::Files(files, _), Address::Tcp(_)) => {
                Ok(Transport::Tls(tls::server(files.certificate(), protocols)?))
            }
            _ => self.of(address, protocols),
        }
    }

    /// Returns the certificate that is shown, if connections are protected by one.
    pub(super) fn certificate(&self) -> Option<Arc<ServerCertificate>> {
        match self {
            Self::Clear => None,
            Self::Files(files, _) => Some(files.certificate()),
            Self::Authority(certificate) => Some(Arc::clone(certificate)),
        }
    }

    /// Returns the authorities to publish, if a file was given.
    pub(super) fn published(&self) -> Option<watch::Receiver<Option<Arc<str>>>> {
        match self {
            Self::Files(_, published) => published.as_ref().map(|file| file.bundle()),
            Self::Clear | Self::Authority(_) => None,
        }
    }

    /// Follows the files, if there are any.
    pub(super) fn follow(&self, supervisor: &mut Supervisor, clock: &Arc<dyn Clock>) {
        let Self::Files(files, published) = self else { return };
        let following = tls::follow(Arc::clone(files), Arc::clone(clock), supervisor.shutdown());
        supervisor.spawn("certificates", following);
        if let Some(published) = published {
            let following = tls::follow(Arc::clone(published), Arc::clone(clock), supervisor.shutdown());
            supervisor.spawn("authorities to publish", following);
        }
    }
}

/// In the clear, only this machine is served; and there a browser is not.
pub(super) fn plain(address: &Address) -> anyhow::Result<Transport> {
    if !address.is_local() {
        anyhow::bail!(
            "{address} can be reached from other machines: give a certificate and its key, or bind to loopback"
        );
    }
    Ok(Transport::Plain(address.ip().map(|_| HostGuard::new(Literals::Loopback, Vec::new()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(transports: &Transports, address: &str) -> Result<bool, String> {
        match transports.of(&address.parse().unwrap(), Protocols::Http2) {
            Ok(Transport::Plain(_)) => Ok(false),
            Ok(Transport::Tls(_)) => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn off_loopback_there_is_tls_or_nothing() {
        let clear = Transports::new(&Certificates::None).unwrap();
        assert_eq!(of(&clear, "127.0.0.1:1"), Ok(false));
        assert_eq!(of(&clear, "unix:/run/a.sock"), Ok(false));
        assert!(of(&clear, "0.0.0.0:1").unwrap_err().contains("give a certificate"));
        let domain = Domain::new("rescind-system.svc", "cluster.local", "rescind-system").unwrap();
        let certified = Transports::new(&Certificates::Authority { domain }).unwrap();
        assert_eq!(of(&certified, "127.0.0.1:1"), Ok(true));
        assert_eq!(of(&certified, "0.0.0.0:1"), Ok(true));
        assert_eq!(of(&certified, "unix:/run/a.sock"), Ok(false));
    }

    #[test]
    fn http1_is_offered_only_where_it_is_asked_for() {
        let domain = Domain::new("rescind-system.svc", "cluster.local", "rescind-system").unwrap();
        let certified = Transports::new(&Certificates::Authority { domain }).unwrap();
        let offered = |protocols| match certified.of(&"0.0.0.0:1".parse().unwrap(), protocols) {
            Ok(Transport::Tls(config)) => config.alpn_protocols.clone(),
            other => panic!("{}", other.is_ok()),
        };
        assert_eq!(offered(Protocols::Http2), [tls::ALPN_HTTP2]);
        assert_eq!(offered(Protocols::Http2AndHttp1), [tls::ALPN_HTTP2, tls::ALPN_HTTP1]);
    }

    #[tokio::test]
    async fn callers_show_no_certificate_also_where_sidecars_must() {
        let files = tls::tests::Files::new();
        let clients = Clients::CertifiedBy(files.authority());
        let identity = files.identity("localhost");
        let certificates = Certificates::Files { identity, clients, published: None };
        let transports = Transports::new(&certificates).unwrap();
        let address = "0.0.0.0:1".parse().unwrap();
        let talk = async |transport: anyhow::Result<Transport>| {
            let Ok(Transport::Tls(server)) = transport else { panic!("not TLS") };
            tls::tests::talk(server, tls::client(&files.authority(), None).unwrap()).await.is_ok()
        };
        assert!(!talk(transports.of(&address, Protocols::Http2)).await);
        assert!(talk(transports.of_callers(&address, Protocols::Http2)).await);
    }
}
