//! The token by which a sidecar shows a controller who it is.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;
use tonic::metadata::{Ascii, MetadataValue};

const MOST_BYTES: u64 = 16 * 1024;
/// Others may read a token that is mounted for several users of a pod, but not put another in its place.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Says why no token can be shown. None of it is ever the token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("can't read the token in {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} is no token: it needs one line of visible characters, in a file of at most {MOST_BYTES} bytes", path.display())]
    NoToken { path: PathBuf },
    #[error("others may write {}: take that right away (chmod go-w)", path.display())]
    Writable { path: PathBuf },
    #[error("{uri} is neither https nor on this machine, and the token must not be read on the way")]
    InTheClear { uri: String },
}

/// Reads the token anew, as what a call to a controller shows.
pub(super) async fn bearer(path: &Path, uri: &str) -> Result<MetadataValue<Ascii>, TokenError> {
    if !is_safe(uri) {
        return Err(TokenError::InTheClear { uri: uri.to_owned() });
    }
    let path_of = || path.to_owned();
    let unreadable = |source| TokenError::Unreadable { path: path_of(), source };
    // What was opened is what is looked at and read: the file is replaced when it is renewed.
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let metadata = file.metadata().await.map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(TokenError::NoToken { path: path_of() });
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(TokenError::Writable { path: path_of() });
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
    let token = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = is_token.then(|| format!("Bearer {token}").parse::<MetadataValue<Ascii>>().ok()).flatten();
    let mut value = value.ok_or_else(|| TokenError::NoToken { path: path_of() })?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_safe(uri: &str) -> bool {
    if uri.starts_with("https:") || uri.starts_with("unix:") {
        return true;
    }
    let host = uri.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(ToOwned::to_owned));
    let host = host.unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    async fn shown(content: &str, mode: u32, uri: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let shown = bearer(&path, uri).await;
        shown.map(|value| value.to_str().unwrap().to_owned()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_token_is_read_without_the_end_of_its_line_and_shown_to_safe_places() {
        for uri in ["https://controller:7401", "unix:/run/c.sock", "http://127.0.0.1:1", "http://[::1]:1"] {
            assert_eq!(shown("abc.def\n", 0o644, uri).await.as_deref(), Ok("Bearer abc.def"));
        }
        let refused = shown("abc.def", 0o600, "http://10.0.0.1:7401").await.unwrap_err();
        assert!(refused.contains("must not be read on the way"), "{refused}");
    }

    #[tokio::test]
    async fn what_is_no_token_and_what_others_may_replace_is_not_shown() {
        let long = "a".repeat(20_000);
        for content in ["", "two words", "umläut", long.as_str()] {
            let refused = shown(content, 0o600, "unix:/a").await.unwrap_err();
            assert!(refused.contains("is no token") && !refused.contains("umläut"), "{refused}");
        }
        for mode in [0o622, 0o620, 0o602] {
            assert!(shown("abc", mode, "unix:/a").await.unwrap_err().contains("chmod go-w"), "{mode:o}");
        }
        assert!(bearer(Path::new("/none"), "unix:/a").await.unwrap_err().to_string().contains("can't read"));
    }
}
