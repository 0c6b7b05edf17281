//! The invariants of ARCHITECTURE.md and the tests that hold them.

use std::collections::{BTreeMap, BTreeSet};

use crate::markdown::{codes, files, read, root, section};

/// The names of tests by invariant.
type Held = BTreeMap<u32, BTreeSet<String>>;

/// Reads `/// Invariant 6: ...` and `/// Invariants 1, 5 and 13: ...` above the functions of the tree.
fn marked() -> Held {
    let mut held = Held::new();
    for file in files(&root().join("src"), ".rs").into_iter().chain(files(&root().join("tests"), ".rs")) {
        let text = read(file);
        let mut open = BTreeSet::new();
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("/// Invariant") {
                open.extend(numbers(rest.trim_start_matches('s')));
            }
            if let Some(name) = function(line) {
                for number in std::mem::take(&mut open) {
                    held.entry(number).or_default().insert(name.to_owned());
                }
            }
        }
    }
    held
}

/// The numbers at the beginning of a text: `1, 5 and 13: ...`.
fn numbers(text: &str) -> Vec<u32> {
    let words = text.split([' ', ',']).filter(|word| !matches!(*word, "" | "and"));
    let mut numbers = Vec::new();
    for word in words {
        let digits = word.trim_end_matches([':', '.']);
        let Ok(number) = digits.parse() else { break };
        numbers.push(number);
        if digits != word {
            break;
        }
    }
    numbers
}

fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_declaration =
        before.split(' ').all(|word| matches!(word, "" | "pub" | "pub(crate)" | "async" | "const"));
    let name = after.split(['(', '<']).next()?;
    is_declaration.then_some(name)
}

/// Reads the section of invariants.
fn documented() -> Held {
    let text = read("ARCHITECTURE.md");
    let mut held = Held::new();
    let mut current = None;
    for line in section(&text, "## Invariants") {
        if let Some(rest) = line.strip_prefix("**Invariant ") {
            current = numbers(rest).first().copied();
            held.entry(current.unwrap()).or_default();
        } else if let Some(number) = current {
            let names = codes(&[line]).into_iter().filter(|code| code.matches('_').count() > 1);
            held.entry(number).or_default().extend(names.map(str::to_owned));
        }
    }
    held
}

#[test]
fn every_invariant_that_a_test_names_is_documented_and_the_other_way_round() {
    let numbers = |held: Held| held.into_keys().collect::<Vec<_>>();
    assert_eq!(numbers(marked()), numbers(documented()), "left: in tests; right: in ARCHITECTURE.md");
}

#[test]
fn every_test_that_is_named_for_an_invariant_says_so_itself() {
    let marked = marked();
    let documented = documented();
    assert!(documented.len() > 10);
    for (number, names) in documented {
        assert!(!names.is_empty(), "invariant {number} names no test");
        let lost: Vec<_> = names.difference(&marked[&number]).collect();
        assert!(lost.is_empty(), "no test is marked with invariant {number} and named {lost:?}");
    }
}

/// A safety check that can be taken out without a test that turns red is none.
#[test]
fn every_invariant_has_a_safety_check_that_is_taken_out_to_see_its_tests_fail() {
    let mutants = read("tests/mutants/mutants.toml");
    let of = |line: &str| line.strip_prefix("invariant = ")?.parse().ok();
    let taken_out: BTreeSet<u32> = mutants.lines().filter_map(of).collect();
    let invariants: BTreeSet<u32> = documented().into_keys().collect();
    assert_eq!(taken_out, invariants, "left: in tests/mutants/mutants.toml; right: in ARCHITECTURE.md");
}

#[test]
fn numbers_end_where_prose_begins() {
    assert_eq!(numbers(" 1, 5, 11, 13 and 21, in any order of 3 steps"), [1, 5, 11, 13, 21]);
    assert_eq!(numbers(" 20, and 4: what 7 denied"), [20, 4]);
    assert_eq!(numbers(" 6, and rows 2 and 3"), [6]);
    assert_eq!(numbers(" are kept: 4"), [0; 0]);
}
