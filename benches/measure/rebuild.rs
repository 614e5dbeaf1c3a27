//! `pushroll rebuild` of a cluster with 10,000 Deployments against `curl` of the same pages, on the real API server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{client, create_all, deployment, post, run, testbed};
use crate::statistics::{median, print_ratios, ratio, took};
use crate::support::control_plane::{ADMIN, ControlPlane};

const DEPLOYMENTS: usize = 10_000;
const NAMESPACES: usize = 20;
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

async fn create(plane: &ControlPlane) {
    let client = client(plane).await;
    for namespace in 0..NAMESPACES {
        let name = format!("team-{namespace:02}");
        post(&client, "/api/v1/namespaces".to_owned(), &json!({"metadata": {"name": name}})).await;
    }
    let manifest = |number| {
        let image = format!("us-docker.pkg.dev/acme-production/shop-services/service-{number:05}:1.{number}");
        deployment(&format!("team-{:02}", number % NAMESPACES), number, &image)
    };
    create_all(&client, (0..DEPLOYMENTS).map(manifest)).await;
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
