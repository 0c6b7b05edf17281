//! What an operator decides about all sidecars that are injected.

use serde::{Deserialize, Serialize};

use crate::api::invalid::{Invalid, count, range, text};
use crate::api::manifest::{self, ManifestError, lines};
use crate::revocation::names::ListName;

use super::MAX_LISTS;
use super::extra::{Variable, check_arguments, check_environment};
use super::quantity::Quantity;

/// The settings, as the file has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The image of the sidecar.
    pub image: String,
    /// When it is pulled.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// URIs of the controllers' streams.
    pub controllers: Vec<String>,
    /// The lists of pods that name none: NAMESPACE/NAME, or NAME in the pod's namespace.
    #[serde(default)]
    pub default_lists: Vec<String>,
    /// What sidecars log.
    #[serde(default)]
    pub log_level: LogLevel,
    /// What sidecars need, and may use at most. Given, it stands for itself: there are no defaults within.
    #[serde(default)]
    pub resources: Resources,
    /// For whom the sidecars' tokens are.
    #[serde(default = "audience")]
    pub audience: String,
    /// How long such a token is good.
    #[serde(default = "one_hour")]
    pub token_expiration_seconds: u32,
    /// The address at which sidecars answer probes: `0.0.0.0`, or `[::]` where pods have no IPv4.
    #[serde(default)]
    pub probe_address: ProbeAddress,
    /// More arguments of sidecars.
    #[serde(default)]
    pub extra_args: Vec<String>,
    /// More environment of sidecars.
    #[serde(default)]
    pub extra_env: Vec<Variable>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// If the node does not have it.
    #[default]
    IfNotPresent,
    /// Never.
    Never,
}

/// What is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// All of them, by their names.
    pub const ALL: [(&str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, level)| *level == self).map_or("info", |(name, _)| name)
    }
}

/// Where probes are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeAddress {
    /// All addresses of IPv4.
    #[default]
    #[serde(rename = "0.0.0.0")]
    V4,
    /// All addresses.
    #[serde(rename = "[::]")]
    V6,
}

impl ProbeAddress {
    /// Returns the address.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::V4 => "0.0.0.0",
            Self::V6 => "[::]",
        }
    }
}

/// What a container needs, and may use at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What it needs.
    #[serde(default)]
    pub requests: Amounts,
    /// What it may use at most.
    #[serde(default)]
    pub limits: Amounts,
}

/// Amounts of what a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Amounts {
    /// Processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

impl Default for Resources {
    /// 10m and 32Mi are asked for; 256Mi are the most, and there is no limit of processors: a check that is held back is
    /// a request that is held back.
    fn default() -> Self {
        let quantity = |text: &str| text.parse().ok();
        Self {
            requests: Amounts { cpu: quantity("10m"), memory: quantity("32Mi") },
            limits: Amounts { cpu: None, memory: quantity("256Mi") },
        }
    }
}

fn audience() -> String {
    "rescind.dev".to_owned()
}

const fn one_hour() -> u32 {
    3600
}

const MAX_TEXT: usize = 512;
const MAX_CONTROLLERS: usize = 16;

impl Settings {
    /// Makes the settings of an image and controllers, and leaves all else as it is by default.
    #[must_use]
    pub fn new(image: String, controllers: Vec<String>) -> Self {
        Self {
            image,
            image_pull_policy: PullPolicy::default(),
            controllers,
            default_lists: Vec::new(),
            log_level: LogLevel::default(),
            resources: Resources::default(),
            audience: audience(),
            token_expiration_seconds: one_hour(),
            probe_address: ProbeAddress::default(),
            extra_args: Vec::new(),
            extra_env: Vec::new(),
        }
    }

    /// Reads the settings from YAML.
    ///
    /// # Errors
    /// [`ManifestError`] names the file, the line and the field.
    pub fn parse(file: &str, text: &str) -> Result<Self, ManifestError> {
        let settings: Self = manifest::document(file, text)?;
        settings.check().map_err(|invalid| ManifestError {
            file: file.to_owned(),
            line: lines::line_of(text, &invalid.field),
            problem: invalid.to_string(),
        })?;
        Ok(settings)
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn check(&self) -> Result<(), Invalid> {
        text("image", &self.image, MAX_TEXT)?;
        if self.image.contains(char::is_whitespace) {
            return Err(Invalid::new("image", "has a space: write REGISTRY/NAME:TAG"));
        }
        count("controllers", self.controllers.len(), 1..=MAX_CONTROLLERS)?;
        for (index, uri) in self.controllers.iter().enumerate() {
            controller(&format!("controllers[{index}]"), uri)?;
        }
        count("defaultLists", self.default_lists.len(), 0..=MAX_LISTS)?;
        for (index, list) in self.default_lists.iter().enumerate() {
            let read: Result<ListName, _> = list.parse();
            read.map_err(|error| Invalid::new(format!("defaultLists[{index}]"), error))?;
        }
        text("audience", &self.audience, MAX_TEXT)?;
        range("tokenExpirationSeconds", self.token_expiration_seconds, 600..=86_400)?;
        check_arguments(&self.extra_args)?;
        check_environment(&self.extra_env)?;
        let Resources { requests, limits } = &self.resources;
        for (name, request, limit) in
            [("cpu", &requests.cpu, &limits.cpu), ("memory", &requests.memory, &limits.memory)]
        {
            if let (Some(request), Some(limit)) = (request, limit)
                && request.exceeds(limit)
            {
                let problem = format!("is {request}, and the limit is {limit}: ask for no more than that");
                return Err(Invalid::new(format!("resources.requests.{name}"), problem));
            }
        }
        Ok(())
    }
}

/// Between pods there is no other way than TLS. A dollar sign would be an expansion in the arguments of a container.
fn controller(field: &str, uri: &str) -> Result<(), Invalid> {
    text(field, uri, MAX_TEXT)?;
    let rest = uri.strip_prefix("https://").filter(|rest| !rest.is_empty() && !rest.starts_with(':'));
    match rest {
        Some(rest) if !rest.contains(|c: char| c.is_whitespace() || matches!(c, '$' | '/')) => Ok(()),
        _ => Err(Invalid::new(field, format!("is {uri:?}: write https://HOST:PORT"))),
    }
}
