//! What a pod asks for in its annotations.

use serde_json::{Map, Value};

use crate::api::{GROUP, duration};
use crate::revocation::freshness::BOUND_SECONDS;
use crate::revocation::names::ListName;

use super::refusal::Refusal;
use super::settings::{LogLevel, Resources, Settings};
use super::{MARK, MAX_LISTS, PROBE_PORT};

/// The lists to follow.
pub const LISTS: &str = "rescind.dev/lists";
/// The largest bound on age that is accepted.
pub const BOUND: &str = "rescind.dev/bound";
/// What the sidecar logs.
pub const LOG_LEVEL: &str = "rescind.dev/log-level";
/// The containers that get the sockets.
pub const MOUNT_SOCKET: &str = "rescind.dev/mount-socket";
/// The port on loopback where forward auth is asked for by programs that know no Unix sockets.
pub const FORWARD_AUTH_PORT: &str = "rescind.dev/forward-auth-port";
/// What the sidecar needs of processors.
pub const CPU_REQUEST: &str = "rescind.dev/sidecar-cpu-request";
/// What it may use at most.
pub const CPU_LIMIT: &str = "rescind.dev/sidecar-cpu-limit";
/// What it needs of memory.
pub const MEMORY_REQUEST: &str = "rescind.dev/sidecar-memory-request";
/// What it may use at most.
pub const MEMORY_LIMIT: &str = "rescind.dev/sidecar-memory-limit";

/// The annotations that a pod may have.
pub const ALL: [&str; 9] = [
    LISTS,
    BOUND,
    LOG_LEVEL,
    MOUNT_SOCKET,
    FORWARD_AUTH_PORT,
    CPU_REQUEST,
    CPU_LIMIT,
    MEMORY_REQUEST,
    MEMORY_LIMIT,
];

/// The ports that a program without rights may listen on.
const PORTS: std::ops::RangeInclusive<u16> = 1024..=65_535;

/// As much of a value as is repeated.
const SHOWN: usize = 64;

/// What a pod asks for, with the settings where it does not ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) lists: Vec<ListName>,
    pub(super) bound_seconds: Option<u32>,
    pub(super) log_level: LogLevel,
    pub(super) resources: Resources,
    pub(super) mounted: Mounted,
    pub(super) forward_auth_port: Option<u16>,
}

/// Which containers get the sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mounted {
    All,
    Named(Vec<String>),
}

impl Mounted {
    pub(super) fn has(&self, container: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == container),
        }
    }
}

/// Reads the annotations of a pod in a namespace whose containers have these names.
pub(super) fn read(
    annotations: &Map<String, Value>,
    namespace: &str,
    containers: &[&str],
    settings: &Settings,
) -> Result<Asked, Refusal> {
    let ours = |name: &str| name.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
    if let Some(name) =
        annotations.keys().find(|name| ours(name) && !ALL.contains(&name.as_str()) && *name != MARK)
    {
        return Err(Refusal::UnknownAnnotation { name: name.clone(), allowed: ALL.join(", ") });
    }
    let of = |name: &'static str| {
        annotations.get(name).map(|value| Given { name, value: value.as_str().unwrap_or_default() })
    };
    Ok(Asked {
        lists: lists(of(LISTS), namespace, settings)?,
        bound_seconds: of(BOUND).map(|given| given.bound()).transpose()?,
        log_level: of(LOG_LEVEL).map_or(Ok(settings.log_level), |given| given.log_level())?,
        resources: resources(of, &settings.resources)?,
        mounted: of(MOUNT_SOCKET).map_or(Ok(Mounted::All), |given| given.mounted(containers))?,
        forward_auth_port: of(FORWARD_AUTH_PORT).map(|given| given.port()).transpose()?,
    })
}

/// An annotation that is there.
struct Given<'a> {
    name: &'static str,
    value: &'a str,
}

impl<'a> Given<'a> {
    fn refused(&self, problem: impl ToString) -> Refusal {
        let given = self.value.chars().take(SHOWN).collect();
        Refusal::Annotation { name: self.name, given, problem: problem.to_string() }
    }

