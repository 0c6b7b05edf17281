//! Reads files anew when they change on the disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use tokio_util::sync::CancellationToken;

use super::super::clock::Clock;
use super::TlsError;
use super::certificate::{Standing, Validity};

/// How often the files are looked at. Kubernetes brings a change to the files of a pod within a minute or two, and a
/// certificate is renewed long before its end.
const PERIOD: Duration = Duration::from_secs(5);

/// What files contain, and which can't be read. The contents are compared, and neither times nor inodes: Kubernetes
/// replaces files by moving a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let mut context = Context::new(&SHA256);
        for path in paths {
            if let Ok(content) = std::fs::read(path) {
                context.update(&[1]);
                context.update(&content.len().to_le_bytes());
                context.update(&content);
            } else {
                context.update(&[0]);
            }
        }
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(context.finish().as_ref()).for_each(|(byte, digest)| *byte = *digest);
        Self(bytes)
    }
}

/// Files that are in use.
pub trait Followed: Send + Sync + 'static {
    /// What was in them before they were read first.
    fn first(&self) -> Fingerprint;
    /// Which they are.
    fn paths(&self) -> Vec<PathBuf>;
    /// Reads them, and uses what is there from now on. If that can't be used, nothing changes.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    fn reread(&self) -> Result<(), TlsError>;
    /// When the own certificate is valid, if there is one.
    fn validity(&self) -> Option<Validity>;
}

/// Follows files until `shutdown`.
///
/// # Errors
/// If reading panics, which nothing there does.
pub async fn follow(
    files: Arc<impl Followed>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let shown = files.paths().iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
    let mut seen = files.first();
    let mut told = Told::default();
    loop {
        told.look(files.validity(), &*clock, &shown);
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(PERIOD) => {}
        }
        let work = Arc::clone(&files);
        // A file may be on a disk that is slow.
        let looked = tokio::task::spawn_blocking(move || {
            let now = Fingerprint::of(&work.paths());
            (now, (now != seen).then(|| work.reread()))
        });
        let (now, outcome) = looked.await?;
        seen = now;
        match outcome {
            Some(Ok(())) => tracing::info!(files = shown, "the certificates were read anew"),
            Some(Err(error)) => tracing::warn!(
                %error,
                files = shown,
                "the certificates have changed and can't be used, so the ones before are kept: put back files that fit \
                 together"
            ),
            None => {}
        }
    }
}

/// Says once of each certificate that it ends soon, and once that it has ended.
#[derive(Debug, Default)]
struct Told(Option<(Validity, Standing)>);

impl Told {
    fn look(&mut self, validity: Option<Validity>, clock: &dyn Clock, files: &str) {
        let now = i64::try_from(clock.now().wall_nanos / 1_000_000_000).unwrap_or(i64::MAX);
        let Some(validity) = validity else { return };
        let standing = validity.standing(now);
        if self.0.replace((validity, standing)) == Some((validity, standing)) {
            return;
        }
        match standing {
            Standing::Good => {}
            Standing::Ending => tracing::warn!(
                files,
                seconds = validity.not_after - now,
                "the certificate ends soon and was not renewed: put a new one in its place; it is read without a restart"
            ),
            Standing::Over => tracing::error!(
                files,
                seconds = now - validity.not_after,
                "the certificate has expired, and peers refuse it: put a new one in its place; it is read without a \
                 restart"
            ),
        }
    }
}
