//! Pushes of an image that no workload runs, against a bare axum that answers 204 to the same requests: requests a
//! second, and the processor time of the server for each.
//!
//! Both servers are processes of their own with a thread for each core, and the same load generator sends to them in
//! turns: one thread, connections that are kept open, one request at a time on each. It shares the cores with the server,
//! so its own time is part of both rates, and brings their ratio nearer to 1. The ratio of processor times has nothing of
//! it.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::statistics::print_ratios;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::issuer::{Issuer, Jwks, bearer, good_token};
use crate::support::service::addresses;
use crate::support::wait::eventually;

/// The argument that makes this program the bare server.
pub const BARE_SERVER: &str = "serve-bare";

const CONNECTIONS: usize = 32;
/// Different messages, sent again and again: more than the service remembers.
const MESSAGES: usize = 10_000;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_secs(2);
const WARMUP: Duration = Duration::from_millis(500);

/// A server, until this is dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

/// What one round came to.
struct Round {
    requests: usize,
    took: Duration,
    /// Of the server's process.
    processor: Duration,
}

pub fn measure() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let ground = runtime.block_on(Ground::embedded());
    let issuer = runtime.block_on(Issuer::start(Jwks::genuine()));
    let (pushroll, internal) = runtime.block_on(start(&ground, &issuer, &log));
    let bare = start_bare();

    let requests = Arc::new(requests(&ground.image("nobodys")));
    for server in [&bare, &pushroll] {
        round(server, &requests, WARMUP);
    }
    let calls = runtime.block_on(api_calls(&internal));
    let rounds: Vec<_> =
        (0..ROUNDS).map(|_| [&bare, &pushroll].map(|server| round(server, &requests, ROUND))).collect();
    assert_eq!(runtime.block_on(api_calls(&internal)), calls, "no push calls the API server");
    report(&rounds);
    check_log(&log);
}

/// The real program, authenticating, with a live watch and its log in a file. Gives its internal address, too.
async fn start(ground: &Ground, issuer: &Issuer, log: &Path) -> (Server, String) {
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let mut command = ground.service().authenticated_by(issuer).arguments(["--watch", "--mount-poll", "1s"]).command();
    let process = command.stderr(File::create(log).unwrap()).spawn().unwrap();
    let [public, internal, _] = eventually("the service listens", async || {
        let lines = std::fs::read_to_string(log).unwrap();
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).find_map(|line| addresses(&line))
    })
    .await;
    let status = format!("{internal}/v1/status");
    eventually("the watch is live", async || {
        let status = get(&status).await.json();
        (status["ready"] == true && status["tiers"]["watch"]["live"] == true).then_some(())
    })
    .await;
    (Server { process, address: public.strip_prefix("http://").unwrap().parse().unwrap() }, internal)
}

fn requests(image: &str) -> Vec<Vec<u8>> {
    let token = bearer(&good_token());
    let request = |_| {
        let body = PushMessage::now(image, 1).body();
        format!(
            "POST /v1/push HTTP/1.1\r\nhost: pushroll.example.com\r\nauthorization: {token}\r\n\
             content-type: application/json\r\nuser-agent: APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    };
    (0..MESSAGES).map(request).collect()
}

async fn api_calls(internal: &str) -> String {
    let metrics = get(&format!("{internal}/metrics")).await.text();
    let is_call = |line: &&str| line.starts_with("pushroll_kubernetes_requests_total") && !line.contains("\"watch\"");
    metrics.lines().filter(is_call).collect::<Vec<_>>().join("\n")
}

/// Each push is one line, and each line is whole.
fn check_log(log: &Path) {
    let (mut lines, mut pushes) = (0, 0);
    for line in BufReader::new(File::open(log).unwrap()).lines() {
        let line = line.unwrap();
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
        if lines % 1000 == 0 {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            pushes += usize::from(line["message"] == "push" && line["outcome"] == "not_in_use");
        }
        lines += 1;
    }
    assert!(pushes > 0, "{lines} lines");
    println!("  {lines} log lines");
}

fn report(rounds: &[[Round; 2]]) {
    let rate = |round: &Round| round.requests as f64 / round.took.as_secs_f64();
    let cost = |round: &Round| round.processor.as_secs_f64() * 1e6 / round.requests as f64;
    let median = |side: usize, of: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(|round| of(&round[side])).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "  pushes: {:.0} requests a second, {:.1} µs of the server's processor time each",
        median(1, &rate),
        median(1, &cost)
    );
    println!("  bare axum: {:.0} requests a second, {:.1} µs each", median(0, &rate), median(0, &cost));
    let of_rates: Vec<f64> = rounds.iter().map(|[bare, push]| rate(push) / rate(bare)).collect();
    let of_costs: Vec<f64> = rounds.iter().map(|[bare, push]| cost(bare) / cost(push)).collect();
    print_ratios("requests a second against bare axum", &of_rates, "at least 0.5");
    print_ratios("bare axum's processor time for a request against a push's", &of_costs, "none");
}

/// Sends for a while, from a thread of its own, over connections that are kept open.
fn round(server: &Server, requests: &Arc<Vec<Vec<u8>>>, length: Duration) -> Round {
    let (address, requests) = (server.address, Arc::clone(requests));
    let sender = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (is_over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let mut senders = JoinSet::new();
            for _ in 0..CONNECTIONS {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                senders.spawn(send(stream, Arc::clone(&requests), Arc::clone(&next), Arc::clone(&is_over)));
            }
            tokio::time::sleep(length).await;
            is_over.store(true, Ordering::Relaxed);
            senders.join_all().await.into_iter().sum::<usize>()
        })
    };
    let (before, began) = (server.processor_time(), Instant::now());
    let requests = std::thread::spawn(sender).join().unwrap();
    Round { requests, took: began.elapsed(), processor: server.processor_time() - before }
}

/// One request after the other; each is answered with 2xx.
async fn send(
    mut stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    next: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
) -> usize {
    let mut buffer = vec![0; 16 * 1024];
    let mut answered = 0;
    while !is_over.load(Ordering::Relaxed) {
        let request = &requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()];
        let mut sent = 0;
        while sent < request.len() {
            sent += poll_fn(|context| Pin::new(&mut stream).poll_write(context, &request[sent..])).await.unwrap();
        }
        let mut filled = 0;
        loop {
            let mut into = ReadBuf::new(&mut buffer[filled..]);
            poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut into)).await.unwrap();
            assert!(!into.filled().is_empty(), "the connection was closed");
            filled += into.filled().len();
            if is_whole(&buffer[..filled]) {
                break;
            }
        }
        answered += 1;
    }
    answered
}

/// Whether all of an answer is there. Both servers say its length, or that there is none.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    assert!(head.starts_with("HTTP/1.1 20"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    answer.len() == end + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap())
}

impl Server {
    fn processor_time(&self) -> Duration {
        processor_time(self.process.id())
    }
}

/// What a process has used of the processors.
pub fn processor_time(process: u32) -> Duration {
    // Of each thread the nanoseconds on a processor (proc_pid_schedstat).
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_task = |task: io::Result<std::fs::DirEntry>| {
        let statistics = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        statistics.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(of_task).sum())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start_bare() -> Server {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut process = command.arg(BARE_SERVER).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
    Server { process, address: address.trim().parse().unwrap() }
}

/// The bare server: it says where it listens, and serves until it is killed.
pub fn serve_bare() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/push", post(|| async { StatusCode::NO_CONTENT }));
        axum::serve(listener, router).await.unwrap();
    });
}
