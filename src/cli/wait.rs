//! Waits until a revocation is enforced, and shows how far it is.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::console::{Console, printable};
use super::server::Server;
use super::time;
use crate::api::revocation as api;
use crate::proto::v1;

/// Between two lines where nobody watches, and between two attempts to wait.
const PACE: Duration = Duration::from_secs(1);
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// What is known of a revocation that is not enforced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// How many sidecars have applied it.
    Counted(v1::EnforcementProgress),
    /// A sentence without a full stop.
    Said(String),
}

/// What is heard while waiting. In a cluster, it comes with the object.
#[derive(Clone, Debug)]
pub(super) enum Report {
    /// So far it is.
    Standing(Standing, Option<Box<api::Revocation>>),
    /// Nothing is heard just now. The next report is asked for a little later.
    Trouble(String),
    /// Nothing more will be heard.
    End(Waited, Option<Box<api::Revocation>>),
}

/// How waiting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// Every sidecar has applied it, or is too old to allow anything.
    Enforced(v1::EnforcementProgress),
    /// The time is over; this was known last.
    TimedOut(Option<Standing>),
    /// Whoever knows refuses to tell.
    Refused(String),
    /// It never will be enforced: it was refused, or is gone.
    Over(String),
}

/// How waiting ended, and the object as it was seen last.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) waited: Waited,
    pub(super) object: Option<Box<api::Revocation>>,
}

/// Waits for the end of the reports, but not for ever.
pub(super) async fn until_enforced(
    reports: impl Stream<Item = Report> + Unpin,
    limit: Duration,
    console: &mut Console,
) -> Outcome {
    follow(Progress::new(console), reports, limit, console).await
}

/// The same, with where progress is shown.
async fn follow(
    progress: Progress,
    reports: impl Stream<Item = Report> + Unpin,
    limit: Duration,
    console: &mut Console,
) -> Outcome {
    let mut heard = Heard { progress, standing: None, object: None };
    let waited = timeout(limit, heard.follow(reports, console)).await;
    heard.progress.finish();
    let waited = match waited {
        Ok(Waited::Enforced(report)) => Waited::Enforced(heard.progress.measure(report)),
        Ok(other) => other,
        Err(_) => Waited::TimedOut(heard.standing.map(|standing| match standing {
            Standing::Counted(report) => Standing::Counted(heard.progress.measure(report)),
            said @ Standing::Said(_) => said,
        })),
    };
    Outcome { waited, object: heard.object }
}

/// What was heard so far.
struct Heard {
    progress: Progress,
    standing: Option<Standing>,
    object: Option<Box<api::Revocation>>,
}

impl Heard {
    async fn follow(
        &mut self,
        mut reports: impl Stream<Item = Report> + Unpin,
        console: &mut Console,
    ) -> Waited {
        loop {
            // A stream keeps what it is about while a line is written.
            let report = tokio::select! {
                report = reports.next() => report,
                () = self.progress.tick(self.standing.as_ref(), console) => continue,
            };
            match report {
                Some(Report::Standing(standing, object)) => {
                    self.progress.report(&standing);
                    self.standing = Some(standing);
                    self.object = object.or_else(|| self.object.take());
                }
                Some(Report::Trouble(problem)) => {
                    self.progress.trouble(problem, console);
                    self.progress.tick(self.standing.as_ref(), console).await;
                }
                Some(Report::End(waited, object)) => {
                    self.object = object.or_else(|| self.object.take());
                    return waited;
                }
                None => return Waited::TimedOut(self.standing.take()),
            }
        }
    }
}

/// Where waiting for a server's reports stands.
enum Connection {
    Closed,
    Open(Box<tonic::Streaming<v1::EnforcementProgress>>),
    Over,
}

