//! A webhook of Microsoft Teams' Workflows ("When a Teams webhook request is received"): a message with an Adaptive Card.
//! It answers 202.
//!
//! Text from the cluster stands in `TextRun`s of a `RichTextBlock`, which know no Markdown (learn.microsoft.com,
//! Adaptive Cards, "Text features"), so it needs no escape; a `TextBlock` would read it as Markdown. A message has at most
//! some 28 KB (learn.microsoft.com, the Teams connector, "Known issues and limitations").

use serde_json::{Value, json};

use super::shown::{NAMED, details, ending, is_alarming, more, summary, title};
use crate::notify::message::{Message, What};
use crate::notify::text::shortened;

const IMAGE_BYTES: usize = 500;
const NAME_BYTES: usize = 340;
const REASON_BYTES: usize = 500;
const DETAILS_BYTES: usize = 1000;

pub(super) fn message(message: &Message, source: &str) -> Value {
    let colour = match message.what {
        What::Test => "Default",
        What::Failed | What::Ended if is_alarming(message) => "Attention",
        What::Failed | What::Ended => "Good",
    };
    let title =
        json!({"type": "TextRun", "text": title(message), "weight": "Bolder", "size": "Large", "color": colour});
    let mut body = vec![rich([title])];
    if message.what != What::Test {
        body.push(rich([
            json!({"type": "TextRun", "text": shortened(&message.push.image, IMAGE_BYTES), "fontType": "Monospace"}),
        ]));
    }
    body.push(rich([run(&summary(message))]));
    for ended in message.workloads.iter().take(NAMED) {
        let name = shortened(&ended.workload.to_string(), NAME_BYTES);
        let reason = shortened(&ended.reason, REASON_BYTES);
        let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
        let name = json!({"type": "TextRun", "text": name, "weight": "Bolder"});
        body.push(rich([name, run(&format!(" {}{reason}", ending(ended)))]));
    }
    body.extend(more(message).map(|more| rich([run(&more)])));
    let details = shortened(&details(message, source), DETAILS_BYTES);
    body.push(rich([json!({"type": "TextRun", "text": details, "size": "Small", "isSubtle": true})]));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                // The first with a `RichTextBlock`.
                "version": "1.2",
                "body": body,
                "msteams": {"width": "Full"},
            },
        }],
    })
}

fn rich<const N: usize>(runs: [Value; N]) -> Value {
    json!({"type": "RichTextBlock", "inlines": runs.as_slice()})
}

fn run(text: &str) -> Value {
    json!({"type": "TextRun", "text": text})
}
