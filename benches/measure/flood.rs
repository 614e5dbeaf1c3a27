//! Ten thousand connections against `serve`, of which a thousand are slow, and a flood of invalid tokens: what a
//! genuine push, a probe and the metrics take meanwhile, and the memory of the server, which is a process of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::statistics::quantile;
use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::{get, try_send};
use crate::support::issuer::{Issuer, Jwks, KEY_ID, OTHER, bearer, claims, good_token};
use crate::support::service::Service;

const CONNECTIONS: usize = 10_000;
/// A quarter each: half of the headers, and half of the body with a genuine, with a forged and with no token.
const SLOW: usize = 1_000;
/// Senders of invalid tokens, each on one connection after the other.
const FORGERS: usize = 8;
/// Genuine pushes, one after the other, each on a connection of its own.
const PUSHES: usize = 200;
/// Who was cut off comes again, after so long.
const COME_AGAIN: Duration = Duration::from_millis(500);
/// In bytes: what a message may have (Pub/Sub, "Quotas and limits").
const LARGE_MESSAGE: usize = 10_000_000;
/// Of them at once.
const LARGE_BODIES: usize = 40;
/// Until all have come.
const SETTLING: Duration = Duration::from_secs(60);

pub fn measure() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let needed = CONNECTIONS as u64 + 1_000;
    if maximum.is_some_and(|maximum| maximum < needed) {
        println!("  not measured: {needed} open files are needed (ulimit -Hn)");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for (name, limit) in [("the default limits", None), ("room for less than half of them", Some("4096"))] {
        println!("  {name}");
        runtime.block_on(flood(limit));
    }
}

/// The server's peak of memory, in MB.
pub fn peak(service: &Service) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1e3
}

async fn flood(max_connections: Option<&str>) {
    let ground = Ground::embedded().await;
    let image = ground.image("web");
    ground.create(&deployment(ground.namespace(), "web", &image)).await;
    let issuer = Issuer::start(Jwks::genuine()).await;
    let mut service = ground.service().authenticated_by(&issuer);
    if let Some(max) = max_connections {
        service = service.arguments(["--max-connections", max]);
    }
    let service = Arc::new(service.start_ready().await);
    let quiet = pushes(&service, &image).await;
    let at_rest = peak(&service);
    report("push, nothing else", quiet);

    let address: SocketAddr = service.public.strip_prefix("http://").unwrap().parse().unwrap();
    let (good, forged) = (bearer(&good_token()), bearer(&OTHER.token(KEY_ID, &claims())));
    let body = PushMessage::now(&image, 0).body();
    let half_push = |authorization: Option<&str>| {
        let authorization = authorization.map_or(String::new(), |token| format!("authorization: {token}\r\n"));
        let head =
            format!("POST /v1/push HTTP/1.1\r\nhost: x\r\n{authorization}content-length: {}\r\n\r\n", body.len());
        Arc::<[u8]>::from([head.as_bytes(), &body.as_bytes()[..body.len() / 2]].concat())
    };
    let slow = [
        Arc::from(&b"POST /v1/push HTTP/1.1\r\nhost: x\r\nauthori"[..]),
        half_push(Some(&good)),
        half_push(Some(&forged)),
        half_push(None),
    ];
    let flood = Arc::new(Flood::default());
    let mut attackers = JoinSet::new();
    for number in 0..CONNECTIONS {
        // The others say nothing at all.
        let sent = if number < SLOW { Arc::clone(&slow[number % slow.len()]) } else { Arc::from(&b""[..]) };
        attackers.spawn(hold(address, sent, Arc::clone(&flood)));
    }
    let began = Instant::now();
    let is_reached = |open: usize| open >= CONNECTIONS * 95 / 100;
    while !is_reached(flood.open.load(Ordering::Relaxed)) && began.elapsed() < SETTLING && max_connections.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..FORGERS {
        attackers.spawn(forge(format!("{}/v1/push", service.public), forged.clone(), body.clone(), Arc::clone(&flood)));
    }
    // Until it is as it will be: the first slow ones are cut off after ten seconds.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let (refused, took) = (flood.refused.load(Ordering::Relaxed), Instant::now());
    let open = flood.open.load(Ordering::Relaxed);
    let (pushed, probed) = tokio::join!(pushes(&service, &image), probes(&service));
    let rate = (flood.refused.load(Ordering::Relaxed) - refused) as f64 / took.elapsed().as_secs_f64();
    println!("  {open} connections open at the client, {rate:.0} invalid tokens refused a second");
    report("push in the flood", pushed);
    report("probes and metrics in the flood", probed);
    let metrics = get(&format!("{}/metrics", service.internal)).await.text();
    let shown = ["pushroll_connections{", "pushroll_refused_total{"];
    for line in metrics.lines().filter(|line| shown.iter().any(|name| line.starts_with(name))) {
        println!("    {line}");
    }
    println!("  memory of the server (VmHWM): {:.1} MB, before the flood {at_rest:.1} MB", peak(&service));
    flood.is_over.store(true, Ordering::Relaxed);
    attackers.shutdown().await;
    large_bodies(&service).await;
}

