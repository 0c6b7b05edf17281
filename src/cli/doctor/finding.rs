//! What a check has found.

use serde::Serialize;

use super::super::cluster::ClusterError;

/// How good or bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// All is well.
    Ok,
    /// It could not be looked at, and need not be wrong.
    Skipped,
    /// It works, and somebody should look at it.
    Warning,
    /// Something does not work, or will not.
    Failure,
}

/// What one check has seen, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// A sentence without a full stop.
    pub(super) seen: String,
    /// The next step.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, seen: seen.into(), next: None }
    }

    pub(super) fn skipped(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, level: Level::Skipped, seen: seen.into(), next: None }
    }

    pub(super) fn warning(check: &'static str, seen: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, seen: seen.into(), next: Some(next.into()) }
    }

    pub(super) fn failure(check: &'static str, seen: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, level: Level::Failure, seen: seen.into(), next: Some(next.into()) }
    }

    /// Says that something could not be read. Who may not read it is no sign of a fault.
    pub(super) fn unread(check: &'static str, error: &ClusterError) -> Self {
        if let ClusterError::Forbidden { wanted, .. } = error {
            return Self::skipped(check, format!("you may not look: it takes {wanted}"));
        }
        if matches!(error, ClusterError::NoKinds { .. }) {
            return Self::skipped(check, "the definitions are not there");
        }
        Self::failure(check, error.to_string(), "try again; if it stays so, look at the API server")
    }
}

/// Says how many there are of something.
pub(super) fn count(number: usize, one: &str, several: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {several}") }
}

/// Names a few of many.
pub(super) fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::cluster::{REVOCATIONS, Wanted};
    use super::*;

    #[test]
    fn who_may_not_look_is_told_so_and_nothing_fails() {
        let error = ClusterError::Forbidden {
            why: "User \"bob\" cannot list".to_owned(),
            wanted: Wanted::new("list", REVOCATIONS, Some("shop")),
        };
        let expected =
            "you may not look: it takes the verb list on revocations.rescind.dev in namespace shop";
        assert_eq!(Finding::unread("lists", &error), Finding::skipped("lists", expected));
        let error = ClusterError::Refused("no".to_owned());
        assert_eq!(Finding::unread("lists", &error).level, Level::Failure);
    }

    #[test]
    fn a_few_of_many_are_named() {
        let names = |count: usize| (1..=count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(some(&names(5)), "1, 2, 3, 4, 5");
        assert_eq!(some(&names(7)), "1, 2, 3, 4, 5 and 2 more");
        assert_eq!(
            (count(1, "pod", "pods"), count(2, "pod", "pods")),
            ("1 pod".to_owned(), "2 pods".to_owned())
        );
    }
}
