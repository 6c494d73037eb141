//! Who says who somebody is: the issuer, and the URLs that it may have.
//!
//! An issuer is compared letter by letter. Microsoft's has the tenant in it, which every token names for
//! itself; there the text has `{tenantid}`, and the token's own `tid` stands in for it.

use serde_json::{Map, Value};

/// What stands for the tenant.
const TENANT: &str = "{tenantid}";
/// The longest URL that is taken.
const URL_BYTES_MAX: usize = 2_048;

/// An issuer as it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// An issuer with this URL, if it may be one.
    #[must_use]
    pub fn new(url: &str) -> Option<Self> {
        let tried = url.replacen(TENANT, "tenant", 1);
        let clean = !tried.contains(['?', '{', '}']);
        (clean && is_safe_url(&tried)).then(|| Self(url.to_owned()))
    }

    /// The URL, as it is set.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether each token names a tenant.
    #[must_use]
    pub fn has_tenants(&self) -> bool {
        self.0.contains(TENANT)
    }

    /// Where it tells about itself.
    #[must_use]
    pub fn discovery_url(&self) -> String {
        let base = self.0.trim_end_matches('/');
        format!("{base}/.well-known/openid-configuration")
    }

    /// Whether it is this one that issued a token with `claims`.
    #[must_use]
    pub fn issued(&self, claims: &Map<String, Value>) -> bool {
        let Some(said) = claims.get("iss").and_then(Value::as_str) else {
            return false;
        };
        if !self.has_tenants() {
            return said == self.0;
        }
        let tenant = claims.get("tid").and_then(Value::as_str);
        tenant
            .filter(|tenant| is_tenant(tenant))
            .is_some_and(|tenant| said == self.0.replacen(TENANT, tenant, 1))
    }
}

/// Whether it has the form of a tenant's id: 36 hexadecimal digits and hyphens.
pub(super) fn is_tenant(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    text.len() == 36 && text.bytes().all(digit)
}

/// Whether secrets may be sent there: HTTPS, or HTTP on this machine; no name or password in it, no
/// fragment, and nothing that some reader could take for something else.
#[must_use]
pub fn is_safe_url(url: &str) -> bool {
    if url.len() > URL_BYTES_MAX || !url.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        return false;
    }
    if url.contains(['\\', '#', '"', '<', '>']) {
        return false;
    }
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return false,
    };
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    if authority.contains('@') {
        return false;
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            if port.is_empty() || port.parse::<u16>().is_err() {
                return false;
            }
            host
        }
        Some(_) | None => authority,
    };
    let named = !host.is_empty() && !host.contains(|c: char| "%{}|^`".contains(c));
    named && (secure || is_this_machine(host))
}

/// Whether a host is this machine, whatever some name server says.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_sent_to_https_or_this_machine() {
        for good in [
            "https://accounts.google.com",
            "https://id.example:8443/realms/a",
            "http://127.0.0.1:9000",
            "http://[::1]:9000/x",
            "http://localhost",
            "https://id.example/authorize?tenant=1",
        ] {
            assert!(is_safe_url(good), "{good}");
        }
        for bad in [
            "",
            "id.example",
            "http://id.example",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example/",
            "https://user@id.example",
            "https://",
            "https:///x",
            "https://id.example:port/",
            "https://id.example/#x",
            "https://id.example\\@evil.example",
            "https://id.example/\nx",
            "javascript:alert(1)",
            "ftp://id.example",
        ] {
            assert!(!is_safe_url(bad), "{bad}");
        }
        assert!(!is_safe_url(&format!(
            "https://h/{}",
            "x".repeat(URL_BYTES_MAX)
        )));
    }

    #[test]
    fn an_issuer_is_compared_letter_by_letter() {
        let issuer = Issuer::new("https://id.example").unwrap();
        let issued = |iss: Value| issuer.issued(json!({ "iss": iss }).as_object().unwrap());
        assert!(issued(json!("https://id.example")));
        for other in [
            json!("https://id.example/"),
            json!("https://ID.example"),
            json!("https://id.example.evil"),
            json!("http://id.example"),
            json!(["https://id.example"]),
            json!(null),
        ] {
            assert!(!issued(other.clone()), "{other}");
        }
        assert_eq!(Issuer::new("https://id.example?x"), None);
        assert_eq!(Issuer::new("https://id.example/{other}"), None);
        let with_slash = Issuer::new("https://id.example/a/").unwrap();
        assert_eq!(
            with_slash.discovery_url(),
            "https://id.example/a/.well-known/openid-configuration"
        );
    }

    #[test]
    fn a_tenant_stands_in_the_issuer_and_nothing_else_does() {
        let issuer = Issuer::new("https://login.example/{tenantid}/v2.0").unwrap();
        let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        let claims = |iss: String, tid: Value| json!({ "iss": iss, "tid": tid });
        let issued = |claims: Value| issuer.issued(claims.as_object().unwrap());
        let own = format!("https://login.example/{tenant}/v2.0");
        assert!(issued(claims(own.clone(), json!(tenant))));
        assert!(!issued(claims(own.clone(), json!(null))));
        let other = "82f988bf-86f1-41af-91ab-2d7cd011db47";
        assert!(!issued(claims(own, json!(other))));
        let bent = "../evil";
        assert!(!issued(claims(
            format!("https://login.example/{bent}/v2.0"),
            json!(bent)
        )));
        let literal = "{tenantid}";
        assert!(!issued(claims(
            format!("https://login.example/{literal}/v2.0"),
            json!(literal)
        )));
    }
}
