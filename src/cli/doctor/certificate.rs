//! For how long the certificates of a PEM text are valid.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::api::target::write_time;
use crate::revocation::time::UnixSeconds;

/// Whoever renews does so when a good part of the time is left; less than this share is late.
const LATE_SHARE: i64 = 10;

/// How long certificates last, all of them together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    /// The text is no list of certificates.
    Malformed,
    /// None of them is valid.
    Over(String),
    /// None is valid yet.
    NotYet(String),
    /// Less than a tenth of the time is left for the one that lasts longest.
    Ending(String),
    /// They last until then.
    Good(String),
}

/// Judges the certificates of a text at a time. Several stand together while one takes over from the other, so the one
/// that lasts longest counts.
pub(super) fn validity(pem: &str, now: i64) -> Validity {
    let mut best: Option<(i64, i64)> = None;
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let Ok(der) = der else { return Validity::Malformed };
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return Validity::Malformed };
        let validity = certificate.validity();
        let span = (validity.not_before.timestamp(), validity.not_after.timestamp());
        // One that has begun goes before one that has not, however long that lasts.
        let rank = |(begin, end): (i64, i64)| (begin <= now, end);
        if best.is_none_or(|held| rank(span) > rank(held)) {
            best = Some(span);
        }
    }
    match best {
        None => Validity::Malformed,
        Some((begin, _)) if begin > now => Validity::NotYet(written(begin)),
        Some((_, end)) if end <= now => Validity::Over(written(end)),
        Some((begin, end)) if end - now < (end - begin) / LATE_SHARE => Validity::Ending(written(end)),
        Some((_, end)) => Validity::Good(written(end)),
    }
}

fn written(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).ok().and_then(|seconds| UnixSeconds::new(seconds).ok());
    seconds.map_or_else(|| "a time out of range".to_owned(), write_time)
}

/// Tells whether one list of certificates holds one of another.
pub(super) fn shares(one: &str, other: &str) -> bool {
    let read = |pem: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect()
    };
    let others = read(other);
    read(one).iter().any(|certificate| others.contains(certificate))
}

/// Makes a certificate for tests, valid from one second to another.
#[cfg(test)]
pub(super) fn pem(begin: i64, end: i64) -> String {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let time = |seconds| {
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(u64::try_from(seconds).unwrap())
    };
    (parameters.not_before, parameters.not_after) = (time(begin), time(end));
    parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_255_200;

    #[test]
    fn a_certificate_is_good_until_a_tenth_of_its_time_is_left() {
        let check = |begin, end, expected: Validity| {
            assert_eq!(validity(&pem(NOW + begin, NOW + end), NOW), expected)
        };
        check(-80, 20, Validity::Good("2026-11-21T10:00:20Z".to_owned()));
        check(-91, 9, Validity::Ending("2026-11-21T10:00:09Z".to_owned()));
        check(-100, 0, Validity::Over("2026-11-21T10:00:00Z".to_owned()));
        check(5, 100, Validity::NotYet("2026-11-21T10:00:05Z".to_owned()));
    }

    #[test]
    fn of_several_the_one_counts_that_lasts_longest() {
        let several = [pem(NOW - 100, NOW - 1), pem(NOW - 10, NOW + 90), pem(NOW + 1, NOW + 900)].concat();
        assert_eq!(validity(&several, NOW), Validity::Good("2026-11-21T10:01:30Z".to_owned()));
        assert!(shares(&several, &several) && !shares(&several, &pem(1, 2)));
    }

    #[test]
    fn what_is_no_certificate_is_malformed() {
        assert_eq!(validity("", NOW), Validity::Malformed);
        assert_eq!(
            validity("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NOW),
            Validity::Malformed
        );
    }
}
