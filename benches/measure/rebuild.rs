//! `pushroll rebuild` of a cluster with 10,000 Deployments against `curl` of the same pages, on the real API server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::statistics::{median, print_ratios, ratio, took};
use crate::support::control_plane::{ADMIN, ControlPlane};

const DEPLOYMENTS: usize = 10_000;
const NAMESPACES: usize = 20;
const CONCURRENCY: usize = 32;
const PAGE_ITEMS: usize = 500;
const RUNS: usize = 7;

pub fn measure() {
    let Some(binaries) = testbed() else {
        println!("  not measured: the testbed cannot be built (tests/testbed/build)");
        return;
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let plane = ControlPlane::start(&binaries).unwrap();
    // They would write to every Deployment, some 40,000 times in all.
    plane.stop_controllers();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let created = took(|| runtime.block_on(create(&plane)));
    let pages = runtime.block_on(pages(&plane));
    println!("  {DEPLOYMENTS} Deployments created in {created:?}; {} pages of {PAGE_ITEMS}", pages.len());

    let kubeconfig = plane.kubeconfig(ADMIN);
    let directory = tempfile::tempdir().unwrap();
    let curl_config = curl_config(&plane, directory.path(), &pages);
    rebuild(&kubeconfig);
    let (mut of_rebuild, mut of_curl, mut ratios, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..RUNS {
        let by_rebuild = took(|| peak = peak.max(rebuild(&kubeconfig)));
        let by_curl = took(|| run(Command::new("curl").arg("--config").arg(&curl_config)));
        ratios.push(ratio(by_rebuild, by_curl));
        of_rebuild.push(by_rebuild);
        of_curl.push(by_curl);
    }
    println!("  rebuild {:?}, curl {:?} (medians)", median(&mut of_rebuild), median(&mut of_curl));
    print_ratios("rebuild against curl", &ratios, "at most 1.5");
    println!("  peak memory of rebuild (VmHWM): {:.1} MB; target: at most 64 MB", peak as f64 / 1e3);
}

fn testbed() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/build");
    let output = Command::new(script).stderr(Stdio::inherit()).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Some 4 KB each, as a cluster's Deployments are: labels, environment, probes.
fn deployment(number: usize) -> Value {
    let name = format!("service-{number:05}");
    let labels = json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop", "team": "payments"});
    let environment: Vec<Value> =
        (0..12).map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("value-{n}-of-{name}")})).collect();
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": labels, "annotations": {"team.example/owner": "payments@acme.example"}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app.kubernetes.io/name": name}}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{
                "name": "main", "image": format!("us-docker.pkg.dev/acme-production/shop-services/{name}:1.{number}"),
                "env": environment, "ports": [{"containerPort": 8080}],
                "livenessProbe": probe, "readinessProbe": probe,
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            }]},
        }},
    })
}

async fn client(plane: &ControlPlane) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(plane.kubeconfig(ADMIN)).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

async fn post(client: &kube::Client, path: String, body: &Value) {
    let request = http::Request::post(path).header("content-type", "application/json");
    let _: Value = client.request(request.body(body.to_string().into_bytes()).unwrap()).await.unwrap();
}

async fn create(plane: &ControlPlane) {
    let client = client(plane).await;
    for namespace in 0..NAMESPACES {
        let name = format!("team-{namespace:02}");
        post(&client, "/api/v1/namespaces".to_owned(), &json!({"metadata": {"name": name}})).await;
    }
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (client, next) = (client.clone(), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= DEPLOYMENTS {
                    return;
                }
                let namespace = number % NAMESPACES;
                let path = format!("/apis/apps/v1/namespaces/team-{namespace:02}/deployments");
                post(&client, path, &deployment(number)).await;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
}

/// The LISTs of a scan, page by page: curl cannot follow a `continue` token, so it is told all of them.
async fn pages(plane: &ControlPlane) -> Vec<String> {
    let client = client(plane).await;
    let mut pages = Vec::new();
    for kind in ["deployments", "statefulsets", "daemonsets"] {
        let mut uri = format!("/apis/apps/v1/{kind}?limit={PAGE_ITEMS}");
        loop {
            let list: Value = client.request(http::Request::get(&uri).body(Vec::new()).unwrap()).await.unwrap();
            pages.push(std::mem::take(&mut uri));
            match list["metadata"]["continue"].as_str() {
                Some(token) => uri = format!("/apis/apps/v1/{kind}?limit={PAGE_ITEMS}&continue={token}"),
                None => break,
            }
        }
    }
    pages
}

/// One curl for all pages, over one connection.
fn curl_config(plane: &ControlPlane, directory: &Path, pages: &[String]) -> PathBuf {
    let path = directory.join("curl");
    let urls: String =
        pages.iter().map(|page| format!("url = \"{}{page}\"\noutput = \"/dev/null\"\n", plane.url())).collect();
    let header = format!("header = \"Authorization: Bearer {}\"", plane.token(ADMIN));
    let authority = plane.certificate_authority();
    std::fs::write(&path, format!("silent\nfail\ncacert = {:?}\n{header}\n{urls}", authority)).unwrap();
    path
}

fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Rebuilds, and gives the peak of its memory in kB.
fn rebuild(kubeconfig: &Path) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pushroll"));
    command.args(["rebuild", "--namespace", "default", "--kubeconfig"]).arg(kubeconfig);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // It only grows, so that the last look before the end is the one that counts.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "rebuild: {status}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
