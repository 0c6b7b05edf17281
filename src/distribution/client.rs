//! The sidecar's end of the wire: connects, keeps one stream to one controller, and moves when it must.
