//! Turns what a scraper would read into what OTLP carries. Pure.
//!
//! The text is our own, as OpenMetrics has it; so one registry serves both, and both tell the same under one name.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric,
    number_data_point,
};

/// Between which moments the values were counted, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) now: u64,
}

/// Converts a whole exposition. Lines that it does not understand are left out.
pub(super) fn metrics(open: &str, span: Span) -> Vec<Metric> {
    let mut metrics = Vec::new();
    let mut family = Family::default();
    for line in open.lines() {
        let words = line.strip_prefix("# ").map(|rest| rest.splitn(3, ' ').collect::<Vec<_>>());
        match words.as_deref() {
            Some([word, name, said]) => {
                if family.name != *name {
                    metrics.extend(std::mem::take(&mut family).finish(span));
                    (*name).clone_into(&mut family.name);
                }
                match *word {
                    "HELP" => (*said).clone_into(&mut family.help),
                    "TYPE" => (*said).clone_into(&mut family.kind),
                    "UNIT" => (*said).clone_into(&mut family.unit),
                    _ => {}
                }
            }
            Some(_) => {}
            None => family.samples.extend(sample(line)),
        }
    }
    metrics.extend(family.finish(span));
    metrics
}

/// What stands under one name.
#[derive(Default)]
struct Family {
    name: String,
    help: String,
    kind: String,
    unit: String,
    samples: Vec<Sample>,
}

type Labels = Vec<(String, String)>;

struct Sample {
    name: String,
    labels: Labels,
    value: String,
}

impl Family {
    fn finish(self, span: Span) -> Option<Metric> {
        if self.samples.is_empty() {
            return None;
        }
        let (suffix, data) = match self.kind.as_str() {
            "counter" => {
                let sum = Sum {
                    data_points: self.points(span),
                    aggregation_temporality: AggregationTemporality::Cumulative.into(),
                    is_monotonic: true,
                };
                ("_total", metric::Data::Sum(sum))
            }
            "histogram" => {
                let histogram = Histogram {
                    data_points: self.histograms(span),
                    aggregation_temporality: AggregationTemporality::Cumulative.into(),
                };
                ("", metric::Data::Histogram(histogram))
            }
            kind => {
                let gauge = Gauge { data_points: self.points(span) };
                (if kind == "info" { "_info" } else { "" }, metric::Data::Gauge(gauge))
            }
        };
        // As UCUM has them.
        let unit = match self.unit.as_str() {
            "seconds" => "s",
            "bytes" => "By",
            other => other,
        };
        Some(Metric {
            name: self.name + suffix,
            description: self.help,
            unit: unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        })
    }

    fn points(&self, span: Span) -> Vec<NumberDataPoint> {
        let point = |sample: &Sample| {
            let whole = sample.value.parse().map(number_data_point::Value::AsInt).ok();
            let value = whole.or_else(|| sample.value.parse().map(number_data_point::Value::AsDouble).ok());
            Some(NumberDataPoint {
                attributes: attributes(&sample.labels),
                start_time_unix_nano: span.start,
                time_unix_nano: span.now,
                value: Some(value?),
                ..NumberDataPoint::default()
            })
        };
        self.samples.iter().filter_map(point).collect()
    }

    /// In the text each bucket counts those below it, too; here it does not.
    fn histograms(&self, span: Span) -> Vec<HistogramDataPoint> {
        let mut found: Vec<(Labels, HistogramDataPoint, u64)> = Vec::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            let bound = labels.iter().position(|(name, _)| name == "le").map(|at| labels.remove(at).1);
            if !found.iter().any(|(of, ..)| *of == labels) {
                let point = HistogramDataPoint {
                    attributes: attributes(&labels),
                    start_time_unix_nano: span.start,
                    time_unix_nano: span.now,
                    ..HistogramDataPoint::default()
                };
                found.push((labels.clone(), point, 0));
            }
            let Some((_, point, below)) = found.iter_mut().find(|(of, ..)| *of == labels) else { continue };
            match sample.name.strip_prefix(&self.name) {
                Some("_sum") => point.sum = sample.value.parse().ok(),
                Some("_count") => point.count = sample.value.parse().unwrap_or_default(),
                Some("_bucket") => {
                    let up_to: u64 = sample.value.parse().unwrap_or_default();
                    point.bucket_counts.push(up_to.saturating_sub(*below));
                    *below = up_to;
                    let bound = bound.and_then(|bound| bound.parse::<f64>().ok());
                    point.explicit_bounds.extend(bound.filter(|bound| bound.is_finite()));
                }
                _ => {}
            }
        }
        found.into_iter().map(|(_, point, _)| point).collect()
    }
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

