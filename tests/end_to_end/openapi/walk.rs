//! Every operation, asked on good days and bad ones, and each answer held against the document.

use std::collections::BTreeSet;
use std::convert::Infallible;

use bytes::Bytes;
use embedded_kubernetes::Outage;
use http::{Method, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::document::{Document, LISTENERS};
use crate::support::fixtures::{PushMessage, daemon_set, deployment, stateful_set};
use crate::support::ground::Ground;
use crate::support::http::{Answer, send};
use crate::support::issuer::{Issuer, Jwks, bearer, good_token};
use crate::support::service::Service;

/// Method, path and query.
type Question<'a> = (Method, &'a str);

pub(super) struct Walk {
    pub(super) ground: Ground,
    pub(super) document: Document,
    /// Operation and status of each answer so far.
    pub(super) seen: BTreeSet<(String, String)>,
}

impl Walk {
    pub(super) fn new(ground: Ground) -> Self {
        Self { ground, document: Document::read(), seen: BTreeSet::new() }
    }

    /// Holds an answer against the document: its status, its headers, its content type, its body.
    #[track_caller]
    pub(super) fn check(&mut self, listener: &str, method: Method, path: &str, answer: &Answer) {
        let what = format!("{listener} {method} {path}: {} {:?}", answer.status, answer.text());
        let operation = self.document.operation(path, &method).unwrap_or_else(|| panic!("not documented: {what}"));
        let expected = match self.document.methods(path, listener).as_slice() {
            [] => Some(404),
            methods if !methods.contains(&method) => Some(405),
            _ => None,
        };
        assert_eq!(answer.status.as_u16(), expected.unwrap_or(answer.status.as_u16()), "{what}");
        let response = operation["responses"].get(answer.status.as_str());
        let response = self.document.resolve(response.unwrap_or_else(|| panic!("no such status: {what}")));
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            if self.document.resolve(header)["required"] == true {
                assert!(answer.headers.contains_key(name.as_str()), "{name}: {what}");
            }
        }
        let content_type = answer.headers["content-type"].to_str().unwrap();
        let media_type = content_type.split(';').next().unwrap();
        let media = response["content"].get(media_type);
        let media = media.unwrap_or_else(|| panic!("{media_type} is not documented: {what}"));
        let body = match media_type {
            "application/yaml" => serde_yaml_ng::from_str(&answer.text()).unwrap(),
            json if json.ends_with("json") => answer.json(),
            _ => Value::String(answer.text()),
        };
        self.document.assert_valid(&media["schema"], &body, &what);
        if media_type == "application/problem+json" {
            assert_eq!(body["status"], answer.status.as_u16(), "{what}");
        }
        let operation = operation["operationId"].as_str().unwrap().to_owned();
        self.seen.insert((operation, answer.status.as_str().to_owned()));
    }

    async fn ask(&mut self, service: &Service, listener: &str, question: Question<'_>, body: &str) -> Answer {
        self.ask_with(service, listener, question, &[], body).await
    }

    async fn ask_with(
        &mut self,
        service: &Service,
        listener: &str,
        (method, path): Question<'_>,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let bases = [&service.public, &service.internal, &service.admin];
        let base = bases[LISTENERS.iter().position(|name| *name == listener).unwrap()];
        let answer = send(method.clone(), &format!("{base}{path}"), headers, body.to_owned()).await;
        self.check(listener, method, path.split('?').next().unwrap(), &answer);
        answer
    }

    async fn push(&mut self, service: &Service, body: &str, status: u16, outcome: &str) {
        let answer = self.ask(service, "public", (Method::POST, "/v1/push"), body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (status, &json!(outcome)), "{}", answer.text());
    }

    /// One of each kind of each outcome.
    async fn set_the_stage(&self) -> String {
        let (namespace, image) = (self.ground.namespace(), self.ground.image("web"));
        let mut opted_out = deployment(namespace, "opted-out", &image);
        opted_out["metadata"]["annotations"] = json!({"pushroll.dev/restart": "false"});
        let mut paused = deployment(namespace, "paused", &image);
        paused["spec"]["paused"] = json!(true);
        paused["spec"]["replicas"] = json!(0);
        let pinned = deployment(namespace, "pinned", &format!("{image}@{}", crate::support::fixtures::digest(1)));
        for workload in [
            deployment(namespace, "web", &image),
            stateful_set(namespace, "web", &image),
            daemon_set(namespace, "web", &image),
            opted_out,
            paused,
            pinned,
        ] {
            self.ground.create(&workload).await;
        }
        image
    }

    pub(super) async fn on_good_days(&mut self) {
        let image = self.set_the_stage().await;
        let service = self.ground.service().arguments(["--refresh-mounts"]).start_ready().await;
        let push = PushMessage::now(&image, 1);
        self.push(&service, &push.body(), 200, "restarted").await;
        self.push(&service, &push.body(), 200, "current").await;
        // Without metadata it is a new push.
        self.push(&service, &push.payload().to_string(), 200, "restarted").await;
        self.push(&service, &PushMessage::now(&self.ground.image("nobody"), 1).body(), 200, "not_in_use").await;
        self.push(&service, r#"{"action": "DELETE", "tag": "a.example/b:1"}"#, 200, "ignored").await;
        let counted = push.body().replacen('{', r#"{"deliveryAttempt": 5, "#, 1);
        self.push(&service, &counted, 200, "current").await;
        for (headers, body) in [
            (vec![("x-goog-pubsub-message-id", "1")], "junk"),
            (vec![("x-goog-pubsub-message-id", "1"), ("x-goog-pubsub-publish-time", "2026-11-20T09:16:40.3Z")], ""),
            (vec![("ce-id", "1"), ("ce-time", "2026-11-20T09:16:40.380Z")], "[]"),
        ] {
            self.ask_with(&service, "public", (Method::POST, "/v1/push"), &headers, body).await;
        }
        let unskipped = PushMessage::now(&image, 2).body();
        for query in ["?dry_run=true", "?dry_run", "?dry_run=perhaps", "?dry=true"] {
            self.ask(&service, "admin", (Method::POST, &format!("/v1/push{query}")), &unskipped).await;
        }
        for (path, body) in [("/v1/push", "junk"), ("/v1/push?dry_run=true", &unskipped)] {
            let answer = self.ask(&service, "public", (Method::POST, path), body).await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        }
        let explained =
            self.ask(&service, "admin", (Method::GET, &format!("/v1/explain?image={image}")), "").await.json();
        let pinned = explained["workloads"].as_array().unwrap().iter().any(|one| one["code"] == "pinned_by_digest");
        assert!(pinned, "{explained}");
        for listener in LISTENERS {
            for (path, queries) in [
                (
                    "/v1/lookup",
                    vec![
                        format!("?image={image}"),
                        "?image=nobody".to_owned(),
                        String::new(),
                        "?image=A B".replace(' ', "%20"),
                    ],
                ),
                (
                    "/v1/explain",
                    vec![format!("?image={image}"), String::new(), "?image=%3A".to_owned(), "?nope=x".to_owned()],
                ),
                ("/v1/rollouts", vec![String::new(), format!("?image={image}"), "?image=%3A".to_owned()]),
                ("/v1/status", vec![String::new()]),
                ("/metrics", vec![String::new()]),
                ("/openapi.yaml", vec![String::new()]),
                ("/livez", vec![String::new(), "?verbose".to_owned(), "?verbose=1".to_owned()]),
                ("/readyz", vec![String::new(), "?verbose".to_owned()]),
            ] {
                for query in queries {
                    self.ask(&service, listener, (Method::GET, &format!("{path}{query}")), "").await;
                }
                self.ask(&service, listener, (Method::POST, path), "").await;
            }
            self.ask(&service, listener, (Method::GET, "/v1/rebuild"), "").await;
            self.ask(&service, listener, (Method::POST, "/v1/rebuild"), "").await;
            self.ask(&service, listener, (Method::GET, "/v1/push"), "").await;
        }
        self.ask(&service, "internal", (Method::POST, "/v1/push"), "").await;
        for path in
            ["/v1/explain", "/v1/lookup", "/v1/rollouts", "/v1/status", "/openapi.yaml", "/v1/push", "/v1/rebuild"]
        {
            let method = if ["/v1/push", "/v1/rebuild"].contains(&path) { Method::POST } else { Method::GET };
            let page = [("origin", "https://evil.example")];
            let answer = self.ask_with(&service, "admin", (method, path), &page, "").await;
            assert_eq!(answer.status, 403, "{path}");
        }

        let strict = self.ground.service().arguments(["--max-body", "1KiB", "--poison", "nack"]);
        let strict = strict.arguments(["--body-timeout", "500ms"]).start_ready().await;
        let answer = never_ending(&format!("{}/v1/push", strict.public)).await;
        self.check("public", Method::POST, "/v1/push", &answer);
        assert_eq!(answer.status, 408);
        let large = format!("{{\"x\": \"{}\"}}", "x".repeat(2000));
        let answer = self.ask(&strict, "public", (Method::POST, "/v1/push"), &large).await;
        assert_eq!(answer.status, 413);
        let junk = [("x-goog-pubsub-message-id", "1")];
        let answer = self.ask_with(&strict, "public", (Method::POST, "/v1/push"), &junk, "junk").await;
        assert_eq!(answer.status, 422);
    }

    /// With tokens to be checked, and the keys that this takes away at first.
    pub(super) async fn at_the_door(&mut self) {
        let issuer = Issuer::start(Jwks::Status(500)).await;
        let service = self.ground.service().authenticated_by(&issuer).start().await;
        let authorization = bearer(&good_token());
        let (push, headers) = ((Method::POST, "/v1/push"), [("authorization", authorization.as_str())]);
        let body = PushMessage::now(&self.ground.image("nobody"), 1).body();
        assert_eq!(self.ask_with(&service, "public", push.clone(), &headers, &body).await.status, 503);
        service.wait_for_status("no keys", |status| status["signing_keys"]["error"].is_string()).await;
        for path in ["/v1/status", "/readyz"] {
            self.ask(&service, "internal", (Method::GET, path), "").await;
        }
        issuer.now_does(Jwks::genuine());
        service.wait_until_ready().await;
        assert_eq!(self.ask(&service, "public", push.clone(), &body).await.status, 401);
        assert_eq!(self.ask_with(&service, "public", push, &headers, &body).await.status, 200);
        for path in ["/v1/status", "/readyz?verbose"] {
            self.ask(&service, "internal", (Method::GET, path), "").await;
        }
    }

    /// Only the embedded API can be away.
    pub(super) async fn on_bad_days(&mut self) {
        let image = self.ground.image("web");
        let running = self.ground.service().start_ready().await;
        self.ground.embedded_kubernetes().set_outage(Some(Outage::Status(503)));
        let starting = self.ground.service().start().await;
        let push = PushMessage::now(&image, 3);
        self.push(&running, &push.body(), 503, "failed").await;
        self.push(&starting, &push.body(), 503, "failed").await;
        for (service, status) in [(&running, 200), (&starting, 503)] {
            for (listener, path) in [("internal", "/readyz"), ("internal", &*format!("/v1/lookup?image={image}"))] {
                let answer = self.ask(service, listener, (Method::GET, path), "").await;
                assert_eq!(answer.status, status, "{path}: {}", answer.text());
            }
            for question in [(Method::GET, &*format!("/v1/explain?image={image}")), (Method::POST, "/v1/rebuild")] {
                let answer = self.ask(service, "admin", question, "").await;
                assert_eq!(answer.status, 503, "{}", answer.text());
            }
            let answer = self.ask(service, "internal", (Method::GET, "/v1/status"), "").await;
            assert_eq!(answer.json()["ready"], status == 200);
        }
        self.ground.embedded_kubernetes().set_outage(None);
    }
}

/// The answer to a request whose body never comes.
async fn never_ending(url: &str) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let response = client.request(Request::post(url).body(body).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}
