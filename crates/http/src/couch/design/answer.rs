//! What a function returned, as an HTTP answer: `{"code","headers","body"|"json"|"base64"}`.
//!
//! The function chooses status and headers, but not those that say where the answer ends, and none
//! that reaches beyond it: whoever may write a design document is not the owner of this origin. What a
//! browser shows of an answer is shown in a sandbox, without the origin's cookies and scripts.

use adea_documents::json::{for_each_member, normalise, read_text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::body::{Body, Response};
use crate::error::ApiError;

/// An answer in the making.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<StatusCode>,
    pub(crate) headers: HeaderMap,
    body: Bytes,
    content_type: &'static str,
}

fn bad(what: impl Into<String>) -> ApiError {
    ApiError::BadAnswer("external_response_error", what.into())
}

fn text(value: &[u8]) -> Result<String, ApiError> {
    match read_text(value)? {
        Some(text) => Ok(text.into_owned()),
        // A number as a header, say.
        None => Ok(String::from_utf8_lossy(&normalise(value)?).into_owned()),
    }
}

impl Answer {
    /// Reads what the function returned.
    pub(crate) fn read(returned: &[u8]) -> Result<Self, ApiError> {
        let mut answer = Self {
            code: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            content_type: "application/json",
        };
        let is_object = for_each_member(returned, |name, value| {
            match name {
                "" | "stop" => {}
                "code" => answer.code = Some(code(value)?),
                "headers" => read_headers(value, &mut answer.headers)?,
                "json" => {
                    let mut json = normalise(value)?;
                    json.push(b'\n');
                    answer.body = json.into();
                    answer.content_type = "application/json";
                }
                "body" => {
                    answer.body = text(value)?.into();
                    answer.content_type = "text/html; charset=utf-8";
                }
                "base64" => {
                    let encoded = text(value)?;
                    let decoded = BASE64.decode(encoded.as_bytes());
                    let decoded = decoded.map_err(|_| bad("The answer's base64 is none."))?;
                    answer.body = decoded.into();
                    answer.content_type = "application/binary";
                }
                other => {
                    let other: String = other.chars().take(100).collect();
                    return Err(bad(format!("Invalid data from external server: {other}")));
                }
            }
            Ok::<_, ApiError>(())
        })?;
        if is_object {
            Ok(answer)
        } else {
            Err(bad("The function returned no answer."))
        }
    }

    /// The answer, which has `code` unless the function chose one.
    pub(crate) fn response(self, code: StatusCode) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.code.unwrap_or(code);
        *response.headers_mut() = self.headers;
        if !response.headers().contains_key(header::CONTENT_TYPE) {
            let kind = HeaderValue::from_static(self.content_type);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        sandbox(response.headers_mut());
        response
    }
}

/// Has browsers show an answer as a page of no origin, besides any policy that the function chose.
pub(crate) fn sandbox(headers: &mut HeaderMap) {
    let policy = HeaderValue::from_static("sandbox");
    headers.append(header::CONTENT_SECURITY_POLICY, policy);
}

fn code(value: &[u8]) -> Result<StatusCode, ApiError> {
    let wrong = || bad("The answer's code is no HTTP status.");
    let code = text(value)?.parse::<u16>().map_err(|_| wrong())?;
    let known = (200..600).contains(&code).then_some(code);
    known
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(wrong)
}

/// Reads headers, and leaves out those that cannot be sent or are not the function's to choose.
pub(crate) fn read_headers(value: &[u8], headers: &mut HeaderMap) -> Result<(), ApiError> {
    const OURS: [HeaderName; 12] = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::TRAILER,
        header::SET_COOKIE,
        HeaderName::from_static("clear-site-data"),
        // What a browser remembers for all of the origin.
        header::STRICT_TRANSPORT_SECURITY,
        header::ALT_SVC,
        HeaderName::from_static("nel"),
        HeaderName::from_static("report-to"),
        HeaderName::from_static("reporting-endpoints"),
    ];
    for_each_member(value, |name, value| {
        let value = text(value)?;
        if let Ok(name) = HeaderName::try_from(name)
            && let Ok(value) = HeaderValue::from_str(&value)
            && !OURS.contains(&name)
        {
            headers.insert(name, value);
        }
        Ok::<_, ApiError>(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_type_of_their_body() {
        let check = |returned: &str, status: u16, kind: &str| {
            let answer = Answer::read(returned.as_bytes()).unwrap();
            let response = answer.response(StatusCode::OK);
            assert_eq!(response.status(), status, "{returned}");
            assert_eq!(response.headers()["content-type"], kind, "{returned}");
        };
        check(r#"{"body":"x"}"#, 200, "text/html; charset=utf-8");
        check(r#"{"code":302,"json":{"a":1}}"#, 302, "application/json");
        check(r#"{"base64":"aGk="}"#, 200, "application/binary");
        check("{}", 200, "application/json");
        let typed = r#"{"headers":{"CONTENT-TYPE":"text/x","content-length":"7"},"body":"x"}"#;
        check(typed, 200, "text/x");
    }

    #[test]
    fn answers_are_sandboxed_and_set_no_cookie() {
        let check = |headers: &str, policies: &[&str]| {
            let returned = format!(r#"{{"headers":{headers},"body":"<script>x</script>"}}"#);
            let answer = Answer::read(returned.as_bytes()).unwrap();
            let response = answer.response(StatusCode::OK);
            let sent = response.headers();
            let found: Vec<_> = sent.get_all("content-security-policy").iter().collect();
            assert_eq!(found, policies, "{headers}");
            assert!(!sent.contains_key("set-cookie"), "{headers}");
            assert!(!sent.contains_key("clear-site-data"), "{headers}");
        };
        check("{}", &["sandbox"]);
        check(
            r#"{"SET-Cookie":"AuthSession=x","Clear-Site-Data":"*"}"#,
            &["sandbox"],
        );
        let own = r#"{"content-security-policy":"sandbox allow-scripts allow-same-origin"}"#;
        check(own, &["sandbox allow-scripts allow-same-origin", "sandbox"]);
    }

    #[test]
    fn answers_that_cannot_be_sent_are_faults() {
        for returned in [
            "[]",
            "1",
            r#"{"code":99}"#,
            r#"{"code":"x"}"#,
            r#"{"base64":"?"}"#,
            r#"{"what":1}"#,
        ] {
            let fault = Answer::read(returned.as_bytes()).unwrap_err();
            assert_eq!(fault.status().0, 500, "{returned}");
        }
    }
}
