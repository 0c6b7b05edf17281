//! The sidecars of pods: which ones there are, and what each row about them says.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod};
use serde::Serialize;

use super::super::console::{Console, Tone, printable};
use super::super::lag::Lag;
use super::super::table::{shorten, table};
use super::super::time::elapsed;
use super::exposition::{Known, Told};
use crate::injection::{CONTAINER, MARK, PROBE_PORT, PROBE_PORT_NAME};

/// So much of what others say is shown.
const MOST_SAID: usize = 200;
/// So long is the version of a program that is shown.
const LONGEST_PROGRAM: usize = 40;
/// So many are named that have one problem.
const MOST_NAMED: usize = 5;

/// A pod that has a sidecar, or should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Injected {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Where the sidecar tells of itself.
    pub(super) port: u16,
    /// Why there is nobody to ask; none if there is.
    pub(super) absent: Option<String>,
}

/// Why a sidecar that runs has told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Whoever asks lacks the permission.
    Forbidden,
    /// Anything else.
    Failed(String),
}

/// One sidecar and one of its lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sidecar {
    /// The namespace and name of its pod, by which controllers know it too.
    identity: String,
    /// What it follows; none if it has told nothing.
    list: Option<String>,
    state: State,
    /// The age of its proof.
    age_milliseconds: Option<u64>,
    /// Up to where the list is proven to be complete.
    version: Option<String>,
    /// None if that is not known: it has told nothing, or the list has no version that may be read.
    lag: Option<Lag>,
    connected: Option<bool>,
    /// The version of the program.
    program: Option<String>,
    /// Why it has told nothing.
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum State {
    /// Its proof is not older than the bound.
    Fresh,
    /// It is older.
    Stale,
    /// There is none yet, or it does not hold.
    Unproven,
    /// The container does not run.
    NotRunning,
    /// It runs, and has told nothing.
    Unread,
    /// It was not asked: a permission is missing.
    Forbidden,
}

impl Injected {
    /// Takes from a pod what matters; none if it has no sidecar, or has ended.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        let is_marked = pod.metadata.annotations.iter().flatten().any(|(name, _)| name == MARK);
        // Injected ones are among the init containers; a manifest of one's own may have it elsewhere.
        let containers = spec.map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
        let container = containers.into_iter().flatten().find(|container| container.name == CONTAINER);
        if (!is_marked && container.is_none()) || matches!(phase, "Succeeded" | "Failed") {
            return None;
        }
        let statuses = status.map(|status| {
            let init = status.init_container_statuses.iter().flatten();
            init.chain(status.container_statuses.iter().flatten())
        });
        let found = statuses.into_iter().flatten().find(|status| status.name == CONTAINER);
        let has_address = status.is_some_and(|status| status.pod_ip.is_some());
        let absent = match (container, standing(found)) {
            (None, _) => Some(format!("its pod is marked, and has no container {CONTAINER}")),
            (Some(_), Ok(())) if has_address => None,
            (Some(_), Ok(())) => Some(format!("its pod is {phase}, and has no address")),
            (Some(_), Err(why)) if why.is_empty() => Some(format!("its pod is {phase}")),
            (Some(_), Err(why)) => Some(format!("its pod is {phase}, the container {why}")),
        };
        Some(Self {
            namespace: pod.metadata.namespace.clone()?,
            name: pod.metadata.name.clone()?,
            port: container.and_then(port).unwrap_or(PROBE_PORT),
            absent,
        })
    }

    fn identity(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Makes a row for each list that it has told of, or one that says why there are none. What it lacks is judged later.
    pub(super) fn rows(&self, told: Result<Told, Unread>) -> Vec<Sidecar> {
        let silent = |state, problem: &str| {
            let problem = Some(shorten(problem, MOST_SAID));
            vec![Sidecar { problem, ..Sidecar::silent(self.identity(), state) }]
        };
        match (&self.absent, told) {
            (Some(why), _) => silent(State::NotRunning, why),
            (None, Err(Unread::Forbidden)) => silent(State::Forbidden, "you may not get pods/proxy"),
            (None, Err(Unread::Failed(why))) => silent(State::Unread, &why),
            (None, Ok(told)) => {
                let row = |(list, known): (&String, &Known)| Sidecar {
                    list: Some(list.clone()),
                    age_milliseconds: known.age_milliseconds,
                    version: known.version.clone(),
                    connected: Some(told.is_connected),
                    program: Some(shorten(&told.program, LONGEST_PROGRAM)),
                    ..Sidecar::silent(self.identity(), State::of(known))
                };
                told.lists.iter().map(row).collect()
            }
        }
    }
}

