//! What holds when parts are killed, paused, cut off, restored from older copies, or deleted.

mod definitions;
mod drains;
mod leaders;
mod many;
mod pauses;
mod restored;
mod two_servers;
mod unreadable;
