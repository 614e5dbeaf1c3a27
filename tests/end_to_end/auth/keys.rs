//! The signing keys while all is well: fetched once, ahead of their expiry, and when a new one is seen.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use pushroll::clock::Clock;

use super::{Guarded, assert_refused, results};
use crate::support::fixtures::PushMessage;
use crate::support::ground::Ground;
use crate::support::http::Answer;
use crate::support::issuer::{GENUINE, Issuer, Jwks, KEY_ID, OTHER, bearer, claims, claims_at, good_token};
use crate::support::service::Service;
use crate::support::suite::Suite;
use crate::support::wait::eventually;

pub(super) fn tests(suite: &mut Suite) {
    suite.on_embedded(a_thousand_unknown_keys_are_one_fetch);
    suite.on_embedded(keys_may_be_rotated_while_it_runs);
    suite.on_embedded(keys_are_fetched_ahead_of_their_expiry_and_off_the_pushes_way);
    suite.on_embedded(a_verified_token_is_known_until_it_expires);
    suite.on_embedded(a_flood_of_bad_tokens_is_no_flood_of_log_lines);
}

/// A service in this process whose time passes by the test's hand.
pub(super) struct Timed {
    pub(super) issuer: Issuer,
    pub(super) service: Service,
    clock: &'static AtomicI64,
    image: String,
}

impl Timed {
    pub(super) async fn start(ground: &Ground, jwks: Jwks) -> Self {
        let clock: &'static AtomicI64 = Box::leak(Box::new(AtomicI64::new(Timestamp::now().as_millisecond())));
        let issuer = Issuer::start(jwks).await;
        let auth = issuer.auth_config();
        let service = ground.service_in_process().configure(|config| config.auth = Some(auth));
        let service = service.clock(Clock::held_at(clock)).start_ready().await;
        Self { issuer, service, clock, image: ground.image("nobodys") }
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.load(Ordering::Relaxed)).unwrap()
    }

    pub(super) async fn push(&self, token: &str) -> Answer {
        self.service.push_with(token, &PushMessage::now(&self.image, 1)).await
    }

    /// With a token that is good now.
    pub(super) async fn push_well(&self) -> Answer {
        self.push(&GENUINE.token(KEY_ID, &claims_at(self.now()))).await
    }
}

async fn a_thousand_unknown_keys_are_one_fetch(ground: Ground) {
    let timed = Timed::start(&ground, Jwks::genuine()).await;
    assert_eq!(timed.issuer.fetches(), 1);
    // One signature will do for all of them: it is not looked at before there is a key.
    let signature = good_token().rsplit_once('.').unwrap().1.to_owned();
    let unknown = |number: usize| {
        let token = crate::support::issuer::signed(
            &serde_json::json!({"alg": "RS256", "kid": format!("unknown-{number}")}),
            &claims(),
            |_| Vec::new(),
        );
        format!("{token}{signature}")
    };
    let mut numbers = 0..1000;
    while !numbers.is_empty() {
        let tokens: Vec<String> = numbers.by_ref().take(50).map(unknown).collect();
        let pushes = tokens.iter().map(|token| timed.push(token));
        for answer in futures_util::future::join_all(pushes).await {
            assert_refused("unknown", &answer);
        }
    }
    assert_eq!(timed.issuer.fetches(), 2);
    assert_eq!(results(&timed.service).await["unknown_key"], 1000);
    // In the meantime those who know the key are not held up; and after a while there is another look.
    assert_eq!(timed.push_well().await.status, 200);
    timed.pass(31);
    assert_refused("unknown", &timed.push(&unknown(1001)).await);
    eventually("a third fetch", async || (timed.issuer.fetches() == 3).then_some(())).await;
}

async fn keys_may_be_rotated_while_it_runs(ground: Ground) {
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    let (old, new) = (bearer(&good_token()), bearer(&OTHER.token("key-2", &claims())));
    guarded.takes("the first key", &old).await;
    // Both are published for a while.
    guarded.issuer.now_does(Jwks::genuine_and([OTHER.jwk("key-2")]));
    // At its first push, unless the fetch takes longer than a push may be held up.
    eventually("the second key is taken", async || {
        let answer = guarded.service.deliver(&[("authorization", &new)], guarded.message().body()).await;
        (answer.status == 200).then_some(())
    })
    .await;
    guarded.takes("the first key still", &old).await;
    assert_eq!(guarded.issuer.fetches(), 2);
}

async fn keys_are_fetched_ahead_of_their_expiry_and_off_the_pushes_way(ground: Ground) {
    let keys = |more: Vec<serde_json::Value>| {
        Jwks::Keys([GENUINE.jwk(KEY_ID)].into_iter().chain(more).collect(), "public, max-age=1000")
    };
    let timed = Timed::start(&ground, keys(vec![])).await;
    let mut long_lived = claims_at(timed.now());
    long_lived["exp"] = (timed.now().as_second() + 1_000_000).into();
    let by_the_new_key = OTHER.token("key-2", &long_lived);
    timed.issuer.now_does(keys(vec![OTHER.jwk("key-2")]));
    timed.pass(850);
    eventually("the keys are fetched before they expire, without a push", async || {
        (timed.issuer.fetches() == 2).then_some(())
    })
    .await;
    timed.service.wait_for_status("two keys", |status| status["signing_keys"]["keys"] == 2).await;
    assert_eq!(timed.push(&by_the_new_key).await.status, 200);

    // Those that expire while a fetch hangs are used on: no push waits for it.
    timed.issuer.now_does(Jwks::Hangs);
    timed.pass(900);
    eventually("a fetch hangs", async || (timed.issuer.fetches() == 3).then_some(())).await;
    timed.pass(200);
    assert_eq!(timed.push_well().await.status, 200);
    timed.issuer.now_does(keys(vec![]));
    eventually("one key is left", async || {
        timed.pass(60);
        let status = timed.service.status().await;
        (status["signing_keys"]["keys"] == 1).then_some(())
    })
    .await;
    // It was known, and its key is not: what a withdrawn key has verified does not count.
    assert_refused("by a key that was withdrawn", &timed.push(&by_the_new_key).await);
    assert_eq!(results(&timed.service).await["unknown_key"], 1);
    assert_eq!(timed.push_well().await.status, 200);
}

async fn a_verified_token_is_known_until_it_expires(ground: Ground) {
    let timed = Timed::start(&ground, Jwks::genuine()).await;
    let mut claims = claims_at(timed.now());
    claims["exp"] = (timed.now().as_second() + 100).into();
    let token = GENUINE.token(KEY_ID, &claims);
    for _ in 0..2 {
        assert_eq!(timed.push(&token).await.status, 200);
        // Within the leeway the second time.
        timed.pass(60);
    }
    timed.pass(15);
    assert_refused("expired", &timed.push(&token).await);
    assert_eq!(results(&timed.service).await["expired"], 1);

    // One that is not valid yet will be.
    let mut claims = claims_at(timed.now());
    claims["nbf"] = (timed.now().as_second() + 100).into();
    let token = GENUINE.token(KEY_ID, &claims);
    assert_refused("not yet valid", &timed.push(&token).await);
    timed.pass(90);
    assert_eq!(timed.push(&token).await.status, 200);
}

async fn a_flood_of_bad_tokens_is_no_flood_of_log_lines(ground: Ground) {
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    for _ in 0..200 {
        let answer = guarded.service.deliver(&[("authorization", "Bearer x")], "").await;
        assert_refused("a flood", &answer);
    }
    let told = guarded.service.warned("a push was refused").await;
    assert!(told < 20, "{told} lines for 200 refusals");
}
