//! The difference that injection makes, as a JSON patch (RFC 6902).

use serde::Serialize;
use serde_json::Value;

/// One operation of a patch. Where the member is there already, `add` replaces it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation {
    op: &'static str,
    path: &'static str,
    value: Value,
}

/// All that injection changes.
const CHANGED: [&str; 4] =
    ["/metadata/annotations", "/spec/volumes", "/spec/initContainers", "/spec/containers"];

/// Returns what makes `after` of `before`; nothing if they are the same.
#[must_use]
pub fn patch(before: &Value, after: &Value) -> Vec<Operation> {
    let changed = CHANGED.into_iter().filter(|path| before.pointer(path) != after.pointer(path));
    let added = changed.filter_map(|path| {
        let value = after.pointer(path)?.clone();
        Some(Operation { op: "add", path, value })
    });
    added.collect()
}
