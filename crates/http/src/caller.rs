//! Who is asking: the credential that a request brings, handed to who can prove it.

use adea_pod::{SignIn, SignedIn};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, header};

use crate::App;
use crate::error::ApiError;

/// Finds out who sent a request with these headers. A scheme that nobody knows is no credential.
/// From a `foreign` origin, which a browser may not speak for, a cookie counts for nothing.
pub(crate) async fn who(
    app: &App,
    headers: &HeaderMap,
    foreign: bool,
) -> Result<SignedIn, ApiError> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if let Some((name, password)) = authorization.and_then(basic) {
        let sign_in = SignIn::Basic {
            name: &name,
            password: &password,
        };
        return Ok(app.pod.authenticate(sign_in).await?);
    }
    if !foreign
        && let Some(cookies) = headers
            .get(header::COOKIE)
            .and_then(|value| value.to_str().ok())
        && let Some(cookie) = adea_accounts::from_cookie_header(cookies)
    {
        return Ok(app.pod.authenticate(SignIn::Cookie(cookie)).await?);
    }
    Ok(app.pod.authenticate(SignIn::Anonymous).await?)
}

/// The name and password of `Basic` credentials; anything else is none.
fn basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
