//! Makes the TLS configurations of servers and clients from PEM files.
//!
//! Both speak TLS 1.2 and 1.3 by one provider of cryptography. What a server shows, and what either trusts, can be
//! replaced while it runs: new connections have the new, and those that are open go on. [`follow()`] does that for files
//! that change on the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(super) use self::accept::handshake;
pub use self::accept::incoming;
pub use self::authorities::AuthorityFile;
pub use self::certificate::{Certified, CertifiedError, ServerCertificate};
pub use self::files::{ClientFiles, ServerFiles};
pub use self::follow::{Followed, follow};
use self::verifier::CurrentVerifier;

mod accept;
mod authorities;
mod certificate;
mod files;
mod follow;
mod verifier;

/// The name by which both ends agree on HTTP/2.
pub const ALPN_HTTP2: &[u8] = b"h2";
/// The name by which both ends agree on HTTP/1.1.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Says which file can't be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not well-formed PEM.
    #[error("{} is not well-formed PEM: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The file has no certificate.
    #[error("{} holds no certificate; a PEM section CERTIFICATE is needed", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file has no private key.
    #[error("{} holds no private key; an unencrypted PEM section PRIVATE KEY is needed", path.display())]
    NoPrivateKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate or a key of the file can't be used.
    #[error("{} can't be used: {source}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The key is not that of the certificate.
    #[error("the private key in {} does not belong to the certificate in {}", key.display(), certificates.display())]
    KeyMismatch {
        /// The file with the chain of certificates.
        certificates: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The authorities are not those of the certificate.
    #[error(
        "the certificate in {} is of no authority in {}: who trusts these refuses it",
        certificates.display(),
        authorities.display()
    )]
    OtherAuthority {
        /// The file with the authorities.
        authorities: PathBuf,
        /// The file with the chain of certificates.
        certificates: PathBuf,
    },
    /// The file has more certificates than are told to others.
    #[error("{} holds more certificates than are published, {most} bytes: give those that are to be trusted", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        most: usize,
    },
    /// The provider of cryptography lacks what the protocol needs.
    #[error("the provider of cryptography does not fit the protocol: {0}")]
    Provider(#[source] rustls::Error),
}

/// The two files by which an end of a connection proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The chain of certificates, the own one first.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Whom a server lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Everyone.
    Anonymous,
    /// Only those with a certificate of one of the authorities in this file.
    CertifiedBy(PathBuf),
}

/// What a server speaks over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2 alone: gRPC.
    Http2,
    /// HTTP/2, and HTTP/1.1 for clients without it.
    Http2AndHttp1,
}

/// Makes the configuration of a server that lets everyone in.
///
/// # Errors
/// [`TlsError::Provider`].
pub fn server(
    certificate: Arc<ServerCertificate>,
    protocols: Protocols,
) -> Result<Arc<ServerConfig>, TlsError> {
    server_for(certificate, None, protocols)
}

fn server_for(
    certificate: Arc<ServerCertificate>,
    clients: Option<Arc<CurrentVerifier>>,
    protocols: Protocols,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?;
    let mut config = match clients {
        None => builder.with_no_client_auth().with_cert_resolver(certificate),
        Some(verifier) => {
            let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(certificate);
            // Who resumes a session is not verified again: an authority that has gone would live on in it.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    config.alpn_protocols.push(ALPN_HTTP2.to_vec());
    if protocols == Protocols::Http2AndHttp1 {
        config.alpn_protocols.push(ALPN_HTTP1.to_vec());
    }
    Ok(Arc::new(config))
}

/// Makes the configuration of a client that trusts the authorities in a file, and shows its identity if it
/// has one and the server asks.
///
/// # Errors
/// [`TlsError`], which names the file.
pub fn client(authorities: &Path, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_root_certificates(roots(authorities)?);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(single(identity, &provider)?)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols.push(ALPN_HTTP2.to_vec());
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    // Named, not the default of the process: that depends on who was first to set it.
    Arc::new(aws_lc_rs::default_provider())
}

fn single(identity: &Identity, provider: &CryptoProvider) -> Result<SingleCertAndKey, TlsError> {
    certified(identity, provider).map(Into::into)
}

fn certified(identity: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&identity.certificates)?;
    let key = private_key(&identity.key)?;
    // First by itself, so that an error is about one file.
    let key_is_good = provider.key_provider.load_private_key(key.clone_key());
    key_is_good.map_err(|source| TlsError::Unusable { path: identity.key.clone(), source })?;
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(certified) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(TlsError::KeyMismatch {
            certificates: identity.certificates.clone(),
            key: identity.key.clone(),
        }),
        Err(source) => Err(TlsError::Unusable { path: identity.certificates.clone(), source }),
    }
}

fn client_verifier(
    authorities: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = Arc::new(roots(authorities)?);
    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build().map_err(|error| {
        let source = rustls::Error::General(error.to_string());
        TlsError::Unusable { path: authorities.to_owned(), source }
    })
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        // One bad authority must not go unnoticed because others are good.
        roots.add(certificate).map_err(|source| TlsError::Unusable { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Malformed { path: path.to_owned(), source })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoPrivateKey { path: path.to_owned() }),
        Err(source) => Err(TlsError::Malformed { path: path.to_owned(), source }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
pub(crate) mod tests;
