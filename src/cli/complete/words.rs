//! Finds out what an unfinished command line asks for. Pure.

use clap::{Arg, Command};

use super::super::cluster::ClusterOptions;
use super::{Candidate, is_file};

/// What may stand in the place of the last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// One of these.
    Words(Vec<Candidate>),
    /// The name of a file.
    Files,
    /// Names of the cluster, or of the kubeconfig.
    Namespaces,
    Lists,
    Revocations,
    Contexts,
    /// Something that nobody can guess.
    Nothing,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) sought: Sought,
    /// How it begins.
    pub(super) partial: String,
    /// Which cluster is meant, as far as the words tell.
    pub(super) options: ClusterOptions,
}

/// Reads the words; the last one is unfinished, and may be empty.
pub(super) fn asked(root: &Command, words: &[String]) -> Asked {
    let (partial, before) =
        words.split_last().map_or((String::new(), words), |(last, rest)| (last.clone(), rest));
    let mut command = root;
    let mut options = ClusterOptions::default();
    let mut pending: Option<&Arg> = None;
    let mut positionals = 0;
    for word in before {
        if let Some(argument) = pending.take() {
            options.note(argument.get_long().unwrap_or_default(), word);
            continue;
        }
        match word.strip_prefix("--").map(|flag| flag.split_once('=')) {
            Some(Some((flag, value))) => options.note(flag, value),
            Some(None) => pending = option(command, word),
            None if word.starts_with('-') => pending = option(command, word),
            None => match command.find_subcommand(word) {
                Some(found) if positionals == 0 => command = found,
                Some(_) | None => positionals += 1,
            },
        }
    }
    let (sought, partial) = sought(command, pending, positionals, partial);
    Asked { sought, partial, options }
}

fn sought(command: &Command, pending: Option<&Arg>, positionals: usize, partial: String) -> (Sought, String) {
    if let Some(argument) = pending {
        return (values(command, argument), partial);
    }
    if let Some((flag, value)) = partial.split_once('=').filter(|(flag, _)| flag.starts_with("--")) {
        let of = find(command, |argument| argument.get_long() == flag.strip_prefix("--"));
        return (of.map_or(Sought::Nothing, |argument| values(command, argument)), value.to_owned());
    }
    if partial.starts_with('-') {
        return (flags(command), partial);
    }
    if command.has_subcommands() {
        let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
        let about = |below: &Command| below.get_about().map(ToString::to_string).unwrap_or_default();
        let words = shown.map(|below| Candidate { word: below.get_name().to_owned(), about: about(below) });
        return (Sought::Words(words.collect()), partial);
    }
    let argument = command.get_positionals().nth(positionals);
    (argument.map_or(Sought::Nothing, |argument| values(command, argument)), partial)
}

fn find(command: &Command, is_it: impl Fn(&Arg) -> bool) -> Option<&Arg> {
    command.get_arguments().find(|argument| is_it(argument))
}

/// Returns the option that a word is, if the next word is its value.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let long = word.strip_prefix("--");
    let mut letters = word.trim_start_matches('-').chars();
    let short = letters.next().filter(|_| long.is_none() && letters.next().is_none());
    let found = find(command, |argument| {
        long.is_some() && argument.get_long() == long || short.is_some() && argument.get_short() == short
    });
    // One that wants its value behind an equals sign takes no word.
    found.filter(|argument| argument.get_action().takes_values() && !argument.is_require_equals_set())
}

fn flags(command: &Command) -> Sought {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let about = |argument: &Arg| argument.get_help().map(ToString::to_string).unwrap_or_default();
    let flag = |argument: &Arg| {
        argument.get_long().map(|long| Candidate { word: format!("--{long}"), about: about(argument) })
    };
    Sought::Words(shown.filter_map(flag).collect())
}

/// Returns what an argument takes.
fn values(command: &Command, argument: &Arg) -> Sought {
    match (argument.get_long(), command.get_name()) {
        (Some("namespace" | "controllers"), _) => return Sought::Namespaces,
        (Some("context"), _) => return Sought::Contexts,
        (Some("list" | "lists"), _) => return Sought::Lists,
        (None, "undo") => return Sought::Revocations,
        _ => {}
    }
    let possible = argument.get_possible_values();
    if !possible.is_empty() {
        let about = |value: &clap::builder::PossibleValue| {
            value.get_help().map(ToString::to_string).unwrap_or_default()
        };
        let word = |value| Candidate { about: about(&value), word: value.get_name().to_owned() };
        return Sought::Words(possible.into_iter().filter(|value| !value.is_hide_set()).map(word).collect());
    }
    if is_file(argument) { Sought::Files } else { Sought::Nothing }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::super::Cli;
    use super::*;

    fn ask(line: &str) -> Asked {
        let mut command = Cli::command();
        // As it is when it is used: flags like --help are there.
        command.build();
        asked(&command, &line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn check(line: &str, expected: &[&str]) {
        let Asked { sought: Sought::Words(words), partial, .. } = ask(line) else { panic!("{line}") };
        let words: Vec<&str> =
            words.iter().map(|found| found.word.as_str()).filter(|word| word.starts_with(&partial)).collect();
        assert_eq!(words, expected, "{line}");
    }

    #[test]
    fn commands_flags_and_values_are_completed() {
        check("", &ask("").words());
        check("s", &["subject", "session", "selector", "status"]);
        check("subject --comp", &["--compare-with"]);
        check("subject alice --rea", &["--reason"]);
        check("subject alice --reason", &["--reason"]);
        check("list -o ", &["json", "yaml", "name", "wide"]);
        check("list --output=j", &["json"]);
        check("subject alice --dry-run=", &["none", "client", "server"]);
        // The value of one that wants an equals sign is not the next word.
        check("subject alice --dry-run --mes", &["--message"]);
        check("completion ba", &["bash"]);
    }

    impl Asked {
        fn words(&self) -> Vec<&str> {
            let Sought::Words(words) = &self.sought else { return Vec::new() };
            words.iter().map(|found| found.word.as_str()).collect()
        }
    }

    #[test]
    fn what_is_hidden_is_not_offered() {
        let asked = ask("");
        assert!(asked.words().contains(&"doctor"));
        assert!(["__complete", "controller", "sidecar"].iter().all(|hidden| !asked.words().contains(hidden)));
    }

    #[test]
    fn names_of_the_cluster_are_sought_where_they_stand() {
        let sought = |line: &str| ask(line).sought;
        assert_eq!(sought("list -n "), Sought::Namespaces);
        assert_eq!(sought("status --controllers resc"), Sought::Namespaces);
        assert_eq!(sought("subject alice --list sh"), Sought::Lists);
        assert_eq!(sought("subject alice --list=sh"), Sought::Lists);
        assert_eq!(sought("undo r-"), Sought::Revocations);
        assert_eq!(sought("undo -n shop r-"), Sought::Revocations);
        assert_eq!(sought("undo r-1 "), Sought::Nothing);
        assert_eq!(sought("list --context "), Sought::Contexts);
        assert_eq!(sought("subject "), Sought::Nothing);
        assert_eq!(sought("token --file "), Sought::Files);
        assert_eq!(sought("list --kubeconfig "), Sought::Files);
    }

    #[test]
    fn the_cluster_is_the_one_that_the_words_name() {
        let options = ask("undo -n shop --context=other --kubeconfig /k --as bob r-").options;
        assert_eq!(
            format!("{options:?}"),
            format!("{:?}", ClusterOptions::naming("shop", "other", "/k", "bob"))
        );
    }
}
