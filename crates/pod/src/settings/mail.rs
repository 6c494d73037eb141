//! How mail is sent, and where the links in it lead.

use adea_mail::{Language, Sender, SmtpServer};

/// How mail is sent.
#[derive(Clone, Debug, Default)]
pub struct MailSettings {
    /// The server that it is handed to; where there is none, mail is captured.
    pub server: Option<SmtpServer>,
    /// Whom it comes from.
    pub from: Option<Sender>,
    /// Whom it is answered to, if not to that one.
    pub reply_to: Option<Sender>,
    /// The language for who wants none, or one that nobody has written in.
    pub language: Language,
    /// Where links lead.
    pub links: LinkSettings,
    /// Where this server listens, as a URL: links lead there if nothing else is set.
    pub own_url: String,
}

/// Where links in mail lead, if not to the pages of this server.
#[derive(Clone, Debug, Default)]
pub struct LinkSettings {
    /// To prove that an address is yours.
    pub verify: Option<LinkTemplate>,
    /// To set a new password.
    pub recover: Option<LinkTemplate>,
    /// To sign in.
    pub sign_in: Option<LinkTemplate>,
    /// To accept an invitation.
    pub invitation: Option<LinkTemplate>,
}

/// A URL with a place for a secret, and perhaps one for an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTemplate(String);

const TOKEN: &str = "{token}";
const APP: &str = "{app}";

impl LinkTemplate {
    /// Reads a URL that holds `{token}` behind its host, and perhaps `{app}`. `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = ["https://", "http://"]
            .iter()
            .find_map(|start| text.strip_prefix(start))?;
        let (host, behind) = rest.split_at(rest.find(['/', '?', '#'])?);
        let strange = |c: char| c.is_control() || c.is_whitespace() || "\"<>\\`".contains(c);
        let named = !host.is_empty() && !host.contains(['{', '}', '@']) && !text.contains(strange);
        let places = behind.replace(TOKEN, "").replace(APP, "");
        let whole = behind.matches(TOKEN).count() == 1 && !places.contains(['{', '}']);
        (named && whole && text.len() <= 1_000).then(|| Self(text.to_owned()))
    }

    /// The URL with `secret` and `app` in their places, escaped.
    pub(crate) fn fill(&self, app: &str, secret: &str) -> String {
        self.0
            .replace(APP, &escape(app))
            .replace(TOKEN, &escape(secret))
    }

    /// The URL of a page of this server.
    pub(crate) fn own(base: &str, page: &str, app: &str) -> Self {
        let app = if app.is_empty() { "" } else { "&app={app}" };
        Self(format!("{base}/_auth/pages/{page}#token={TOKEN}{app}"))
    }
}

/// `text` as a part of a URL.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_one_place_for_a_secret_behind_its_host() {
        let fill = |text| LinkTemplate::parse(text).unwrap().fill("a b", "s/1");
        assert_eq!(
            fill("https://x.example/v#{token}"),
            "https://x.example/v#s%2F1"
        );
        assert_eq!(
            fill("https://x.example/?app={app}#t={token}"),
            "https://x.example/?app=a%20b#t=s%2F1"
        );
        for text in [
            "https://x.example/v",
            "https://{token}.example/",
            "https://x.example/{token}{token}",
            "https://x.example/{token}/{other}",
            "https://ann@x.example/{token}",
            "javascript:alert('{token}')",
            "https://x.example/\r\n{token}",
            "https:///{token}",
            "//x.example/{token}",
        ] {
            assert_eq!(LinkTemplate::parse(text), None, "{text}");
        }
    }
}