/// Tells whether a container runs; if not, why, as far as its status says.
fn standing(status: Option<&ContainerStatus>) -> Result<(), String> {
    let Some(ContainerState { running, terminated, waiting }) =
        status.and_then(|status| status.state.clone())
    else {
        return Err(String::new());
    };
    match (running, terminated, waiting.and_then(|waiting| waiting.reason)) {
        (Some(_), _, _) => Ok(()),
        (None, Some(ended), _) => Err(format!("has ended with code {}", ended.exit_code)),
        (None, None, Some(reason)) => Err(format!("waits: {reason}")),
        (None, None, None) => Err(String::new()),
    }
}

fn port(container: &Container) -> Option<u16> {
    let mut ports = container.ports.iter().flatten();
    let named = ports.find(|port| port.name.as_deref() == Some(PROBE_PORT_NAME))?;
    u16::try_from(named.container_port).ok()
}

impl State {
    const fn of(known: &Known) -> Self {
        match (known.is_fresh, known.age_milliseconds) {
            (true, _) => Self::Fresh,
            (false, Some(_)) => Self::Stale,
            (false, None) => Self::Unproven,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Fresh => "Fresh",
            Self::Stale => "Stale",
            Self::Unproven => "Unproven",
            Self::NotRunning => "NotRunning",
            Self::Unread => "Unread",
            Self::Forbidden => "Forbidden",
        }
    }
}

impl Sidecar {
    const fn silent(identity: String, state: State) -> Self {
        Self {
            identity,
            list: None,
            state,
            age_milliseconds: None,
            version: None,
            lag: None,
            connected: None,
            program: None,
            problem: None,
        }
    }

    /// Judges what it lacks by the versions of the lists, as far as they are known.
    pub(super) fn judge(&mut self, versions: &BTreeMap<String, String>) {
        let last_change = self.list.as_ref().and_then(|list| versions.get(list));
        self.lag = last_change.map(|last| Lag::new(self.version.as_deref().unwrap_or_default(), Some(last)));
    }
}

/// Puts rows in the order in which they are shown.
pub(super) fn sort(sidecars: &mut [Sidecar]) {
    sidecars.sort_by(|a, b| (&a.identity, &a.list).cmp(&(&b.identity, &b.list)));
}

/// The lists that sidecars follow.
pub(super) fn followed(sidecars: &[Sidecar]) -> BTreeSet<&str> {
    sidecars.iter().filter_map(|sidecar| sidecar.list.as_deref()).collect()
}

/// Counts the sidecars that follow a list, or may: what follows those that have told nothing is not known.
pub(super) fn count(sidecars: &[Sidecar], list: &str) -> usize {
    sidecars.iter().filter(|sidecar| sidecar.list.as_deref().is_none_or(|its| its == list)).count()
}

/// Writes the table.
pub(super) fn sidecar_table(sidecars: &[Sidecar]) -> String {
    if sidecars.is_empty() {
        return "No sidecars.\n".to_owned();
    }
    let row = |sidecar: &Sidecar| {
        let connected = sidecar.connected.map(|connected| if connected { "yes" } else { "no" });
        [
            sidecar.identity.clone(),
            sidecar.list.clone().unwrap_or_default(),
            sidecar.state.text().to_owned(),
            sidecar.age_milliseconds.map(elapsed).unwrap_or_default(),
            sidecar.version.clone().unwrap_or_default(),
            sidecar.lag.map(Lag::text).unwrap_or_default().to_owned(),
            connected.unwrap_or_default().to_owned(),
            sidecar.program.clone().unwrap_or_default(),
        ]
    };
    let head = ["SIDECAR", "LIST", "STATE", "AGE", "VERSION", "LAG", "CONNECTED", "PROGRAM"];
    table(head, &sidecars.iter().map(row).collect::<Vec<_>>())
}

/// Says why sidecars have told nothing, each reason once. That a permission is missing is said elsewhere.
pub(super) fn problems(sidecars: &[Sidecar], console: &Console) -> String {
    let mut by_problem: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for sidecar in sidecars.iter().filter(|sidecar| sidecar.state != State::Forbidden) {
        if let Some(problem) = &sidecar.problem {
            by_problem.entry(problem).or_default().push(&sidecar.identity);
        }
    }
    let line = |(problem, identities): (&str, Vec<&str>)| {
        let (named, more) = identities.split_at(identities.len().min(MOST_NAMED));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let names = console.out_surface().paint(Tone::Doubtful, &printable(&named.join(", ")));
        format!("{names}{more}: {}\n", printable(problem).replace('\n', "\\n"))
    };
    let lines: String = by_problem.into_iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("Sidecars that tell nothing\n{lines}") }
}

#[cfg(test)]
mod tests;
