//! `rescind __complete`: what may stand next on a command line, in the words in which kubectl asks its plugins.
//!
//! kubectl runs `kubectl_complete-rescind` with the words after `kubectl rescind`, the last of them unfinished. It wants
//! one candidate per line, with a description behind a tab, and at last a colon with a number that says whether files may
//! be meant (Cobra's directives).

use std::time::Duration;

use clap::{Args, CommandFactory, ValueHint};

use self::words::{Asked, Sought};
use super::Cli;
use super::cluster::{Cluster, ClusterOptions};
use super::context::Context;
use super::failure::{Exit, Failure};

mod words;

/// A shell waits for this.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// More candidates than this help nobody.
const MOST: usize = 500;

/// Complete a command line for kubectl
#[derive(Args, Clone, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct Complete {
    /// The words so far, the last of them unfinished
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// What may stand next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) word: String,
    pub(super) about: String,
}

impl Complete {
    pub(super) async fn run(self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        let Asked { sought, partial, options } = words::asked(&Cli::command(), &self.words);
        let mut candidates = match &sought {
            Sought::Words(words) => words.clone(),
            Sought::Files | Sought::Nothing => Vec::new(),
            Sought::Namespaces | Sought::Lists | Sought::Revocations | Sought::Contexts => {
                let asking = of_cluster(&sought, &options);
                // Whoever presses a key wants no error: there is just nothing to choose from.
                tokio::time::timeout(ANSWER_WITHIN, asking).await.unwrap_or_default()
            }
        };
        candidates.retain(|candidate| candidate.word.starts_with(&partial));
        candidates.truncate(MOST);
        let line = |Candidate { word, about }: &Candidate| match about.lines().next().unwrap_or_default() {
            "" => format!("{word}\n"),
            about => format!("{word}\t{about}\n"),
        };
        let directive = if sought == Sought::Files { FILES } else { NO_FILES };
        let lines: String = candidates.iter().map(line).collect();
        context.console.print(&format!("{lines}:{directive}\n"))?;
        Ok(Exit::Done)
    }
}

/// Cobra's directives: default, and no file completion.
const FILES: u8 = 0;
const NO_FILES: u8 = 4;

async fn of_cluster(sought: &Sought, options: &ClusterOptions) -> Vec<Candidate> {
    let plain = |words: Vec<String>| -> Vec<Candidate> {
        words.into_iter().map(|word| Candidate { word, about: String::new() }).collect()
    };
    if *sought == Sought::Contexts {
        return plain(options.contexts());
    }
    let Ok(cluster) = Cluster::open(options).await else { return Vec::new() };
    let cluster = cluster.answering_within(ANSWER_WITHIN);
    match sought {
        Sought::Namespaces => plain(cluster.namespaces().await.unwrap_or_default()),
        Sought::Lists => plain(cluster.list_names().await.unwrap_or_default()),
        Sought::Revocations => {
            let listed = cluster.list(None, false).await.unwrap_or_default();
            let candidate = |view: super::view::View| Candidate { about: view.target(), word: view.name };
            listed.views.into_iter().map(candidate).collect()
        }
        Sought::Contexts | Sought::Words(_) | Sought::Files | Sought::Nothing => Vec::new(),
    }
}

/// Tells whether an argument takes the name of a file.
fn is_file(argument: &clap::Arg) -> bool {
    matches!(argument.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath)
}
