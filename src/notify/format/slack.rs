//! An incoming webhook of Slack: `text` for the notification on a screen, `blocks` for the message.
//!
//! Limits (docs.slack.dev, Block Kit reference): a header has 150 characters, a section 3,000, a message 50 blocks.
//! Messages with more than some 13,000 characters in all blocks are refused (`msg_blocks_too_long`, slackapi/bolt-js#2509).

use serde_json::{Value, json};

use super::shown::{NAMED, details, ending, more, summary, title};
use crate::notify::message::{Message, What};
use crate::notify::text::escaped;

const IMAGE_BYTES: usize = 500;
const NAME_BYTES: usize = 340;
const REASON_BYTES: usize = 500;
const DETAILS_BYTES: usize = 1000;

pub(super) fn message(message: &Message, source: &str) -> Value {
    let title = title(message);
    let image = code(&message.push.image, IMAGE_BYTES);
    let about = if message.what == What::Test { String::new() } else { format!("{image}\n") };
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}}),
        section(&format!("{about}{}", summary(message))),
    ];
    for ended in message.workloads.iter().take(NAMED) {
        let name = code(&ended.workload.to_string(), NAME_BYTES);
        let mut line = format!("{name} *{}*", ending(ended));
        if !ended.reason.trim().is_empty() {
            line += &format!("\n{}", code(&ended.reason, REASON_BYTES));
        }
        blocks.push(section(&line));
    }
    blocks.extend(more(message).map(|more| section(&more)));
    let details = escaped(&details(message, source), DETAILS_BYTES, escape);
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": details, "verbatim": true}]}));
    let text = match message.what {
        What::Test => title.to_owned(),
        What::Failed | What::Ended => {
            format!("{title}: {} ({})", escaped(&message.push.image, IMAGE_BYTES, escape), summary(message))
        }
    };
    json!({"text": text, "blocks": blocks})
}

fn section(text: &str) -> Value {
    // `verbatim`: no links and mentions are made of what only looks like one.
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

/// In a code span nothing is formatted; a backtick would end it.
fn code(text: &str, bytes: usize) -> String {
    format!("`{}`", escaped(text, bytes, |c| if c == '`' { Some("'") } else { escape(c) }))
}

/// These three alone are to be escaped (docs.slack.dev, Formatting message text).
fn escape(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    }
}
