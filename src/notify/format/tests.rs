use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::ending::{Ending, ReportedPush, Runs, WorkloadEnding};
use crate::notify::message::What;
use crate::workload::{WorkloadKind, WorkloadRef};

/// What would mention everybody, break out of the markup, or make the message unreadable.
const WILD: &str =
    "<!channel> <users/all> & *b* _i_ `c` [x](https://evil.example) {{DATE(2026)}} @everyone\n\u{1b}[31m\u{202e}\"\\";

fn ended(number: usize, ending: Ending, reason: &str) -> WorkloadEnding {
    WorkloadEnding {
        workload: WorkloadRef {
            namespace: "shop".into(),
            kind: WorkloadKind::Deployment,
            name: format!("web-{number:02}").into(),
        },
        ending,
        runs: if ending == Ending::Complete { Runs::PushedImage } else { Runs::NotChecked },
        reason: reason.to_owned(),
        restarted_at: "2026-11-20T09:16:41Z".parse().unwrap(),
        ended_at: "2026-11-20T09:17:00Z".parse().unwrap(),
    }
}

fn push() -> ReportedPush {
    ReportedPush {
        image: "us-docker.pkg.dev/acme/shop/web:1.4".to_owned(),
        digest: Some(format!("sha256:{}", "ab".repeat(32)).parse().unwrap()),
        published: Some("2026-11-20T09:16:40.38Z".parse().unwrap()),
        message_id: Some("17".to_owned()),
    }
}

fn message(what: What, workloads: Vec<WorkloadEnding>, under_way: usize) -> Message {
    Message::new("0123456789abcdef".to_owned(), what, "chat", &push(), workloads, under_way)
}

fn one_failed() -> Message {
    let failed = ended(7, Ending::Failed, "ImagePullBackOff in pod web-07-x: a <b> & c");
    message(What::Failed, vec![ended(1, Ending::Complete, "3 of 3 pods run it"), failed], 3)
}

fn value(kind: SinkKind, message: &Message) -> Value {
    serde_json::from_slice(&body(kind, message, "//pushroll/prod").bytes).unwrap()
}

/// All strings in a value, without its keys.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => vec![],
    }
}

fn schema_errors(event: &Value) -> Vec<String> {
    let document: Value = serde_yaml_ng::from_str(include_str!("../../../openapi.yaml")).unwrap();
    let schema = json!({"$ref": "#/components/schemas/NotificationEvent", "components": document["components"]});
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).should_validate_formats(true);
    options.build(&schema).unwrap().iter_errors(event).map(|error| error.to_string()).collect()
}

const DETAILS: &str = "sha256:abababababababababababababababababababababababababababababababab · pushed 2026-11-20T09:16:40Z · \
     message 17 · notification 0123456789abcdef · from //pushroll/prod";

#[test]
fn a_cloud_event_has_everything() {
    let event = value(SinkKind::CloudEvents, &one_failed());
    let restarted_ended = json!({"restarted_at": "2026-11-20T09:16:41Z", "ended_at": "2026-11-20T09:17:00Z"});
    let workload = |name: &str, ending: &str, runs: &str, reason: &str| {
        let mut workload = json!({"namespace": "shop", "kind": "Deployment", "name": name, "ending": ending, "runs": runs, "reason": reason});
        workload.as_object_mut().unwrap().extend(restarted_ended.as_object().unwrap().clone());
        workload
    };
    let expected = json!({
        "specversion": "1.0",
        "id": "0123456789abcdef",
        "source": "//pushroll/prod",
        "type": "dev.pushroll.rollout.failed",
        "subject": "us-docker.pkg.dev/acme/shop/web:1.4",
        "time": "2026-11-20T09:17:00Z",
        "datacontenttype": "application/json",
        "data": {
            "summary": "5 rollouts: 1 failed, 1 complete, 3 under way",
            "push": {
                "image": "us-docker.pkg.dev/acme/shop/web:1.4",
                "digest": format!("sha256:{}", "ab".repeat(32)),
                "published": "2026-11-20T09:16:40.38Z",
                "message_id": "17",
            },
            "counts": {"complete": 1, "failed": 1, "superseded": 0, "gone": 0, "unknown": 0, "under_way": 3},
            "workloads": [
                workload("web-07", "failed", "not_checked", "ImagePullBackOff in pod web-07-x: a <b> & c"),
                workload("web-01", "complete", "pushed_image", "3 of 3 pods run it"),
            ],
            "more": 0,
        },
    });
    assert_eq!(event, expected);
    assert_eq!(schema_errors(&event), [""; 0]);
    for message in [message(What::Ended, vec![], 0), Message::test("chat", Timestamp::UNIX_EPOCH)] {
        assert_eq!(schema_errors(&value(SinkKind::CloudEvents, &message)), [""; 0]);
    }
    let types = [What::Failed, What::Ended, What::Test].map(|what| {
        let message = message(what, vec![], 0);
        value(SinkKind::CloudEvents, &message)["type"].as_str().unwrap().to_owned()
    });
    assert_eq!(types, ["dev.pushroll.rollout.failed", "dev.pushroll.push.ended", "dev.pushroll.test"]);
    assert_eq!(body(SinkKind::CloudEvents, &one_failed(), "x").content_type, "application/cloudevents+json");
}

