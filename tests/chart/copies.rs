//! The chart has copies of files of the repository, for it is packaged without that.

use crate::helm::{in_project, read};

const COPIES: [(&str, &str); 2] = [
    ("examples/kubernetes/rbac.yaml", "charts/rescind/files/rbac.yaml"),
    ("examples/kubernetes/policies.yaml", "charts/rescind/files/policies.yaml"),
];

/// Those of the definitions are in `tests/generated`.
#[test]
fn the_copies_are_up_to_date() {
    for (source, copy) in COPIES {
        if std::env::var_os("UPDATE_CHART").is_some() {
            std::fs::copy(in_project(source), in_project(copy)).unwrap();
        }
        let same = read(source) == read(copy);
        assert!(same, "{copy} is not {source}: run `UPDATE_CHART=1 cargo test --test chart`");
    }
}
