//! What packagers and shells take from the program itself: its contract, its completions, its manual.

use std::collections::BTreeSet;
use std::process::Command;

use crate::support::command::run;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.plain(openapi_prints_the_contract);
    suite.plain(a_shell_completes_the_command_line);
    suite.plain(every_shell_has_its_completions);
    suite.plain(every_command_has_its_manual_page);
    suite.plain(one_manual_page_goes_to_stdout);
}

async fn openapi_prints_the_contract() {
    let ran = run(&["openapi"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, include_str!("../../openapi.yaml")));
}

/// The commands below `path`, from its help.
async fn commands(path: &[String]) -> BTreeSet<String> {
    let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let help = run(&arguments).await.stdout;
    let listed = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

/// Every command with those below it, `[]` the program itself.
async fn all_commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut next = 0;
    while let Some(path) = all.get(next).cloned() {
        all.extend(commands(&path).await.into_iter().map(|name| [&path[..], &[name]].concat()));
        next += 1;
    }
    assert!(all.len() > 10, "{all:?}");
    all
}

async fn a_shell_completes_the_command_line() {
    let script = run(&["completions", "bash"]).await.stdout;
    let complete = |words: &[&str]| {
        let (last, before) = (words.len() - 1, words[words.len() - 2]);
        let shell = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={last}; _pushroll pushroll {} {before}; echo \"${{COMPREPLY[*]}}\"",
            words.join(" "),
            words[last],
        );
        let output = Command::new("bash").args(["--norc", "-c", &shell]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete(&["pushroll", "loo"]), "lookup");
    assert_eq!(complete(&["pushroll", "lookup", "--no-"]), "--no-api");
    assert_eq!(complete(&["pushroll", "lookup", "--output", "n"]), "name");
    assert_eq!(complete(&["pushroll", "store", "force"]), "force-set");
}

async fn every_shell_has_its_completions() {
    let commands = commands(&[]).await;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(&["completions", shell]).await;
        assert!(ran.code == 0 && ran.stderr.is_empty(), "{ran:?}");
        for command in &commands {
            assert!(ran.stdout.contains(command), "{shell} does not know {command}");
        }
        assert!(ran.stdout.contains("no-api"), "{shell}");
    }
    let ran = run(&["completions", "tcsh"]).await;
    assert!(ran.code == 2 && ran.stderr.contains("bash, elvish, fish, powershell, zsh"), "{ran:?}");
}

/// The long options that a text names.
fn options(text: &str) -> BTreeSet<&str> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c == '-';
    let after_dashes = text.split(" --").skip(1).map(|rest| &rest[..rest.find(|c| !is_inner(c)).unwrap_or(rest.len())]);
    after_dashes.filter(|name| !name.is_empty()).collect()
}

async fn every_command_has_its_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("share/man1");
    let ran = run(&["man", "--dir", pages.to_str().unwrap()]).await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    let mut expected = BTreeSet::new();
    for path in all_commands().await {
        let name = ["pushroll".to_owned()].into_iter().chain(path.clone()).collect::<Vec<_>>().join("-");
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap_or_else(|_| panic!("{name}"));
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        let page = page.replace("\\-", "-").replace("\\fB", " ");
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        for option in options(&run(&arguments).await.stdout) {
            assert!(page.contains(&format!("--{option}")), "{name} does not describe --{option}");
        }
        expected.insert(format!("{name}.1"));
    }
    let written = std::fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(written.collect::<BTreeSet<_>>(), expected);

    let file = pages.join("pushroll.1");
    let ran = run(&["man", "--dir", file.to_str().unwrap()]).await;
    assert!(ran.failed_with_one_sentence().contains("pushroll.1"), "{ran:?}");
}

async fn one_manual_page_goes_to_stdout() {
    for (arguments, name) in [
        (vec!["man"], "pushroll"),
        (vec!["man", "lookup"], "pushroll-lookup"),
        (vec!["man", "store", "force-set"], "pushroll-store-force-set"),
    ] {
        let ran = run(&arguments).await;
        assert!(ran.code == 0 && ran.stdout.contains(&format!(".TH {name} 1")), "{ran:?}");
    }
    for (arguments, named) in [(vec!["man", "frobnicate"], "lookup"), (vec!["man", "store", "frob"], "force-set")] {
        let ran = run(&arguments).await;
        assert!(ran.code == 2 && ran.stdout.is_empty() && ran.stderr.contains(named), "{ran:?}");
    }
}
