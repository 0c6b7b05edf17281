//! What holds when parts are killed, paused, cut off, restored from older copies, or deleted.

mod definitions;
mod drains;
mod enforcement;
mod guarded;
mod leaders;
mod many;
mod namesakes;
mod pauses;
mod restored;
mod servers;
mod two_servers;
mod unreadable;
mod vanished_lists;
