//! Turns a registry of metrics into the text that a scraper reads.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// The formats of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, version 0.0.4: what every scraper reads.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.0, with units.
    OpenMetrics,
}

impl Format {
    /// Returns the better one of those that a scraper accepts, by the values of its `Accept` headers.
    #[must_use]
    pub fn accepted<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let mut types = accept.into_iter().flat_map(|line| line.split(','));
        let is_open = |media: &str| {
            let (name, parameters) = media.split_once(';').unwrap_or((media, ""));
            let refused = parameters.split(';').any(|parameter| {
                let weight = parameter.trim().strip_prefix("q=");
                weight.is_some_and(|weight| weight.trim().parse::<f32>() == Ok(0.0))
            });
            name.trim().eq_ignore_ascii_case("application/openmetrics-text") && !refused
        };
        if types.any(is_open) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Returns the content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A complete registry of metrics. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Exposition(Arc<Registry>);

impl Exposition {
    /// Takes a registry in which everything is registered; later nothing can be added.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(registry))
    }

    /// Writes the present values.
    ///
    /// # Errors
    /// [`fmt::Error`] if a collector of the registry fails; those that come with the library don't.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0)?;
        Ok(match format {
            Format::Prometheus => to_prometheus(&text),
            Format::OpenMetrics => text,
        })
    }
}

/// Rewrites OpenMetrics text. There, a counter or info is declared without the suffix of its samples, and there are
/// types, units and an end that the older format does not know. Samples are written alike, for there are no exemplars.
fn to_prometheus(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        let words = line.strip_prefix("# ").map(|rest| rest.splitn(3, ' ').collect::<Vec<_>>());
        match words.as_deref() {
            // It comes before the type, which decides on the name.
            Some(["HELP", _, said]) => help = Some(*said),
            Some(["TYPE", name, declared]) => {
                let (suffix, declared) = match *declared {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    other => ("", other),
                };
                if let Some(said) = help.take() {
                    text.extend(["# HELP ", name, suffix, " ", said, "\n"]);
                }
                text.extend(["# TYPE ", name, suffix, " ", declared, "\n"]);
            }
            Some(_) => {}
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::ConstGauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    use super::*;

    fn check(format: Format, expected: &str) {
        let requests = Counter::<u64>::default();
        let build = Info::new(vec![("version", "1 # 2")]);
        let mut registry = Registry::with_prefix("example");
        registry.register("requests", "Requests received", requests.clone());
        registry.register("build", "What runs", build);
        registry.register_with_unit("age", "Age of it", Unit::Seconds, ConstGauge::new(1.5));
        let exposition = Exposition::new(registry);
        requests.inc_by(3);
        assert_eq!(exposition.encode(format).unwrap(), expected);
    }

    #[test]
    fn it_shows_the_values_of_the_moment_in_openmetrics() {
        check(
            Format::OpenMetrics,
            "# HELP example_requests Requests received.\n\
             # TYPE example_requests counter\n\
             example_requests_total 3\n\
             # HELP example_build What runs.\n\
             # TYPE example_build info\n\
             example_build_info{version=\"1 # 2\"} 1\n\
             # HELP example_age_seconds Age of it.\n\
             # TYPE example_age_seconds gauge\n\
             # UNIT example_age_seconds seconds\n\
             example_age_seconds 1.5\n\
             # EOF\n",
        );
    }

    #[test]
    fn the_older_format_declares_the_names_of_the_samples() {
        check(
            Format::Prometheus,
            "# HELP example_requests_total Requests received.\n\
             # TYPE example_requests_total counter\n\
             example_requests_total 3\n\
             # HELP example_build_info What runs.\n\
             # TYPE example_build_info gauge\n\
             example_build_info{version=\"1 # 2\"} 1\n\
             # HELP example_age_seconds Age of it.\n\
             # TYPE example_age_seconds gauge\n\
             example_age_seconds 1.5\n",
        );
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let accepted = |lines: &[&str]| Format::accepted(lines.iter().copied());
        assert_eq!(accepted(&[]), Format::Prometheus);
        assert_eq!(accepted(&["*/*"]), Format::Prometheus);
        assert_eq!(accepted(&["text/plain;version=0.0.4"]), Format::Prometheus);
        assert_eq!(accepted(&["application/openmetrics-text;q=0"]), Format::Prometheus);
        let both = "text/plain;q=0.3, Application/OpenMetrics-Text; version=1.0.0; q=0.5, */*;q=0.1";
        assert_eq!(accepted(&[both]), Format::OpenMetrics);
        assert_eq!(accepted(&["text/plain", "application/openmetrics-text"]), Format::OpenMetrics);
    }
}
