//! Makes authorities, and certificates of replicas.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use crate::runtime::tls::{Certified, CertifiedError};

use super::{AUTHORITY_LIFETIME, Authority, CLOCK_SKEW, PrivateKey, SERVING_LIFETIME};

/// Says why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub(in crate::controller::kubernetes) enum IssueError {
    #[error("can't make a certificate: {0}")]
    Made(#[from] rcgen::Error),
    #[error("the certificate that was made can't be used: {0}")]
    Used(#[from] CertifiedError),
}

/// Makes an authority. Its name has the time, so that no two have the same.
pub(in crate::controller::kubernetes) fn authority(now: Timestamp) -> Result<Authority, IssueError> {
    let name = format!("rescind-ca-{}", now.as_second());
    let key = KeyPair::generate()?;
    let certificate = authority_params(&name, now).self_signed(&key)?.pem();
    Ok(Authority { name, created: now, certificate, key: PrivateKey(key.serialize_pem()) })
}

/// What an authority's certificate says. What it signs names it by some of that.
fn authority_params(name: &str, created: Timestamp) -> CertificateParams {
    let mut params = params(name, created, AUTHORITY_LIFETIME);
    // It signs replicas, and no other authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// Makes the certificate of a replica, with a key of its own that never leaves the process.
pub(in crate::controller::kubernetes) fn serving(
    authority: &Authority,
    names: &[String],
    now: Timestamp,
) -> Result<Certified, IssueError> {
    let signing_key = KeyPair::from_pem(&authority.key.0)?;
    let issuer = Issuer::new(authority_params(&authority.name, authority.created), signing_key);
    let mut params = params("rescind-controller", now, SERVING_LIFETIME);
    params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Certified::from_pem(&certificate.pem(), &key.serialize_pem())?)
}

fn params(name: &str, from: Timestamp, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let from = Duration::from_secs(u64::try_from(from.as_second()).unwrap_or_default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + from.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + from + lifetime;
    params
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    use super::super::Authorities;
    use super::*;
    use crate::controller::domain::Domain;

    /// Whether a peer that trusts a bundle takes a certificate for a name so long after 1970.
    fn is_taken(bundle: &str, certified: &Certified, name: &str, seconds: i64) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let chain = certified.chain();
        verifier
            .verify_server_cert(&chain[0], &chain[1..], &name, &[], now)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_replica_is_trusted_under_the_names_of_its_services_for_a_day() {
        let now: Timestamp = "2026-11-27T00:00:00Z".parse().unwrap();
        let [own, other] = [now, now + Duration::from_secs(1)].map(|at| authority(at).unwrap());
        let bundle = Authorities::first(own.clone()).bundle();
        let names = Domain::new("rescind-system.svc", "cluster.local", "rescind-system").unwrap().names();
        let certified = serving(&own, &names, now).unwrap();
        assert_eq!(certified.not_after(), Some(now.as_second() + 86_400));
        for name in &names {
            assert_eq!(is_taken(&bundle, &certified, name, now.as_second()), Ok(()), "{name}");
        }
        let name = names[0].as_str();
        assert_eq!(name, "rescind-controller.rescind-system.svc");
        assert!(names.contains(&"rescind-webhook.rescind-system.svc.cluster.local".to_owned()));
        // A clock that is behind takes it, too.
        assert_eq!(is_taken(&bundle, &certified, name, now.as_second() - 3599), Ok(()));
        assert!(is_taken(&bundle, &certified, name, now.as_second() - 3601).is_err());
        let late = is_taken(&bundle, &certified, name, now.as_second() + 86_401).unwrap_err();
        assert!(late.contains("expired"), "{late}");
        assert!(is_taken(&bundle, &certified, "rescind-controller.other.svc", now.as_second()).is_err());
        let strangers = Authorities::first(other).bundle();
        let refused = is_taken(&strangers, &certified, name, now.as_second()).unwrap_err();
        assert!(refused.contains("UnknownIssuer"), "{refused}");
    }
}
