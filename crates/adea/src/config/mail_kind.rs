//! Kinds of value that only mail needs.

use adea_mail::{Language, Sender, SmtpServer};
use adea_pod::LinkTemplate;

use super::auth_kind::Parsed;
use super::kind::{Kind, OptionalSecret, Raw, Secret};

/// A server that mail is handed to; its URL may hold a password.
pub(crate) struct SmtpUrl;

/// A server that mail is handed to.
pub(crate) const SMTP_SERVER: SmtpUrl = SmtpUrl;

impl Kind for SmtpUrl {
    type Value = Option<Secret>;

    fn read(&self, raw: &Raw) -> Result<Option<Secret>, String> {
        let url = OptionalSecret { shortest: 1 }.read(raw)?;
        if let Some(url) = &url {
            SmtpServer::parse(url.reveal()).map_err(|error| error.to_string())?;
        }
        Ok(url)
    }

    fn allowed(&self) -> String {
        "smtps://name:password@host:port or smtp://host:port?tls=required".to_owned()
    }

    fn secret(&self) -> bool {
        true
    }
}

/// Whom mail comes from.
pub(crate) const SENDER: Parsed<Sender> = Parsed {
    read: |text| Sender::parse(text).map_err(|_| "it is no address".to_owned()),
    allowed: "an address, or a name and an address as Adea <no-reply@example.org>",
};

/// A language.
pub(crate) const LANGUAGE: Parsed<Language> = Parsed {
    read: |text| Language::parse(text).ok_or_else(|| "it is no language".to_owned()),
    allowed: "a tag of BCP 47, as en or de-AT",
};

/// Where a link leads.
pub(crate) const LINK: Parsed<LinkTemplate> = Parsed {
    read: |text| LinkTemplate::parse(text).ok_or_else(|| "it is no such URL".to_owned()),
    allowed: "a URL with {token} once behind its host, as https://app.example.org/verify#{token}",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_and_its_password_not_told() {
        let read = |text: &str| SMTP_SERVER.read(&Raw::Text(text.to_owned()));
        assert!(read("smtps://ann:hush@mail.example").unwrap().is_some());
        assert!(
            !read("smtp://ann:hush@mail.example?tls=none")
                .unwrap_err()
                .contains("hush")
        );
        assert_eq!(SMTP_SERVER.read(&Raw::Absent), Ok(None));
        assert!(Kind::secret(&SMTP_SERVER));
    }
}
