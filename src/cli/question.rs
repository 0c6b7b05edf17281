//! Questions that the sidecar's own program asks: in its image there is no other.
//!
//! `kubectl exec` starts it beside the sidecar that runs, where the socket of the checks is.

use std::ffi::{OsStr, OsString};

use clap::Parser;

use super::check::Check;
use super::console::Console;
use super::context::Context;
use super::explain::Explain;
use super::failure::Exit;
use super::{block_on, guarded};
use crate::runtime::clock::Clock;

/// Asks the sidecar of this container about a token
#[derive(Parser, Debug)]
#[command(name = "rescind-sidecar", version)]
enum Ask {
    Check(Check),
    Explain(Explain),
}

/// Tells whether the arguments, the program's own name first, ask a sidecar rather than to be one.
#[must_use]
pub fn is_question(arguments: &[OsString]) -> bool {
    ["check", "explain"]
        .map(|word| Some(OsStr::new(word)))
        .contains(&arguments.get(1).map(OsString::as_os_str))
}

/// Asks. It blocks, and starts a runtime of its own: never call it from within a runtime.
pub fn ask(arguments: Vec<OsString>, console: &mut Console, clock: &dyn Clock) -> Exit {
    guarded(arguments, &mut Context { console, clock }, |arguments, context| {
        Ok(match Ask::try_parse_from(arguments)? {
            Ask::Check(check) => block_on(check.run(context)),
            Ask::Explain(explain) => block_on(explain.run(context)),
        })
    })
}
