//! Who may push: tokens, good and bad, against a JWKS server of the tests' own.

mod forgeries;
mod keys;
mod keys_away;
mod wire;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::fixtures::{PushMessage, deployment};
use crate::support::ground::Ground;
use crate::support::http::{Answer, get};
use crate::support::issuer::{ACCOUNT, AUDIENCE, GENUINE, Issuer, Jwks, KEY_ID, bearer, claims, good_token};
use crate::support::recorded::recording;
use crate::support::service::Service;
use crate::support::suite::Suite;

pub fn tests(suite: &mut Suite) {
    suite.on_both(a_push_with_a_good_token_rolls_the_workloads);
    suite.on_embedded(a_recorded_push_with_a_good_token_is_taken);
    suite.on_embedded(a_token_with_a_wrong_claim_is_refused);
    suite.on_embedded(a_token_with_other_good_claims_is_taken);
    forgeries::tests(suite);
    wire::tests(suite);
    keys::tests(suite);
    keys_away::tests(suite);
}

/// A service with one workload, and its issuer.
struct Guarded {
    ground: Ground,
    issuer: Issuer,
    service: Service,
    image: String,
    web: Value,
}

impl Guarded {
    async fn start(ground: Ground, jwks: Jwks) -> Self {
        let image = ground.image("web");
        let web = deployment(ground.namespace(), "web", &image);
        ground.create(&web).await;
        let issuer = Issuer::start(jwks).await;
        let service = ground.service().authenticated_by(&issuer).start_ready().await;
        Self { ground, issuer, service, image, web }
    }

    fn message(&self) -> PushMessage {
        PushMessage::now(&self.image, 1)
    }

    /// It refuses each of these, says nothing of why but in metric and log, and touches no workload. Each is what it
    /// is called, the `Authorization` headers, and the check that fails.
    async fn refuses(&self, cases: &[(&str, Vec<String>, &str)]) {
        let mut expected: BTreeMap<String, u64> = results(&self.service).await;
        for (name, headers, check) in cases {
            let headers: Vec<_> = headers.iter().map(|value| ("authorization", value.as_str())).collect();
            let answer = self.service.deliver(&headers, self.message().body()).await;
            assert_refused(name, &answer);
            *expected.entry((*check).to_owned()).or_default() += 1;
            assert_eq!(results(&self.service).await, expected, "{name}");
        }
        assert_eq!(self.ground.generation(&self.web).await, 1);
        let log = json!(self.service.log()).to_string();
        for token in cases.iter().flat_map(|(_, headers, _)| headers).filter_map(|value| value.rsplit('.').next()) {
            assert!(token.len() < 20 || !log.contains(token), "{token} is in the log: {log}");
        }
    }

    async fn takes(&self, name: &str, authorization: &str) {
        let answer = self.service.deliver(&[("authorization", authorization)], self.message().body()).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}

/// The same for everyone.
#[track_caller]
fn assert_refused(name: &str, answer: &Answer) {
    let problem = answer.problem(401);
    assert_eq!(answer.headers.get_all("www-authenticate").iter().collect::<Vec<_>>(), ["Bearer"], "{name}");
    assert_eq!(
        problem,
        json!({
            "type": "about:blank", "title": "Unauthorized", "status": 401,
            "detail": "this endpoint takes pushes of its own subscription alone; the log of pushroll tells what was refused",
        }),
        "{name}"
    );
}

/// `pushroll_auth_total`, by its result.
async fn results(service: &Service) -> BTreeMap<String, u64> {
    let metrics = get(&format!("{}/metrics", service.internal)).await.text();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("pushroll_auth_total{result=\""));
    lines
        .map(|line| line.split_once("\"} ").unwrap())
        .map(|(result, count)| (result.to_owned(), count.parse().unwrap()))
        .collect()
}

async fn a_push_with_a_good_token_rolls_the_workloads(ground: Ground) {
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    let (token, message) = (good_token(), guarded.message());
    for outcome in ["restarted", "current", "current"] {
        let answer = guarded.service.push_with(&token, &message).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!(outcome)), "{}", answer.text());
    }
    assert_eq!(guarded.ground.generation(&guarded.web).await, 2);
    assert_eq!(results(&guarded.service).await, BTreeMap::from([("accepted".to_owned(), 3)]));
    assert_eq!(guarded.issuer.fetches(), 1);
}

