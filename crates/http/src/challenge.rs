//! What goes with a 401: how the client is asked to sign in, if it is.
//!
//! Without being told to, the server asks for nothing, since a browser would open a window of its
//! own over the page. A client asks to be asked with `X-CouchDB-WWW-Authenticate`; the configuration
//! can ask everybody, or send browsers to a page of this server.

use adea_pod::AuthSettings;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};

use crate::body::Response;
use crate::error::ApiError;
use crate::reply;
use crate::wire::path::encode_query;

/// What of a request matters for a 401.
pub(crate) struct Challenge {
    /// What the client wants to be asked with.
    wanted: Option<HeaderValue>,
    /// Whether everybody has to sign in.
    always: bool,
    /// The path of a page that somebody looks at.
    page: Option<String>,
}

impl Challenge {
    /// Reads a request's head. Where everybody has to sign in, everybody is `always` asked to.
    pub(crate) fn of(head: &Parts, always: bool) -> Self {
        let headers = &head.headers;
        let wanted = headers.get("x-couchdb-www-authenticate").cloned();
        let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
        let page = accept.filter(|accept| head.method == Method::GET && wants_page(accept));
        Self {
            wanted,
            always,
            page: page.map(|_| head.uri.path_and_query().map_or("/", |p| p.as_str()).into()),
        }
    }

    /// The answer; if it is a 401, with what goes with it.
    pub(crate) fn put(
        self,
        auth: &AuthSettings,
        answered: Result<Response, ApiError>,
        refused: impl FnOnce(&ApiError) -> Response,
    ) -> Response {
        let (mut response, reason) = match answered {
            Ok(response) => (response, String::new()),
            Err(error) => (refused(&error), error.to_string()),
        };
        if response.status() != StatusCode::UNAUTHORIZED {
            return response;
        }
        let always = || self.always.then_some("Basic realm=\"server\"");
        let configured = auth.www_authenticate.as_deref().or_else(always);
        if let Some(wanted) = self.wanted {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, wanted);
        } else if let Some(challenge) = configured {
            reply::set(&mut response, header::WWW_AUTHENTICATE, challenge);
        } else if let (Some(page), Some(redirect)) = (self.page, auth.redirect.as_deref()) {
            let (page, reason) = (encode_query(&page), encode_query(&reason));
            let location = format!("{redirect}?return={page}&reason={reason}");
            *response.status_mut() = StatusCode::FOUND;
            reply::set(&mut response, header::LOCATION, &location);
        }
        response
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

    fn answered(
        auth: &AuthSettings,
        always: bool,
        headers: &[(&'static str, &str)],
    ) -> (u16, String) {
        let mut request = http::Request::get("/db/doc?x=1&y");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let challenge = Challenge::of(&head, always);
        let refusal = adea_accounts::Refusal::Unauthorized("Who are you?".into());
        let response = challenge.put(auth, Err(refusal.into()), ApiError::response);
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
        assert_eq!(answered(&auth, false, &browser), (401, String::new()));
        let cookie = [("x-couchdb-www-authenticate", "Cookie")];
        assert_eq!(answered(&auth, false, &cookie), (401, "Cookie".to_owned()));
        auth.redirect = Some("/app/_design/a/login.html".to_owned());
        let page =
            "/app/_design/a/login.html?return=%2Fdb%2Fdoc%3Fx%3D1%26y&reason=Who%20are%20you%3F";
        assert_eq!(answered(&auth, false, &browser), (302, page.to_owned()));
        let json = [("accept", "application/json, text/html")];
        for client in [&json[..], &[("accept", "*/*")], &[]] {
            assert_eq!(answered(&auth, false, client), (401, String::new()));
        }
        let basic = (401, "Basic realm=\"server\"".to_owned());
        assert_eq!(answered(&auth, true, &browser), basic);
        auth.www_authenticate = Some("Bearer".to_owned());
        assert_eq!(answered(&auth, false, &[]), (401, "Bearer".to_owned()));
    }
}
