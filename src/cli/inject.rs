//! `rescind inject`: what the injection webhook does, without a cluster.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::console::{Console, Tone};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::format::Machine;
use super::input::InputError;
use crate::api::manifest::{self, MAX_BYTES, ManifestError, lines};
use crate::controller::args::read_injection;
use crate::injection::settings::Settings;
use crate::injection::workload::{Destination, inject};
use crate::revocation::names::DEFAULT_NAMESPACE;
use crate::store::kubernetes::DEFAULT_NAMESPACE as CONTROLLERS;

/// Add the sidecar to manifests, as the webhook of a cluster does
#[derive(Args, Clone, Debug)]
#[command(after_help = "Every pod, and every template of pods, is treated as if its namespace were labelled
rescind.dev/inject: enabled. What is not injected comes out as it went in; what is loses its comments.

The pods mount the ConfigMap rescind-ca, and wait for it. Controllers put it into namespaces with that label alone:
  kubectl label namespace NAMESPACE rescind.dev/inject=enabled

Examples:
  rescind inject -f deployment.yaml --injection injection.yaml | kubectl apply -f -
  rescind inject -f pod.yaml --image registry.example/rescind-sidecar:0.1.0 --list shop
  helm template shop ./shop | rescind inject -f - --injection injection.yaml -n shop")]
pub(super) struct Inject {
    /// Manifest ("-" is standard input). May be given several times
    #[arg(long = "filename", short, value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What the sidecars are to be like, YAML, as the controller's flag of that name takes it
    #[arg(long, value_name = "FILE", required_unless_present = "image")]
    injection: Option<PathBuf>,
    /// Image of the sidecar, in place of that of --injection
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// A controller's stream, https://HOST:PORT, in place of those of --injection. May be given several times
    #[arg(long = "controller", value_name = "URI")]
    controllers: Vec<String>,
    /// A list for pods that name none, NAMESPACE/NAME or NAME. May be given several times
    #[arg(long = "list", value_name = "LIST")]
    lists: Vec<String>,
    /// Namespace of objects that name none
    #[arg(long, short, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// Namespace of the controllers, where nothing is injected
    #[arg(long = "controllers", value_name = "NAME", default_value = CONTROLLERS)]
    controllers_namespace: String,
    /// Format of the answer [default: that of the manifest]
    #[arg(long, short, value_name = "json|yaml", hide_possible_values = true)]
    output: Option<Machine>,
}

/// One more than is read tells that there is too much.
const READ_LIMIT: u64 = 4 * 1024 * 1024 + 1;

impl Inject {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let settings = self.settings()?;
        // Nothing is written before all is known to be right: a half of a manifest may be applied.
        let mut answer = String::new();
        let mut notes = Vec::new();
        for file in &self.files {
            let (shown, text) = read(file, context.console)?;
            for (first_line, document) in manifest::documents(&text) {
                let document = Document { file: &shown, first_line, text: document };
                self.add(&document, &settings, &mut answer, &mut notes)?;
            }
        }
        for note in notes {
            context.console.remark(Tone::Faint, "note", &note);
        }
        context.console.print(&answer)?;
        Ok(Exit::Done)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = match &self.injection {
            Some(file) => read_injection(file)?,
            None => {
                let stream = format!("https://rescind-controller.{}.svc:7401", self.controllers_namespace);
                Settings::new(String::new(), vec![stream])
            }
        };
        if let Some(image) = &self.image {
            settings.image.clone_from(image);
        }
        if !self.controllers.is_empty() {
            settings.controllers.clone_from(&self.controllers);
        }
        if !self.lists.is_empty() {
            settings.default_lists.clone_from(&self.lists);
        }
        // The file was checked; what is wrong now was given by a flag.
        settings
            .check()
            .map_err(|invalid| Failure::Usage(format!("the flags make no settings: {invalid}")))?;
        Ok(settings)
    }

    /// Adds a document to the answer, with the sidecar where it has pods.
    fn add(
        &self,
        document: &Document<'_>,
        settings: &Settings,
        answer: &mut String,
        notes: &mut Vec<String>,
    ) -> Result<(), Failure> {
        if manifest::is_empty(document.text) {
            return Ok(());
        }
        let mut object = document.object().map_err(anyhow::Error::from)?;
        let destination =
            Destination { namespace: &self.namespace, controllers: &self.controllers_namespace };
        let seen = inject(&mut object, destination, settings).map_err(|refused| {
            let path = refused.path.iter().map(String::as_str);
            anyhow::Error::from(document.error(lines::line_at(document.text, path), refused.to_string()))
        })?;
        notes.extend(seen.iter().map(|seen| match &seen.left {
            Some(why) => format!("{} is left as it is: {why}", seen.object),
            None => format!("{} is injected", seen.object),
        }));
        let is_changed = seen.iter().any(|seen| seen.left.is_none());
        let is_json = document.text.trim_start().starts_with('{');
        let text = match self.output {
            None if !is_changed => document.text.trim_end().to_owned() + "\n",
            None if is_json => Machine::Json.text(&object)?,
            None => Machine::Yaml.text(&object)?,
            Some(machine) => machine.text(&object)?,
        };
        let is_yaml = !matches!(self.output, Some(Machine::Json));
        if is_yaml && !answer.is_empty() {
            answer.push_str("---\n");
        }
        answer.push_str(&text);
        Ok(())
    }
}

/// One document of a file.
struct Document<'a> {
    file: &'a str,
    first_line: u64,
    text: &'a str,
}

impl Document<'_> {
    fn error(&self, line: u64, problem: String) -> ManifestError {
        let line = self.first_line + line.saturating_sub(1);
        ManifestError { file: self.file.to_owned(), line, problem }
    }

    /// Reads the object as `kubectl` does, which takes a number like 0644 for an octal one.
    fn object(&self) -> Result<Value, ManifestError> {
        let read: Result<Value, ManifestError> = manifest::value(self.file, self.text);
        let object = read.map_err(|error| self.error(error.line, error.problem))?;
        if object.is_object() {
            return Ok(object);
        }
        Err(self.error(1, "this is no object: a manifest has apiVersion, kind and metadata".to_owned()))
    }
}

fn read(file: &Path, console: &mut Console) -> Result<(String, String), Failure> {
    let (shown, bytes) = if file == Path::new("-") {
        ("standard input".to_owned(), console.read_manifest(READ_LIMIT))
    } else {
        let mut bytes = Vec::new();
        let read = File::open(file).and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes));
        (file.display().to_string(), read.map(|_| bytes))
    };
    let bytes = bytes.map_err(|source| InputError::Unreadable { place: shown.clone(), source })?;
    if bytes.len() > MAX_BYTES {
        return Err(Failure::Usage(format!("{shown} is larger than {MAX_BYTES} bytes: split it")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((shown, text)),
        Err(_) => Err(Failure::Usage(format!("{shown} is no text in UTF-8"))),
    }
}
