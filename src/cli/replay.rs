//! `pushroll replay`: sends a recorded or hand-written event to a running service, through the door that
//! Pub/Sub uses.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use http::{Method, Uri};
use serde_json::{Value, json};

use super::http_client::request;
use super::output::{OutputFormat, print, table};
use super::{Answered, GlobalArgs};
use crate::image::{Digest, ImageRef};

#[derive(Debug, Args)]
#[command(after_help = "FILE is a whole push body ({\"message\": ...}), a payload of Artifact Registry \
    ({\"action\": \"INSERT\", ...}), either of these in a CloudEvent ({\"specversion\": \"1.0\", \"data\": ...}), or a \
    recording ({\"headers\": [...], \"body\": \"...\"}).")]
pub(super) struct ReplayArgs {
    /// The event; - for stdin
    #[arg(value_name = "FILE", required_unless_present = "image", conflicts_with = "image")]
    file: Option<PathBuf>,
    /// Make up an event: this tag was pushed
    #[arg(long, value_name = "REF", value_parser = tagged_image)]
    image: Option<ImageRef>,
    /// With --image: to this digest
    #[arg(long, value_name = "DIGEST", requires = "image")]
    digest: Option<Digest>,
    /// Only say what would be done (the admin listener takes this)
    #[arg(long)]
    dry_run: bool,
    /// The push endpoint
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9091/v1/push", env = "PUSHROLL_TO")]
    to: Uri,
}

/// What is sent.
struct Event {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub(super) async fn run(global: &GlobalArgs, args: ReplayArgs) -> anyhow::Result<Answered> {
    let event = match (&args.image, &args.file) {
        (Some(image), _) => bare(made_up(image, args.digest.as_ref()).to_string().into_bytes()),
        (None, Some(file)) => read(file)?,
        (None, None) => anyhow::bail!("name a FILE, - for stdin, or --image"),
    };
    let uri = if args.dry_run { dry(&args.to)? } else { args.to };
    let (status, answer) = request(Method::POST, &uri, &event.headers, event.body.into()).await?;
    show(global.output, &answer)?;
    if !status.is_success() {
        anstream::eprintln!("pushroll: {uri} answered {status}");
        return Ok(Answered::Failed);
    }
    let outcome =
        serde_json::from_slice::<Value>(&answer).ok().and_then(|answer| answer["outcome"].as_str().map(str::to_owned));
    Ok(if outcome.as_deref() == Some("failed") { Answered::Failed } else { Answered::Yes })
}

/// A registry tells of tags: a reference that is pinned cannot have been pushed to.
fn tagged_image(text: &str) -> Result<ImageRef, String> {
    let image: ImageRef = text.parse().map_err(|error: crate::image::ImageRefError| error.to_string())?;
    match image.tag_key() {
        Some(_) => Ok(image),
        None => Err("it is pinned by a digest; name a tag, and the digest with --digest".to_owned()),
    }
}

fn made_up(image: &ImageRef, digest: Option<&Digest>) -> Value {
    // A registry always names the tag.
    let tag = image.tag().unwrap_or_default();
    let written = image.as_written();
    let repository = written.strip_suffix(&format!(":{tag}")).unwrap_or(written);
    let mut event = json!({"action": "INSERT", "tag": format!("{repository}:{tag}")});
    if let Some(digest) = digest {
        event["digest"] = format!("{repository}@{digest}").into();
    }
    event
}

/// The event alone, as an unwrapped push without metadata. It gets no message id and no publish time: with a time of
/// ours it would stand in the order of pushes before genuine ones.
fn bare(event: Vec<u8>) -> Event {
    Event { headers: vec![("content-type".to_owned(), "application/json".to_owned())], body: event }
}

fn dry(to: &Uri) -> anyhow::Result<Uri> {
    let separator = if to.query().is_some() { '&' } else { '?' };
    Ok(format!("{to}{separator}dry_run=true").parse()?)
}

fn read(file: &PathBuf) -> anyhow::Result<Event> {
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes).context("stdin cannot be read")?;
    } else {
        bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    }
    // What editors of some systems begin a file with.
    let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let Ok(value) = serde_json::from_slice::<Value>(json) else {
        // As it is: what a service does with junk is a fair question, too.
        return Ok(Event { headers: Vec::new(), body: bytes });
    };
    match (value.get("headers").and_then(Value::as_array), value.get("body").and_then(Value::as_str)) {
        (Some(headers), Some(body)) => Ok(Event { headers: recorded_headers(headers), body: body.as_bytes().to_vec() }),
        _ => Ok(bare(bytes)),
    }
}

/// The headers of a recording that belong to the message, not to the connection it came by.
fn recorded_headers(headers: &[Value]) -> Vec<(String, String)> {
    let pairs = headers.iter().filter_map(|pair| Some((pair.get(0)?.as_str()?.to_lowercase(), pair.get(1)?.as_str()?)));
    let of_connection = ["host", "connection", "content-length", "transfer-encoding", "authorization"];
    pairs
        .filter(|(name, _)| !of_connection.contains(&name.as_str()))
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

fn show(format: OutputFormat, answer: &[u8]) -> anyhow::Result<()> {
    let Ok(value) = serde_json::from_slice::<Value>(answer) else {
        return Ok(print(&(String::from_utf8_lossy(answer).into_owned() + "\n"))?);
    };
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let workloads = value["workloads"].as_array().cloned().unwrap_or_default();
    match format {
        OutputFormat::Json => print(&(serde_json::to_string_pretty(&value)? + "\n"))?,
        OutputFormat::Name => {
            let name = |w: &Value| {
                format!("{}/{}/{}\n", text(w, "namespace"), text(w, "kind").to_lowercase(), text(w, "name"))
            };
            let restarted = workloads.iter().filter(|workload| workload["action"] == "restarted");
            print(&restarted.map(name).collect::<String>())?;
        }
        OutputFormat::Table => {
            if !workloads.is_empty() {
                let columns = ["namespace", "kind", "name", "action", "reason"];
                let rows = workloads.iter().map(|workload| columns.map(|column| text(workload, column)));
                print(&table(["NAMESPACE", "KIND", "NAME", "ACTION", "REASON"], rows))?;
            }
            anstream::eprintln!("{}", summary(&value));
        }
    }
    Ok(())
}

/// `restarted: nginx:1.27`, and why where there is a reason.
fn summary(value: &Value) -> String {
    let part = |key: &str| value[key].as_str().filter(|text| !text.is_empty());
    let mut line = part("outcome").or(part("title")).unwrap_or("no outcome").to_owned();
    if let Some(image) = part("image") {
        line += &format!(": {image}");
    }
    if let Some(reason) = part("reason").or(part("detail")) {
        line += &format!(" ({reason})");
    }
    line
}