#[test]
fn slack_gets_text_and_blocks() {
    let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}});
    let expected = json!({
        "text": "Rollout failed: us-docker.pkg.dev/acme/shop/web:1.4 (5 rollouts: 1 failed, 1 complete, 3 under way)",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "Rollout failed", "emoji": false}},
            section("`us-docker.pkg.dev/acme/shop/web:1.4`\n5 rollouts: 1 failed, 1 complete, 3 under way"),
            section("`shop/deployment/web-07` *failed*\n`ImagePullBackOff in pod web-07-x: a &lt;b&gt; &amp; c`"),
            section("`shop/deployment/web-01` *complete*\n`3 of 3 pods run it`"),
            {"type": "context", "elements": [{"type": "mrkdwn", "text": DETAILS, "verbatim": true}]},
        ],
    });
    assert_eq!(value(SinkKind::Slack, &one_failed()), expected);
}

#[test]
fn google_chat_gets_a_card() {
    let paragraph = |text: &str| json!({"textParagraph": {"text": text}});
    let expected = json!({
        "fallbackText": "Rollout failed: us-docker.pkg.dev/acme/shop/web:1.4 (5 rollouts: 1 failed, 1 complete, 3 under way)",
        "cardsV2": [{"cardId": "0123456789abcdef", "card": {
            "header": {"title": "Rollout failed"},
            "sections": [{"widgets": [
                paragraph("us-docker.pkg.dev/acme/shop/web:1.4<br>5 rollouts: 1 failed, 1 complete, 3 under way"),
                paragraph("<b>shop/deployment/web-07</b>: failed<br>ImagePullBackOff in pod web-07-x: a &lt;b&gt; &amp; c"),
                paragraph("<b>shop/deployment/web-01</b>: complete<br>3 of 3 pods run it"),
                paragraph(&format!("<i>{DETAILS}</i>")),
            ]}],
        }}],
    });
    assert_eq!(value(SinkKind::GoogleChat, &one_failed()), expected);
}

#[test]
fn teams_gets_an_adaptive_card_without_markdown() {
    let rich = |runs: Value| json!({"type": "RichTextBlock", "inlines": runs});
    let run = |text: &str| json!({"type": "TextRun", "text": text});
    let bold = |text: &str| json!({"type": "TextRun", "text": text, "weight": "Bolder"});
    let expected = json!({"type": "message", "attachments": [{
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": null,
        "content": {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.2",
            "msteams": {"width": "Full"},
            "body": [
                rich(json!([{"type": "TextRun", "text": "Rollout failed", "weight": "Bolder", "size": "Large", "color": "Attention"}])),
                rich(json!([{"type": "TextRun", "text": "us-docker.pkg.dev/acme/shop/web:1.4", "fontType": "Monospace"}])),
                rich(json!([run("5 rollouts: 1 failed, 1 complete, 3 under way")])),
                rich(json!([bold("shop/deployment/web-07"), run(" failed: ImagePullBackOff in pod web-07-x: a <b> & c")])),
                rich(json!([bold("shop/deployment/web-01"), run(" complete: 3 of 3 pods run it")])),
                rich(json!([{"type": "TextRun", "text": DETAILS, "size": "Small", "isSubtle": true}])),
            ],
        },
    }]});
    assert_eq!(value(SinkKind::Teams, &one_failed()), expected);
}

#[test]
fn forty_workloads_are_one_readable_message() {
    let workloads = (0..40).map(|number| {
        let ending = if number % 10 == 9 { Ending::Failed } else { Ending::Complete };
        ended(number, ending, "because")
    });
    let message = message(What::Ended, workloads.collect(), 0);
    for kind in [SinkKind::Slack, SinkKind::GoogleChat, SinkKind::Teams] {
        let value = value(kind, &message);
        let text = texts(&value).join("\n");
        assert!(
            text.contains("40 rollouts: 4 failed, 36 complete") && text.contains("and 30 more"),
            "{kind:?}: {text}"
        );
        assert!(text.contains("Push ended with failures"), "{kind:?}: {text}");
        assert_eq!(text.matches("shop/deployment/").count(), 10, "{kind:?}: {text}");
        for failed in ["web-09", "web-19", "web-29", "web-39"] {
            assert!(text.contains(failed), "{kind:?}: {failed}");
        }
    }
    let event = value(SinkKind::CloudEvents, &message);
    assert_eq!((event["data"]["workloads"].as_array().unwrap().len(), &event["data"]["more"]), (40, &json!(0)));
}

