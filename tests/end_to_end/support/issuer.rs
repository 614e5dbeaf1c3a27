//! An issuer of tokens: keys that sign them, and a JWKS server that publishes the keys, or fails to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use pushroll::server::auth::AuthConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::fixtures::PushMessage;
use super::http::Answer;
use super::service::{Service, ServiceBuilder};

pub const AUDIENCE: &str = "https://pushroll.example.com/v1/push";
pub const ACCOUNT: &str = "push@example.iam.gserviceaccount.com";
/// The `kid` under which an issuer publishes [`GENUINE`] at first.
pub const KEY_ID: &str = "key-1";

/// Two keys for all tests: making one takes a while.
pub static GENUINE: LazyLock<SigningKey> = LazyLock::new(SigningKey::generate);
pub static OTHER: LazyLock<SigningKey> = LazyLock::new(SigningKey::generate);

/// An RSA key.
pub struct SigningKey(RsaKeyPair);

impl SigningKey {
    fn generate() -> Self {
        Self(KeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// The public half, as a JWKS has it.
    pub fn jwk(&self, kid: &str) -> Value {
        let (n, e) = (self.0.public_key().modulus(), self.0.public_key().exponent());
        let encoded = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
        let (n, e) = (encoded(n.big_endian_without_leading_zero()), encoded(e.big_endian_without_leading_zero()));
        json!({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": n, "e": e})
    }

    pub fn public_key(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// A token of these claims, signed with RS256.
    pub fn token(&self, kid: &str, claims: &Value) -> String {
        self.token_with(&json!({"alg": "RS256", "kid": kid, "typ": "JWT"}), claims)
    }

    /// As [`Self::token`], with a header of the test's own.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        signed(header, claims, |message| {
            self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        })
    }
}

/// A token with any signature.
pub fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What Google says in a token of the right subscription, at this time.
pub fn claims_at(now: Timestamp) -> Value {
    let now = now.as_second();
    json!({
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "azp": "113774264463038321964", "sub": "113774264463038321964",
        "email": ACCOUNT, "email_verified": true, "iat": now - 60, "exp": now + 3540,
    })
}

pub fn claims() -> Value {
    claims_at(Timestamp::now())
}

/// A token that nothing is wrong with.
pub fn good_token() -> String {
    GENUINE.token(KEY_ID, &claims())
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// What the JWKS server does.
#[derive(Debug, Clone)]
pub enum Jwks {
    /// These keys, with this `Cache-Control`.
    Keys(Vec<Value>, &'static str),
    Text(&'static str),
    Status(u16),
    /// No answer, until it does something else.
    Hangs,
    /// Redirects to where the keys are.
    Redirects,
}

impl Jwks {
    /// The genuine key and what more there is.
    pub fn genuine_and(more: impl IntoIterator<Item = Value>) -> Self {
        Self::Keys([GENUINE.jwk(KEY_ID)].into_iter().chain(more).collect(), "public, max-age=3600")
    }

    pub fn genuine() -> Self {
        Self::genuine_and([])
    }

    fn response(&self) -> Response {
        match self {
            Self::Keys(keys, cache_control) => {
                ([("cache-control", *cache_control)], json!({"keys": keys}).to_string()).into_response()
            }
            Self::Text(text) => ([("content-type", "text/html")], *text).into_response(),
            Self::Status(status) => StatusCode::from_u16(*status).unwrap().into_response(),
            Self::Hangs => StatusCode::GATEWAY_TIMEOUT.into_response(),
            Self::Redirects => (StatusCode::FOUND, [("location", "/elsewhere")]).into_response(),
        }
    }
}

/// A running JWKS server. Ends with the test's runtime.
pub struct Issuer {
    pub url: String,
    does: watch::Sender<Jwks>,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    pub async fn start(does: Jwks) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/certs", listener.local_addr().unwrap());
        let (does, seen) = watch::channel(does);
        let fetches = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&fetches);
        let certs = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut seen = seen.clone();
            async move {
                let now = seen.borrow_and_update().clone();
                if matches!(now, Jwks::Hangs) {
                    let _ = seen.changed().await;
                }
                now.response()
            }
        };
        let elsewhere = || async { Jwks::genuine().response() };
        let router = Router::new().route("/certs", get(certs)).route("/elsewhere", get(elsewhere));
        tokio::spawn(async move { axum_serve(listener, router).await });
        Self { url, does, fetches }
    }

    pub fn now_does(&self, jwks: Jwks) {
        self.does.send_replace(jwks);
    }

    /// How often it was asked.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    /// For a service in this process.
    pub fn auth_config(&self) -> AuthConfig {
        AuthConfig {
            audiences: vec!["https://other.example.com".to_owned(), AUDIENCE.to_owned()],
            service_accounts: vec!["other@example.com".to_owned(), ACCOUNT.to_owned()],
            jwks_url: self.url.parse().unwrap(),
        }
    }
}

/// One connection after the other would do; `axum::serve` is a feature that nothing else needs.
async fn axum_serve(listener: TcpListener, router: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        let io = hyper_util::rt::TokioIo::new(stream);
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
    }
}

impl ServiceBuilder {
    /// Takes pushes with a token of this issuer alone.
    pub fn authenticated_by(self, issuer: &Issuer) -> Self {
        let arguments = ["--audience", AUDIENCE, "--service-account", ACCOUNT, "--jwks-url", &issuer.url];
        self.without("--insecure-no-auth").arguments(arguments)
    }
}

impl Service {
    /// Delivers a message with a token, as Pub/Sub does.
    pub async fn push_with(&self, token: &str, message: &PushMessage) -> Answer {
        self.deliver(&[("authorization", &bearer(token))], message.body()).await
    }
}