    /// The items between commas: one or more, and none of them empty or twice.
    fn items(&self, what: &str) -> Result<Vec<&'a str>, Refusal> {
        let items: Vec<&str> = self.value.split(',').map(str::trim).collect();
        if items.iter().any(|item| item.is_empty()) {
            return Err(self.refused(format!("write one or more {what}, with one comma between two")));
        }
        Ok(items)
    }

    fn bound(&self) -> Result<u32, Refusal> {
        let seconds = match self.value.parse::<u32>() {
            Ok(seconds) => Some(seconds),
            Err(_) => duration::parse(self.value)
                .ok()
                .filter(|bound| bound.subsec_nanos() == 0)
                .and_then(|bound| u32::try_from(bound.as_secs()).ok()),
        };
        seconds.filter(|seconds| BOUND_SECONDS.contains(seconds)).ok_or_else(|| {
            let (least, most) = BOUND_SECONDS.into_inner();
            self.refused(format!(
                "write whole seconds from {least} to {most}, like 10, or a duration like 10s or 1m"
            ))
        })
    }

    fn log_level(&self) -> Result<LogLevel, Refusal> {
        let named = LogLevel::ALL.iter().find(|(name, _)| *name == self.value);
        named.map(|(_, level)| *level).ok_or_else(|| {
            self.refused(format!("write one of {}", LogLevel::ALL.map(|(name, _)| name).join(", ")))
        })
    }

    fn port(&self) -> Result<u16, Refusal> {
        let port = self.value.parse().ok().filter(|port| PORTS.contains(port) && *port != PROBE_PORT);
        port.ok_or_else(|| {
            let (least, most) = PORTS.into_inner();
            self.refused(format!("write a port from {least} to {most} other than {PROBE_PORT}, like 8181"))
        })
    }

    fn mounted(&self, containers: &[&str]) -> Result<Mounted, Refusal> {
        let names = self.items("names of containers")?;
        if let Some(unknown) = names.iter().find(|name| !containers.contains(name)) {
            let problem = format!("the pod has no container {unknown:?}: it has {}", containers.join(", "));
            return Err(self.refused(problem));
        }
        Ok(Mounted::Named(names.into_iter().map(ToOwned::to_owned).collect()))
    }
}

fn lists(given: Option<Given<'_>>, namespace: &str, settings: &Settings) -> Result<Vec<ListName>, Refusal> {
    let of_settings = || settings.default_lists.iter().map(String::as_str).collect();
    let names: Vec<&str> =
        given.as_ref().map_or_else(|| Ok(of_settings()), |given| given.items("names of lists"))?;
    if names.len() > MAX_LISTS {
        let given = given.unwrap_or(Given { name: LISTS, value: "" });
        return Err(given.refused(format!("{} lists, and {MAX_LISTS} are the most", names.len())));
    }
    let mut lists = Vec::new();
    for name in names {
        let read = if name.contains('/') { name.parse() } else { ListName::new(namespace, name) };
        let list = read.map_err(|error| {
            let given = given.as_ref().map_or("", |given| given.value);
            Given { name: LISTS, value: given }.refused(format!("{error}; a list is NAMESPACE/NAME, or NAME"))
        })?;
        if !lists.contains(&list) {
            lists.push(list);
        }
    }
    if lists.is_empty() { Err(Refusal::NoLists) } else { Ok(lists) }
}

fn resources<'a>(
    of: impl Fn(&'static str) -> Option<Given<'a>>,
    settings: &Resources,
) -> Result<Resources, Refusal> {
    let mut resources = settings.clone();
    for (name, amount) in [
        (CPU_REQUEST, &mut resources.requests.cpu),
        (CPU_LIMIT, &mut resources.limits.cpu),
        (MEMORY_REQUEST, &mut resources.requests.memory),
        (MEMORY_LIMIT, &mut resources.limits.memory),
    ] {
        if let Some(given) = of(name) {
            *amount = Some(given.value.parse().map_err(|error| given.refused(error))?);
        }
    }
    let Resources { requests, limits } = &resources;
    for (request, limit, names) in [
        (&requests.cpu, &limits.cpu, [CPU_REQUEST, CPU_LIMIT]),
        (&requests.memory, &limits.memory, [MEMORY_REQUEST, MEMORY_LIMIT]),
    ] {
        if let (Some(request), Some(limit)) = (request, limit)
            && request.exceeds(limit)
        {
            let [asks, bounds] = names;
            // At least one of the two is the pod's, for the settings agree with themselves.
            let (given, other) = match of(asks) {
                Some(given) => (given, bounds),
                None => (of(bounds).unwrap_or(Given { name: bounds, value: "" }), asks),
            };
            let problem = format!("{request} would be asked for, and {limit} be the limit: set {other}, too");
            return Err(given.refused(problem));
        }
    }
    Ok(resources)
}
