//! Waits until a revocation is enforced, and shows how far it is.

use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::console::{Console, printable};
use super::server::{CallError, Server};
use super::time;
use crate::proto::v1;

/// Between two lines where nobody watches, and between two attempts to wait.
const PACE: Duration = Duration::from_secs(1);
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// How waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// Every sidecar has applied it, or is too old to allow anything.
    Enforced(v1::EnforcementProgress),
    /// The time is over; this was known last.
    TimedOut(Option<v1::EnforcementProgress>),
    /// The server refuses to tell.
    Refused(CallError),
}

/// Waits for a version of a list. A stream that breaks is opened again: the revocation is safe meanwhile.
pub(super) async fn until_enforced(
    server: &Server,
    request: &v1::WaitEnforcedRequest,
    limit: Duration,
    console: &mut Console,
) -> Waited {
    let mut progress = Progress::new(console);
    let mut last = None;
    let waited = timeout(limit, follow(server, request, &mut progress, &mut last, console)).await;
    progress.finish();
    match waited {
        Ok(Waited::Enforced(report)) => Waited::Enforced(progress.measure(report)),
        Ok(other) => other,
        Err(_) => Waited::TimedOut(last.map(|report| progress.measure(report))),
    }
}

async fn follow(
    server: &Server,
    request: &v1::WaitEnforcedRequest,
    progress: &mut Progress,
    last: &mut Option<v1::EnforcementProgress>,
    console: &mut Console,
) -> Waited {
    loop {
        let problem = match attempt(server, request, progress, last, console).await {
            Ok(Some(enforced)) => return Waited::Enforced(enforced),
            Ok(None) => "the server stopped reporting".to_owned(),
            Err(status) => match server.error(&status) {
                error if error.is_passing() => error.to_string(),
                error => return Waited::Refused(error),
            },
        };
        progress.trouble(problem, console);
        progress.tick(last.as_ref(), console).await;
    }
}

/// Reads reports until one says that it is enforced; none if the stream ends before.
async fn attempt(
    server: &Server,
    request: &v1::WaitEnforcedRequest,
    progress: &mut Progress,
    last: &mut Option<v1::EnforcementProgress>,
    console: &mut Console,
) -> Result<Option<v1::EnforcementProgress>, tonic::Status> {
    let mut admin = server.admin();
    let mut opening = pin!(admin.wait_enforced(server.request(request.clone())));
    let mut reports = loop {
        tokio::select! {
            opened = &mut opening => break opened?.into_inner(),
            () = progress.tick(last.as_ref(), console) => {}
        }
    };
    loop {
        tokio::select! {
            report = reports.message() => match report? {
                Some(report) if report.enforced => return Ok(Some(report)),
                Some(report) => {
                    progress.report(&report);
                    *last = Some(report);
                }
                None => return Ok(None),
            },
            () = progress.tick(last.as_ref(), console) => {}
        }
    }
}

/// A spinner on a terminal; elsewhere a line per second.
struct Progress {
    bar: Option<ProgressBar>,
    ticks: Interval,
    started: Instant,
    trouble: Option<String>,
}

impl Progress {
    fn new(console: &Console) -> Self {
        let started = Instant::now();
        let mut ticks = interval_at(started + PACE, PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let bar = console.err_surface().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_message("waiting until it is enforced");
            bar.enable_steady_tick(REDRAW_EVERY);
            bar
        });
        Self { bar, ticks, started, trouble: None }
    }

    /// A server may count from when it was asked, or know that all was over by then; here it took this long.
    fn measure(&self, report: v1::EnforcementProgress) -> v1::EnforcementProgress {
        let seen = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let elapsed_milliseconds = report.elapsed_milliseconds.max(seen);
        v1::EnforcementProgress { elapsed_milliseconds, ..report }
    }

    fn report(&mut self, report: &v1::EnforcementProgress) {
        self.trouble = None;
        if let Some(bar) = &self.bar {
            bar.set_message(counts(report));
        }
    }

    fn trouble(&mut self, problem: String, console: &Console) {
        if let Some(bar) = &self.bar {
            bar.set_message(printable(&console.without_secrets(&problem)));
        }
        self.trouble = Some(problem);
    }

    /// Waits for the next second, and writes its line. Cancel safe.
    async fn tick(&mut self, last: Option<&v1::EnforcementProgress>, console: &mut Console) {
        self.ticks.tick().await;
        if self.bar.is_none() {
            let what = match (&self.trouble, last) {
                (Some(trouble), _) => trouble.clone(),
                (None, Some(report)) => counts(report),
                (None, None) => "no sidecar has reported yet".to_owned(),
            };
            let seconds = self.started.elapsed().as_secs();
            console.note(&format!("waiting for {seconds} s: {}\n", printable(&what)));
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Says how many sidecars have applied it.
pub(super) fn counts(report: &v1::EnforcementProgress) -> String {
    let v1::EnforcementProgress { subscribers, applied, away, .. } = report;
    match (subscribers, away) {
        (0, _) => "no sidecar follows the list".to_owned(),
        (1, 0) => format!("{applied} of 1 sidecar has applied it"),
        (_, 0) => format!("{applied} of {subscribers} sidecars have applied it"),
        (_, _) => format!(
            "{applied} of {subscribers} sidecars have applied it, {away} away and too old to allow anything"
        ),
    }
}

/// Says that it is enforced.
pub(super) fn enforced(report: &v1::EnforcementProgress) -> String {
    format!("enforced after {}: {}", time::elapsed(report.elapsed_milliseconds), counts(report))
}

#[cfg(test)]
mod tests {
    use super::super::console::Surface;
    use super::super::tests::Buffer;
    use super::*;

    #[test]
    fn counts_read_like_a_sentence() {
        let check = |subscribers, applied, away, expected: &str| {
            let report = v1::EnforcementProgress { subscribers, applied, away, ..Default::default() };
            assert_eq!(counts(&report), expected);
        };
        check(0, 0, 0, "no sidecar follows the list");
        check(1, 1, 0, "1 of 1 sidecar has applied it");
        check(12, 3, 0, "3 of 12 sidecars have applied it");
        check(12, 3, 1, "3 of 12 sidecars have applied it, 1 away and too old to allow anything");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_watches_there_is_a_line_per_second() {
        let out = Buffer::default();
        let mut console = Console::new(
            (Surface::Plain, Box::new(std::io::sink())),
            (Surface::Plain, Box::new(out.clone())),
            Box::new(std::io::empty()),
        );
        let mut progress = Progress::new(&console);
        progress.tick(None, &mut console).await;
        let report = v1::EnforcementProgress { subscribers: 12, applied: 3, ..Default::default() };
        progress.report(&report);
        progress.tick(Some(&report), &mut console).await;
        progress.trouble("gone\u{7}".to_owned(), &console);
        progress.tick(Some(&report), &mut console).await;
        assert_eq!(
            out.text(),
            "waiting for 1 s: no sidecar has reported yet\n\
             waiting for 2 s: 3 of 12 sidecars have applied it\n\
             waiting for 3 s: gone\\u{7}\n"
        );
    }
}
