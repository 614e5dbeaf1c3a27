//! The signing keys while their issuer is away, hangs, or answers with something else.

use serde_json::Value;

use super::keys::Timed;
use super::{assert_refused, results};
use crate::probes::probe;
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::http::get;
use crate::support::issuer::{GENUINE, Issuer, Jwks, KEY_ID, claims_at, good_token};
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub(super) fn tests(suite: &mut Suite) {
    suite.on_embedded(without_keys_it_starts_and_takes_no_pushes);
    suite.on_embedded(an_issuer_that_cannot_be_reached_is_named);
    suite.on_embedded(keys_are_kept_while_their_issuer_is_away);
    suite.on_embedded(what_is_no_jwks_changes_nothing);
}

async fn without_keys_it_starts_and_takes_no_pushes(ground: Ground) {
    for (jwks, error) in [
        (Jwks::Status(500), "answers 500"),
        (Jwks::Text("<html>Sign in</html>"), "no JWKS"),
        (Jwks::Text("{}"), "no JWKS"),
        (Jwks::Keys(vec![], "max-age=60"), "without an RSA key"),
        (Jwks::Redirects, "answers 302"),
        (Jwks::Hangs, ""),
    ] {
        let issuer = Issuer::start(jwks.clone()).await;
        let service = ground.service().authenticated_by(&issuer).start().await;
        service.wait_for_status("the cluster is scanned", |status| status["index"].is_object()).await;
        let what = "the keys cannot be fetched";
        let status =
            service.wait_for_status(what, |s| error.is_empty() || s["signing_keys"]["error"].is_string()).await;
        let told = status["signing_keys"]["error"].as_str().unwrap_or_default();
        assert!(told.contains(error), "{jwks:?}: {status}");
        let why = "there are no keys to check tokens with";
        assert_eq!((&status["ready"], &status["not_ready_because"]), (&Value::Bool(false), &why.into()));
        let not_ready = format!("[+]index ok\n[-]signing-keys failed: {why}\n[+]shutdown ok\ncheck failed\n");
        assert_eq!(probe(&service, "/readyz").await, (503, not_ready), "{jwks:?}");
        assert_eq!(probe(&service, "/livez").await.0, 200);

        let message = PushMessage::now(&ground.image("nobodys"), 1);
        service.push_with(&good_token(), &message).await.problem(503);
        assert_refused("no token", &service.push(&message).await);
        let results = results(&service).await;
        assert_eq!((results["no_keys"], results["no_token"]), (1, 1));
        let warning = "pushes are not taken until they are";
        if !error.is_empty() {
            assert_eq!(service.warned(warning).await, 1, "{jwks:?}");
        }

        issuer.now_does(Jwks::genuine());
        service.wait_until_ready().await;
        assert_eq!(service.push_with(&good_token(), &message).await.status, 200);
    }
}

async fn an_issuer_that_cannot_be_reached_is_named(ground: Ground) {
    let issuer = Issuer::start(Jwks::genuine()).await;
    let nobody = "http://127.0.0.1:1/certs";
    let service = ground.service().authenticated_by(&issuer).arguments(["--jwks-url", nobody]).start().await;
    let error = |status: &Value| status["signing_keys"]["error"].as_str().unwrap_or_default().to_owned();
    let status = service.wait_for_status("a fetch has failed", |status| !error(status).is_empty()).await;
    let error = error(&status);
    assert!(error.contains(nobody) && error.contains("refused"), "{error}");
    service.push_with(&good_token(), &PushMessage::now(&ground.image("nobodys"), 1)).await.problem(503);
}

async fn keys_are_kept_while_their_issuer_is_away(ground: Ground) {
    let timed = Timed::start(&ground, Jwks::Keys(vec![GENUINE.jwk(KEY_ID)], "max-age=1000")).await;
    let fresh_until = timed.now().as_second() + 1000;
    let metrics = || async { get(&format!("{}/metrics", timed.service.internal)).await.text() };
    timed.issuer.now_does(Jwks::Status(503));
    timed.pass(2000);
    let failed = |status: &Value| status["signing_keys"]["error"].is_string();
    let status = timed.service.wait_for_status("a fetch has failed", failed).await;
    assert_eq!((&status["ready"], &status["signing_keys"]["usable"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(timed.push_well().await.status, 200);
    assert_eq!(probe(&timed.service, "/readyz").await, (200, "ok\n".to_owned()));
    let (code, verbose) = probe(&timed.service, "/readyz?verbose").await;
    assert_eq!(code, 200);
    let told = verbose.lines().find(|line| line.contains("signing-keys")).unwrap();
    assert!(told.starts_with("[+]signing-keys ok: they cannot be fetched anew, used until "), "{told}");
    assert!(told.contains("answers 503"), "{told}");
    let text = metrics().await;
    assert!(text.contains("pushroll_signing_key_fetches_total{result=\"failed\"} "), "{text}");
    assert!(text.contains(&format!("pushroll_signing_keys_fresh_until_seconds {fresh_until}.0\n")), "{text}");

    // A day after they expired it is enough.
    timed.pass(24 * 60 * 60);
    assert_eq!(probe(&timed.service, "/readyz").await.0, 503);
    timed.push_well().await.problem(503);
    timed.issuer.now_does(Jwks::genuine());
    eventually("it is ready again", async || {
        timed.pass(60);
        (probe(&timed.service, "/readyz").await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(timed.push_well().await.status, 200);
    assert_eq!(
        probe(&timed.service, "/readyz?verbose").await.1,
        "[+]index ok\n[+]signing-keys ok\n[+]shutdown ok\ncheck passed\n"
    );
}

/// The keys at hand stay, and an unknown one is refused without much of a wait.
async fn what_is_no_jwks_changes_nothing(ground: Ground) {
    static LARGE: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| format!("{{\"keys\": [{}]}}", " ".repeat(1 << 20)));
    let timed = Timed::start(&ground, Jwks::genuine()).await;
    for (jwks, error) in [
        (Jwks::Text("<!DOCTYPE html><html>Sign in</html>"), "no JWKS"),
        (Jwks::Text(&LARGE), "limit"),
        (Jwks::Text("{\"keys\": {}}"), "no JWKS"),
        (Jwks::Keys(vec![], "max-age=1"), "without an RSA key"),
        (Jwks::Status(404), "answers 404"),
        (Jwks::Hangs, ""),
    ] {
        let before = timed.issuer.fetches();
        timed.issuer.now_does(jwks.clone());
        timed.pass(31);
        let unknown = GENUINE.token("unknown", &claims_at(timed.now()));
        assert_refused("unknown", &timed.push(&unknown).await);
        // A backoff may have been over just then.
        eventually("it was asked", async || (timed.issuer.fetches() > before).then_some(())).await;
        let tells = |status: &Value| status["signing_keys"]["error"].to_string().contains(error);
        timed.service.wait_for_status(error, tells).await;
        assert_eq!(timed.push_well().await.status, 200, "{jwks:?}");
        assert_eq!(timed.service.status().await["ready"], true, "{jwks:?}");
    }
}
