//! Authorities in a file that are told to others, and told anew when the file changes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pem::{EncodeConfig, LineEnding, Pem};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;

use super::certificate::Validity;
use super::follow::{Fingerprint, Followed};
use super::{TlsError, certificates, provider, roots};

/// More than any number of authorities that somebody means to trust; a ConfigMap takes a megabyte.
const MAX_BUNDLE_BYTES: usize = 128 * 1024;

/// The authorities of a server's certificate. Nothing else of the file is told: it may hold a key by mistake.
#[derive(Debug)]
pub struct AuthorityFile {
    path: PathBuf,
    /// The server's certificates, which must be of one of them.
    server: PathBuf,
    told: watch::Sender<Option<Arc<str>>>,
    first: Fingerprint,
}

impl AuthorityFile {
    /// Reads it. One that is not there, or is empty, may come later: until then, nothing is told.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    pub fn read(path: PathBuf, server: PathBuf) -> Result<Self, TlsError> {
        let first = Fingerprint::of(&[path.clone(), server.clone()]);
        let file = Self { path, server, told: watch::Sender::new(None), first };
        match std::fs::read(&file.path) {
            Ok(content) if !content.is_empty() => file.reread()?,
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(TlsError::Unreadable { path: file.path, source });
            }
            Ok(_) | Err(_) => tracing::warn!(
                file = %file.path.display(),
                "there are no authorities in that file yet, so none are published: put them there, or see that sidecars get \
                 them by other means"
            ),
        }
        Ok(file)
    }

    /// Returns what is told: the certificates of the authorities, PEM.
    #[must_use]
    pub fn bundle(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.told.subscribe()
    }
}

impl Followed for AuthorityFile {
    fn first(&self) -> Fingerprint {
        self.first
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone(), self.server.clone()]
    }

    fn reread(&self) -> Result<(), TlsError> {
        let roots = roots(&self.path)?;
        if !is_of(&certificates(&self.server)?, &roots) {
            let (authorities, certificates) = (self.path.clone(), self.server.clone());
            return Err(TlsError::OtherAuthority { authorities, certificates });
        }
        let bundle: Arc<str> = bundle(&certificates(&self.path)?).into();
        if bundle.len() > MAX_BUNDLE_BYTES {
            return Err(TlsError::TooLarge { path: self.path.clone(), most: MAX_BUNDLE_BYTES });
        }
        self.told.send_if_modified(|told| {
            let is_new = told.as_ref() != Some(&bundle);
            *told = Some(bundle);
            is_new
        });
        Ok(())
    }

    fn validity(&self) -> Option<Validity> {
        None
    }
}

/// Whether a server's certificates lead to one of the authorities. Those that have ended, too: that is told elsewhere.
fn is_of(chain: &[CertificateDer<'_>], roots: &RootCertStore) -> bool {
    let Some((own, intermediates)) = chain.split_first() else { return false };
    let Ok(own) = ParsedCertificate::try_from(own) else { return false };
    let algorithms = provider().signature_verification_algorithms.all;
    let verified =
        verify_server_cert_signed_by_trust_anchor(&own, roots, intermediates, UnixTime::now(), algorithms);
    match verified {
        Ok(()) => true,
        Err(rustls::Error::InvalidCertificate(why)) => matches!(
            why,
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        ),
        Err(_) => false,
    }
}

fn bundle(certificates: &[CertificateDer<'_>]) -> String {
    let sections = certificates.iter().map(|one| Pem::new("CERTIFICATE", one.as_ref()));
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_many_config(&sections.collect::<Vec<_>>(), config)
}
