//! The certificate that a server shows, which can be replaced while it runs.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Identity, TlsError, certified, provider};

/// A chain of certificates with its key, and when it is valid.
#[derive(Debug)]
pub struct Certified {
    key: Arc<CertifiedKey>,
    validity: Option<Validity>,
}

/// When a certificate begins and ends, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: i64,
    /// Its last second.
    pub not_after: i64,
}

/// What is to be said of a certificate at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, or it is not valid yet.
    Good,
    /// It was not renewed in time: less than a tenth of it is left.
    Ending,
    /// It has ended.
    Over,
}

impl Validity {
    /// Returns what is to be said of it at a time.
    #[must_use]
    pub const fn standing(self, now: i64) -> Standing {
        if now > self.not_after {
            Standing::Over
        } else if self.not_after.saturating_sub(now)
            < self.not_after.saturating_sub(self.not_before) / LATE_SHARE
        {
            Standing::Ending
        } else {
            Standing::Good
        }
    }
}

/// Whoever renews does so when a good part of the time is left; less than this share is late.
const LATE_SHARE: i64 = 10;

/// Says why a certificate and a key that were made here can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertifiedError {
    /// One of them is not well-formed PEM.
    #[error("not well-formed PEM: {0}")]
    Malformed(#[from] pem::Error),
    /// They can't be used, or do not belong together.
    #[error(transparent)]
    Unusable(#[from] rustls::Error),
}

impl Certified {
    /// Reads both from files.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    pub fn read(identity: &Identity) -> Result<Self, TlsError> {
        certified(identity, &provider()).map(Self::new)
    }

    /// Takes both as they were made.
    ///
    /// # Errors
    /// [`CertifiedError`].
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, CertifiedError> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        Ok(Self::new(CertifiedKey::from_der(chain, key, &provider())?))
    }

    fn new(key: CertifiedKey) -> Self {
        let validity = key.cert.first().and_then(validity);
        Self { key: Arc::new(key), validity }
    }

    /// Returns until when the certificate is valid, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> Option<i64> {
        self.validity.map(|validity| validity.not_after)
    }

    /// Returns when the certificate is valid.
    #[must_use]
    pub const fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// Returns the certificates, the own one first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

/// Returns when a certificate is valid; none if it makes no sense.
fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    Some(Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
}

/// The certificate of a server. It may have none yet: until then, handshakes fail.
///
/// Every server that has a clone of the `Arc` shows the same one.
#[derive(Debug, Default)]
pub struct ServerCertificate(ArcSwapOption<Certified>);

impl ServerCertificate {
    /// Makes one that can be shown at once.
    #[must_use]
    pub fn new(certified: Certified) -> Self {
        Self(ArcSwapOption::from_pointee(certified))
    }

    /// Shows another one from now on. Connections that are open go on.
    pub fn replace(&self, certified: Certified) {
        self.0.store(Some(Arc::new(certified)));
    }

    /// Returns until when the certificate is valid, in seconds since 1970, if there is one.
    #[must_use]
    pub fn not_after(&self) -> Option<i64> {
        self.validity().map(|validity| validity.not_after)
    }

    /// Returns when the certificate is valid, if there is one.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.0.load().as_ref().and_then(|certified| certified.validity())
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|certified| Arc::clone(&certified.key))
    }
}
