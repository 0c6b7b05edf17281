//! The shape of the crate: which module may use which, and that every file is in the tree.

#![allow(clippy::unwrap_used, reason = "what tests share fails by panicking, as the tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest body of a file, in lines; tests do not count.
const MAX_BODY: usize = 500;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(source()).unwrap().display().to_string()
}

fn is_test(path: &Path) -> bool {
    let name = name(path);
    name.ends_with("tests.rs") || name.contains("/tests/") || name == "store/contract.rs"
}

/// The lines of a file up to its tests, without comments.
fn body(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned()).collect()
}

/// Fails for every file below `module` whose body names one of the words.
fn check_absent(module: &str, words: &[&str]) {
    let root = source().join(module);
    let mut of_module = if root.is_dir() { files(&root) } else { Vec::new() };
    of_module.push(source().join(format!("{module}.rs")));
    assert!(!of_module.is_empty(), "{module}");
    let mut wrong = Vec::new();
    for path in of_module.into_iter().filter(|path| !is_test(path)) {
        for (number, line) in (1..).zip(body(&path)) {
            let named = words.iter().filter(|word| line.contains(*word));
            wrong.extend(named.map(|word| format!("{}:{number} names {word}", name(&path))));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The modules above the core.
const MODULES: [&str; 11] = [
    "crate::api",
    "crate::cli",
    "crate::controller",
    "crate::distribution",
    "crate::injection",
    "crate::proto",
    "crate::reference",
    "crate::runtime",
    "crate::sidecar",
    "crate::store",
    "crate::token",
];

fn modules_but(own: &str) -> Vec<&'static str> {
    MODULES.into_iter().filter(|module| *module != own).collect()
}

/// What a module without IO does not name.
const IO: [&str; 8] = ["tokio", "tonic", "prost", "kube", "tracing", "std::fs", "std::net", "SystemTime"];

#[test]
fn the_core_knows_no_io_no_clock_no_task_and_nothing_above_it() {
    let crates = ["futures", "k8s_openapi", "redb", "hyper", "rustls", "aws_lc_rs"];
    let system = ["std::io", "std::env", "std::thread", "std::process", "Instant"];
    check_absent("revocation", &[&IO[..], &crates, &system, &MODULES].concat());
}

#[test]
fn tokens_know_only_the_core() {
    check_absent("token", &[&IO[..], &["Instant::now"], &modules_but("crate::token")].concat());
}

#[test]
fn injection_knows_no_io_and_only_manifests_and_names() {
    let above = modules_but("crate::injection");
    let above: Vec<_> = above.into_iter().filter(|module| *module != "crate::api").collect();
    // It names annotations of Kubernetes.
    let io: Vec<_> = IO.into_iter().filter(|word| *word != "kube").collect();
    check_absent("injection", &[&io[..], &["kube::", "k8s_openapi"], &above].concat());
}

#[test]
fn the_runtime_knows_nothing_of_the_domain() {
    let words = ["Revocation", "revocation list"];
    check_absent("runtime", &[&words[..], &modules_but("crate::runtime")].concat());
}

#[test]
fn arrows_go_one_way() {
    let above = ["crate::controller", "crate::sidecar", "crate::cli", "crate::injection"];
    for module in ["api", "store", "distribution"] {
        check_absent(module, &above);
    }
    check_absent("store", &["crate::distribution", "crate::proto"]);
    check_absent("api", &["crate::distribution", "crate::store", "crate::proto"]);
}

#[test]
fn controller_and_sidecar_do_not_know_each_other() {
    check_absent("controller", &["crate::sidecar", "crate::cli"]);
    check_absent("sidecar", &["crate::controller", "crate::cli", "crate::store", "kube::", "k8s_openapi"]);
}

/// Nothing above the trait knows which store it is, but the composition root that opens one.
#[test]
fn only_the_composition_root_names_a_store() {
    check_absent("distribution", &["store::embedded", "redb"]);
    for file in files(&source().join("controller")).into_iter().filter(|path| !is_test(path)) {
        let names = body(&file).join("\n").contains("EmbeddedStore");
        assert!(!names, "{}", name(&file));
    }
}

#[test]
fn every_file_is_in_the_module_tree() {
    let mut reached: BTreeSet<PathBuf> = BTreeSet::new();
    let mut open: Vec<PathBuf> = vec![source().join("lib.rs")];
    open.extend(files(&source().join("bin")));
    while let Some(path) = open.pop() {
        let text = fs::read_to_string(&path).unwrap();
        let root = path.file_name().is_some_and(|file| file == "lib.rs");
        let below = if root { source() } else { path.with_extension("") };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (line, before) in lines.iter().zip([""].iter().chain(&lines)) {
            // A file at another place, which the tests of the library share with those outside.
            if before.starts_with("#[path") {
                continue;
            }
            let declared = line.split("mod ").nth(1).and_then(|rest| rest.strip_suffix(';'));
            let is_mod = line.starts_with("mod ") || line.starts_with("pub mod ") || line.starts_with("pub(");
            if let (Some(module), true) = (declared, is_mod) {
                open.push(below.join(format!("{module}.rs")));
            }
        }
        reached.insert(path);
    }
    let lost: Vec<String> =
        files(&source()).iter().filter(|path| !reached.contains(*path)).map(|path| name(path)).collect();
    assert!(lost.is_empty(), "in no module tree: {lost:?}");
}

/// A file of tests that no crate names would never run.
#[test]
fn every_file_of_tests_is_in_a_crate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for path in files(&folder) {
        let (parent, stem) = (path.parent().unwrap(), path.file_stem().unwrap().to_str().unwrap());
        if matches!(stem, "main" | "mod") {
            continue;
        }
        // Beside a crate's root, or below a module of its own name.
        let roots = [parent.join("main.rs"), parent.join("mod.rs"), parent.with_extension("rs")];
        let named = roots.iter().filter_map(|root| fs::read_to_string(root).ok()).any(|text| {
            let declared = text.lines().map(str::trim);
            declared.into_iter().any(|line| line.ends_with(&format!("mod {stem};")))
        });
        assert!(named, "{} is in no crate", path.display());
    }
}

#[test]
fn no_body_is_longer_than_can_be_read_in_one_go() {
    for path in files(&source()).into_iter().filter(|path| !is_test(path)) {
        let lines = body(&path).len();
        assert!(lines <= MAX_BODY, "{} has {lines} lines: split it", name(&path));
    }
}
