//! What a provider answers when a code is swapped, and when it is asked about the bearer of a token.

use serde_json::{Map, Value};

use super::{Issuer, Person, address_by, address_of, is_address, is_subject};

/// The longest token that is kept for the next request.
const TOKEN_BYTES_MAX: usize = 32 << 10;
/// Addresses of one person that are looked at.
const ADDRESSES_MAX: usize = 100;

/// Why an answer of a provider is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// It is not what was asked for.
    #[error("it is not what was asked for")]
    Malformed,
    /// The code was not taken.
    #[error("it did not take the code")]
    Refused,
    /// It tells about somebody else than the token does.
    #[error("it tells about somebody else")]
    Subject,
}

/// What a code was swapped for.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenAnswer {
    /// Opens what the provider tells about its bearer.
    pub access_token: String,
    /// Says who it is.
    pub id_token: Option<String>,
}

impl TokenAnswer {
    /// Reads the answer of a token endpoint; GitHub tells of errors in an answer 200.
    ///
    /// # Errors
    /// [`InvalidAnswer`].
    pub fn parse(status: u16, json: &[u8]) -> Result<Self, InvalidAnswer> {
        let answer = object(json);
        if status != 200
            || answer
                .as_ref()
                .is_ok_and(|answer| answer.contains_key("error"))
        {
            return Err(InvalidAnswer::Refused);
        }
        let answer = answer?;
        let token = |name: &str| {
            let text = answer.get(name).and_then(Value::as_str);
            let visible = |text: &&str| text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
            text.filter(|text| !text.is_empty() && text.len() <= TOKEN_BYTES_MAX)
                .filter(visible)
                .map(str::to_owned)
        };
        let kind = answer.get("token_type").and_then(Value::as_str);
        if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(InvalidAnswer::Malformed);
        }
        let id_token = match answer.get("id_token") {
            None | Some(Value::Null) => None,
            Some(_) => Some(token("id_token").ok_or(InvalidAnswer::Malformed)?),
        };
        Ok(Self {
            access_token: token("access_token").ok_or(InvalidAnswer::Malformed)?,
            id_token,
        })
    }
}

/// Nothing of it is printed.
impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").finish_non_exhaustive()
    }
}

fn object(json: &[u8]) -> Result<Map<String, Value>, InvalidAnswer> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
        )
        | Err(_) => Err(InvalidAnswer::Malformed),
    }
}

/// Adds what `json`, an answer of a userinfo endpoint, tells to the `person` that an ID token named.
///
/// # Errors
/// [`InvalidAnswer::Subject`] if it tells about somebody else.
pub fn userinfo_person(
    json: &[u8],
    subject: &str,
    issuer: &Issuer,
) -> Result<(Option<String>, bool), InvalidAnswer> {
    let claims = object(json)?;
    if claims.get("sub").and_then(Value::as_str) != Some(subject) {
        return Err(InvalidAnswer::Subject);
    }
    Ok(address_by(&claims, issuer))
}

/// Who a provider without ID tokens says that the bearer is: GitHub's `id` is a number, others have a
/// `sub`. What it says of an address here counts only where it says that it is verified.
///
/// # Errors
/// [`InvalidAnswer::Malformed`] if it names nobody.
pub fn bearer_person(json: &[u8]) -> Result<Person, InvalidAnswer> {
    let claims = object(json)?;
    let subject = match claims.get("sub").or_else(|| claims.get("id")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if number.is_u64() => number.to_string(),
        Some(_) | None => return Err(InvalidAnswer::Malformed),
    };
    if !is_subject(&subject) {
        return Err(InvalidAnswer::Malformed);
    }
    let (address, address_verified) = address_of(&claims);
    Ok(Person {
        subject,
        address,
        address_verified,
    })
}

