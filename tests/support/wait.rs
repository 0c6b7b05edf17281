//! Waiting for a condition: never for a time that happens to be enough.

use std::time::Duration;

use tokio::time::Instant;

/// Asks until `probe` succeeds and returns what it found.
///
/// # Panics
/// With what was seen last, if that takes longer than `deadline`.
pub(crate) async fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match probe().await {
            Ok(found) => return found,
            Err(seen) => {
                assert!(started.elapsed() < deadline, "{what}: not within {deadline:?}; seen: {seen}")
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
