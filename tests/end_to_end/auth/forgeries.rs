//! Tokens that somebody else has made.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Guarded;
use crate::support::ground::Ground;
use crate::support::issuer::{GENUINE, Issuer, Jwks, KEY_ID, OTHER, bearer, claims, good_token, signed};
use crate::support::suite::Suite;

pub(super) fn tests(suite: &mut Suite) {
    suite.on_embedded(a_forged_token_is_refused);
    suite.on_embedded(a_key_that_is_not_for_rs256_signs_nothing);
}

/// The modulus of a key of 1,024 bits, and a token that it has signed with the right claims, good until 2100. Made with
/// openssl: the library that signs the other tokens does not make such a key.
const SHORT_MODULUS: &str = "npH7LlR7Hf7eeII5Sabe-sL6IEknKXiKpkWF0N1r_-FMURNGAbNLg8mbW8IpU3t6w1xsVN71a3jxs8gWKqIXjOm7dIVeedf_nMEv-o83Su7Zh_jXLDBqxUKe2F-jiZJPEIF77qhTd3T6A_upeMctWTouWbDf9Ba76Po8el_lCQ0";
const SHORT_TOKEN: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InNob3J0IiwidHlwIjoiSldUIn0.",
    "eyJpc3MiOiJodHRwczovL2FjY291bnRzLmdvb2dsZS5jb20iLCJhdWQiOiJodHRwczovL3B1c2hyb2xsLmV4YW1wbGUuY29tL3YxL3B1c2giLCJl",
    "bWFpbCI6InB1c2hAZXhhbXBsZS5pYW0uZ3NlcnZpY2VhY2NvdW50LmNvbSIsImVtYWlsX3ZlcmlmaWVkIjp0cnVlLCJpYXQiOjE3MDAwMDAwMDAs",
    "ImV4cCI6NDEwMjQ0NDgwMH0.",
    "AbB0IDbgn8YG0ygPp47qBo1FADutmzpvVJYZOH78klLJOkBrdGBNgo-PUzAeus4W05_S21Rr9Daoih1Eu91gxqtkXqBE6_Ntz5wjfMsNRlvSaTXm",
    "uYBVuOrI6k3c1ZgOw15JBPQLJM-Ym6cBGhbqbjzNm-S20fnsGFxb2CM7cBM",
);

fn header(members: Value) -> Value {
    let mut header = json!({"alg": "RS256", "kid": KEY_ID, "typ": "JWT"});
    for (name, value) in members.as_object().unwrap() {
        header[name] = value.clone();
    }
    header
}

/// What an attacker who knows everything but the private key can make.
fn forged(members: Value) -> String {
    OTHER.token_with(&header(members), &claims())
}

/// HMAC with the public key, as JOSE libraries once accepted it.
fn hs256(secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    signed(&header(json!({"alg": "HS256"})), &claims(), |message| hmac::sign(&key, message).as_ref().to_vec())
}

