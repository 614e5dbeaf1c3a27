//! What is said to prove the delivery promise does exist: ARCHITECTURE.md names tests, and tests are renamed.

use std::path::Path;

use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.plain(what_is_said_to_prove_the_promise_exists);
}

async fn what_is_said_to_prove_the_promise_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let section = page.split_once("## What proves the promise").unwrap().1.split("\n## ").next().unwrap();
    let mut tests = String::new();
    read(&root.join("tests/end_to_end"), &mut tests);
    let mut clauses = 0;
    for row in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| clause")) {
        let proofs = row.split('|').nth(2).unwrap();
        let names: Vec<_> = proofs.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing proves this: {row}");
        for name in names {
            assert!(tests.contains(&format!("async fn {name}(")), "there is no test {name}: {row}");
        }
        clauses += 1;
    }
    assert!(clauses > 10, "{clauses}");
}

fn read(directory: &Path, all: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}
