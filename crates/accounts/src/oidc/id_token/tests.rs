//! ID tokens of an honest provider, and every way to forge one that is known. The keys are those of
//! the tests of bearer tokens.

use jsonwebtoken::{EncodingKey, crypto};
use serde_json::json;

use super::*;

const RSA: &str = include_str!("../../token/fixtures/rsa.pem");
const RSA_PUBLIC: &str = include_str!("../../token/fixtures/rsa.pub.pem");
const P256: &str = include_str!("../../token/fixtures/p256.pem");
const P256_PUBLIC: &str = include_str!("../../token/fixtures/p256.pub.pem");
const ED25519: &str = include_str!("../../token/fixtures/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("../../token/fixtures/ed25519.pub.pem");
const NOW: u64 = 1_700_000_000;

fn keys() -> TokenKeys {
    let mut keys = TokenKeys::default();
    keys.insert("rsa:r", RSA_PUBLIC).unwrap();
    keys.insert("ec:e", P256_PUBLIC).unwrap();
    keys.insert("eddsa:d", ED25519_PUBLIC).unwrap();
    keys
}

fn signer(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(P256.as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap(),
        // The oldest trick: what is public, taken for a secret.
        Algorithm::HS256 => EncodingKey::from_secret(RSA_PUBLIC.as_bytes()),
        Algorithm::HS384
        | Algorithm::HS512
        | Algorithm::ES384
        | Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | _ => EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap(),
    }
}

fn signed(algorithm: Algorithm, header: &Value, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(message.as_bytes(), &signer(algorithm), algorithm).unwrap();
    format!("{message}.{signature}")
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "sub": "ann", "aud": "client", "exp": NOW + 600, "iat": NOW,
        "nonce": "n-1", "email": "ann@example.org", "email_verified": true,
    })
}

fn verify(token: &str) -> Result<Person, InvalidIdToken> {
    let issuer = Issuer::new("https://id.example").unwrap();
    let expected = Expected {
        issuer: &issuer,
        client_id: "client",
        nonce: "n-1",
        access_token: "access",
        now_s: NOW,
    };
    verify_id_token(token, &keys(), &expected)
}

/// What becomes of an honest token with these claims changed; null takes one away.
fn with(changes: &Value) -> Result<Person, InvalidIdToken> {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().shift_remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    verify(&signed(
        Algorithm::RS256,
        &json!({"alg": "RS256", "kid": "r"}),
        &claims,
    ))
}

#[test]
fn honest_tokens_name_their_person() {
    let person = Person {
        subject: "ann".to_owned(),
        address: Some("ann@example.org".to_owned()),
        address_verified: true,
    };
    for (algorithm, name, kid) in [
        (Algorithm::RS256, "RS256", "r"),
        (Algorithm::PS384, "PS384", "r"),
        (Algorithm::ES256, "ES256", "e"),
        (Algorithm::EdDSA, "EdDSA", "d"),
    ] {
        let token = signed(algorithm, &json!({"alg": name, "kid": kid}), &claims());
        assert_eq!(verify(&token), Ok(person.clone()), "{name}");
    }
    assert_eq!(with(&json!({"aud": ["client"]})), Ok(person.clone()));
    assert_eq!(
        with(&json!({"aud": ["client", "x"], "azp": "client"})),
        Ok(person.clone())
    );
    assert_eq!(
        with(&json!({"email_verified": "true"})),
        Ok(person.clone()),
        "as Apple has it"
    );
    assert_eq!(with(&json!({"iat": 1_700_000_000.7})), Ok(person.clone()));
    assert_eq!(with(&json!({"exp": NOW - 59, "iat": NOW + 60})), Ok(person));
}

#[test]
fn algorithms_that_prove_nothing_are_refused() {
    let refused = |token: &str, expected| assert_eq!(verify(token), Err(expected), "{token}");
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    for none in ["none", "None", "NONE", ""] {
        let head = part(json!({"alg": none, "kid": "r"}));
        refused(
            &format!("{head}.{}.", part(claims())),
            InvalidIdToken::Algorithm,
        );
    }
    for kid in ["r", "e", "_default"] {
        let token = signed(
            Algorithm::HS256,
            &json!({"alg": "HS256", "kid": kid}),
            &claims(),
        );
        refused(&token, InvalidIdToken::Algorithm);
    }
    // Signed as a secret's, and called by the public key's algorithm.
    let token = signed(
        Algorithm::HS256,
        &json!({"alg": "RS256", "kid": "r"}),
        &claims(),
    );
    refused(&token, InvalidIdToken::Signature);
    let token = signed(
        Algorithm::RS256,
        &json!({"alg": "RS256", "kid": "r", "crit": ["x"]}),
        &claims(),
    );
    refused(&token, InvalidIdToken::Algorithm);
    refused("", InvalidIdToken::Malformed);
    refused("a.b", InvalidIdToken::Malformed);
}

#[test]
fn another_key_signs_for_nobody() {
    let token = |kid: Value| {
        signed(
            Algorithm::RS256,
            &json!({"alg": "RS256", "kid": kid}),
            &claims(),
        )
    };
    assert_eq!(
        verify(&token(json!("gone"))),
        Err(InvalidIdToken::UnknownKey)
    );
    assert_eq!(
        verify(&token(json!("e"))),
        Err(InvalidIdToken::UnknownKey),
        "of another kind"
    );
    assert_eq!(verify(&token(json!(null))), Err(InvalidIdToken::UnknownKey));
    let honest = token(json!("r"));
    let (message, _) = honest.rsplit_once('.').unwrap();
    let other = signed(
        Algorithm::RS256,
        &json!({"alg": "RS256", "kid": "r"}),
        &json!({}),
    );
    let (_, signature) = other.rsplit_once('.').unwrap();
    assert_eq!(
        verify(&format!("{message}.{signature}")),
        Err(InvalidIdToken::Signature)
    );
    // A key that the token brings along is nobody's.
    let own =
        json!({"alg": "RS256", "kid": "new", "jwk": {"kty": "RSA"}, "jku": "https://evil.example"});
    let token = signed(Algorithm::RS256, &own, &claims());
    assert_eq!(verify(&token), Err(InvalidIdToken::UnknownKey));
}

