//! Pushes of an image that many workloads run, on the real API server: from the push to the last PATCH, against the same
//! PATCHes sent by curl over as many connections; and how many deliveries a push takes where the API server is far away.
//!
//! `serve` is a process of its own, and the controllers are stopped: they would write to each workload that is restarted.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cluster::{client, create_all, deployment, run, testbed};
use crate::flood::peak;
use crate::push::processor_time;
use crate::statistics::{median, print_ratios, ratio, took};
use crate::support::control_plane::{ADMIN, ControlPlane};
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::proxy::{ApiProxy, Passage};
use crate::support::service::Service;

const WORKLOADS: [usize; 3] = [100, 500, 1600];
/// The default of `--concurrency`.
const CONNECTIONS: usize = 16;
const PAGE_ITEMS: usize = 500;
const ROUNDS: usize = 7;
const FAR_AWAY: Duration = Duration::from_millis(100);
/// A push that takes more deliveries gets no further.
const DELIVERIES_MAX: usize = 20;

/// Workloads of one image, in a namespace of their own.
struct Group {
    image: String,
    namespace: String,
    workloads: usize,
}

pub fn measure() {
    let Some(binaries) = testbed() else {
        println!("  not measured: the testbed cannot be built (tests/testbed/build)");
        return;
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let plane = ControlPlane::start(&binaries).unwrap();
    plane.stop_controllers();
    let shared = Arc::new(OnceLock::from(Ok(plane)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ground = runtime.block_on(Ground::control_plane(Arc::clone(&shared)));
    let groups = WORKLOADS.map(|workloads| runtime.block_on(group(&ground, workloads)));
    let directory = tempfile::tempdir().unwrap();

    looks(ground.real(), &groups[2], directory.path());
    let ways =
        [("--watch", "PATCHes alone"), ("--allow-stale", "looks and PATCHes, by LIST beyond a hundred workloads")];
    for (flag, what) in ways {
        let service = ground.service().arguments(["--hold", "60s", flag]);
        let service = runtime.block_on(async {
            let service = service.start_ready().await;
            service.wait_for_status("its index is there", |status| index_is_there(status, flag)).await;
            service
        });
        println!("  {flag}: {what}");
        for group in &groups {
            rounds(&runtime, &service, ground.real(), group, directory.path());
        }
        println!("    peak memory of serve (VmHWM): {:.1} MB", peak(&service));
    }
    for watch in [true, false] {
        runtime.block_on(far_away(&ground, &groups[2], watch));
    }
}

fn index_is_there(status: &Value, flag: &str) -> bool {
    flag != "--watch" || status["tiers"]["watch"]["live"] == true
}

async fn group(ground: &Ground, workloads: usize) -> Group {
    let namespace = ground.another_namespace(&workloads.to_string()).await;
    let image = ground.image(&format!("of-{workloads}"));
    let client = client(ground.real()).await;
    let manifest = {
        let (namespace, image) = (namespace.clone(), image.clone());
        move |number| deployment(&namespace, number, &image)
    };
    create_all(&client, (0..workloads).map(manifest)).await;
    Group { image, namespace, workloads }
}

impl Group {
    fn path(&self) -> String {
        format!("/apis/apps/v1/namespaces/{}/deployments", self.namespace)
    }

    fn each_path(&self) -> impl Iterator<Item = String> {
        (0..self.workloads).map(|number| format!("{}/service-{number:05}", self.path()))
    }
}

/// The push, and the same PATCHes by curl, in turns.
fn rounds(runtime: &Runtime, service: &Service, plane: &ControlPlane, group: &Group, directory: &Path) {
    let (mut of_pushes, mut of_curl, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let by_push = runtime.block_on(async {
            let (push, began) = (PushMessage::now(&group.image, digest_byte(round)), Instant::now());
            let answer = service.push(&push).await;
            let took = began.elapsed();
            assert_eq!(
                (answer.status.as_u16(), with_action(&answer.json(), &["restarted"])),
                (200, group.workloads),
                "{}",
                answer.text()
            );
            took
        });
        let config = directory.join("patches");
        write_patches(plane, group, &PushMessage::now(&group.image, digest_byte(round + 100)), directory, &config);
        let by_curl = took(|| run(&mut curl(&config)));
        // The first opens connections.
        if round > 0 {
            ratios.push(ratio(by_push, by_curl));
            of_pushes.push(by_push);
            of_curl.push(by_curl);
        }
    }
    println!("    {} workloads: {:?}, curl {:?}", group.workloads, median(&mut of_pushes), median(&mut of_curl));
    print_ratios("  the push against curl", &ratios, "at most 1.2");
}

fn digest_byte(round: usize) -> u8 {
    u8::try_from(round + 1).unwrap()
}

fn with_action(answer: &Value, actions: &[&str]) -> usize {
    let is_one = |workload: &&Value| actions.iter().any(|action| workload["action"] == *action);
    answer["workloads"].as_array().unwrap().iter().filter(is_one).count()
}

fn curl(config: &Path) -> Command {
    let mut command = Command::new("curl");
    command
        .args([
            "--no-progress-meter",
            "--parallel",
            "--parallel-max",
            &CONNECTIONS.to_string(),
            "--http1.1",
            "--config",
        ])
        .arg(config);
    command
}

/// The config of curl for each of these paths.
fn curl_config(plane: &ControlPlane, paths: impl Iterator<Item = String>) -> String {
    let header = format!("header = \"Authorization: Bearer {}\"", plane.token(ADMIN));
    let mut config = format!("silent\nfail\ncacert = {:?}\n{header}\n", plane.certificate_authority());
    for path in paths {
        writeln!(config, "url = \"{}{path}\"\noutput = \"/dev/null\"", plane.url()).unwrap();
    }
    config
}

/// The PATCHes of a push, without the precondition.
fn write_patches(plane: &ControlPlane, group: &Group, push: &PushMessage, directory: &Path, config: &Path) {
    let PushMessage { image, digest, id, published } = push;
    let record = json!({image: {"digest": digest, "published": published, "message_id": id}}).to_string();
    let annotations =
        json!({"kubectl.kubernetes.io/restartedAt": published.to_string(), "pushroll.dev/pushes": record});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    let body = directory.join("patch.json");
    std::fs::write(&body, patch.to_string()).unwrap();
    let paths = group.each_path().map(|path| format!("{path}?fieldManager=pushroll"));
    let mut text = curl_config(plane, paths);
    writeln!(text, "request = \"PATCH\"\nheader = \"Content-Type: application/merge-patch+json\"").unwrap();
    writeln!(text, "data = \"@{}\"", body.display()).unwrap();
    std::fs::write(config, text).unwrap();
}

/// What a look at a workload costs the API server by a GET of its own, and as one of many in a LIST.
fn looks(plane: &ControlPlane, group: &Group, directory: &Path) {
    let [gets, list] = ["gets", "list"].map(|name| directory.join(name));
    std::fs::write(&gets, curl_config(plane, group.each_path())).unwrap();
    // A full page, again and again, until as many items have come.
    let pages = group.workloads.div_ceil(PAGE_ITEMS);
    let page = format!("{}?limit={PAGE_ITEMS}", group.path());
    std::fs::write(&list, curl_config(plane, std::iter::repeat_n(page, pages))).unwrap();
    let api_server = api_server(plane);
    let cost = |config: &Path, looks: usize| {
        let before = processor_time(api_server);
        run(&mut curl(config));
        (processor_time(api_server) - before).as_secs_f64() * 1e6 / looks as f64
    };
    let costs: Vec<[f64; 2]> =
        (0..ROUNDS).map(|_| [cost(&gets, group.workloads), cost(&list, pages * PAGE_ITEMS)]).collect();
    let [of_get, of_item] = [0, 1].map(|side| {
        let mut values: Vec<f64> = costs.iter().map(|costs| costs[side]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    });
    println!("  the API server's processor time: {of_get:.0} µs for a GET, {of_item:.0} µs for an item of a LIST");
    let ratios: Vec<f64> = costs.iter().map(|[of_get, of_item]| of_get / of_item).collect();
    print_ratios("a GET against an item of a LIST", &ratios, "none");
}

/// The process of the API server.
fn api_server(plane: &ControlPlane) -> u32 {
    let (_, port) = plane.url().rsplit_once(':').unwrap();
    let is_it = |id: &u32| {
        let command = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        command.contains("kube-apiserver") && command.contains(&format!("--secure-port={port}\0"))
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(is_it).unwrap()
}

/// The same message, delivered again after each 503, to a service with the default flags.
async fn far_away(ground: &Ground, group: &Group, watch: bool) {
    let proxy = ApiProxy::start(ground, |request| async move {
        if !request.is_watch() {
            tokio::time::sleep(FAR_AWAY).await;
        }
        Passage::Forward
    })
    .await;
    let mut service = ground.service().without("--rebuild-interval").without("--mount-poll").without("--deferred-poll");
    if watch {
        service = service.arguments(["--watch"]);
    }
    let flag = if watch { "--watch" } else { "" };
    let service = service.through(&proxy).start_ready().await;
    service.wait_for_status("its index is there", |status| index_is_there(status, flag)).await;
    let push = PushMessage::now(&group.image, digest_byte(if watch { 200 } else { 201 }));
    let (mut done, mut is_answered) = (Vec::new(), false);
    while !is_answered && done.len() < DELIVERIES_MAX {
        let answer = service.push(&push).await;
        is_answered = answer.status == 200;
        done.push(with_action(&answer.json(), &["restarted", "current"]));
    }
    let (deliveries, target) = (done.len(), if watch { 3 } else { 6 });
    let way = if watch { "with --watch" } else { "without --watch" };
    println!("  {} workloads, {FAR_AWAY:?} away, {way}: done after each delivery {done:?}", group.workloads);
    let answered = if is_answered { "answered 200" } else { "not answered 200" };
    println!("    {answered} after {deliveries} deliveries; target: at most {target}; peak {:.1} MB", peak(&service));
}