/// The largest that there can be: 10,000 workloads with names and reasons as long as Kubernetes takes them.
#[test]
fn no_message_is_larger_than_its_sink_takes() {
    for reason in ["&<>".repeat(20_000), "\u{1f600}\"\\".repeat(20_000), WILD.repeat(1000)] {
        let workloads = (0..10_000).map(|number| WorkloadEnding {
            workload: WorkloadRef {
                namespace: "n".repeat(63).into(),
                kind: WorkloadKind::StatefulSet,
                name: format!("{number}{}", "x".repeat(240)).into(),
            },
            ..ended(number, Ending::Failed, &reason)
        });
        let mut message = message(What::Ended, workloads.collect(), 10_000);
        message.push.image = format!("example.com/{}", "<&>".repeat(10_000));
        message.push.message_id = Some("\"".repeat(10_000));
        let size = |kind| body(kind, &message, &"s".repeat(200)).bytes.len();
        assert!(size(SinkKind::CloudEvents) <= 64 * 1024, "{}", size(SinkKind::CloudEvents));
        assert!(size(SinkKind::GoogleChat) <= 32_000, "{}", size(SinkKind::GoogleChat));
        assert!(size(SinkKind::Teams) <= 28_000, "{}", size(SinkKind::Teams));
        let slack = value(SinkKind::Slack, &message);
        let blocks = slack["blocks"].as_array().unwrap();
        assert!(
            blocks.len() <= 50
                && blocks.iter().flat_map(texts).map(|text| text.chars().count()).sum::<usize>() <= 13_000
        );
        assert!(texts(&slack).iter().all(|text| text.chars().count() <= 3000));
        let event = value(SinkKind::CloudEvents, &message);
        assert_eq!(schema_errors(&event), [""; 0]);
        let shown = event["data"]["workloads"].as_array().unwrap().len();
        assert!(shown >= 10 && event["data"]["more"] == json!(10_000 - shown), "{shown}");
    }
}

#[test]
fn text_from_the_cluster_is_no_markup() {
    let mut message = message(What::Ended, vec![ended(1, Ending::Failed, WILD)], 0);
    message.push.image = WILD.to_owned();
    message.push.message_id = Some(WILD.to_owned());
    for kind in [SinkKind::Slack, SinkKind::GoogleChat] {
        let value = value(kind, &message);
        let is_plain_text = |text: &str| value["fallbackText"] == *text;
        let texts: Vec<&str> = texts(&value).into_iter().filter(|text| !is_plain_text(text)).collect();
        for text in &texts {
            assert!(!text.contains("<!") && !text.contains("<users") && !text.contains("& "), "{kind:?}: {text}");
        }
        assert!(texts.iter().any(|text| text.contains("&lt;!channel&gt; &lt;users/all&gt; &amp;")), "{texts:?}");
    }
    let slack = value(SinkKind::Slack, &message);
    let of_workload = slack["blocks"][2]["text"]["text"].as_str().unwrap();
    assert_eq!(of_workload.matches('`').count(), 4, "{of_workload}");
    for kind in SinkKind::ALL {
        let value = value(kind, &message);
        let is_hidden = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(texts(&value).iter().all(|text| !text.contains(is_hidden)), "{kind:?}: {value}");
    }
    let teams = value(SinkKind::Teams, &message);
    assert!(!teams.to_string().contains("\"TextBlock\""), "{teams}");
}

#[test]
fn the_title_says_how_it_ended() {
    let title = |what, endings: &[Ending]| {
        let workloads = endings.iter().enumerate().map(|(number, ending)| ended(number, *ending, "")).collect();
        shown::title(&message(what, workloads, 0))
    };
    assert_eq!(title(What::Ended, &[Ending::Complete, Ending::Gone, Ending::Superseded]), "Push rolled out");
    assert_eq!(title(What::Ended, &[Ending::Complete, Ending::Unknown]), "Push ended, some rollouts unknown");
    assert_eq!(title(What::Ended, &[Ending::Unknown, Ending::Failed]), "Push ended with failures");
    assert_eq!(title(What::Failed, &[Ending::Failed]), "Rollout failed");
    let other = WorkloadEnding { runs: Runs::OtherImage, ..ended(1, Ending::Complete, "") };
    let message = message(What::Ended, vec![ended(0, Ending::Complete, ""), other], 0);
    assert_eq!(
        (shown::title(&message), message.workloads[0].runs),
        ("Push ended, another image runs", Runs::OtherImage)
    );
}
