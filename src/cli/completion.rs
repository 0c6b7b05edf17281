//! `rescind completion`: scripts that let a shell complete our commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::context::Context;
use super::failure::{Exit, Failure};

/// Print a script that completes commands in a shell
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  rescind completion bash > /etc/bash_completion.d/rescind
  rescind completion zsh > \"${fpath[1]}/_rescind\"
  rescind completion fish > ~/.config/fish/completions/rescind.fish

  # For `kubectl rescind`, whose words kubectl's own completion asks for: two lines, executable, in your PATH
  printf '#!/bin/sh\\nexec kubectl-rescind __complete \"$@\"\\n' > /usr/local/bin/kubectl_complete-rescind
  chmod +x /usr/local/bin/kubectl_complete-rescind")]
pub(super) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, Failure> {
        // Into memory first, where writing can't fail: the library would panic on a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "rescind", &mut script);
        context.console.print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}
