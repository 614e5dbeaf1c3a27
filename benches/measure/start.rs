//! `pushroll lookup --no-api`, process start included, against `cat` of the same file.

use std::process::{Command, Stdio};

use crate::documents::document;
use crate::reload::mounted;
use crate::statistics::{median, print_ratios, ratio, took};

const DOCUMENT_BYTES: usize = 50_000;
const STARTS: usize = 200;
const RUNS: usize = 7;

pub fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let (text, image) = document(DOCUMENT_BYTES);
    let _volume = mounted(directory.path(), &text);
    let run = |command: &mut Command| {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{command:?}: {status}");
    };
    let mut lookup = Command::new(env!("CARGO_BIN_EXE_pushroll"));
    lookup.args(["lookup", "--no-api", "--cache-dir"]).arg(directory.path()).arg(&image);
    let mut cat = Command::new("cat");
    cat.arg(directory.path().join("cache.json"));

    let mut ratios = Vec::new();
    for round in 0..RUNS {
        let (mut of_lookup, mut of_cat) = (Vec::new(), Vec::new());
        // In turns: what else the machine does hits both.
        for _ in 0..STARTS {
            of_lookup.push(took(|| run(&mut lookup)));
            of_cat.push(took(|| run(&mut cat)));
        }
        let (of_lookup, of_cat) = (median(&mut of_lookup), median(&mut of_cat));
        if round == 0 {
            println!("  lookup --no-api {of_lookup:?}, cat {of_cat:?} (medians of {STARTS})");
        }
        ratios.push(ratio(of_lookup, of_cat));
    }
    print_ratios("lookup --no-api against cat", &ratios, "at most 2");
}
