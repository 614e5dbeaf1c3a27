//! Notifications: `pushroll notify test`, and the flags.

mod queues;

use std::convert::Infallible;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::openapi::document::Document;
use crate::support::certificates::Authority;
use crate::support::command::{Ran, run, run_with};
use crate::support::sink::{Does, SECRET, Sink};
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.plain(each_kind_gets_a_test_notification);
    suite.plain(what_is_not_delivered_is_said_and_exits_1);
    suite.plain(a_certificate_is_checked);
    suite.plain(any_body_of_a_2xx_is_a_delivery);
    suite.plain(the_file_of_a_target_is_read_each_time);
    suite.plain(an_unknown_notification_is_wrong_usage);
    suite.plain(no_error_and_no_help_shows_a_url);
    queues::tests(suite);
}

/// A sink that takes everything.
fn takes() -> Does {
    Does::answer(200, "content-type: text/plain\r\n", "ok")
}

/// It says nothing of where a sink is.
#[track_caller]
fn assert_no_secret(text: &str, sink: &Sink) {
    let authority = sink.url.trim_start_matches("http://").split('/').next().unwrap();
    assert!(!text.to_uppercase().contains(SECRET) && !text.contains(authority), "{text}");
}

async fn notify_test(kind: &str, target: &str) -> Ran {
    run(&["notify", "test", "chat", "--notify", &format!("other=slack:/nonexistent,chat={kind}:{target}"), "-vv"]).await
}

async fn each_kind_gets_a_test_notification() {
    for (kind, status, content_type) in [
        ("cloudevents", 204, "application/cloudevents+json"),
        ("slack", 200, "application/json"),
        ("googlechat", 200, "application/json"),
        ("teams", 202, "application/json"),
    ] {
        let sink = Sink::start(Does::answer(status, "", ""));
        let ran = notify_test(kind, &sink.url).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.stdout.contains(kind) && ran.stdout.contains(&status.to_string()) && ran.stdout.contains(" ms"),
            "{ran:?}"
        );
        assert_no_secret(&format!("{ran:?}"), &sink);
        let [request] = &sink.received()[..] else { panic!("{:?}", sink.received()) };
        assert!(
            request.head.starts_with(&format!("post /services/{}?sig=", SECRET.to_lowercase())),
            "{}",
            request.head
        );
        assert!(request.head.contains(&format!("content-type: {content_type}")), "{}", request.head);
        assert!(request.head.contains("user-agent: pushroll/"), "{}", request.head);
        let body = &request.body;
        let shown = match kind {
            "cloudevents" => {
                let schema = json!({"$ref": "#/components/schemas/NotificationEvent"});
                Document::read().assert_valid(&schema, body, "the event");
                assert_eq!(body["type"], "dev.pushroll.test");
                &body["data"]["summary"]
            }
            "slack" => &body["text"],
            "googlechat" => &body["cardsV2"][0]["card"]["header"]["title"],
            _ => &body["attachments"][0]["content"]["body"][0]["inlines"][0]["text"],
        };
        assert!(shown.as_str().is_some_and(|text| !text.is_empty()), "{kind}: {body}");
    }
    let sink = Sink::start(takes());
    let chat = format!("chat=cloudevents:{}", sink.url);
    let variables = [("PUSHROLL_NOTIFY", chat.as_str()), ("PUSHROLL_NOTIFY_SOURCE", "//pushroll/prod-eu")];
    let json = run_with(&["notify", "test", "chat", "-o", "json"], &variables, "").await.json();
    assert_eq!((&json["name"], &json["kind"], &json["status"]), (&json!("chat"), &json!("cloudevents"), &json!(200)));
    let event = &sink.received()[0].body;
    assert_eq!((&event["source"], &event["id"]), (&json!("//pushroll/prod-eu"), &json["id"]));
    let names = run_with(&["notify", "test", "chat", "-o", "name"], &variables, "").await;
    assert_eq!((names.code, names.stdout.as_str()), (0, "chat\n"));
}