#[test]
fn a_token_for_or_of_somebody_else_is_refused() {
    use InvalidIdToken::{Audience, Issuer as Wrong, Nonce, Subject};
    for (changes, expected) in [
        (json!({"iss": "https://other.example"}), Wrong),
        (json!({"iss": "https://id.example/"}), Wrong),
        (json!({"iss": null}), Wrong),
        (json!({"aud": "other"}), Audience),
        (json!({"aud": null}), Audience),
        (json!({"aud": []}), Audience),
        (json!({"aud": {"client": 1}}), Audience),
        (json!({"aud": ["other"]}), Audience),
        (json!({"aud": ["client", "other"]}), Audience),
        (
            json!({"aud": ["client", "other"], "azp": "other"}),
            Audience,
        ),
        (json!({"azp": "other"}), Audience),
        (json!({"nonce": "n-2"}), Nonce),
        (json!({"nonce": null}), Nonce),
        (json!({"nonce": 1}), Nonce),
        (json!({"sub": null}), Subject),
        (json!({"sub": ""}), Subject),
        (json!({"sub": 7}), Subject),
        (json!({"sub": "a\u{0}b"}), Subject),
        (json!({"sub": "a".repeat(256)}), Subject),
    ] {
        assert_eq!(with(&changes), Err(expected), "{changes}");
    }
}

#[test]
fn a_token_of_another_time_is_refused() {
    use InvalidIdToken::{Expired, NotNow};
    for (changes, expected) in [
        (json!({"exp": NOW - 60}), Expired),
        (json!({"exp": null}), Expired),
        (json!({"exp": "later"}), Expired),
        (json!({"exp": -1}), Expired),
        (json!({"iat": NOW + 61}), NotNow),
        (json!({"iat": NOW - 3_601}), NotNow),
        (json!({"iat": null}), NotNow),
        (json!({"iat": "now"}), NotNow),
        (json!({"nbf": NOW + 61}), NotNow),
        (json!({"nbf": "now"}), NotNow),
    ] {
        assert_eq!(with(&changes), Err(expected), "{changes}");
    }
}

#[test]
fn the_access_token_is_the_one_that_came_along() {
    let half = &Sha256::digest(b"access")[..16];
    assert!(with(&json!({"at_hash": URL_SAFE_NO_PAD.encode(half)})).is_ok());
    let other = &Sha256::digest(b"another")[..16];
    for bad in [json!(URL_SAFE_NO_PAD.encode(other)), json!(""), json!(1)] {
        assert_eq!(
            with(&json!({ "at_hash": bad })),
            Err(InvalidIdToken::AccessToken)
        );
    }
}

#[test]
fn an_address_that_is_not_said_to_be_verified_is_not() {
    for said in [
        json!(false),
        json!(null),
        json!("yes"),
        json!(1),
        json!(["true"]),
    ] {
        let person = with(&json!({ "email_verified": said })).unwrap();
        assert!(
            !person.address_verified && person.address.is_some(),
            "{said}"
        );
    }
    let nobody = with(&json!({"email": null})).unwrap();
    assert!(!nobody.address_verified && nobody.address.is_none());
}

#[test]
fn people_of_two_tenants_are_two() {
    let issuer = Issuer::new("https://login.example/{tenantid}/v2.0").unwrap();
    let verified = |tenant: &str, iss_of: &str| {
        let mut claims = claims();
        claims["tid"] = json!(tenant);
        claims["iss"] = json!(format!("https://login.example/{iss_of}/v2.0"));
        let token = signed(
            Algorithm::ES256,
            &json!({"alg": "ES256", "kid": "e"}),
            &claims,
        );
        let expected = Expected {
            issuer: &issuer,
            client_id: "client",
            nonce: "n-1",
            access_token: "access",
            now_s: NOW,
        };
        verify_id_token(&token, &keys(), &expected)
    };
    let (one, two) = (
        "72f988bf-86f1-41af-91ab-2d7cd011db47",
        "82f988bf-86f1-41af-91ab-2d7cd011db47",
    );
    assert_eq!(verified(one, one).unwrap().subject, format!("{one}.ann"));
    assert_eq!(verified(two, two).unwrap().subject, format!("{two}.ann"));
    assert_eq!(verified(one, two), Err(InvalidIdToken::Issuer));
}

#[test]
fn an_address_that_google_does_not_keep_is_not_proved_by_it() {
    let google = Issuer::new("https://accounts.google.com").unwrap();
    let other = Issuer::new("https://id.example").unwrap();
    let verified = |more: Value, issuer: &Issuer| {
        let mut claims = json!({"sub": "ann", "email": "ann@example.org", "email_verified": true});
        let members = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(members);
        person(claims.as_object().unwrap(), issuer)
            .unwrap()
            .address_verified
    };
    assert!(!verified(json!({}), &google));
    assert!(!verified(json!({"hd": ""}), &google));
    assert!(!verified(
        json!({"email": "ann@gmail.com.evil.example"}),
        &google
    ));
    assert!(!verified(
        json!({"email": "ann@gmail.com", "email_verified": false}),
        &google
    ));
    assert!(verified(json!({"email": "ann@Gmail.com"}), &google));
    assert!(verified(json!({"hd": "example.org"}), &google));
    assert!(verified(json!({}), &other));
}