/// The address that GitHub's list calls both primary and verified.
///
/// # Errors
/// [`InvalidAnswer::Malformed`] if it is no list.
pub fn primary_address(json: &[u8]) -> Result<Option<String>, InvalidAnswer> {
    let Ok(Value::Array(listed)) = serde_json::from_slice(json) else {
        return Err(InvalidAnswer::Malformed);
    };
    let is = |one: &Value, name: &str| one.get(name).and_then(Value::as_bool) == Some(true);
    let own = listed
        .iter()
        .take(ADDRESSES_MAX)
        .find(|one| is(one, "primary") && is(one, "verified"));
    let address = own.and_then(|one| one.get("email")).and_then(Value::as_str);
    Ok(address.filter(|text| is_address(text)).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tokens(status: u16, json: &Value) -> Result<TokenAnswer, InvalidAnswer> {
        TokenAnswer::parse(status, json.to_string().as_bytes())
    }

    #[test]
    fn tokens_are_read_and_errors_told_apart() {
        let good = json!({"access_token": "a", "token_type": "Bearer", "id_token": "i", "x": 1});
        let read = tokens(200, &good).unwrap();
        assert_eq!(
            (read.access_token.as_str(), read.id_token.as_deref()),
            ("a", Some("i"))
        );
        assert_eq!(tokens(400, &good), Err(InvalidAnswer::Refused));
        assert_eq!(
            tokens(200, &json!({"error": "bad_verification_code"})),
            Err(InvalidAnswer::Refused)
        );
        for bad in [
            json!([]),
            json!({"access_token": "a"}),
            json!({"access_token": "a", "token_type": "mac"}),
            json!({"access_token": "", "token_type": "bearer"}),
            json!({"access_token": "a\r\nX: y", "token_type": "bearer"}),
            json!({"access_token": "a", "token_type": "bearer", "id_token": 1}),
            json!({"access_token": "a".repeat(TOKEN_BYTES_MAX + 1), "token_type": "bearer"}),
        ] {
            assert_eq!(tokens(200, &bad), Err(InvalidAnswer::Malformed), "{bad}");
        }
        assert_eq!(format!("{read:?}"), "TokenAnswer { .. }");
    }

    #[test]
    fn the_bearer_is_who_the_token_named() {
        let issuer = Issuer::new("https://id.example").unwrap();
        let told = json!({"sub": "1", "email": "a@b.example", "email_verified": true}).to_string();
        let address = Some("a@b.example".to_owned());
        assert_eq!(
            userinfo_person(told.as_bytes(), "1", &issuer),
            Ok((address, true))
        );
        assert_eq!(
            userinfo_person(told.as_bytes(), "2", &issuer),
            Err(InvalidAnswer::Subject)
        );
        assert_eq!(
            userinfo_person(b"{}", "2", &issuer),
            Err(InvalidAnswer::Subject)
        );
        assert_eq!(
            userinfo_person(b"[]", "2", &issuer),
            Err(InvalidAnswer::Malformed)
        );
    }

    #[test]
    fn an_address_counts_only_if_it_is_said_to_be_verified() {
        let person = |json: Value| bearer_person(json.to_string().as_bytes());
        let github = person(json!({"id": 583231, "email": "a@b.example"})).unwrap();
        assert_eq!(github.subject, "583231");
        assert!(!github.address_verified);
        assert!(
            person(json!({"sub": "x", "email": "a@b.example", "email_verified": true}))
                .unwrap()
                .address_verified
        );
        for bad in [
            json!({}),
            json!({"id": ""}),
            json!({"id": -1}),
            json!({"id": [1]}),
            json!({"sub": "a\u{0}b"}),
            json!({"id": "ä"}),
        ] {
            assert_eq!(person(bad.clone()), Err(InvalidAnswer::Malformed), "{bad}");
        }
        let listed = |json: Value| primary_address(json.to_string().as_bytes()).unwrap();
        let one = |email: &str, primary: bool, verified: bool| json!({"email": email, "primary": primary, "verified": verified});
        let own = one("own@b.example", true, true);
        assert_eq!(
            listed(json!([one("x@b.example", false, true), own])).as_deref(),
            Some("own@b.example")
        );
        assert_eq!(
            listed(json!([
                one("x@b.example", true, false),
                one("y@b.example", false, true)
            ])),
            None
        );
        assert_eq!(primary_address(b"{}"), Err(InvalidAnswer::Malformed));
    }
}
