//! A mail as it goes over the wire: headers, a text and the same in HTML.
//!
//! Invariants: whatever would end a line of a header is refused before the header is made; what is
//! not ASCII is encoded; the same letter is the same bytes each time, so that who receives it twice
//! can tell.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};

use crate::template::Rendered;

/// The longest address, in bytes (RFC 5321, section 4.5.3.1.3, without the brackets).
const ADDRESS_BYTES_MAX: usize = 254;
/// The longest name before an address, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Whom a mail comes from or is answered to: `Adea <no-reply@example.org>`, or the address alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(Mailbox);

impl Sender {
    /// Reads a name and an address.
    ///
    /// # Errors
    /// [`InvalidLetter`] if it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidLetter> {
        no_controls("sender", text)?;
        let (name, address) = match text.strip_suffix('>').map(|text| text.rsplit_once('<')) {
            Some(Some((name, address))) => (name.trim().trim_matches('"'), address),
            Some(None) => return Err(InvalidLetter::Address),
            None => ("", text),
        };
        if name.len() > NAME_BYTES_MAX {
            return Err(InvalidLetter::Address);
        }
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Ok(Self(Mailbox::new(name, address_of(address.trim())?)))
    }

    /// The name, or the address where there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name.as_deref().unwrap_or(self.0.email.as_ref())
    }

    /// What stands behind the @.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.email.domain()
    }
}

impl std::fmt::Display for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Why no mail can be made of something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLetter {
    /// An address is none.
    #[error("The address is none.")]
    Address,
    /// Something holds what would end a line of a header.
    #[error("The {0} holds a control character.")]
    Control(&'static str),
    /// The parts do not make a mail.
    #[error("The mail cannot be composed: {0}")]
    Composed(String),
}

/// A mail that is to be composed.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// What tells it from all others, in letters and digits.
    pub id: &'a str,
    /// Whom it comes from.
    pub from: &'a Sender,
    /// Whom it is answered to, if not to that one.
    pub reply_to: Option<&'a Sender>,
    /// The address that it goes to.
    pub to: &'a str,
    /// When it was written, in milliseconds since the Unix epoch.
    pub written_ms: u64,
    /// Its words.
    pub words: &'a Rendered,
}

/// A mail that is ready to go.
#[derive(Clone, Debug)]
pub(crate) struct Composed {
    /// From whom to whom.
    pub(crate) envelope: Envelope,
    /// Headers and body.
    pub(crate) bytes: Vec<u8>,
}

impl Letter<'_> {
    /// What tells this mail from all others, wherever it is received.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("<{}@{}>", self.id, self.from.domain())
    }

    /// Makes the mail.
    ///
    /// # Errors
    /// [`InvalidLetter`] if what is given cannot be a mail's.
    pub(crate) fn compose(&self) -> Result<Composed, InvalidLetter> {
        no_controls("subject", &self.words.subject)?;
        if self.id.is_empty() || !self.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(InvalidLetter::Composed("its id is none".to_owned()));
        }
        let to = address_of(self.to)?;
        let mut builder = Message::builder()
            .message_id(Some(self.message_id()))
            .date(UNIX_EPOCH + Duration::from_millis(self.written_ms))
            .from(self.from.0.clone())
            .to(to.clone().into())
            .subject(self.words.subject.clone())
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        if let Some(reply_to) = self.reply_to {
            builder = builder.reply_to(reply_to.0.clone());
        }
        let parts = MultiPart::alternative()
            .boundary(format!("part-{}", self.id))
            .singlepart(SinglePart::plain(lines(&self.words.text)))
            .singlepart(SinglePart::html(lines(&self.words.html)));
        let composed = |error: &dyn std::fmt::Display| InvalidLetter::Composed(error.to_string());
        let message = builder.multipart(parts).map_err(|error| composed(&error))?;
        let from = Some(self.from.0.email.clone());
        let envelope = Envelope::new(from, vec![to]).map_err(|error| composed(&error))?;
        Ok(Composed {
            envelope,
            bytes: message.formatted(),
        })
    }
}

/// A text whose lines end in one way. A return or line feed that stands alone is an end of a line for
/// some servers and none for others: a text could then hold the end of one mail and another after it.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace(['\r', '\0'], "\n")
}

/// Whether a mail can be sent to `address`.
#[must_use]
pub fn address_is_valid(address: &str) -> bool {
    address_of(address).is_ok()
}

fn address_of(text: &str) -> Result<Address, InvalidLetter> {
    no_controls("address", text)?;
    let spaced = text.contains(char::is_whitespace);
    if text.len() > ADDRESS_BYTES_MAX || spaced || text.contains(['<', '>', ',', ';', '"', '\\']) {
        return Err(InvalidLetter::Address);
    }
    text.parse().map_err(|_| InvalidLetter::Address)
}