async fn a_forged_token_is_refused(ground: Ground) {
    let guarded = Guarded::start(ground, Jwks::genuine()).await;
    // Where a forged header points: a JWKS of the attacker's own, which nobody asks for.
    let attackers = Issuer::start(Jwks::Keys(vec![OTHER.jwk("theirs")], "max-age=60")).await;
    let good = good_token();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (protected, payload) = message.split_once('.').unwrap();
    let mut other_claims = claims();
    other_claims["email"] = json!("somebody@example.com");
    let other_payload = URL_SAFE_NO_PAD.encode(other_claims.to_string());
    let none = |name: &str| signed(&header(json!({"alg": name})), &claims(), |_| Vec::new());
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[17] ^= 1;
    let without_kid = json!({"alg": "RS256", "jwk": OTHER.jwk(KEY_ID)});
    let cases = [
        ("alg: none", none("none"), "malformed"),
        ("alg: None", none("None"), "malformed"),
        ("no alg", signed(&json!({"kid": KEY_ID}), &claims(), |_| Vec::new()), "malformed"),
        ("HS256 with the public key", hs256(GENUINE.public_key()), "algorithm"),
        ("HS256 with the JWK", hs256(GENUINE.jwk(KEY_ID).to_string().as_bytes()), "algorithm"),
        ("RS512", forged(json!({"alg": "RS512"})), "algorithm"),
        ("PS256", forged(json!({"alg": "PS256"})), "algorithm"),
        ("another key under the same kid", forged(json!({})), "signature"),
        ("an embedded jwk", forged(json!({"jwk": OTHER.jwk(KEY_ID)})), "signature"),
        ("an embedded jwk without a kid", OTHER.token_with(&without_kid, &claims()), "unknown_key"),
        ("jku", forged(json!({"jku": attackers.url})), "signature"),
        ("x5u", forged(json!({"x5u": attackers.url})), "signature"),
        ("jku and a kid of its own", forged(json!({"jku": attackers.url, "kid": "theirs"})), "unknown_key"),
        ("a kid like a path", forged(json!({"kid": "../../dev/null"})), "unknown_key"),
        ("an empty kid", GENUINE.token("", &claims()), "unknown_key"),
        ("no kid", GENUINE.token_with(&json!({"alg": "RS256"}), &claims()), "unknown_key"),
        ("a critical extension", GENUINE.token_with(&header(json!({"crit": ["exp"]})), &claims()), "malformed"),
        ("other claims under a good signature", format!("{protected}.{other_payload}.{signature}"), "signature"),
        ("one bit of the signature", format!("{message}.{}", URL_SAFE_NO_PAD.encode(flipped)), "signature"),
        ("no signature", format!("{message}."), "signature"),
        ("half a signature", format!("{message}.{}", &signature[..signature.len() / 2]), "signature"),
        ("the signature of nothing", format!("{protected}..{signature}"), "signature"),
        ("a part too many", format!("{protected}.{payload}.{payload}.{signature}"), "malformed"),
    ];
    guarded.refuses(&cases.map(|(name, token, check)| (name, vec![bearer(&token)], check))).await;
    assert_eq!(attackers.fetches(), 0);
    guarded.takes("and yet the right one", &bearer(&good)).await;
}

async fn a_key_that_is_not_for_rs256_signs_nothing(ground: Ground) {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let elliptic = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
    // 0x04, x, y.
    let point = elliptic.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let with = |kid: &str, name: &str, value: &str| {
        let mut key = OTHER.jwk(kid);
        key[name] = json!(value);
        key
    };
    let keys = [
        json!({"kty": "EC", "crv": "P-256", "kid": "elliptic", "alg": "ES256", "use": "sig", "x": x, "y": y}),
        json!({"kty": "RSA", "kid": "short", "alg": "RS256", "use": "sig", "n": SHORT_MODULUS, "e": "AQAB"}),
        json!({"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0"}),
        with("for-encryption", "use", "enc"),
        with("for-rs512", "alg", "RS512"),
        with("not-a-number", "n", "%%%"),
        json!({"kid": "nothing"}),
        json!("nothing at all"),
    ];
    let guarded = Guarded::start(ground, Jwks::genuine_and(keys)).await;
    let es256 = |kid: &str| {
        let header = json!({"alg": "ES256", "kid": kid, "typ": "JWT"});
        signed(&header, &claims(), |message| elliptic.sign(&random, message).unwrap().as_ref().to_vec())
    };
    let other = |kid: &str| OTHER.token(kid, &claims());
    let cases = [
        ("ES256", es256("elliptic"), "algorithm"),
        ("ES256 under the RSA key's kid", es256(KEY_ID), "algorithm"),
        ("1,024 bits", SHORT_TOKEN.to_owned(), "unknown_key"),
        ("a key for encryption", other("for-encryption"), "unknown_key"),
        ("a key for RS512", other("for-rs512"), "unknown_key"),
        ("a key that is none", other("not-a-number"), "unknown_key"),
    ];
    guarded.refuses(&cases.map(|(name, token, check)| (name, vec![bearer(&token)], check))).await;
    guarded.takes("the one key that is good", &bearer(&good_token())).await;
    assert_eq!(guarded.service.status().await["signing_keys"]["keys"], 1);
}
