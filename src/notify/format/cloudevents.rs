//! CloudEvents 1.0 in the structured mode of the HTTP binding; `openapi.yaml` has the schema (`webhooks`).

use serde_json::{Value, json};

use super::shown::{Counts, summary};
use crate::ending::WorkloadEnding;
use crate::notify::message::{Message, What};
use crate::notify::text::shortened;

/// "Intermediaries MUST forward events of a size of 64 KByte or less" (CloudEvents 1.0.2, Size Limits). The rest is for
/// what is not a workload.
const WORKLOADS_BYTES: usize = 56 * 1024;
const REASON_BYTES: usize = 1024;
const IMAGE_BYTES: usize = 2048;
const ID_BYTES: usize = 512;

pub(super) fn event(message: &Message, source: &str) -> Value {
    let kind = match message.what {
        What::Failed => "dev.pushroll.rollout.failed",
        What::Ended => "dev.pushroll.push.ended",
        What::Test => "dev.pushroll.test",
    };
    let image = shortened(&message.push.image, IMAGE_BYTES);
    let mut push = message.push.clone();
    push.image.clone_from(&image);
    push.message_id = push.message_id.map(|id| shortened(&id, ID_BYTES));
    let workloads = first_workloads(message);
    json!({
        "specversion": "1.0",
        "id": message.id,
        "source": source,
        "type": kind,
        "subject": image,
        "time": message.time,
        "datacontenttype": "application/json",
        "data": {
            "summary": summary(message),
            "push": push,
            "counts": Counts::of(message),
            "more": message.workloads.len() - workloads.len(),
            "workloads": workloads,
        },
    })
}

/// As many as there is room for.
fn first_workloads(message: &Message) -> Vec<Value> {
    let mut room = WORKLOADS_BYTES;
    let values = message
        .workloads
        .iter()
        .map(|ended| json!(WorkloadEnding { reason: shortened(&ended.reason, REASON_BYTES), ..ended.clone() }));
    values
        .take_while(|value| {
            let size = value.to_string().len() + 1;
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        })
        .collect()
}
