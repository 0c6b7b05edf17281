//! Turns a registry of metrics into the text that a scraper reads.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// The content type of what [`Exposition::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A complete registry of metrics. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Exposition(Arc<Registry>);

impl Exposition {
    /// Takes a registry in which everything is registered; later nothing can be added.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(registry))
    }

    /// Writes the present values as OpenMetrics text.
    ///
    /// # Errors
    /// [`fmt::Error`] if a collector of the registry fails; those that come with the library don't.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn it_shows_the_values_of_the_moment() {
        let requests = Counter::<u64>::default();
        let mut registry = Registry::with_prefix("example");
        registry.register("requests", "Requests received", requests.clone());
        let exposition = Exposition::new(registry);
        requests.inc_by(3);
        assert_eq!(
            exposition.encode().unwrap(),
            "# HELP example_requests Requests received.\n\
             # TYPE example_requests counter\n\
             example_requests_total 3\n\
             # EOF\n"
        );
    }
}
