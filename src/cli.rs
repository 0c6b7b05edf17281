//! The command line.

pub mod demo;
pub mod dev;
mod folder;
mod sample;
