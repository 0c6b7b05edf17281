//! Times of many repetitions, and what is said of them.

use std::time::{Duration, Instant};

use crate::table::{Row, nanos};

/// What repetitions of one thing took.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Measures one repetition.
    pub(crate) fn measure(&mut self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let started = Instant::now();
        work()?;
        self.0.push(started.elapsed());
        Ok(())
    }

    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Returns the time that this part of the repetitions kept, in nanoseconds.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() as f64 * part) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |time| time.as_nanos() as f64)
    }
}

/// Makes a row of one quantile of two things.
pub(crate) fn row(what: &str, part: f64, ours: &Times, beside: &Times, aim: Option<f64>) -> Row {
    let (a, b) = (ours.quantile(part), beside.quantile(part));
    Row { what: what.to_owned(), ours: nanos(a), beside: nanos(b), ratio: Some(a / b), aim }
}
