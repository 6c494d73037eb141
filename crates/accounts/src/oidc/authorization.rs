//! Where a browser is sent to be asked by a provider.

use adea_base::Entropy;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::form;
use super::provider::Provider;

/// What belongs to one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Where the browser comes back.
    pub redirect_uri: &'a str,
    /// Comes back with the browser.
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// Only its hash is sent now; the code is good for nothing without it.
    pub verifier: &'a str,
}

/// A fresh verifier (PKCE): 256 bits.
#[must_use]
pub fn new_verifier(entropy: &Entropy) -> String {
    URL_SAFE_NO_PAD.encode(entropy.bytes::<32>())
}

/// The URL at `endpoint` that asks for a code.
#[must_use]
pub fn authorization_url(endpoint: &str, provider: &Provider, asking: &Asking<'_>) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(asking.verifier.as_bytes()));
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", provider.client_id.as_str()),
        ("redirect_uri", asking.redirect_uri),
        ("scope", provider.scopes.as_str()),
        ("state", asking.state),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    if provider.issuer().is_some() {
        fields.push(("nonce", asking.nonce));
    }
    if provider.form_post {
        fields.push(("response_mode", "form_post"));
    }
    let join = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{join}{}", form::encode(&fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_is_sent_with_all_that_binds_the_answer_to_it() {
        let provider = Provider::parse("name=a;issuer=https://id.example;client_id=x y").unwrap();
        let asking = Asking {
            redirect_uri: "https://app.example/_auth/oidc/a/callback",
            state: "st",
            nonce: "no",
            // RFC 7636, appendix B.
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        };
        let url = authorization_url("https://id.example/authorize?a=1", &provider, &asking);
        assert_eq!(
            url,
            "https://id.example/authorize?a=1&response_type=code&client_id=x%20y\
             &redirect_uri=https%3A%2F%2Fapp.example%2F_auth%2Foidc%2Fa%2Fcallback\
             &scope=openid%20email&state=st\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
             &code_challenge_method=S256&nonce=no"
        );
        let apple = format!(
            "name=apple;client_id=x;team_id=T;key_id=K;key={}",
            super::super::apple::tests::KEY
        );
        let apple = Provider::parse(&apple).unwrap();
        let url = authorization_url("https://appleid.apple.com/auth/authorize", &apple, &asking);
        assert!(url.ends_with("&response_mode=form_post"), "{url}");
    }
}
