//! What a provider tells about itself (`OpenID Connect Discovery 1.0`).
//!
//! Invariant: an endpoint is taken only if secrets may be sent there, and only from a document whose
//! issuer is the one that was set: a document of somebody else would send our secret to him.

use serde_json::{Map, Value};

use super::issuer::{Issuer, is_safe_url};

/// What a provider tells about itself, as far as it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Where browsers are sent.
    pub authorization_endpoint: String,
    /// Where a code is swapped for tokens.
    pub token_endpoint: String,
    /// Where it tells about the bearer of an access token.
    pub userinfo_endpoint: Option<String>,
    /// Where its keys are published.
    pub keys_url: String,
    /// Whether our secret may stand in the form only, and not in a header.
    pub secret_in_form: bool,
    /// Whether it names itself when a browser comes back (RFC 9207).
    pub names_itself: bool,
}

/// Why what a provider tells about itself is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDiscovery {
    /// It is no JSON object.
    #[error("what it tells about itself is no JSON object")]
    Malformed,
    /// It is another issuer than the one that is set.
    #[error("it calls itself by another issuer than the one that is set")]
    Issuer,
    /// An endpoint is missing, or one that no secret may be sent to.
    #[error("its {0} is missing, or no HTTPS URL")]
    Endpoint(&'static str),
    /// It does not do the code flow.
    #[error("it does not offer response_type=code")]
    Flow,
}

impl Discovery {
    /// Reads the document of `issuer`.
    ///
    /// # Errors
    /// [`InvalidDiscovery`].
    pub fn parse(json: &[u8], issuer: &Issuer) -> Result<Self, InvalidDiscovery> {
        let Ok(Value::Object(document)) = serde_json::from_slice(json) else {
            return Err(InvalidDiscovery::Malformed);
        };
        if document.get("issuer").and_then(Value::as_str) != Some(issuer.as_str()) {
            return Err(InvalidDiscovery::Issuer);
        }
        let endpoint = |name: &'static str| {
            let url = document.get(name).and_then(Value::as_str);
            let url = url.filter(|url| is_safe_url(url)).map(str::to_owned);
            url.ok_or(InvalidDiscovery::Endpoint(name))
        };
        if !offers(&document, "response_types_supported", "code").unwrap_or(true) {
            return Err(InvalidDiscovery::Flow);
        }
        let methods = "token_endpoint_auth_methods_supported";
        let userinfo_endpoint = match document.get("userinfo_endpoint") {
            None | Some(Value::Null) => None,
            Some(_) => Some(endpoint("userinfo_endpoint")?),
        };
        let named = document.get("authorization_response_iss_parameter_supported");
        Ok(Self {
            authorization_endpoint: endpoint("authorization_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
            userinfo_endpoint,
            keys_url: endpoint("jwks_uri")?,
            secret_in_form: offers(&document, methods, "client_secret_basic") == Some(false)
                && offers(&document, methods, "client_secret_post") == Some(true),
            names_itself: named.and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

/// Whether `wanted` is in the list called `name`, if there is such a list.
fn offers(document: &Map<String, Value>, name: &str, wanted: &str) -> Option<bool> {
    let listed = document.get(name)?.as_array()?;
    Some(listed.iter().any(|one| one.as_str() == Some(wanted)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "issuer": "https://id.example",
            "authorization_endpoint": "https://id.example/authorize",
            "token_endpoint": "https://id.example/token",
            "jwks_uri": "https://keys.example/jwks",
        })
    }

    fn parse(change: impl FnOnce(&mut Value)) -> Result<Discovery, InvalidDiscovery> {
        let mut document = document();
        change(&mut document);
        let issuer = Issuer::new("https://id.example").unwrap();
        Discovery::parse(document.to_string().as_bytes(), &issuer)
    }

    #[test]
    fn the_document_of_the_issuer_is_read() {
        let plain = parse(|_| ()).unwrap();
        assert_eq!(plain.keys_url, "https://keys.example/jwks");
        assert!(!plain.secret_in_form && !plain.names_itself);
        assert_eq!(plain.userinfo_endpoint, None);
        let rich = parse(|d| {
            d["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
            d["authorization_response_iss_parameter_supported"] = json!(true);
            d["response_types_supported"] = json!(["code", "code id_token"]);
            d["userinfo_endpoint"] = json!("https://id.example/me");
        });
        let rich = rich.unwrap();
        assert!(rich.secret_in_form && rich.names_itself);
        assert_eq!(
            rich.userinfo_endpoint.as_deref(),
            Some("https://id.example/me")
        );
    }

    #[test]
    fn the_document_of_another_or_with_unsafe_endpoints_is_refused() {
        use InvalidDiscovery::{Endpoint, Flow, Issuer as OfAnother, Malformed};
        let issuer = Issuer::new("https://id.example").unwrap();
        for text in ["", "[]", "null", "<html>", "{"] {
            assert_eq!(
                Discovery::parse(text.as_bytes(), &issuer),
                Err(Malformed),
                "{text}"
            );
        }
        for other in [
            json!("https://id.example/"),
            json!("https://evil.example"),
            json!(null),
        ] {
            assert_eq!(parse(|d| d["issuer"] = other), Err(OfAnother));
        }
        for name in [
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "userinfo_endpoint",
        ] {
            for bad in [
                json!("http://id.example/x"),
                json!("javascript:x"),
                json!(7),
                json!("/x"),
            ] {
                assert_eq!(
                    parse(|d| d[name] = bad.clone()),
                    Err(Endpoint(name)),
                    "{name} {bad}"
                );
            }
        }
        assert_eq!(
            parse(|d| d["response_types_supported"] = json!(["id_token"])),
            Err(Flow)
        );
    }
}
