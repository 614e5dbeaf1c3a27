//! The log: one structured line for each push, with everything its answer has.

use embedded_kubernetes::Outage;
use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::{Answer, send};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub fn tests(suite: &mut Suite) {
    suite.on_embedded(each_push_is_one_line_with_all_of_its_answer);
    suite.on_embedded(a_log_for_people_has_the_same_line);
}

/// The service's answers to one push of every kind, in order.
async fn pushes(ground: &Ground, service: &Service) -> Vec<Answer> {
    let message = PushMessage::now(&ground.image("web"), 1);
    let mut answers = vec![service.push(&message).await, service.push(&message).await];
    answers
        .push(send(http::Method::POST, &format!("{}/v1/push?dry_run=true", service.admin), &[], message.body()).await);
    answers.push(service.push(&PushMessage::now(&ground.image("nobodys"), 1)).await);
    answers.push(
        service.deliver(&[("x-goog-pubsub-message-id", "7")], "{\"action\":\"\u{1b}[31m\\nDELETE\\u0000\"}").await,
    );
    ground.embedded_kubernetes().set_outage(Some(Outage::Status(503)));
    answers.push(service.push(&PushMessage::now(&ground.image("web"), 2)).await);
    ground.embedded_kubernetes().set_outage(None);
    let outcomes: Vec<_> = answers.iter().map(|answer| answer.json()["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["restarted", "current", "dry_run", "not_in_use", "ignored", "failed"]);
    answers
}

/// An answer without what a problem adds to it.
fn answer_alone(answer: &Answer) -> Value {
    let mut json = answer.json();
    if !answer.status.is_success() {
        for member in ["type", "title", "status", "detail"] {
            json.as_object_mut().unwrap().remove(member);
        }
    }
    json
}

async fn ready_service(ground: &Ground, text: bool) -> Service {
    ground.create(&deployment(ground.namespace(), "web", &ground.image("web"))).await;
    let builder = ground.service();
    if text { builder.log_text() } else { builder }.start_ready().await
}

async fn each_push_is_one_line_with_all_of_its_answer(ground: Ground) {
    let service = ready_service(&ground, false).await;
    let answers = pushes(&ground, &service).await;
    service.deliver(&[], "no delivery").await.problem(400);
    eventually("the last line", async || {
        service
            .log()
            .iter()
            .any(|line| line["message"].as_str().is_some_and(|m| m.starts_with("not a delivery")))
            .then_some(())
    })
    .await;

    let log = service.log();
    assert!(log.iter().all(Value::is_object), "JSON alone: {log:?}");
    let lines: Vec<_> = log.iter().filter(|line| line["message"] == "push").collect();
    assert_eq!(lines.len(), answers.len(), "one line each: {lines:?}");
    for (line, answer) in lines.into_iter().zip(&answers) {
        assert_eq!(line["push"], answer_alone(answer), "{line}");
        assert_eq!(line["outcome"], line["push"]["outcome"], "{line}");
        assert!(line["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert_eq!(line["severity"], if line["outcome"] == "failed" { "WARNING" } else { "INFO" }, "{line}");
    }

    // The status remembers the same, the newest first.
    let recent = service.status().await["recent"].as_array().unwrap().clone();
    let expected: Vec<_> = answers.iter().rev().map(answer_alone).collect();
    assert_eq!(json!(recent), json!(expected));
}

async fn a_log_for_people_has_the_same_line(ground: Ground) {
    let service = ready_service(&ground, true).await;
    let answers = pushes(&ground, &service).await;
    let is_push = |line: &&String| line.contains(" push ");
    let lines = eventually("all lines", async || {
        let log: Vec<_> = service.log().iter().map(|line| line.as_str().unwrap().to_owned()).collect();
        let lines: Vec<_> = log.iter().filter(is_push).cloned().collect();
        (lines.len() >= answers.len()).then_some(lines)
    })
    .await;
    assert_eq!(lines.len(), answers.len(), "{lines:?}");
    for (line, answer) in lines.iter().zip(&answers) {
        let expected = answer_alone(answer);
        assert!(line.contains(&format!("outcome=\"{}\"", expected["outcome"].as_str().unwrap())), "{line}");
        // The same JSON, as a quoted value.
        let start = line.find("json.push=").unwrap_or_else(|| panic!("{line}")) + "json.push=".len();
        let mut values = serde_json::Deserializer::from_str(&line[start..]).into_iter::<String>();
        let quoted = values.next().unwrap().unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(serde_json::from_str::<Value>(&quoted).unwrap(), expected, "{line}");
        assert!(!line.contains('\u{1b}'), "no colour in a pipe, and none that a message brought: {line:?}");
    }
}
