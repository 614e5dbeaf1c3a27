//! Connections to the internal listener that ask for a large lookup and read nothing: the memory of the kernel's buffers,
//! the memory of the server, and what a reader waits meanwhile and without them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};

use crate::reload::mounted;
use crate::statistics::median;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::service::Service;

/// The internal listener takes 512.
const CONNECTIONS: usize = 500;
const WORKLOADS: usize = 10_000;
/// The smallest receive buffer there is: what is measured is the server's side.
const RECEIVE_BUFFER: u32 = 4096;
/// Shorter than what a client has that reads nothing.
const WATCHED: Duration = Duration::from_secs(7);
/// Longer than that.
const CUT_OFF: Duration = Duration::from_secs(14);
const LOOKUPS: usize = 30;

pub fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(unread());
}

async fn unread() {
    let ground = Ground::embedded().await;
    let image = "us-docker.pkg.dev/acme-production/shop-services/base:1.27";
    let workloads: Vec<_> = (0..WORKLOADS)
        .map(|number| json!({"name": format!("service-{number:05}"), "namespace": format!("team-{:02}", number % 20)}))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let _volume = mounted(directory.path(), &json!({"images": {image: workloads}}).to_string());
    let service = ground.service().mount(directory.path()).start_ready().await;
    let url = format!("{}/v1/lookup?image={image}", service.internal);
    println!("  a lookup of {} KB", get(&url).await.body.len() / 1000);
    println!("  read, median of {LOOKUPS}: {:?}", lookups(&url).await);

    let (kernel, server) = (kernel_bytes(), resident(&service));
    let address: SocketAddr = service.internal.strip_prefix("http://").unwrap().parse().unwrap();
    let began = Instant::now();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(ask(address, image).await);
    }
    let (mut peak, mut peak_resident) = (0, 0.0_f64);
    while began.elapsed() < WATCHED {
        peak = peak.max(kernel_bytes());
        peak_resident = peak_resident.max(resident(&service));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let megabytes = |bytes: u64| bytes.saturating_sub(kernel) as f64 / 1e6;
    println!("  {CONNECTIONS} that read nothing: {:.1} MB of kernel buffers, both ends", megabytes(peak));
    println!("  memory of the server: {peak_resident:.1} MB, before {server:.1} MB");
    println!("  read meanwhile, median of {LOOKUPS}: {:?}", lookups(&url).await);
    tokio::time::sleep(CUT_OFF.saturating_sub(began.elapsed())).await;
    println!("  after they are cut off: {:.1} MB of kernel buffers", megabytes(kernel_bytes()));
}

async fn lookups(url: &str) -> Duration {
    let mut took = Vec::new();
    for _ in 0..LOOKUPS {
        let began = Instant::now();
        assert_eq!(get(url).await.status, 200);
        took.push(began.elapsed());
    }
    median(&mut took)
}

async fn ask(address: SocketAddr, image: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
    let stream = socket.connect(address).await.unwrap();
    let request = format!("GET /v1/lookup?image={image} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.writable().await.unwrap();
    // The send buffer is empty and larger than this.
    assert_eq!(stream.try_write(request.as_bytes()).unwrap(), request.len());
    stream
}

/// What all TCP sockets of this machine hold, in pages of 4 KiB (Linux: `proc(5)`, `/proc/net/sockstat`).
fn kernel_bytes() -> u64 {
    let sockstat = std::fs::read_to_string("/proc/net/sockstat").unwrap();
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap();
    tcp.rsplit(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

/// In MB.
fn resident(service: &Service) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1e3
}