async fn what_is_not_delivered_is_said_and_exits_1() {
    let html = format!("<html>\n<h1>Not Found</h1> /services/{SECRET} was not found, sig={SECRET}</html>");
    for (does, said) in [
        (Does::answer(429, "retry-after: 30\r\n", "slow down"), &["429", "slow down", "30s"][..]),
        (Does::answer(500, "", "oops"), &["500", "oops"]),
        (Does::answer(404, "content-type: text/html\r\n", &html), &["404", "<h1>Not Found</h1>", "***"]),
        (Does::answer(403, "", "invalid_token"), &["403", "invalid_token"]),
        (Does::answer(400, "", "a\u{1b}[31m\u{0}b\r\nc"), &["400", "a [31m b c"]),
        (
            Does::answer(301, &format!("location: http://127.0.0.1:1/{SECRET}\r\n"), ""),
            &["301", "redirect", "not followed"],
        ),
        (Does::answer(307, "location: /elsewhere\r\n", ""), &["307", "redirect"]),
        (Does::Large(503, 10_000_000), &["503", "xxx"]),
        (Does::Large(400, 10_000_000), &["400", "xxx"]),
        (Does::Endless(410), &["410"]),
        (Does::Stalls(403), &["403"]),
        (Does::Closes, &["no answer", "closed"]),
        (Does::Hangs, &["no answer within 10s"]),
        (Does::Answers("SSH-2.0-OpenSSH_9.9\r\n".to_owned()), &["not HTTP"]),
        (Does::Answers("HTTP/1.1 200 OK\r\ncontent-".to_owned()), &["no answer"]),
    ] {
        let sink = Sink::start(does.clone());
        let ran = run(&["notify", "test", "chat", "--notify", &format!("chat=slack:{}", sink.url)]).await;
        let message = ran.failed_with_one_sentence();
        assert!(
            message.starts_with("chat (slack)") && said.iter().all(|part| message.contains(part)),
            "{does:?}: {message}"
        );
        assert!(message.len() < 500 && !message.contains('\u{1b}'), "{message}");
        assert_no_secret(message, &sink);
        assert_eq!(sink.received().len(), 1, "{does:?}: it is a test, sent once");
    }
    // Nobody listens there, and there can be no such host.
    for (url, said) in [
        (format!("http://127.0.0.1:1/{SECRET}"), "connection refused"),
        (format!("http://{SECRET}{}.invalid/", "x".repeat(63)), "cannot be resolved"),
    ] {
        let ran = notify_test("teams", &url).await;
        assert!(ran.code == 1 && ran.stderr.contains(said), "{ran:?}");
        assert!(!ran.stderr.to_uppercase().contains(SECRET) && !ran.stderr.contains("127.0.0.1"), "{ran:?}");
    }
}

async fn a_certificate_is_checked() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://{}/{SECRET}", listener.local_addr().unwrap());
    let authority = Authority::new("of the sink");
    let acceptor = TlsAcceptor::from(authority.new_server());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let answer = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("ok")))) });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        }
    });
    let arguments = ["notify", "test", "chat", "--notify", &format!("chat=slack:{url}")];
    let ran = run(&arguments).await;
    let message = ran.failed_with_one_sentence();
    assert!(message.contains("certificate is not trusted") && !message.contains("127.0.0.1"), "{message}");
    let trusted = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trusted.path(), STANDARD.decode(authority.data()).unwrap()).unwrap();
    let ran = run_with(&arguments, &[("SSL_CERT_FILE", trusted.path().to_str().unwrap())], "").await;
    assert!(ran.code == 0 && ran.stdout.contains("200 OK"), "{ran:?}");
}

async fn any_body_of_a_2xx_is_a_delivery() {
    let html = Does::answer(200, "content-type: text/html\r\n", "<html>hello</html>");
    let broken = Does::Answers("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbroken".to_owned());
    for does in
        [html, broken, Does::Large(200, 10_000_000), Does::Endless(202), Does::Stalls(200), Does::answer(204, "", "")]
    {
        let sink = Sink::start(does.clone());
        let ran = notify_test("googlechat", &sink.url).await;
        assert_eq!((ran.code, sink.received().len()), (0, 1), "{does:?}: {ran:?}");
    }
}

