//! Manifests: YAML files with one or more objects, as `kubectl apply` takes them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::IgnoredAny;

use crate::revocation::names::{DEFAULT_NAMESPACE, ListName, NameError};

use super::API_VERSION;
use super::document::ListDocument;
use super::invalid::Invalid;
use super::revocation::RevocationSpec;
use super::token_revocation_list::TokenRevocationListSpec;

pub mod lines;

/// The largest manifest that is read.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
const MAX_DOCUMENTS: usize = 1024;

/// One object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A list.
    List(Box<ListDocument>),
    /// A revocation.
    Revocation {
        /// The list that it is for.
        list: ListName,
        /// Its name.
        name: String,
        /// What it says.
        spec: Box<RevocationSpec>,
    },
}

/// Says what is wrong with a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct ManifestError {
    /// The file, as the user named it.
    pub file: String,
    /// The line, from one on.
    pub line: u64,
    /// The field and a sentence.
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "read so that they are known; the header has been judged, a status is ignored")]
struct Written<S> {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: S,
    status: Option<IgnoredAny>,
}

/// Reads all objects of a manifest; the whole file is refused if one is wrong.
///
/// # Errors
/// [`ManifestError`] names the file, the line and the field.
pub fn parse(file: &str, text: &str) -> Result<Vec<Object>, ManifestError> {
    let at = |line, problem: String| ManifestError { file: file.to_owned(), line, problem };
    if text.len() > MAX_BYTES {
        return Err(at(1, format!("the file is larger than {MAX_BYTES} bytes: split it")));
    }
    let documents = documents(text);
    if documents.len() > MAX_DOCUMENTS {
        return Err(at(1, format!("more than {MAX_DOCUMENTS} documents: split the file")));
    }
    let mut objects = Vec::new();
    for (first_line, document) in documents {
        let object =
            object(document).map_err(|error| at(first_line + error.line.saturating_sub(1), error.problem))?;
        objects.extend(object);
    }
    if objects.is_empty() {
        return Err(at(1, format!("no object: expected {API_VERSION} TokenRevocationList")));
    }
    Ok(objects)
}

/// Reads a file that is one document, of a type that refuses what it does not know.
///
/// # Errors
/// [`ManifestError`] names the file, the line and the field.
pub fn document<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ManifestError> {
    yaml(text).map_err(|Problem { line, problem }| ManifestError { file: file.to_owned(), line, problem })
}

/// Reads a document of any kind, as `kubectl` understands it: `yes` is true, and a mode like `0644` is octal.
///
/// # Errors
/// [`ManifestError`] names the file and the line.
pub fn value(file: &str, document: &str) -> Result<serde_json::Value, ManifestError> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let read = serde_saphyr::from_str_with_options(document, options).map_err(Problem::from);
    read.map_err(|Problem { line, problem }| ManifestError { file: file.to_owned(), line, problem })
}

/// Splits at lines that start with `---`: in YAML such a line always ends a document. Each comes with the number of its
/// first line.
#[must_use]
pub fn documents(text: &str) -> Vec<(u64, &str)> {
    let mut found = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (number, line) in (1u64..).zip(text.split_inclusive('\n')) {
        let rest = line.strip_prefix("---").map(|rest| rest.chars().next().is_none_or(char::is_whitespace));
        if rest == Some(true) {
            found.push((start_line, text.get(start..offset).unwrap_or_default()));
            (start, start_line) = (offset + line.len(), number + 1);
        }
        offset += line.len();
    }
    found.push((start_line, text.get(start..).unwrap_or_default()));
    found
}

/// A problem within one document, lines counted from its start.
struct Problem {
    line: u64,
    problem: String,
}

/// Returns `true` for a document of nothing but comments.
#[must_use]
pub fn is_empty(document: &str) -> bool {
    document.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'))
}

fn object(document: &str) -> Result<Option<Object>, Problem> {
    if is_empty(document) {
        return Ok(None);
    }
    let header: Header = yaml(document)?;
    match (header.api_version.as_str(), header.kind.as_str()) {
        (API_VERSION, "TokenRevocationList") => {
            let written: Written<TokenRevocationListSpec> = yaml(document)?;
            list(written).map(Some).map_err(|invalid| located(document, &invalid))
        }
        (API_VERSION, "Revocation") => {
            let written: Written<RevocationSpec> = yaml(document)?;
            revocation(written).map(Some).map_err(|invalid| located(document, &invalid))
        }
        (version, kind) => Err(Problem {
            line: lines::line_of(document, "kind"),
            problem: format!(
                "apiVersion {version:?}, kind {kind:?}: expected {API_VERSION} with TokenRevocationList or Revocation"
            ),
        }),
    }
}

fn yaml<T: DeserializeOwned>(document: &str) -> Result<T, Problem> {
    Ok(serde_saphyr::from_str(document)?)
}

impl From<serde_saphyr::Error> for Problem {
    fn from(error: serde_saphyr::Error) -> Self {
        let line = error.location().map_or(1, |location| location.line());
        // The library shows the lines around a problem; our own message has the line in front.
        let text = error.without_snippet().to_string();
        Self { line, problem: text.lines().next().unwrap_or_default().to_owned() }
    }
}

fn located(document: &str, invalid: &Invalid) -> Problem {
    Problem { line: lines::line_of(document, &invalid.field), problem: invalid.to_string() }
}

fn name_of(metadata: &ObjectMeta) -> Result<(String, String), Invalid> {
    let namespace = metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let name = metadata.name.clone().ok_or_else(|| Invalid::new("metadata", "name is missing"))?;
    Ok((namespace, name))
}

fn list(written: Written<TokenRevocationListSpec>) -> Result<Object, Invalid> {
    let (namespace, name) = name_of(&written.metadata)?;
    let name = list_name("metadata.name", &namespace, &name)?;
    let mut document = ListDocument::new(&name, written.spec);
    let own = written.metadata.annotations.unwrap_or_default();
    let own = own.into_iter().filter(|(key, _)| key == super::maxima::ANNOTATION);
    document.metadata.annotations.extend(own);
    document.config()?;
    Ok(Object::List(Box::new(document)))
}

fn revocation(written: Written<RevocationSpec>) -> Result<Object, Invalid> {
    let (namespace, name) = name_of(&written.metadata)?;
    super::target::read(&written.spec)?;
    let list = list_name("spec.listName", &namespace, written.spec.list_name.as_deref().unwrap_or_default())?;
    Ok(Object::Revocation { list, name, spec: Box::new(written.spec) })
}

fn list_name(field: &str, namespace: &str, name: &str) -> Result<ListName, Invalid> {
    ListName::new(namespace, name).map_err(|error: NameError| Invalid::new(field, error))
}

#[cfg(test)]
mod tests;