/// Messages of the largest size that Pub/Sub has, all at once, with a genuine token.
async fn large_bodies(service: &Arc<Service>) {
    let data = STANDARD.encode(vec![b'x'; LARGE_MESSAGE]);
    let body = serde_json::json!({"message": {"data": data, "messageId": "1"}, "subscription": "s"}).to_string();
    let body = bytes::Bytes::from(body);
    let authorization = bearer(&good_token());
    let mut senders = JoinSet::new();
    for _ in 0..LARGE_BODIES {
        let (url, body, authorization) = (format!("{}/v1/push", service.public), body.clone(), authorization.clone());
        senders.spawn(async move {
            let headers = [("authorization", authorization.as_str())];
            let answer = try_send(Method::POST, &url, &headers, body).await;
            answer.map_or(0, |answer| answer.status.as_u16())
        });
    }
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    while let Some(status) = senders.join_next().await {
        *statuses.entry(status.unwrap()).or_default() += 1;
    }
    println!(
        "  {LARGE_BODIES} bodies of {:.1} MB at once, answered (status: count): {statuses:?}",
        body.len() as f64 / 1e6
    );
    println!("  memory of the server (VmHWM) after them: {:.1} MB", peak(service));
}

#[derive(Default)]
struct Flood {
    open: AtomicUsize,
    refused: AtomicUsize,
    is_over: AtomicBool,
}

/// Opens a connection, sends that, and waits until it is closed; again and again.
async fn hold(address: SocketAddr, sent: Arc<[u8]>, flood: Arc<Flood>) {
    while !flood.is_over.load(Ordering::Relaxed) {
        if let Ok(stream) = TcpStream::connect(address).await {
            flood.open.fetch_add(1, Ordering::Relaxed);
            let _ = until_closed(&stream, &sent).await;
            flood.open.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(COME_AGAIN).await;
    }
}

async fn until_closed(stream: &TcpStream, sent: &[u8]) -> io::Result<()> {
    if !sent.is_empty() {
        stream.writable().await?;
        stream.try_write(sent)?;
    }
    let mut buffer = [0; 1024];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn forge(url: String, forged: String, body: String, flood: Arc<Flood>) {
    while !flood.is_over.load(Ordering::Relaxed) {
        let headers = [("authorization", forged.as_str())];
        if let Ok(answer) = try_send(Method::POST, &url, &headers, body.clone()).await {
            assert_eq!(answer.status, 401);
            flood.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What each took; `None`: it was not done.
type Took = Vec<Option<Duration>>;

async fn pushes(service: &Service, image: &str) -> Took {
    let (url, token) = (format!("{}/v1/push", service.public), bearer(&good_token()));
    let mut took = Vec::new();
    for number in 0..PUSHES {
        let message = PushMessage::now(image, u8::try_from(number).unwrap());
        let began = Instant::now();
        let answer = try_send(Method::POST, &url, &[("authorization", &token)], message.body()).await;
        let is_done = answer.is_ok_and(|answer| answer.status == 200 && answer.json()["outcome"] == "restarted");
        took.push(is_done.then(|| began.elapsed()));
    }
    took
}

async fn probes(service: &Service) -> Took {
    let mut took = Vec::new();
    for number in 0..PUSHES {
        let path = ["/livez", "/readyz", "/metrics"][number % 3];
        let began = Instant::now();
        let answer = try_send(Method::GET, &format!("{}{path}", service.internal), &[], "").await;
        took.push(answer.is_ok_and(|answer| answer.status == 200).then(|| began.elapsed()));
    }
    took
}

fn report(what: &str, took: Took) {
    let asked = took.len();
    let mut done: Vec<Duration> = took.into_iter().flatten().collect();
    let answered = done.len();
    let (middle, late, worst) = (quantile(&mut done, 0.5), quantile(&mut done, 0.99), quantile(&mut done, 1.0));
    println!(
        "  {what}: {answered} of {asked} answered as they should be; median {middle:?}, p99 {late:?}, worst {worst:?}"
    );
}