/// Returns an attribute that is a string.
pub(super) fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// Reads `name{label="value"} 1`.
fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    let value = value.split_ascii_whitespace().next()?;
    Some(Sample { name: name.to_owned(), labels, value: value.to_owned() })
}

/// Reads labels up to the brace, and returns what is behind it.
fn labels(mut text: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches(',');
        if let Some(behind) = text.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        loop {
            match characters.next()? {
                (at, '"') => {
                    text = rest.get(at + 1..)?;
                    break;
                }
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                (_, plain) => value.push(plain),
            }
        }
        labels.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family as Labelled;
    use prometheus_client::metrics::gauge::ConstGauge;
    use prometheus_client::metrics::histogram::Histogram as Buckets;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;
    use crate::runtime::metrics::{Exposition, Format};

    const SPAN: Span = Span { start: 1, now: 2 };

    fn told(registry: Registry) -> Vec<Metric> {
        let text = Exposition::new(registry).encode(Format::OpenMetrics).unwrap();
        metrics(&text, SPAN)
    }

    fn number(value: number_data_point::Value, labels: &[(&str, &str)]) -> NumberDataPoint {
        NumberDataPoint {
            attributes: labels.iter().map(|(name, value)| attribute(name, value)).collect(),
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    #[test]
    fn counters_gauges_and_what_runs_are_told_by_the_names_of_the_text() {
        let requests = Labelled::<Vec<(String, String)>, Counter>::default();
        let odd = "a \"quoted\" \\ b,c}\nd";
        requests
            .get_or_create(&vec![("path".to_owned(), odd.to_owned()), ("code".to_owned(), "1".to_owned())])
            .inc_by(3);
        let mut registry = Registry::with_prefix("example");
        registry.register("requests", "Requests received", requests);
        registry.register("build", "What runs", Info::new(vec![("version", "1 # 2")]));
        registry.register_with_unit("age", "Age of it", Unit::Seconds, ConstGauge::new(1.5));
        let told = told(registry);
        let names: Vec<_> = told.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
        assert_eq!(
            names,
            [("example_requests_total", ""), ("example_build_info", ""), ("example_age_seconds", "s")]
        );
        assert_eq!(told[0].description, "Requests received.");
        let sum = Sum {
            data_points: vec![number(number_data_point::Value::AsInt(3), &[("path", odd), ("code", "1")])],
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        };
        assert_eq!(told[0].data, Some(metric::Data::Sum(sum)));
        let gauge = |point| Some(metric::Data::Gauge(Gauge { data_points: vec![point] }));
        assert_eq!(told[1].data, gauge(number(number_data_point::Value::AsInt(1), &[("version", "1 # 2")])));
        assert_eq!(told[2].data, gauge(number(number_data_point::Value::AsDouble(1.5), &[])));
    }

    #[test]
    fn the_buckets_of_a_histogram_count_for_themselves() {
        let durations =
            Labelled::<Vec<(String, String)>, Buckets>::new_with_constructor(|| Buckets::new([0.5, 1.0]));
        for (list, seconds) in [("a", 0.25), ("a", 0.5), ("a", 9.0), ("b", 0.75)] {
            durations.get_or_create(&vec![("list".to_owned(), list.to_owned())]).observe(seconds);
        }
        let mut registry = Registry::default();
        registry.register_with_unit("wait", "Time", Unit::Seconds, durations);
        let told = told(registry);
        let Some(metric::Data::Histogram(histogram)) = &told[0].data else { panic!("{told:?}") };
        let mut points: Vec<_> = histogram.data_points.iter().collect();
        points.sort_by_key(|point| point.count);
        let shown: Vec<_> = points.iter().map(|p| (p.count, p.sum, p.bucket_counts.as_slice())).collect();
        assert_eq!(shown, [(1, Some(0.75), &[0, 1, 0][..]), (3, Some(9.75), &[2, 0, 1][..])]);
        assert!(points.iter().all(|point| point.explicit_bounds == [0.5, 1.0]), "{points:?}");
        assert_eq!(points[0].attributes, [attribute("list", "b")]);
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        let text = "# TYPE a gauge\na{b=\"c} 1\na nonsense\na 1\nloose\n# EOF\n";
        let told = metrics(text, SPAN);
        let data = Gauge { data_points: vec![number(number_data_point::Value::AsInt(1), &[])] };
        assert_eq!(
            told.iter().map(|metric| metric.data.clone()).collect::<Vec<_>>(),
            [Some(metric::Data::Gauge(data))]
        );
        assert_eq!(metrics("", SPAN), []);
    }
}