async fn the_file_of_a_target_is_read_each_time() {
    let (first, second) = (Sink::start(takes()), Sink::start(takes()));
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let sent_to = async |path: &Path| notify_test("slack", path.to_str().unwrap()).await;
    for (name, content, said) in [
        ("missing", None, "No such file"),
        ("empty", Some(""), "it is empty"),
        ("newline", Some("\n"), "it is empty"),
        ("no-url", Some(SECRET), "holds no URL"),
        ("two", Some(&*format!("{}\n{}", first.url, second.url)), "holds no URL"),
        ("ftp", Some(&*format!("ftp://127.0.0.1/{SECRET}")), "https://"),
    ] {
        if let Some(content) = content {
            std::fs::write(path(name), content).unwrap();
        }
        let ran = sent_to(&path(name)).await;
        assert!(ran.code == 1 && ran.stderr.contains(said) && ran.stderr.contains(name), "{name}: {ran:?}");
        assert_no_secret(&ran.stderr, &first);
    }
    let ran = sent_to(directory.path()).await;
    assert!(ran.code == 1 && ran.stderr.contains("it is a directory"), "{ran:?}");
    // As the kubelet replaces a mounted Secret: a link to another directory.
    for (version, sink) in [("..1", &first), ("..2", &second)] {
        std::fs::create_dir(path(version)).unwrap();
        std::fs::write(path(version).join("url"), format!("{}\n", sink.url)).unwrap();
        let _ = std::fs::remove_file(path("..data"));
        std::os::unix::fs::symlink(version, path("..data")).unwrap();
        let ran = sent_to(&path("..data").join("url")).await;
        assert_eq!((ran.code, sink.received().len()), (0, 1), "{ran:?}");
        assert_no_secret(&format!("{ran:?}"), sink);
    }
}

async fn an_unknown_notification_is_wrong_usage() {
    let known = ["--notify", "chat=slack:/f", "--notify", "audit=cloudevents:/g"];
    for (arguments, said) in [
        ([&["notify", "test", "caht"], &known[..]].concat(), "chat, audit"),
        (vec!["notify", "test", "chat"], "PUSHROLL_NOTIFY"),
        (vec!["notify", "test"], "NAME"),
        (vec!["notify"], "test"),
        (vec!["notify", "test", "chat", "--notify", "chat=slack:/f,chat=teams:/g"], "two sinks are called chat"),
        (vec!["serve", "--notify", "chat=slack:/f", "--notify", "chat=slack:/f"], "two sinks are called chat"),
    ] {
        let ran = run(&arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(said), "{arguments:?}: {ran:?}");
    }
}

async fn no_error_and_no_help_shows_a_url() {
    let url = format!("https://hooks.example.com/services/{SECRET}");
    for value in [
        url.clone(),
        format!("chat={url}"),
        format!("chat=irc:{url}"),
        format!("Chat=slack:{url}"),
        format!("=slack:{url}"),
        format!("chat=slack:ftp://{SECRET}"),
        format!("chat=slack:https://user:{SECRET}@hooks.example.com/"),
        format!("chat=slack:{url},{SECRET}"),
        format!("chat=slack:{url},chat=slack:{url}"),
    ] {
        let environment = [("PUSHROLL_NOTIFY", value.as_str())];
        for ran in [
            run(&["serve", "--notify", &value]).await,
            run(&["notify", "test", "chat", "--notify", &value]).await,
            run_with(&["serve"], &environment, "").await,
            run_with(&["notify", "test", "chat"], &environment, "").await,
        ] {
            assert!(ran.code == 2 && ran.stderr.contains("--notify"), "{value}: {ran:?}");
            assert!(!ran.stderr.contains(SECRET) && !ran.stderr.contains("hooks.example.com"), "{value}: {ran:?}");
        }
    }
    let chat = format!("chat=slack:{url}");
    let environment = [("PUSHROLL_NOTIFY", chat.as_str())];
    for arguments in
        [&["serve", "--help"][..], &["notify", "test", "--help"], &["man", "serve"], &["completions", "bash"]]
    {
        let ran = run_with(arguments, &environment, "").await;
        assert!(ran.code == 0 && ran.stdout.contains("notify"), "{ran:?}");
        assert!(!ran.stdout.contains(SECRET), "{ran:?}");
    }
}
