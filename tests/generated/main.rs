//! Generated files are what their generators write.

use std::process::Command;

#[test]
fn the_custom_resource_definitions_are_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_crdgen")).arg(folder.path()).status().unwrap();
    assert!(status.success());
    for name in ["tokenrevocationlists.yaml", "revocations.yaml"] {
        let fresh = std::fs::read_to_string(folder.path().join(name)).unwrap();
        for folder in ["crds", "charts/rescind/files/crds"] {
            let path = format!("{}/{folder}/{name}", env!("CARGO_MANIFEST_DIR"));
            let kept = std::fs::read_to_string(path).unwrap_or_default();
            assert!(
                fresh == kept,
                "{folder}/{name} differs: run `cargo run --bin crdgen` and commit what it writes"
            );
        }
    }
}