/// Asks a server for reports. A stream that breaks is opened again: the revocation is safe meanwhile.
pub(super) fn reports(server: &Server, request: v1::WaitEnforcedRequest) -> impl Stream<Item = Report> {
    stream::unfold((Connection::Closed, request), move |(mut connection, request)| async move {
        let next = match &mut connection {
            Connection::Over => return None,
            Connection::Open(reports) => reports.message().await,
            Connection::Closed => match server.admin().wait_enforced(server.request(request.clone())).await {
                Ok(opened) => {
                    let mut reports = opened.into_inner();
                    let first = reports.message().await;
                    connection = Connection::Open(Box::new(reports));
                    first
                }
                Err(status) => Err(status),
            },
        };
        let (report, connection) = match next {
            Ok(Some(report)) if report.enforced => {
                (Report::End(Waited::Enforced(report), None), Connection::Over)
            }
            Ok(Some(report)) => (Report::Standing(Standing::Counted(report), None), connection),
            Ok(None) => (Report::Trouble("the server stopped reporting".to_owned()), Connection::Closed),
            Err(status) => match server.error(&status) {
                error if error.is_passing() => (Report::Trouble(error.to_string()), Connection::Closed),
                error => (Report::End(Waited::Refused(error.to_string()), None), Connection::Over),
            },
        };
        Some((report, (connection, request)))
    })
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
        Self::shown(console.err_surface().is_terminal().then(ProgressDrawTarget::stderr))
    }

    /// With a terminal to draw on, or without one.
    fn shown(terminal: Option<ProgressDrawTarget>) -> Self {
        let started = Instant::now();
        let mut ticks = interval_at(started + PACE, PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let bar = terminal.map(|terminal| {
            let bar = ProgressBar::with_draw_target(None, terminal);
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

    fn report(&mut self, standing: &Standing) {
        self.trouble = None;
        if let Some(bar) = &self.bar {
            bar.set_message(printable(&describe(standing)));
        }
    }

    fn trouble(&mut self, problem: String, console: &Console) {
        if let Some(bar) = &self.bar {
            bar.set_message(printable(&console.without_secrets(&problem)));
        }
        self.trouble = Some(problem);
    }

    /// Waits for the next second, and writes its line. Cancel safe.
    async fn tick(&mut self, last: Option<&Standing>, console: &mut Console) {
        self.ticks.tick().await;
        if self.bar.is_none() {
            let what = match (&self.trouble, last) {
                (Some(trouble), _) => trouble.clone(),
                (None, Some(standing)) => describe(standing),
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

/// Says what is known.
pub(super) fn describe(standing: &Standing) -> String {
    match standing {
        Standing::Counted(report) => {
            // Those that are known have it: what is left to wait for are those that nobody can know.
            let young = !report.enforced && report.applied.saturating_add(report.away) >= report.subscribers;
            let why = if young {
                "; the history has just begun, and sidecars of one before get their bound"
            } else {
                ""
            };
            format!("{}{why}", counts(report))
        }
        Standing::Said(text) => text.clone(),
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
    use std::io;
    use std::sync::{Arc, Mutex, MutexGuard};

    use indicatif::TermLike;
    use tokio::time::sleep;

    use super::super::console::Surface;
    use super::super::tests::Buffer;
    use super::*;

    /// A terminal of one line, and everything that stood there.
    #[derive(Clone, Debug, Default)]
    struct Line(Arc<Mutex<(String, Vec<String>)>>);

    impl Line {
        fn lock(&self) -> MutexGuard<'_, (String, Vec<String>)> {
            self.0.lock().unwrap()
        }

        /// Returns what stood there, without the spinner and the time.
        fn texts(&self) -> Vec<String> {
            let shown = self.lock().1.clone();
            let text =
                |line: &String| line.split_once(' ')?.1.rsplit_once(" (").map(|(text, _)| text.to_owned());
            let mut texts: Vec<String> = shown.iter().filter_map(text).collect();
            texts.dedup();
            texts
        }
    }

    impl TermLike for Line {
        fn width(&self) -> u16 {
            100
        }

        fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
            assert_eq!(lines, 0, "there is one line");
            Ok(())
        }

        fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
            self.move_cursor_up(lines)
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            panic!("there is one line, and not {text}");
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            let mut line = self.lock();
            match text {
                "\r" => line.0.clear(),
                text => line.0.push_str(text),
            }
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.lock().0.clear();
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            let mut line = self.lock();
            let shown = line.0.trim_end().to_owned();
            line.1.push(shown);
            Ok(())
        }
    }

    fn standing(applied: u32) -> Standing {
        Standing::Counted(v1::EnforcementProgress { subscribers: 12, applied, ..Default::default() })
    }

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

    #[test]
    fn what_is_waited_for_after_all_known_sidecars_is_said() {
        let check = |applied, enforced, expected: &str| {
            let report = v1::EnforcementProgress { subscribers: 2, applied, enforced, ..Default::default() };
            assert_eq!(describe(&Standing::Counted(report)), expected);
        };
        check(1, false, "1 of 2 sidecars have applied it");
        check(
            2,
            false,
            "2 of 2 sidecars have applied it; the history has just begun, and sidecars of one before get their bound",
        );
        check(2, true, "2 of 2 sidecars have applied it");
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_terminal_one_line_says_how_far_it_is_and_goes_at_the_end() {
        let (line, err) = (Line::default(), Buffer::default());
        let mut console = Console::new(
            (Surface::Plain, Box::new(std::io::sink())),
            (Surface::Coloured, Box::new(err.clone())),
            Box::new(std::io::empty()),
        );
        let done =
            v1::EnforcementProgress { subscribers: 12, applied: 12, enforced: true, ..Default::default() };
        let reports = stream::iter([
            Report::Standing(standing(3), None),
            Report::Trouble("gone\u{7}".to_owned()),
            Report::Standing(standing(9), None),
            Report::End(Waited::Enforced(done), None),
        ]);
        let reports = reports.then(async |report| {
            sleep(3 * PACE).await;
            report
        });
        let terminal = ProgressDrawTarget::term_like(Box::new(line.clone()));
        let progress = Progress::shown(Some(terminal));
        let outcome = follow(progress, Box::pin(reports), 60 * PACE, &mut console).await;
        assert!(matches!(outcome.waited, Waited::Enforced(_)), "{:?}", outcome.waited);
        let expected = [
            "waiting until it is enforced",
            "3 of 12 sidecars have applied it",
            "gone\\u{7}",
            "9 of 12 sidecars have applied it",
        ];
        assert_eq!(line.texts(), expected);
        assert_eq!(line.lock().1.last().unwrap(), "", "it is still there");
        assert_eq!(err.text(), "", "a line of its own as well");
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
        let report = standing(3);
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
