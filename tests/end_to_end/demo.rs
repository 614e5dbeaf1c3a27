//! `pushroll demo`: the first thing that anyone sees. No cluster, no network, no arguments, no leftovers.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::{Answer, get, send};
use crate::support::service::program;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.plain(the_demo_shows_a_push_from_end_to_end);
    suite.plain(the_demo_needs_nothing_of_the_machine);
    suite.plain(the_curls_that_the_demo_prints_work);
    suite.plain(the_demo_runs_where_its_ports_are_taken);
    suite.plain(the_demo_leaves_nothing_behind_whenever_it_ends);
}

/// A running demo, its temporary files in a directory of its own. Ends (SIGKILL) with this value.
struct Demo {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    directory: TempDir,
}

impl Demo {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = program();
        command.arg("demo").args(arguments).env("TMPDIR", directory.path()).envs(environment.iter().copied());
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (stdout, stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        follow(BufReader::new(stdout), Arc::clone(&lines));
        follow(BufReader::new(stderr), Arc::clone(&lines));
        Self { process, lines, directory }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    async fn says(&mut self, words: &str) {
        eventually(&format!("the demo says {words:?}"), async || {
            assert!(self.process.try_wait().unwrap().is_none_or(|status| status.success()), "{}", self.text());
            self.text().contains(words).then_some(())
        })
        .await;
    }

    async fn ended(&mut self) -> ExitStatus {
        eventually("the demo ends", async || self.process.try_wait().unwrap()).await
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    fn leftovers(&self) -> Vec<String> {
        entries(self.directory.path())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn follow(reader: impl BufRead + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
}

async fn played_once(environment: &[(&str, &str)]) -> String {
    let mut demo = Demo::start(&["--once"], environment);
    assert!(demo.ended().await.success(), "{}", demo.text());
    demo.says("What the API server has now").await;
    demo.says("edge/daemonset/log-agent").await;
    assert_eq!(demo.leftovers(), Vec::<String>::new());
    demo.text()
}

async fn the_demo_shows_a_push_from_end_to_end() {
    let text = played_once(&[]).await;
    assert!(!text.contains('\u{1b}'), "plain where it is piped: {text}");
    let squeezed: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let mut rest = squeezed.iter();
    // In this order.
    for line in [
        "shop Deployment checkout us-docker.pkg.dev/acme/shop/web:1.4 opted out",
        "5 images, 8 workloads",
        "pushroll/deployment-image-cache, key cache.json:",
        "The kubelet swaps ..data",
        "batch/statefulset/indexer restarted runs the image",
        "edge/daemonset/gateway restarted runs the image",
        "shop/deployment/checkout skipped its annotation pushroll.dev/restart is \"false\"",
        "shop/deployment/web restarted runs the image",
        "shop/deployment/web-preview restarted runs the image; paused: it rolls on resume",
        "outcome: restarted",
        "shop/deployment/web current it was restarted for this push before",
        "outcome: current",
        "shop/deployment/web-2025 skipped it runs us-docker.pkg.dev/acme/shop/web:1.4@sha256:",
        "shop/deployment/web 2",
        "shop/deployment/checkout 1",
        "shop/deployment/web-2025 1",
        "batch/statefulset/indexer 2",
        "edge/daemonset/gateway 2",
        "edge/daemonset/log-agent 1",
    ] {
        assert!(rest.any(|shown| shown.contains(line)), "{line:?} is not shown, or not in its place: {text}");
    }
    let timed = squeezed.iter().filter(|line| line.ends_with(" ms]")).count();
    assert!(timed >= 5, "steps have their times: {text}");
}

async fn the_demo_needs_nothing_of_the_machine() {
    let home = tempfile::tempdir().unwrap();
    played_once(&[
        ("HOME", home.path().to_str().unwrap()),
        ("KUBECONFIG", "/nonexistent"),
        ("NAMESPACE", "elsewhere"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("SSL_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ])
    .await;
    assert_eq!(entries(home.path()), Vec::<String>::new());
    played_once(&[("HOME", ""), ("PATH", ""), ("TERM", "dumb")]).await;
}

/// Runs a printed `curl` line: `-s`, an address in quotes or not, and `-d` with a body.
async fn curl(line: &str) -> Answer {
    let mut words: Vec<String> = Vec::new();
    for (number, part) in line.trim().split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned())
        } else {
            words.extend(part.split_whitespace().map(str::to_owned))
        }
    }
    assert_eq!(words[..2], ["curl", "-s"], "{line}");
    let url = words[2..].iter().find(|word| word.starts_with("http://")).unwrap();
    match words.iter().position(|word| word == "-d") {
        None => get(url).await,
        Some(position) => {
            let headers = [("content-type", "application/x-www-form-urlencoded")];
            send(Method::POST, url, &headers, words[position + 1].clone()).await
        }
    }
}

async fn try_the_printed_curls(demo: &mut Demo) {
    demo.says("Ctrl-C ends it").await;
    let text = demo.text();
    let curls: Vec<_> = text.lines().filter(|line| line.trim().starts_with("curl ")).collect();
    assert_eq!(curls.len(), 4, "{text}");
    let mut answers = Vec::new();
    for line in curls {
        let answer = curl(line).await;
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
        answers.push(answer.json());
    }
    let [push, lookup, explain, status] = &answers[..] else { unreachable!() };
    assert_eq!(push["outcome"], "restarted", "{push}");
    let with_action = |answer: &Value, action: &str| {
        answer["workloads"].as_array().unwrap().iter().filter(|workload| workload["action"] == action).count()
    };
    assert_eq!((with_action(push, "restarted"), with_action(push, "skipped")), (4, 2), "{push}");
    assert_eq!(lookup["workloads"].as_array().unwrap().len(), 5, "{lookup}");
    assert!(explain["workloads"].as_array().unwrap().iter().any(|w| w["code"] == "pinned_by_digest"), "{explain}");
    assert_eq!((&status["ready"], &status["recent"][0]["outcome"]), (&json!(true), &json!("restarted")), "{status}");
}

async fn the_curls_that_the_demo_prints_work() {
    let mut demo = Demo::start(&[], &[]);
    try_the_printed_curls(&mut demo).await;
    demo.signal("INT");
    assert_eq!(demo.ended().await.code(), Some(0), "{}", demo.text());
    assert_eq!(demo.leftovers(), Vec::<String>::new());
}

async fn the_demo_runs_where_its_ports_are_taken() {
    // Those that another program has are taken as well, but not by us: it may let go of them at any time.
    let taken: Vec<TcpListener> =
        [8080, 9090, 9091].iter().filter_map(|port| TcpListener::bind(("127.0.0.1", *port)).ok()).collect();
    let mut demo = Demo::start(&[], &[]);
    try_the_printed_curls(&mut demo).await;
    for listener in &taken {
        let address = listener.local_addr().unwrap().to_string();
        assert!(!demo.text().contains(&format!("{address}/")), "{}", demo.text());
    }
    drop(taken);
}

async fn the_demo_leaves_nothing_behind_whenever_it_ends() {
    for signal in ["INT", "TERM", "HUP"] {
        for words in ["1. A cluster", "2. pushroll starts", "5. Someone pushes", "Ctrl-C ends it"] {
            let mut demo = Demo::start(&[], &[]);
            demo.says(words).await;
            demo.signal(signal);
            let status = demo.ended().await;
            assert!(status.code().is_some(), "it ended by itself, not by the signal: {signal} at {words:?}: {status}");
            assert_eq!(demo.leftovers(), Vec::<String>::new(), "{signal} at {words:?}");
            assert!(!demo.text().contains("panicked"), "{}", demo.text());
        }
    }
}
