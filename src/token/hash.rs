//! The hash by which opaque tokens are revoked, and by which declarations and files are checked for damage.

use aws_lc_rs::digest;

/// Returns the SHA-256 of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let computed = digest::digest(&digest::SHA256, bytes);
    hash.iter_mut().zip(computed.as_ref()).for_each(|(to, from)| *to = *from);
    hash
}
