//! Tokens of every algorithm, and every way to forge one that is known. The keys beside this file
//! are for these tests alone.

use adea_base::Caller;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::*;

const RSA: &str = include_str!("fixtures/rsa.pem");
const RSA_PUBLIC: &str = include_str!("fixtures/rsa.pub.pem");
const P256: &str = include_str!("fixtures/p256.pem");
const P256_PUBLIC: &str = include_str!("fixtures/p256.pub.pem");
const P384: &str = include_str!("fixtures/p384.pem");
const P384_PUBLIC: &str = include_str!("fixtures/p384.pub.pem");
const ED25519: &str = include_str!("fixtures/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("fixtures/ed25519.pub.pem");
const PUBLISHED: &str = include_str!("fixtures/published.json");
const SECRET: &[u8] = b"a secret that both know";
const NOW: u64 = 1_700_000_000;

fn keys() -> TokenKeys {
    let mut keys = TokenKeys::default();
    let secret = STANDARD.encode(SECRET);
    for (name, value) in [
        ("hmac:_default", secret.as_str()),
        ("hmac:h", &secret),
        ("rsa:r", RSA_PUBLIC),
        // As one line of a configuration has it.
        ("rsa:_default", &RSA_PUBLIC.replace('\n', "\\n")),
        ("ec:e", P256_PUBLIC),
        ("ec:e3", P384_PUBLIC),
        ("eddsa:d", ED25519_PUBLIC),
    ] {
        keys.insert(name, value).unwrap();
    }
    keys
}

fn signer(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => EncodingKey::from_secret(SECRET),
        Algorithm::ES256 => EncodingKey::from_ec_pem(P256.as_bytes()).unwrap(),
        Algorithm::ES384 => EncodingKey::from_ec_pem(P384.as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap(),
        _ => EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap(),
    }
}

/// A token of these parts, signed as `algorithm` with `key`, whatever its header says.
fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A token of an honest maker.
fn token(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT"});
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    signed(&header, claims, &signer(algorithm), algorithm)
}

/// An honest token for `claims` alone.
fn hs256(claims: &Value) -> String {
    token(Algorithm::HS256, None, claims)
}

fn verify_with(token: &str, rules: &TokenRules) -> Result<TokenHolder, TokenError> {
    PresentedToken::parse(token)?.verify(&[&keys()], rules, NOW)
}

fn verify(token: &str) -> Result<TokenHolder, TokenError> {
    verify_with(token, &TokenRules::default())
}

fn is_invalid(token: &str, reason: &'static str) {
    assert_eq!(
        verify(token),
        Err(TokenError::Invalid(reason.into())),
        "{token}"
    );
}

#[test]
fn tokens_of_every_algorithm_are_accepted() {
    let claims = json!({"sub":"ann","_couchdb.roles":["a","_admin"],"exp":NOW + 1,"nbf":NOW});
    for (algorithm, kid) in [
        (Algorithm::HS256, None),
        (Algorithm::HS384, Some("h")),
        (Algorithm::HS512, Some("h")),
        (Algorithm::RS256, None),
        (Algorithm::RS384, Some("r")),
        (Algorithm::RS512, Some("r")),
        (Algorithm::PS256, None),
        (Algorithm::PS384, Some("r")),
        (Algorithm::PS512, Some("r")),
        (Algorithm::ES256, Some("e")),
        (Algorithm::ES384, Some("e3")),
        (Algorithm::EdDSA, Some("d")),
    ] {
        let made = token(algorithm, kid, &claims);
        let holder = verify(&made).unwrap();
        let roles = vec!["a".to_owned(), "_admin".to_owned()];
        assert_eq!(holder.caller, Caller::named("ann", roles), "{algorithm:?}");
        assert_eq!(holder.expires_s, Some(NOW + 1));
        // Any other character anywhere, and it is worth nothing.
        for at in [0, made.len() / 2, made.len() - 1] {
            let mut forged = made.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(verify(&forged).is_err(), "{algorithm:?} {at}");
        }
    }
}

#[test]
fn no_algorithm_is_no_proof() {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = part(r#"{"sub":"ann"}"#);
    for alg in [
        "none", "None", "NONE", "HS1", "RS1", "ES512", "hs256", "dir", "",
    ] {
        let header = part(&json!({ "alg": alg }).to_string());
        for signature in ["", "AAAA"] {
            is_invalid(
                &format!("{header}.{claims}.{signature}"),
                "Invalid alg header parameter",
            );
        }
    }
    is_invalid(
        &format!("{}.{claims}.", part("{}")),
        "Missing alg header parameter",
    );
    let header = part(r#"{"alg":"HS256"}"#);
    is_invalid(&format!("{header}.{claims}."), "Bad HMAC");
}

#[test]
fn a_key_serves_only_its_own_kind_of_algorithm() {
    let claims = json!({"sub":"ann"});
    // The classic: a public key, which everybody has, taken for a shared secret.
    for secret in [RSA_PUBLIC, RSA_PUBLIC.trim(), P256_PUBLIC] {
        let key = EncodingKey::from_secret(secret.as_bytes());
        for kid in ["r", "e", "d"] {
            let header = json!({"alg":"HS256","kid":kid});
            let forged = signed(&header, &claims, &key, Algorithm::HS256);
            assert_eq!(verify(&forged), Err(TokenError::UnknownKey));
        }
        let forged = signed(&json!({"alg":"HS256"}), &claims, &key, Algorithm::HS256);
        is_invalid(&forged, "Bad HMAC");
    }
    for (algorithm, kid) in [
        (Algorithm::RS256, "e"),
        (Algorithm::RS256, "h"),
        (Algorithm::ES256, "r"),
        (Algorithm::EdDSA, "e"),
        (Algorithm::HS256, "d"),
        (Algorithm::HS256, "nobody"),
    ] {
        let made = token(algorithm, Some(kid), &claims);
        assert_eq!(verify(&made), Err(TokenError::UnknownKey), "{kid}");
    }
    // The right kind and another curve.
    let made = token(Algorithm::ES256, Some("e3"), &claims);
    is_invalid(&made, "Bad signature");
    let made = token(Algorithm::ES384, Some("e"), &claims);
    is_invalid(&made, "Bad signature");
    // The right key, and a header that speaks of another algorithm than was used.
    let header = json!({"alg":"RS256","kid":"r"});
    let made = signed(
        &header,
        &claims,
        &signer(Algorithm::PS256),
        Algorithm::PS256,
    );
    is_invalid(&made, "Bad signature");
}

#[test]
fn what_is_no_token_is_told_so() {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let header = part(r#"{"alg":"HS256"}"#);
    for text in [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "a.b.c",
        "é.é.é",
        &format!("{header}=.e30.e30"),
        &"a".repeat(40_000),
        &format!("{}.e30.e30", part(r#"{"alg":1}"#)),
        &format!("{}.e30.e30", part(r#"{"alg":"HS256","kid":{}}"#)),
        &format!("{}.e30.e30", part(&"[".repeat(5_000))),
    ] {
        is_invalid(text, "Malformed token");
    }
    is_invalid(&format!("{}.e30.e30", part("[]")), "Not an object");
    let critical = json!({"alg":"HS256","crit":["b64"],"b64":false});
    let key = signer(Algorithm::HS256);
    let made = signed(&critical, &json!({"sub":"ann"}), &key, Algorithm::HS256);
    is_invalid(&made, "Invalid crit header parameter");
    let list = signed(&json!({"alg":"HS256"}), &json!([1]), &key, Algorithm::HS256);
    is_invalid(&list, "Not an object");
    let long = token(Algorithm::HS256, Some(&"k".repeat(2_000)), &json!({}));
    assert_eq!(verify(&long), Err(TokenError::UnknownKey));
}

#[test]
fn a_token_has_its_time() {
    let late = |leeway_s| TokenRules {
        leeway_s,
        ..TokenRules::default()
    };
    let with = |claims: Value, leeway_s| {
        let mut claims = claims;
        claims["sub"] = "ann".into();
        verify_with(&hs256(&claims), &late(leeway_s)).map(|holder| holder.expires_s)
    };
    let refused = |reason: &'static str| Err(TokenError::Refused(reason.into()));
    assert_eq!(with(json!({}), 0), Ok(None));
    assert_eq!(with(json!({"exp":NOW}), 0), refused("exp not in future"));
    assert_eq!(with(json!({"exp":NOW}), 1), Ok(Some(NOW + 1)));
    assert_eq!(
        with(json!({"exp":NOW - 30}), 30),
        refused("exp not in future")
    );
    assert_eq!(with(json!({"exp":-5}), 0), refused("exp not in future"));
    assert_eq!(with(json!({"exp":NOW as f64 + 1.5}), 0), Ok(Some(NOW + 1)));
    assert_eq!(with(json!({"exp":1e300}), 0), Ok(Some(253_402_300_799)));
    assert_eq!(with(json!({"nbf":NOW + 1}), 0), refused("nbf not in past"));
    assert_eq!(with(json!({"nbf":NOW + 1}), 1), Ok(None));
    for bad in [json!("soon"), json!(null), json!([1]), json!(true)] {
        let invalid = Err(TokenError::Invalid("Invalid exp claim".into()));
        assert_eq!(with(json!({"exp":bad}), 0), invalid);
    }
}

fn required(list: &str) -> TokenRules {
    TokenRules {
        required: RequiredClaims::parse(list).unwrap(),
        ..TokenRules::default()
    }
}

#[test]
fn required_claims_are_required() {
    let list = r#"exp, iat,{iss, "https://id.example"},{ aud , "notes" } , typ"#;
    let good =
        json!({"sub":"ann","exp":NOW + 9,"iat":NOW,"iss":"https://id.example","aud":["x","notes"]});
    let check = |field: &str, value: Value| {
        let mut claims = good.clone();
        let fields = claims.as_object_mut().unwrap();
        if value.is_null() {
            fields.shift_remove(field);
        } else {
            fields.insert(field.to_owned(), value);
        }
        match verify_with(&hs256(&claims), &required(list)) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(check("x", Value::Null), "ok");
    assert_eq!(check("aud", json!("notes")), "ok");
    assert_eq!(check("exp", Value::Null), "Missing exp claim");
    assert_eq!(check("iat", Value::Null), "Missing iat claim");
    assert_eq!(check("iat", json!("today")), "Invalid iat claim");
    assert_eq!(check("iss", Value::Null), "Missing iss claim");
    for iss in [
        json!("https://id.example.evil"),
        json!(7),
        json!({}),
        json!([]),
    ] {
        assert_eq!(check("iss", iss), "Invalid iss claim");
    }
    assert_eq!(check("aud", json!(["x", 1])), "Invalid aud claim");
    assert_eq!(check("sub", Value::Null), "Token missing sub claim.");
    assert_eq!(check("sub", json!("")), "Token missing sub claim.");
    assert_eq!(check("sub", json!(7)), "Token missing sub claim.");

    let like = required(r#"{iss, "^https://[a-z]+\.example$"}"#);
    let said = |iss: &str| verify_with(&hs256(&json!({"sub":"ann","iss":iss})), &like).is_ok();
    assert!(said("https://id.example"));
    for other in [
        "https://id.example.evil",
        "x https://id.example",
        "https://id_example",
    ] {
        assert!(!said(other), "{other}");
    }
    let kid = token(Algorithm::HS256, Some("h"), &json!({"sub":"ann"}));
    assert!(verify_with(&kid, &required("kid")).is_ok());
    let without = hs256(&json!({"sub":"ann"}));
    let missing = TokenError::Invalid("Missing kid claim".into());
    assert_eq!(verify_with(&without, &required("kid")), Err(missing));

    for (list, count) in [("", 0), (" , ", 0), ("exp", 1), ("exp,nbf,{a,\"b,}\"}", 3)] {
        let read = format!("{:?}", RequiredClaims::parse(list).unwrap());
        assert_eq!(read.matches("\", ").count(), count, "{read}");
    }
    for bad in [
        "{",
        "{}",
        "{iss}",
        "{iss,}",
        "{iss,\"a\"",
        "{iss,'a'}",
        "exp nbf",
        "\"exp\"",
        "exp}",
    ] {
        assert!(RequiredClaims::parse(bad).is_err(), "{bad}");
    }
    assert!(RequiredClaims::parse("{iss,\"^(\"}").is_err());
}

#[test]
fn roles_stand_where_the_rules_say() {
    let claims = json!({
        "sub":"ann", "_couchdb.roles":["a"], "my.roles":["b"],
        "resource_access":{"security.settings":{"account":{"roles":["c","_d"]}}},
        "torn":["x",1], "text":"x",
    });
    let roles = |path: ClaimPath, system_roles| {
        let rules = TokenRules {
            roles: path,
            system_roles,
            ..TokenRules::default()
        };
        verify_with(&hs256(&claims), &rules).map(|holder| holder.caller.roles().join(","))
    };
    let told = |text: &str| Ok(text.to_owned());
    assert_eq!(roles(TokenRules::default().roles, true), told("a"));
    assert_eq!(roles(ClaimPath::name("my.roles"), true), told("b"));
    assert_eq!(roles(ClaimPath::parse("my\\.roles"), true), told("b"));
    let nested = ClaimPath::parse("resource_access.security\\.settings.account.roles");
    assert_eq!(roles(nested.clone(), true), told("c,_d"));
    assert_eq!(roles(nested, false), told("c"));
    for nothing in ["my.roles", "", ".", "sub.x", "resource_access.x.y"] {
        assert_eq!(
            roles(ClaimPath::parse(nothing), true),
            told(""),
            "{nothing}"
        );
    }
    for bad in ["torn", "text", "resource_access"] {
        let invalid = Err(TokenError::Invalid("Invalid roles claim".into()));
        assert_eq!(roles(ClaimPath::parse(bad), true), invalid, "{bad}");
    }
}

#[test]
fn published_keys_verify_and_their_secrets_do_not_count() {
    let keys = TokenKeys::from_published(PUBLISHED.as_bytes()).unwrap();
    let claims = json!({"sub":"ann"});
    let ask = |algorithm, kid: &str| {
        let made = token(algorithm, Some(kid), &claims);
        let presented = PresentedToken::parse(&made).unwrap();
        presented
            .verify(&[&TokenKeys::default(), &keys], &TokenRules::default(), NOW)
            .map(|holder| holder.caller.name().unwrap_or_default().to_owned())
    };
    for (algorithm, kid) in [
        (Algorithm::RS256, "r"),
        (Algorithm::ES256, "e"),
        (Algorithm::ES384, "e3"),
        (Algorithm::EdDSA, "d"),
    ] {
        assert_eq!(ask(algorithm, kid), Ok("ann".to_owned()), "{kid}");
    }
    // Its publisher said that it is for RS256 alone.
    let bad = Err(TokenError::Invalid("Bad signature".into()));
    assert_eq!(ask(Algorithm::RS512, "r"), bad);
    assert_eq!(ask(Algorithm::PS256, "r"), bad);
    for (algorithm, kid) in [
        (Algorithm::HS256, "h"),
        (Algorithm::RS256, "enc"),
        (Algorithm::RS256, "half"),
        (Algorithm::ES256, "lie"),
        (Algorithm::RS256, "x"),
    ] {
        assert_eq!(ask(algorithm, kid), Err(TokenError::UnknownKey), "{kid}");
    }
    for nothing in ["", "[]", "{}", "{\"keys\":{}}", "<html>"] {
        assert!(TokenKeys::from_published(nothing.as_bytes()).is_none());
    }
    let empty = TokenKeys::from_published(b"{\"keys\":[]}").unwrap();
    assert!(empty.is_empty());
}

#[test]
fn configured_keys_are_checked_when_they_are_read() {
    let mut keys = TokenKeys::default();
    let mut said = |name: &str, value: &str| keys.insert(name, value).unwrap_err();
    for name in ["", "x", "hmac", "hmac:", "HMAC:a", "oct:a", "rsa"] {
        assert_eq!(
            said(name, "aGVsbG8="),
            InvalidTokenKey::Kind(name.to_owned())
        );
    }
    for secret in ["", "***", "aGVsbG8"] {
        assert_eq!(
            said("hmac:a", secret),
            InvalidTokenKey::Secret("hmac:a".to_owned())
        );
    }
    for (name, pem) in [
        ("rsa:a", P256_PUBLIC),
        ("ec:a", RSA_PUBLIC),
        ("eddsa:a", P256_PUBLIC),
        ("ec:a", ED25519_PUBLIC),
        ("rsa:a", "hello"),
        ("rsa:a", ""),
    ] {
        assert_eq!(said(name, pem), InvalidTokenKey::Pem(name.to_owned()));
    }
    assert_eq!(
        said("rsa:a", RSA),
        InvalidTokenKey::Private("rsa:a".to_owned())
    );
    assert!(keys.is_empty());
    // A name may hold colons.
    assert_eq!(keys.insert("hmac:a:b", "aGVsbG8="), Ok(()));
    assert!(keys.knows(KeyKind::Hmac, Some("a:b")));
    assert!(!format!("{keys:?}").contains("hello"));
}
