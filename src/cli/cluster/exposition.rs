//! Reads what a sidecar tells of itself at `/metrics`: the few lines that matter here.
//!
//! What answers is somebody else's pod, so nothing is believed that is not exactly as a sidecar writes it.

use std::collections::BTreeMap;

use crate::injection::MAX_LISTS;
use crate::revocation::names::ListName;

/// Up to here a gauge holds a whole number exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What a sidecar tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// The version of the program.
    pub(super) program: String,
    /// Whether its stream to a controller is open.
    pub(super) is_connected: bool,
    /// What it knows, by list.
    pub(super) lists: BTreeMap<String, Known>,
}

/// What it knows of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Known {
    pub(super) is_fresh: bool,
    /// The age of the proof; none without one.
    pub(super) age_milliseconds: Option<u64>,
    /// Up to where it is proven to be complete.
    pub(super) version: Option<String>,
}

/// Says what in an answer is not as a sidecar writes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what answers is no sidecar of this version: {0}")]
pub(super) struct Unlike(String);

/// A line that has a value.
struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, String>,
    value: f64,
}

/// The values of one metric by list.
type ByList = BTreeMap<String, f64>;

/// The metrics of lists that are read.
const FRESH: &str = "rescind_list_fresh";
const AGE: &str = "rescind_list_age_seconds";
const EPOCH: &str = "rescind_list_epoch";
const REVISION: &str = "rescind_list_version";
/// The others.
const CONNECTED: &str = "rescind_stream_connected";
const BUILD: &str = "rescind_build_info";

impl Told {
    /// Reads Prometheus' text format.
    ///
    /// # Errors
    /// [`Unlike`] if a line that is needed is missing, twice there, or makes no sense. Other lines are not looked at.
    pub(super) fn read(text: &str) -> Result<Self, Unlike> {
        let mut by_metric: BTreeMap<&str, ByList> =
            [FRESH, AGE, EPOCH, REVISION].map(|name| (name, ByList::new())).into();
        let (mut program, mut connected) = (None, None);
        for (number, line) in text.lines().enumerate() {
            let bad = |what: &str| Unlike(format!("line {} {what}", number + 1));
            let name = line.split([' ', '{']).next().unwrap_or_default();
            let values = by_metric.get_mut(name);
            if values.is_none() && name != CONNECTED && name != BUILD {
                continue;
            }
            let sample = Sample::read(line).ok_or_else(|| bad("is no sample"))?;
            let is_first = match values {
                Some(values) => {
                    let list = sample.list().ok_or_else(|| bad("names no list"))?;
                    values.insert(list, sample.value).is_none()
                }
                None if sample.name == CONNECTED => connected.replace(sample.value).is_none(),
                None => {
                    program.replace(sample.program().ok_or_else(|| bad("is another program's"))?).is_none()
                }
            };
            if !is_first {
                return Err(bad("repeats another"));
            }
        }
        let missing = |name: &str| Unlike(format!("{name} is missing"));
        Ok(Self {
            program: program.ok_or_else(|| missing(BUILD))?,
            is_connected: truth(connected.ok_or_else(|| missing(CONNECTED))?)?,
            lists: lists(&by_metric)?,
        })
    }
}

/// Puts together what belongs to one list.
fn lists(by_metric: &BTreeMap<&str, ByList>) -> Result<BTreeMap<String, Known>, Unlike> {
    let of = |metric: &str, list: &str| by_metric.get(metric).and_then(|values| values.get(list)).copied();
    let names: Vec<&String> = by_metric.get(FRESH).into_iter().flat_map(BTreeMap::keys).collect();
    if by_metric.values().flat_map(BTreeMap::keys).any(|list| of(FRESH, list).is_none()) {
        return Err(Unlike(format!("{FRESH} is missing for a list")));
    }
    match names.len() {
        0 => return Err(Unlike(format!("{FRESH} is missing"))),
        1..=MAX_LISTS => {}
        many => return Err(Unlike(format!("it follows {many} lists"))),
    }
    let known = |list: &String| {
        let version = match (of(EPOCH, list), of(REVISION, list)) {
            (None, None) => None,
            (Some(epoch), Some(revision)) => Some(format!("{}/{}", whole(epoch)?, whole(revision)?)),
            _ => return Err(Unlike(format!("{EPOCH} and {REVISION} are not of the same lists"))),
        };
        let is_fresh = truth(of(FRESH, list).unwrap_or_default())?;
        let age_milliseconds = of(AGE, list).map(|seconds| whole((seconds * 1_000.0).round())).transpose()?;
        Ok((list.clone(), Known { is_fresh, age_milliseconds, version }))
    };
    names.into_iter().map(known).collect()
}

fn whole(value: f64) -> Result<u64, Unlike> {
    if !(0.0..=EXACT).contains(&value) || value.fract() != 0.0 {
        return Err(Unlike(format!("{value} is no whole number")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
    Ok(value as u64)
}

fn truth(value: f64) -> Result<bool, Unlike> {
    match whole(value)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Unlike(format!("{other} is neither 0 nor 1"))),
    }
}

impl<'a> Sample<'a> {
    /// Takes `name{label="value",...} number` apart; with a timestamp or anything else behind it, it is none.
    fn read(line: &'a str) -> Option<Self> {
        let (name, rest) = line.split_at(line.find([' ', '{'])?);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(labels) => read_labels(labels)?,
            None => (BTreeMap::new(), rest),
        };
        let value: f64 = value.strip_prefix(' ')?.parse().ok()?;
        value.is_finite().then_some(Self { name, labels, value })
    }

    fn list(&self) -> Option<String> {
        let list = self.labels.get("list").filter(|list| list.contains('/'))?;
        list.parse::<ListName>().ok().map(|name| name.to_string())
    }

    fn program(&self) -> Option<String> {
        let is_ours = self.labels.get("component").is_some_and(|component| component == "sidecar");
        self.labels.get("version").filter(|_| is_ours).cloned()
    }
}

/// Reads labels up to the brace that closes them; returns what follows it.
fn read_labels(mut rest: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, behind) = rest.split_once("=\"")?;
        let (value, behind) = read_value(behind)?;
        if labels.insert(name, value).is_some() {
            return None;
        }
        match behind.strip_prefix('}') {
            Some(behind) => return Some((labels, behind)),
            None => rest = behind.strip_prefix(',')?,
        }
    }
}

/// Reads a value up to the quote that closes it; returns what follows that.
fn read_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                same @ ('\\' | '"') => same,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests;
