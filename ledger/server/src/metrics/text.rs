//! The text exposition format of Prometheus, version 0.0.4: the libraries for it write its
//! successor, or register what is counted globally.

use std::fmt::Write;

use super::Histogram;

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that grows, metric by metric.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

/// Labels and a value.
pub(crate) type Sample<'a> = (&'a [(&'a str, &'a str)], f64);

impl Text {
    /// Something that only grows, by name without `attestry_ledger_`.
    pub(crate) fn counter<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'a>>) {
        self.family(name, "counter", help, samples);
    }

    /// Something that goes up and down.
    pub(crate) fn gauge<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'a>>) {
        self.family(name, "gauge", help, samples);
    }

    /// Histograms of one name, each with labels of its own; values are divided by `per_unit`.
    pub(crate) fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        per_unit: f64,
        histograms: impl IntoIterator<Item = (&'a [(&'a str, &'a str)], &'a Histogram)>,
    ) {
        self.head(name, "histogram", help);
        for (labels, histogram) in histograms {
            let (buckets, sum) = histogram.read();
            let count = buckets.last().map_or(0, |(_, count)| *count);
            for (bound, count) in buckets {
                let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| number(float(bound) / per_unit));
                let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
                self.sample(&format!("{name}_bucket"), &labels, float(count));
            }
            self.sample(&format!("{name}_sum"), labels, float(sum) / per_unit);
            self.sample(&format!("{name}_count"), labels, float(count));
        }
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }

    fn family<'a>(&mut self, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = Sample<'a>>) {
        self.head(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, labels, value);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "{PREFIX}{name}");
        for (position, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{value}\"", if position == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {}", number(value));
    }
}

fn number(value: f64) -> String {
    if value.is_nan() { "NaN".to_owned() } else { format!("{value}") }
}

/// Exact up to 2^53, which nothing that is counted here reaches.
#[expect(clippy::cast_precision_loss, reason = "samples are floats in this format")]
pub(crate) const fn float(value: u64) -> f64 {
    value as f64
}

const PREFIX: &str = "attestry_ledger_";
