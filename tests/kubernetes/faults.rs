//! What holds when parts are killed, paused, cut off, restored from older copies, or deleted.

mod leaders;
mod pauses;
