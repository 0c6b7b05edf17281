//! The API server: is it reached, is its version supported, do the clocks agree?

use super::super::facts::{Answered, Read};
use super::super::finding::Finding;

const REACHED: &str = "api-server";
const VERSION: &str = "server-version";
const CLOCK: &str = "clock";
/// The versions with which this program is tried: the tests run one between the two, and `make versions` both ends.
const MINORS: std::ops::RangeInclusive<u32> = 33..=37;
/// Nobody needs agreeing clocks for the promise; but cutoffs and ends that a person names are by this clock.
const MOST_SECONDS: f64 = 5.0;

/// Checks what an API server has answered, or why it has not.
pub(in super::super) fn check(url: &str, answered: &Read<Answered>) -> Vec<Finding> {
    let answered = match answered {
        Ok(answered) => answered,
        Err(error) => {
            return vec![Finding::failure(REACHED, error.to_string(), "when that is mended, run this again")];
        }
    };
    let as_whom = match &answered.user {
        Some(user) => format!("{url} answers, and knows you as {user}"),
        None => format!("{url} answers"),
    };
    vec![Finding::ok(REACHED, as_whom), version(answered), clock(answered)]
}

fn version(answered: &Answered) -> Finding {
    let told = &answered.server.version;
    let (version, major) = (&told.git_version, &told.major);
    let range = format!("1.{} to 1.{}", MINORS.start(), MINORS.end());
    // Some distributions put a sign behind it.
    let digits: String = told.minor.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(minor) if major == "1" && MINORS.contains(&minor) => {
            Finding::ok(VERSION, format!("{version} is supported ({range})"))
        }
        Ok(minor) if major == "1" && minor < *MINORS.start() => Finding::failure(
            VERSION,
            format!("{version} is older than what is supported ({range})"),
            "upgrade the cluster",
        ),
        Ok(_) | Err(_) => Finding::warning(
            VERSION,
            format!("{version} is not among the versions that this program was tried with ({range})"),
            "look for a newer rescind",
        ),
    }
}

/// Compares the clocks. That of the server is told in whole seconds, at some time between question and answer.
fn clock(answered: &Answered) -> Finding {
    let Some(time) = answered.server.time else {
        return Finding::skipped(CLOCK, "the API server does not tell the time");
    };
    let seconds = |nanos: u128| nanos as f64 / 1e9;
    let time = time.get() as f64;
    let (asked, answered) = (seconds(answered.asked.as_nanos()), seconds(answered.answered.as_nanos()));
    // The server's clock was between `time` and a second more; the smallest difference is the one that is sure.
    let ahead = asked - (time + 1.0);
    let behind = time - answered;
    let difference = ahead.max(behind);
    if difference <= MOST_SECONDS {
        return Finding::ok(CLOCK, "this clock and that of the API server agree");
    }
    let side = if ahead > behind { "ahead of" } else { "behind" };
    Finding::warning(
        CLOCK,
        format!("this clock is {difference:.0} s {side} that of the API server"),
        "synchronise it: times that you give, like --cutoff now and --for, are by this clock",
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::version::Info;

    use super::super::super::super::cluster::{ApiServer, ClusterError};
    use super::super::super::finding::Level;
    use super::*;
    use crate::revocation::time::{NumericDate, UnixSeconds};

    fn answered(minor: &str, asked: u64, time: Option<u64>) -> Answered {
        let at = |seconds| NumericDate::new(UnixSeconds::new(seconds).unwrap(), 0).unwrap();
        let version = Info {
            major: "1".to_owned(),
            minor: minor.to_owned(),
            git_version: format!("v1.{minor}.0"),
            ..Info::default()
        };
        Answered {
            server: ApiServer { version, time: time.map(|time| UnixSeconds::new(time).unwrap()) },
            asked: at(asked),
            answered: at(asked + 2),
            user: Some("alice".to_owned()),
        }
    }

    #[test]
    fn the_oldest_and_the_newest_version_are_pinned_for_the_tests() {
        let pins = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane");
        for minor in [MINORS.start(), MINORS.end()] {
            assert!(pins.join(format!("1.{minor}/go.mod")).exists(), "1.{minor}");
        }
    }

    #[test]
    fn a_server_that_is_away_is_the_only_finding() {
        let error = ClusterError::NoKubeconfig;
        let found = check("https://a", &Err(error.clone()));
        assert_eq!(
            found,
            [Finding::failure(REACHED, error.to_string(), "when that is mended, run this again")]
        );
        let found = check("https://a", &Ok(answered("35", 100, Some(101))));
        assert_eq!(found[0], Finding::ok(REACHED, "https://a answers, and knows you as alice"));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn versions_are_supported_too_old_or_not_tried() {
        let check =
            |minor, expected| assert_eq!(version(&answered(minor, 1, None)).level, expected, "{minor}");
        check("32", Level::Failure);
        check("33", Level::Ok);
        check("37", Level::Ok);
        check("35+", Level::Ok);
        check("38", Level::Warning);
        check("", Level::Warning);
    }

    #[test]
    fn clocks_differ_only_by_what_is_sure() {
        let check = |time, expected: &str| {
            let found = clock(&answered("35", 100, time));
            assert_eq!(found.seen, expected, "{time:?}");
        };
        let agree = "this clock and that of the API server agree";
        check(None, "the API server does not tell the time");
        // Asked at 100, answered at 102.
        check(Some(101), agree);
        check(Some(94), agree);
        check(Some(93), "this clock is 6 s ahead of that of the API server");
        check(Some(107), agree);
        check(Some(108), "this clock is 6 s behind that of the API server");
    }
}
