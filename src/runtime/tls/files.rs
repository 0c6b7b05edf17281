//! Certificates, keys and authorities in files, which are read anew when they change.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{ClientConfig, ServerConfig};

use super::certificate::Validity;
use super::follow::{Fingerprint, Followed};
use super::verifier::CurrentVerifier;
use super::{
    Certified, Clients, Identity, Protocols, ServerCertificate, TlsError, client, client_verifier, provider,
    server_for,
};

/// What a server shows, and whom it lets in, from files.
#[derive(Debug)]
pub struct ServerFiles {
    identity: Identity,
    certificate: Arc<ServerCertificate>,
    clients: Option<(PathBuf, Arc<CurrentVerifier>)>,
    first: Fingerprint,
}

impl ServerFiles {
    /// Reads them.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    pub fn read(identity: &Identity, clients: &Clients) -> Result<Self, TlsError> {
        let authorities = match clients {
            Clients::Anonymous => None,
            Clients::CertifiedBy(path) => Some(path),
        };
        // Before they are read: what changes meanwhile is read again.
        let first = Fingerprint::of(&paths(identity, authorities));
        let certificate = Arc::new(ServerCertificate::new(Certified::read(identity)?));
        let clients = authorities.map(|path| {
            let verifier = CurrentVerifier::new(client_verifier(path, &provider())?);
            Ok((path.clone(), Arc::new(verifier)))
        });
        Ok(Self { identity: identity.clone(), certificate, clients: clients.transpose()?, first })
    }

    /// Makes the configuration of a server that always has what was read last.
    ///
    /// # Errors
    /// [`TlsError::Provider`].
    pub fn config(&self, protocols: Protocols) -> Result<Arc<ServerConfig>, TlsError> {
        let clients = self.clients.as_ref().map(|(_, verifier)| Arc::clone(verifier));
        server_for(Arc::clone(&self.certificate), clients, protocols)
    }

    /// Returns what the server shows.
    #[must_use]
    pub fn certificate(&self) -> Arc<ServerCertificate> {
        Arc::clone(&self.certificate)
    }
}

impl Followed for ServerFiles {
    fn first(&self) -> Fingerprint {
        self.first
    }

    fn paths(&self) -> Vec<PathBuf> {
        paths(&self.identity, self.clients.as_ref().map(|(path, _)| path))
    }

    fn reread(&self) -> Result<(), TlsError> {
        let certified = Certified::read(&self.identity)?;
        if let Some((path, verifier)) = &self.clients {
            verifier.replace(client_verifier(path, &provider())?);
        }
        self.certificate.replace(certified);
        Ok(())
    }

    fn validity(&self) -> Option<Validity> {
        self.certificate.validity()
    }
}

/// Whom a client trusts, and what it shows, from files.
#[derive(Debug)]
pub struct ClientFiles {
    authorities: PathBuf,
    identity: Option<Identity>,
    current: ArcSwap<ClientConfig>,
    validity: ArcSwap<Option<Validity>>,
    first: Fingerprint,
}

impl ClientFiles {
    /// Reads them.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    pub fn read(authorities: PathBuf, identity: Option<Identity>) -> Result<Self, TlsError> {
        let mut paths = vec![authorities.clone()];
        paths.extend(
            identity.iter().flat_map(|identity| [identity.certificates.clone(), identity.key.clone()]),
        );
        let first = Fingerprint::of(&paths);
        let current = ArcSwap::new(client(&authorities, identity.as_ref())?);
        let validity = ArcSwap::from_pointee(own_validity(identity.as_ref())?);
        Ok(Self { authorities, identity, current, validity, first })
    }

    /// Returns the configuration for the next connection.
    #[must_use]
    pub fn current(&self) -> Arc<ClientConfig> {
        self.current.load_full()
    }
}

fn own_validity(identity: Option<&Identity>) -> Result<Option<Validity>, TlsError> {
    Ok(identity.map(Certified::read).transpose()?.and_then(|certified| certified.validity()))
}

impl Followed for ClientFiles {
    fn first(&self) -> Fingerprint {
        self.first
    }

    fn paths(&self) -> Vec<PathBuf> {
        let own = self.identity.iter().flat_map(|identity| [&identity.certificates, &identity.key]);
        std::iter::once(&self.authorities).chain(own).cloned().collect()
    }

    fn reread(&self) -> Result<(), TlsError> {
        let current = client(&self.authorities, self.identity.as_ref())?;
        self.validity.store(Arc::new(own_validity(self.identity.as_ref())?));
        self.current.store(current);
        Ok(())
    }

    fn validity(&self) -> Option<Validity> {
        **self.validity.load()
    }
}

fn paths(identity: &Identity, authorities: Option<&PathBuf>) -> Vec<PathBuf> {
    let own = [&identity.certificates, &identity.key];
    own.into_iter().chain(authorities).cloned().collect()
}
