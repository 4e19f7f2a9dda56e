use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "a secret that nobody guesses, as it is long";
const NOW: u64 = 1_800_000_000_000;

fn auth() -> Auth {
    let token = |token: &str, path: &str, scopes: &[Scope]| Token {
        token: Secret::new(token),
        path: ObjectPath::parse(path).unwrap(),
        scopes: scopes.to_vec(),
    };
    let tokens = vec![token("one-token", "/jobs", &[Scope::Write]), token("other-token", "/", &[Scope::Admin])];
    Auth::new(&Options { enabled: true, jwt_secret: Secret::new(SECRET), tokens })
}

/// A token as anybody else would make it.
pub(crate) fn jwt(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

fn claims() -> Value {
    json!({"path": "/jobs", "scopes": ["read", "write"], "exp": NOW / 1_000 + 60, "sub": "ann"})
}

fn signed(claims: &Value) -> String {
    jwt(&json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET)
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).unwrap()
}

#[test]
fn wc2_a_listed_token_stands_for_what_it_reaches() {
    let identity = auth().identify("one-token", NOW).unwrap();
    assert!(identity.reaches(&path("/jobs"), Scope::Write) && identity.reaches(&path("/jobs/w1/x"), Scope::Write));
    assert!(!identity.reaches(&path("/jobs"), Scope::Read), "it is not listed for that");
    assert!(!identity.reaches(&path("/"), Scope::Write) && !identity.reaches(&path("/jobs-2"), Scope::Write));
    let admin = auth().identify("other-token", NOW).unwrap();
    assert!([Scope::Read, Scope::Write, Scope::Admin].iter().all(|scope| admin.reaches(&path("/a"), *scope)));
    assert_eq!((admin.subject, admin.expires_at), (None, None));
}

#[test]
fn wc2_a_token_that_is_not_listed_is_nobodys() {
    let long = "x".repeat(TOKEN_BYTES + 1);
    for token in ["", "one-toke", "one-token ", "ONE-TOKEN", "one-token\0", "a.b.c", "..", &long] {
        assert_eq!(auth().identify(token, NOW), Err(Error::Invalid), "{token}");
    }
    assert_eq!(Auth::default().identify(&signed(&claims()), NOW), Err(Error::Invalid), "without a secret");
    assert_eq!(Auth::default().identify("", NOW), Err(Error::Invalid));
}

#[test]
fn wc2_a_jwt_says_whom_it_stands_for_and_until_when() {
    let identity = auth().identify(&signed(&claims()), NOW).unwrap();
    let expires_at = NOW + 60_000;
    let expected = Identity {
        subject: Some("ann".into()),
        path: path("/jobs"),
        scopes: vec![Scope::Read, Scope::Write],
        expires_at: Some(expires_at),
    };
    assert_eq!(identity, expected);
    assert!(auth().identify(&signed(&claims()), expires_at - 1).is_ok());
    assert_eq!(auth().identify(&signed(&claims()), expires_at), Err(Error::Expired), "to the millisecond");
    let attached = rmp_serde::to_vec_named(&identity).unwrap();
    assert_eq!(rmp_serde::from_slice::<Identity>(&attached).unwrap(), identity);
}

#[test]
fn wc2_a_jwt_is_refused_unless_everything_about_it_is_right() {
    let with = |key: &str, value: Value| {
        let mut claims = claims();
        claims[key] = value;
        signed(&claims)
    };
    let without = |key: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(key);
        signed(&claims)
    };
    let header = |header: Value| jwt(&header, &claims(), SECRET);
    let good = signed(&claims());
    let (rest, signature) = good.rsplit_once('.').unwrap();
    for (token, what) in [
        (jwt(&json!({"alg": "HS256"}), &claims(), "another secret"), "another secret"),
        (jwt(&json!({"alg": "HS256"}), &claims(), ""), "no secret"),
        (header(json!({"alg": "none"})), "no algorithm"),
        (format!("{rest}."), "no signature"),
        (header(json!({"alg": "None"})), "no algorithm, in another way"),
        (header(json!({"alg": "HS384"})), "another algorithm of the same key"),
        (header(json!({"alg": "RS256"})), "an algorithm with another kind of key"),
        (header(json!({})), "no word of an algorithm"),
        (header(json!({"alg": "HS256", "crit": ["b64"], "b64": false})), "an extension that must be understood"),
        (format!("{rest}.{}", &signature[1..]), "a shorter signature"),
        (format!("{good}.{signature}"), "a part too many"),
        (without("exp"), "for ever"),
        (without("path"), "nowhere"),
        (without("scopes"), "for nothing"),
        (with("exp", json!("2100-01-01")), "a time in words"),
        (with("exp", json!(null)), "no time"),
        (with("exp", json!(-1)), "a time before there was any"),
        (with("path", json!("")), "an empty path is not the root"),
        (with("path", json!("jobs")), "a path without a slash"),
        (with("path", json!("/a.b")), "no path"),
        (with("scopes", json!(["all"])), "an unknown scope"),
        (with("scopes", json!("write")), "scopes that are no list"),
        (with("aud", json!("somebody else")), "for somebody else"),
    ] {
        assert_eq!(auth().identify(&token, NOW), Err(Error::Invalid), "{what}");
    }
    assert_eq!(auth().identify(&with("exp", json!(0)), NOW), Err(Error::Expired));
    assert_eq!(auth().identify(&with("exp", json!(1.5)), NOW), Err(Error::Expired));
    assert_eq!(auth().identify(&with("nbf", json!(NOW / 1_000 + 1)), NOW), Err(Error::Early));
    assert!(auth().identify(&with("nbf", json!(NOW / 1_000)), NOW).is_ok());
    assert!(auth().identify(&with("exp", json!(1e15)), NOW).is_ok());
}

#[test]
fn wc2_nothing_of_a_secret_is_shown() {
    let options = Options {
        enabled: true,
        jwt_secret: Secret::new(SECRET),
        tokens: vec![Token { token: Secret::new("one-token"), path: path("/"), scopes: Vec::new() }],
    };
    let auth = Auth::new(&options);
    for shown in [format!("{options:?} {auth:?}"), serde_json::to_string(&options.jwt_secret).unwrap()] {
        assert!(!shown.contains("one-token") && !shown.contains(SECRET), "{shown}");
    }
    assert_eq!(format!("{:?} {:?}", Secret::default(), options.jwt_secret), r#""" "(hidden)""#);
}
