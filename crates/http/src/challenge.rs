//! What goes with a 401: how the client is asked to sign in, if it is.
//!
//! Without being told to, the server asks for nothing, since a browser would open a window of its
//! own over the page. A client asks to be asked with `X-CouchDB-WWW-Authenticate`; the configuration
//! can ask everybody, or send browsers to a page of this server.

use adea_pod::{AuthSettings, Strangers};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::body::Response;
use crate::reply;
use crate::wire::path::encode_query;

/// What of a request matters for a 401.
pub(crate) struct Challenge {
    /// What the client wants to be asked with.
    wanted: Option<HeaderValue>,
    /// The path of a page that somebody looks at.
    page: Option<String>,
}

impl Challenge {
    /// Reads a request's head.
    pub(crate) fn of(method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let wanted = headers.get("x-couchdb-www-authenticate").cloned();
        let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
        let page = accept.filter(|accept| *method == Method::GET && wants_page(accept));
        Self {
            wanted,
            page: page.map(|_| path.to_owned()),
        }
    }

    /// Completes an answer, if it is a 401.
    pub(crate) fn put(self, auth: &AuthSettings, reason: Option<&str>, response: &mut Response) {
        if response.status() != StatusCode::UNAUTHORIZED {
            return;
        }
        let configured = || auth.www_authenticate.as_deref();
        let basic = || match auth.strangers {
            Strangers::Ask => None,
            Strangers::SignIn | Strangers::SignInOrUp => Some("Basic realm=\"server\""),
        };
        if let Some(wanted) = self.wanted {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, wanted);
        } else if let Some(challenge) = configured().or_else(basic) {
            reply::set(response, header::WWW_AUTHENTICATE, challenge);
        } else if let (Some(page), Some(redirect)) = (self.page, auth.redirect.as_deref()) {
            let reason = encode_query(reason.unwrap_or(""));
            let location = format!("{redirect}?return={}&reason={reason}", encode_query(&page));
            *response.status_mut() = StatusCode::FOUND;
            reply::set(response, header::LOCATION, &location);
        }
    }
}

/// Whether a page is wanted, and JSON would not do.
fn wants_page(accept: &str) -> bool {
    let mut kinds = accept
        .split(',')
        .map(|kind| kind.split(';').next().unwrap_or("").trim());
    let (mut page, mut json) = (false, false);
    for kind in &mut kinds {
        page |= kind == "text/html";
        json |= matches!(kind, "application/json" | "application/*");
    }
    page && !json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;

    fn answered(auth: &AuthSettings, headers: &[(&'static str, &str)]) -> (u16, String) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let challenge = Challenge::of(&Method::GET, "/db/doc?x=1&y", &map);
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        challenge.put(auth, Some("Who are you?"), &mut response);
        let headers = response.headers();
        let told = headers
            .get(header::WWW_AUTHENTICATE)
            .or_else(|| headers.get(header::LOCATION));
        let told = told.map_or("", |told| told.to_str().unwrap());
        (response.status().as_u16(), told.to_owned())
    }

    #[test]
    fn nobody_is_asked_unless_he_wants_to_or_the_configuration_does() {
        let mut auth = AuthSettings::default();
        let browser = [("accept", "text/html, */*;q=0.8")];
        assert_eq!(answered(&auth, &browser), (401, String::new()));
        let cookie = [("x-couchdb-www-authenticate", "Cookie")];
        assert_eq!(answered(&auth, &cookie), (401, "Cookie".to_owned()));
        auth.redirect = Some("/app/_design/a/login.html".to_owned());
        let page =
            "/app/_design/a/login.html?return=%2Fdb%2Fdoc%3Fx%3D1%26y&reason=Who%20are%20you%3F";
        assert_eq!(answered(&auth, &browser), (302, page.to_owned()));
        let json = [("accept", "application/json, text/html")];
        for client in [&json[..], &[("accept", "*/*")], &[]] {
            assert_eq!(answered(&auth, client), (401, String::new()));
        }
        auth.strangers = Strangers::SignIn;
        let basic = (401, "Basic realm=\"server\"".to_owned());
        assert_eq!(answered(&auth, &browser), basic);
        auth.www_authenticate = Some("Bearer".to_owned());
        assert_eq!(answered(&auth, &[]), (401, "Bearer".to_owned()));
    }
}