fn no_controls(what: &'static str, text: &str) -> Result<(), InvalidLetter> {
    // Line and paragraph separators end no line of a header, but some software believes so.
    let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.contains(ends) {
        return Err(InvalidLetter::Control(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compose(from: &str, to: &str, words: &Rendered) -> Result<String, InvalidLetter> {
        let from = Sender::parse(from)?;
        let letter = Letter {
            id: "0123456789abcdef",
            from: &from,
            reply_to: Some(&from),
            to,
            written_ms: 1_795_281_600_000,
            words,
        };
        let composed = letter.compose()?;
        Ok(String::from_utf8(composed.bytes).unwrap())
    }

    fn words(subject: &str, text: &str) -> Rendered {
        Rendered {
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: format!("<p>{text}</p>"),
        }
    }

    /// Names of the headers of a mail, which end at the first empty line.
    fn headers(mail: &str) -> Vec<String> {
        let head = mail.split("\r\n\r\n").next().unwrap();
        let lines = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']));
        lines
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect()
    }

    const HEADERS: [&str; 9] = [
        "Message-ID",
        "Date",
        "From",
        "To",
        "Subject",
        "Auto-Submitted",
        "Reply-To",
        "MIME-Version",
        "Content-Type",
    ];

    #[test]
    fn a_letter_has_its_headers_and_both_parts() {
        let words = words("Bestätige", "Grüße\n.\nEnde");
        let mail = compose("Ädea <no-reply@example.org>", "ann@example.org", &words).unwrap();
        assert_eq!(headers(&mail), HEADERS);
        assert!(
            mail.contains("Message-ID: <0123456789abcdef@example.org>\r\n"),
            "{mail}"
        );
        assert!(
            mail.contains("Date: Sat, 21 Nov 2026 17:20:00 +0000\r\n"),
            "{mail}"
        );
        assert!(mail.contains("Subject: =?utf-8?b?"), "{mail}");
        assert!(
            mail.contains("text/plain; charset=utf-8") && mail.contains("text/html; charset=utf-8")
        );
        assert!(mail.is_ascii());
        let again = compose("Ädea <no-reply@example.org>", "ann@example.org", &words).unwrap();
        assert_eq!(mail, again);
    }

    #[test]
    fn what_is_no_sender_is_refused() {
        let shown = |text| Sender::parse(text).map(|sender| sender.to_string());
        assert_eq!(shown("a@example.org").unwrap(), "a@example.org");
        assert_eq!(
            shown("Adea <a@example.org>").unwrap(),
            "Adea <a@example.org>"
        );
        for text in [
            "",
            "Adea",
            "Adea <>",
            "a@",
            "a@b\r\nBcc: c@d",
            "<a@b",
            "a@b>",
            "x\0 <a@example.org>",
        ] {
            assert!(Sender::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in [
            "ann@example.org",
            "ann+x@example.org",
            "ann@bücher.example",
            "änn@example.org",
        ] {
            assert!(address_is_valid(address), "{address}");
        }
        for address in [
            "",
            "ann",
            "ann@",
            "@example.org",
            "a b@example.org",
            "Ann <ann@example.org>",
            "ann@example.org, bob@example.org",
            "ann@example.org\r\nBcc: bob@example.org",
            "ann@example.org\n",
            "\"a b\"@example.org",
            "ann@example.org\0",
            "ann@example.org>",
        ] {
            assert!(!address_is_valid(address), "{address:?}");
        }
        assert!(!address_is_valid(&format!(
            "{}@example.org",
            "a".repeat(300)
        )));
    }

    proptest! {
        /// Whatever somebody writes, no header comes of it that was not there.
        #[test]
        fn no_text_becomes_a_header(
            name in "(.|[\r\n\0,<>@:; ]){0,30}",
            to in "(ann@example.org)?(.|[\r\n\0,<>@:; ]){0,30}",
            subject in "(.|[\r\n\0:]|Bcc: x@y\r\n){0,40}",
            text in "(.|[\r\n\0.]){0,60}",
        ) {
            let from = format!("{name} <no-reply@example.org>");
            if let Ok(mail) = compose(&from, &to, &words(&subject, &text)) {
                prop_assert_eq!(headers(&mail), HEADERS);
                for line in [&name, &to, &subject] {
                    prop_assert!(!line.contains(['\r', '\n', '\0']));
                }
            }
        }

        /// A bare return or line feed would let a receiver see another end of the mail than we do.
        #[test]
        fn lines_of_the_body_end_as_they_must(text in "(a|\r|\n|\r\n|\\.|\r\n\\.\r\n){0,20}") {
            let mail = compose("a@example.org", "b@example.org", &words("x", &text)).unwrap();
            let rest = mail.replace("\r\n", "");
            prop_assert!(!rest.contains(['\r', '\n']), "{:?}", rest);
        }
    }
}
