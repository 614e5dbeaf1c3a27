//! `pushroll demo`: the whole service in this process, over an embedded Kubernetes API and a mount that the demo makes.
//! It shows a push end to end, each step with its time; then it keeps serving.

mod cluster;
mod screen;
mod service;

use std::pin::pin;
use std::time::Instant;

use clap::Args;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::Answered;
use super::signals::shutdown;
use cluster::{DIGEST, IMAGE, NAMESPACE, workloads};
use screen::Screen;
use service::{CACHE_CONFIG_MAP, DemoService};

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Exit after the last step instead of serving on
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(args: DemoArgs) -> anyhow::Result<Answered> {
    let mut screen = Screen::new();
    // Before there is anything to clean up. SIGHUP comes when the terminal is closed.
    let (asked, mut hangup) = (shutdown()?, signal(SignalKind::hangup())?);
    let mut ended = pin!(async {
        tokio::select! {
            _ = asked => {}
            _ = hangup.recv() => {}
        }
    });
    let mut service = DemoService::start().await?;
    let played = tokio::select! {
        played = play(&mut screen, &mut service) => played,
        () = &mut ended => Err(anyhow::anyhow!("the demo was ended before its last step")),
    };
    let played = played.and_then(|()| if args.once { Ok(()) } else { next_steps(&mut screen, &service) });
    if played.is_ok() && !args.once {
        ended.await;
    }
    service.stop().await?;
    played.map(|()| Answered::Yes)
}

async fn play(screen: &mut Screen, service: &mut DemoService) -> anyhow::Result<()> {
    screen.title("pushroll demo", "push an image, and the workloads that run it roll")?;
    screen.text(
        "Kubernetes' API, the kubelet's mount and Pub/Sub are played in this process: nothing else is touched.",
    )?;

    screen.step("A cluster", None)?;
    let rows = workloads().into_iter().map(|workload| {
        let image = workload.manifest()["spec"]["template"]["spec"]["containers"][0]["image"].as_str().map(shortened);
        [
            workload.namespace.to_owned(),
            workload.kind.to_string(),
            workload.name.to_owned(),
            image.unwrap_or_default(),
            workload.note.to_owned(),
        ]
    });
    screen.table(["NAMESPACE", "KIND", "NAME", "IMAGE", ""], rows)?;

    let started = Instant::now();
    service.serve().await?;
    let scanned = service.wait_for_tier("scan").await?;
    screen.step(
        "pushroll starts: its mount is empty and there is no ConfigMap, so it scans the cluster",
        Some(started.elapsed()),
    )?;
    let index = &scanned["index"];
    screen.text(&format!("{} images, {} workloads: one LIST of each kind", index["images"], index["workloads"]))?;

    let document = service.wait_for_config_map().await?;
    screen.step("The scan is written to the ConfigMap", Some(started.elapsed()))?;
    screen.text(&format!("{NAMESPACE}/{CACHE_CONFIG_MAP}, key cache.json:"))?;
    screen.text(&head(&document, 300))?;

    service.wait_for_tier("mount").await?;
    screen.step(
        "The kubelet swaps ..data of the mount, and the index follows it (a real kubelet takes 30 to 80 s)",
        Some(started.elapsed()),
    )?;
    screen.text("From here on a lookup is a lookup in memory: no API call.")?;

    let first = service.push("1").await?;
    screen.step(&format!("Someone pushes {IMAGE}; Pub/Sub tells pushroll"), Some(first.took))?;
    show_answer(screen, &first.answer, &first.api_calls)?;
    screen.text("The index named them, and they were restarted at once; the answer waited for a scan that proves nobody was missed.")?;

    let again = service.push("1").await?;
    screen.step("Pub/Sub delivers the same message again", Some(again.took))?;
    show_answer(screen, &again.answer, &again.api_calls)?;

    let (explained, took) = service.get(&format!("/v1/explain?image={IMAGE}")).await?;
    screen.step("And the one that is pinned? `explain` tells what a push would do, and why", Some(took))?;
    let pinned = explained["workloads"].as_array().into_iter().flatten().filter(|w| w["code"] == "pinned_by_digest");
    screen.table(["WORKLOAD", "ACTION", "REASON"], pinned.map(|w| [name(w), text(w, "action"), text(w, "reason")]))?;

    screen.step("What the API server has now", None)?;
    screen.table(
        ["WORKLOAD", "GENERATION", ""],
        service.generations().await?.into_iter().map(|(name, generation)| {
            let note = if generation > 1 { "rolled once" } else { "untouched" };
            [name, generation.to_string(), note.to_owned()]
        }),
    )
}

fn show_answer(screen: &mut Screen, answer: &Value, api_calls: &str) -> anyhow::Result<()> {
    let workloads = answer["workloads"].as_array().cloned().unwrap_or_default();
    screen.table(
        ["WORKLOAD", "ACTION", "REASON"],
        workloads.iter().map(|w| [name(w), text(w, "action"), text(w, "reason")]),
    )?;
    screen.text(&format!(
        "outcome: {}; index from the {}; API calls: {api_calls}",
        text(answer, "outcome"),
        text(&answer["source"], "tier")
    ))
}

fn next_steps(screen: &mut Screen, service: &DemoService) -> anyhow::Result<()> {
    let server = service.address()?;
    screen.step("Now you", None)?;
    screen.text("Push another digest (a plain Artifact Registry event will do):")?;
    let digest = DIGEST.replace("6ec128e2", "00000002");
    let repository = IMAGE.rsplit_once(':').map_or(IMAGE, |(repository, _)| repository);
    screen.command(&format!(
        "curl -s http://{}/v1/push -d '{{\"action\":\"INSERT\",\"tag\":\"{IMAGE}\",\"digest\":\"{repository}@{digest}\"}}'",
        server.public
    ))?;
    screen.text("Ask who runs an image, why, and how the service is:")?;
    screen.command(&format!("curl -s 'http://{}/v1/lookup?image={IMAGE}'", server.internal))?;
    screen.command(&format!("curl -s 'http://{}/v1/explain?image={IMAGE}'", server.admin))?;
    screen.command(&format!("curl -s http://{}/v1/status", server.internal))?;
    screen.text("Ctrl-C ends it; nothing is left behind.")
}

/// An image with the first digits of its digest.
fn shortened(image: &str) -> String {
    match image.split_once("@sha256:") {
        Some((tagged, hex)) => format!("{tagged}@sha256:{}…", hex.get(..6).unwrap_or(hex)),
        None => image.to_owned(),
    }
}

fn head(document: &str, characters: usize) -> String {
    let cut: String = document.chars().take(characters).collect();
    if cut.len() < document.len() { cut + " …" } else { cut }
}

fn name(workload: &Value) -> String {
    format!("{}/{}/{}", text(workload, "namespace"), text(workload, "kind").to_lowercase(), text(workload, "name"))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
