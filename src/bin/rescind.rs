//! The command line: talks to controllers and sidecars, and runs both for a demonstration.

fn main() {}
