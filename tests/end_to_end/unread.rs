//! Large answers that nobody reads: what the kernel keeps of them, and when it gives that back.

use std::net::SocketAddr;

use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};

use crate::support::documents::document;
use crate::support::fixtures::deployment;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(unread_lookups_take_little_of_the_kernel_and_give_it_back);
}

const CONNECTIONS: usize = 40;
const WORKLOADS: usize = 10_000;
/// Twice the send buffer that a connection gets, and a packet.
const UNSENT_MAX: usize = 256 * 1024;

/// Per socket of this port, what waits to be sent (Linux: `/proc/net/tcp`); none of what has sent all.
fn unsent(port: u16) -> Vec<usize> {
    let sockets =
        std::fs::read_to_string("/proc/net/tcp").unwrap() + &std::fs::read_to_string("/proc/net/tcp6").unwrap();
    let local = format!(":{port:04X}");
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let queued = fields.get(4)?.split_once(':')?.0;
        fields.get(1)?.ends_with(&local).then(|| usize::from_str_radix(queued, 16).ok())?
    };
    sockets.lines().filter_map(of_line).filter(|bytes| *bytes > 0).collect()
}

async fn ask(address: SocketAddr, image: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(address).await.unwrap();
    stream.writable().await.unwrap();
    let request = format!("GET /v1/lookup?image={image} HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(stream.try_write(request.as_bytes()).unwrap(), request.len());
    stream
}

async fn unread_lookups_take_little_of_the_kernel_and_give_it_back(ground: Ground) {
    let image = ground.image("base");
    let entry = |number: usize| json!({"name": format!("service-{number:05}"), "namespace": "shop"});
    let mut cache = document(&[(&image, &[&deployment("shop", "first", &image)])]);
    cache["images"][&image] = (0..WORKLOADS).map(entry).collect();
    let mut volume = ground.volume();
    volume.show(&cache);
    let service = ground.service().mount(volume.directory()).start_ready().await;
    let url = format!("{}/v1/lookup?image={image}", service.internal);
    let whole = get(&url).await.json();
    assert_eq!(whole["workloads"].as_array().unwrap().len(), WORKLOADS);
    assert_eq!(whole["workloads"][WORKLOADS - 1]["name"], format!("service-{:05}", WORKLOADS - 1));

    let address: SocketAddr = service.internal.strip_prefix("http://").unwrap().parse().unwrap();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(ask(address, &image).await);
    }
    eventually("nothing more can be sent to them", async || {
        let unsent = unsent(address.port());
        assert!(unsent.iter().all(|bytes| *bytes < UNSENT_MAX), "{unsent:?}");
        (unsent.len() == CONNECTIONS).then_some(())
    })
    .await;
    assert_eq!(get(&url).await.json(), whole, "a client that reads is answered meanwhile");
    // Not when the clients close: they keep their connections.
    let refused = r#"pushroll_refused_total{listener="internal",reason="write_time"}"#;
    eventually("they are cut off", async || (service.metric(refused).await == CONNECTIONS as f64).then_some(())).await;
    eventually("the kernel has given it back", async || unsent(address.port()).is_empty().then_some(())).await;
}