async fn a_recorded_push_with_a_good_token_is_taken(ground: Ground) {
    let recorded = recording("insert_tag_digest");
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    let anonymous: Vec<_> = recorded
        .message_headers()
        .into_iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("authorization"))
        .collect();
    assert_refused("no token", &guarded.service.deliver(&anonymous, recorded.body.clone()).await);
    let authorization = bearer(&good_token());
    let headers: Vec<_> = anonymous.into_iter().chain([("Authorization", authorization.as_str())]).collect();
    let answer = guarded.service.deliver(&headers, recorded.body.clone()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &json!("not_in_use")), "{}", answer.text());
}

/// The right claims, one of them changed.
fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

async fn a_token_with_a_wrong_claim_is_refused(ground: Ground) {
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    let now = claims()["iat"].as_i64().unwrap() + 60;
    let cases = [
        ("no iss", without("iss"), "issuer"),
        ("another iss", changed("iss", json!("https://accounts.example.com")), "issuer"),
        ("an iss by http", changed("iss", json!("http://accounts.google.com")), "issuer"),
        ("an iss with more", changed("iss", json!("https://accounts.google.com/")), "issuer"),
        ("no aud", without("aud"), "audience"),
        ("another aud", changed("aud", json!("https://pushroll.example.com/v1/push2")), "audience"),
        ("an aud in capitals", changed("aud", json!(AUDIENCE.to_uppercase())), "audience"),
        ("several aud", changed("aud", json!([AUDIENCE, "https://other.example.com"])), "audience"),
        ("an empty aud", changed("aud", json!("")), "audience"),
        ("no email", without("email"), "email"),
        ("another email", changed("email", json!("somebody@example.com")), "email"),
        ("an email with more", changed("email", json!(format!("{ACCOUNT}.example.com"))), "email"),
        ("a list of emails", changed("email", json!([ACCOUNT])), "email"),
        ("no email_verified", without("email_verified"), "email_not_verified"),
        ("email_verified: false", changed("email_verified", json!(false)), "email_not_verified"),
        ("email_verified: the string", changed("email_verified", json!("true")), "email_not_verified"),
        ("email_verified: 1", changed("email_verified", json!(1)), "email_not_verified"),
        ("no exp", without("exp"), "expired"),
        ("exp: a minute ago", changed("exp", json!(now - 60)), "expired"),
        ("exp: years ago", changed("exp", json!(1_000_000_000)), "expired"),
        ("exp: a string", changed("exp", json!((now + 600).to_string())), "expired"),
        ("exp: a fraction", changed("exp", json!(1e300)), "expired"),
        ("nbf: in ten minutes", changed("nbf", json!(now + 600)), "not_yet_valid"),
        ("nbf: a string", changed("nbf", json!("now")), "not_yet_valid"),
        ("iat: in ten minutes", changed("iat", json!(now + 600)), "not_yet_valid"),
        ("no object", json!([claims()]), "malformed"),
    ];
    let cases = cases.map(|(name, claims, check)| (name, vec![bearer(&GENUINE.token(KEY_ID, &claims))], check));
    guarded.refuses(&cases).await;

    // The operator is told which token was refused, and why.
    let line = |check: &str| guarded.service.log().into_iter().find(|line| line["check"] == check).unwrap();
    let audience = line("audience");
    assert_eq!((&audience["kid"], &audience["email"]), (&json!(KEY_ID), &json!(ACCOUNT)), "{audience}");
    let email = line("email");
    assert_eq!(email["severity"], "WARNING");
    assert!(email["message"].as_str().unwrap().contains("--service-account"), "{email}");
}

async fn a_token_with_other_good_claims_is_taken(ground: Ground) {
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    let now = claims()["iat"].as_i64().unwrap() + 60;
    for (name, claims) in [
        ("the old issuer", changed("iss", json!("accounts.google.com"))),
        ("an hour old", changed("iat", json!(now - 3600))),
        ("no iat", without("iat")),
        ("an nbf that has come", changed("nbf", json!(now - 1))),
        ("a clock that is a little ahead of ours", changed("iat", json!(now + 10))),
        ("more than is looked at", changed("google", json!({"compute_engine": {}}))),
    ] {
        guarded.takes(name, &bearer(&GENUINE.token(KEY_ID, &claims))).await;
    }
}
