//! Arguments and environment that an operator gives all sidecars, beside those that injection gives them.
//!
//! They come from the settings alone. An annotation is the word of whoever may create a pod, and some arguments tell who is
//! revoked.

use serde::{Deserialize, Serialize};

use crate::api::invalid::{Invalid, count, text};

/// A variable of the environment, as a container has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub value: Option<String>,
    /// Where its value is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<Source>,
}

/// Where the value of a variable is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A field of the pod.
    FieldRef(Field),
    /// A key of a `Secret` in the pod's namespace.
    SecretKeyRef(Key),
    /// A key of a `ConfigMap` in the pod's namespace.
    ConfigMapKeyRef(Key),
}

/// A field of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// The version of the schema; Kubernetes' default is written out.
    #[serde(default = "version")]
    pub api_version: String,
    /// Its path, e.g. `status.hostIP`.
    pub field_path: String,
}

/// A key of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// The object's name.
    pub name: String,
    /// The key in it.
    pub key: String,
    /// Whether the pod starts without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

fn version() -> String {
    "v1".to_owned()
}

/// Tells whether a value is none for Kubernetes, which leaves an empty one out.
#[expect(clippy::ref_option, reason = "serde calls it so")]
fn is_blank(value: &Option<String>) -> bool {
    value.as_ref().is_none_or(String::is_empty)
}

const MAX_ITEMS: usize = 32;
const MAX_TEXT: usize = 1024;

/// What injection itself says to a sidecar.
pub const OWN_FLAGS: [&str; 10] = [
    "--controller",
    "--list",
    "--socket",
    "--http",
    "--data",
    "--health",
    "--tls-ca",
    "--token-file",
    "--identity",
    "--bound",
];
/// What tells who is revoked: one for one, and not for a whole cluster.
pub const TELLING_FLAGS: [&str; 2] = ["--reveal", "--claims-socket"];
/// What injection itself puts into the environment, and where to say it instead.
pub const OWN_VARIABLES: [(&str, &str); 3] = [
    ("RUST_LOG", "set logLevel"),
    ("POD_NAMESPACE", "it is the pod's own"),
    ("POD_NAME", "it is the pod's own"),
];

pub(super) fn check_arguments(arguments: &[String]) -> Result<(), Invalid> {
    count("extraArgs", arguments.len(), 0..=MAX_ITEMS)?;
    for (index, argument) in arguments.iter().enumerate() {
        let field = format!("extraArgs[{index}]");
        text(&field, argument, MAX_TEXT)?;
        let flag = argument.split('=').next().unwrap_or_default();
        if flag.len() < 3 || !flag.starts_with("--") {
            return Err(Invalid::new(field, format!("is {argument:?}: write --FLAG=VALUE, or --FLAG")));
        }
        if OWN_FLAGS.contains(&flag) {
            let problem = format!("is {flag}, which injection itself sets: leave it out");
            return Err(Invalid::new(field, problem));
        }
        if TELLING_FLAGS.contains(&flag) {
            let problem = format!(
                "is {flag}, which tells who is revoked: not for all pods; give the pod that needs it a sidecar by hand"
            );
            return Err(Invalid::new(field, problem));
        }
    }
    Ok(())
}

pub(super) fn check_environment(variables: &[Variable]) -> Result<(), Invalid> {
    count("extraEnv", variables.len(), 0..=MAX_ITEMS)?;
    for (index, variable) in variables.iter().enumerate() {
        let field = |member: &str| format!("extraEnv[{index}]{member}");
        let name = &variable.name;
        text(&field(".name"), name, MAX_TEXT)?;
        if name.contains(|c: char| c == '=' || !c.is_ascii_graphic()) {
            return Err(Invalid::new(field(".name"), format!("is {name:?}: use letters, digits and '_'")));
        }
        if let Some((_, instead)) = OWN_VARIABLES.iter().find(|(own, _)| own == name) {
            let problem = format!("is {name}, which injection itself sets: {instead}");
            return Err(Invalid::new(field(".name"), problem));
        }
        if variables.iter().take(index).any(|other| other.name == *name) {
            return Err(Invalid::new(
                field(".name"),
                format!("is {name}, which is there before: name each once"),
            ));
        }
        match (&variable.value, &variable.value_from) {
            (Some(_), None) | (None, Some(_)) => (),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Invalid::new(field(""), format!("{name} needs value or valueFrom, one of them")));
            }
        }
        let texts = match &variable.value_from {
            Some(Source::FieldRef(of)) => vec![("fieldRef.fieldPath", &of.field_path)],
            Some(Source::SecretKeyRef(of)) => {
                vec![("secretKeyRef.name", &of.name), ("secretKeyRef.key", &of.key)]
            }
            Some(Source::ConfigMapKeyRef(of)) => {
                vec![("configMapKeyRef.name", &of.name), ("configMapKeyRef.key", &of.key)]
            }
            None => Vec::new(),
        };
        for (member, given) in texts {
            text(&field(&format!(".valueFrom.{member}")), given, MAX_TEXT)?;
        }
    }
    Ok(())
}
