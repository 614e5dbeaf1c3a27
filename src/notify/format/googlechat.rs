//! An incoming webhook of Google Chat: a card. Text of a card is a subset of HTML; that of a plain message could mention
//! everybody (`<users/all>`), and its markup has no escape.
//!
//! A message has at most 32,000 bytes (developers.google.com/workspace/chat, spaces.messages.create).

use serde_json::{Value, json};

use super::shown::{NAMED, details, ending, more, summary, title};
use crate::notify::message::{Message, What};
use crate::notify::text::{escaped, shortened};

const IMAGE_BYTES: usize = 500;
const NAME_BYTES: usize = 340;
const REASON_BYTES: usize = 600;
const DETAILS_BYTES: usize = 1000;

pub(super) fn message(message: &Message, source: &str) -> Value {
    let title = title(message);
    let (about, fallback) = match message.what {
        What::Test => (String::new(), title.to_owned()),
        What::Failed | What::Ended => {
            let image = &message.push.image;
            let fallback = format!("{title}: {} ({})", shortened(image, IMAGE_BYTES), summary(message));
            (format!("{}<br>", escaped(image, IMAGE_BYTES, escape)), fallback)
        }
    };
    // A header has one line for its title; an image would be cut off there.
    let header = json!({"title": title});
    let mut widgets = vec![paragraph(&format!("{about}{}", summary(message)))];
    for ended in message.workloads.iter().take(NAMED) {
        let name = escaped(&ended.workload.to_string(), NAME_BYTES, escape);
        let reason = escaped(&ended.reason, REASON_BYTES, escape);
        let reason = if reason.is_empty() { reason } else { format!("<br>{reason}") };
        widgets.push(paragraph(&format!("<b>{name}</b>: {}{reason}", ending(ended))));
    }
    widgets.extend(more(message).map(|more| paragraph(&more)));
    widgets.push(paragraph(&format!("<i>{}</i>", escaped(&details(message, source), DETAILS_BYTES, escape))));
    json!({
        // Plain text.
        "fallbackText": fallback,
        "cardsV2": [{"cardId": message.id, "card": {"header": header, "sections": [{"widgets": widgets}]}}],
    })
}

fn paragraph(text: &str) -> Value {
    json!({"textParagraph": {"text": text}})
}

fn escape(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    }
}
