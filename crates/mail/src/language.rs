//! In which language a mail is written: tags as of BCP 47, and what stands in for one that nobody has
//! written in.

/// A language as a tag in lower case: `de`, `de-at`, `zh-hant-tw`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Language(String);

/// The longest tag, in bytes (RFC 5646, section 4.4.1).
const TAG_BYTES_MAX: usize = 35;

impl Language {
    /// The language of a tag; `None` if it is none. Private use, grandfathered tags and the like
    /// are taken as long as they have the form of a tag: words of letters and digits.
    #[must_use]
    pub fn parse(tag: &str) -> Option<Self> {
        let mut words = tag.split('-');
        let first = words.next()?;
        let letters = first.bytes().all(|byte| byte.is_ascii_alphabetic());
        let formed = letters
            && (2..=8).contains(&first.len())
            && words.all(|word| {
                (1..=8).contains(&word.len())
                    && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
        (formed && tag.len() <= TAG_BYTES_MAX).then(|| Self(tag.to_ascii_lowercase()))
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.0
    }

    /// Itself, then without its last word, and so on: `de-at`, `de`.
    pub(crate) fn wider(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.tag()), |tag| Some(tag.rsplit_once('-')?.0))
    }
}

impl Default for Language {
    fn default() -> Self {
        Self("en".to_owned())
    }
}

/// The tags to look under for a mail to somebody who wants `wanted`, best first: his own and wider
/// ones, those of the server, English.
pub(crate) fn candidates<'l>(wanted: &'l str, server: &'l Language) -> Vec<String> {
    let own = Language::parse(wanted);
    let own = own.iter().flat_map(Language::wider);
    let mut tags: Vec<String> = Vec::new();
    for tag in own.chain(server.wider()).chain(["en"]) {
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_their_form() {
        for tag in [
            "de",
            "de-AT",
            "zh-Hant-TW",
            "sl-rozaj-biske-1994",
            "en-x-pirate",
        ] {
            assert_eq!(Language::parse(tag).unwrap().tag(), tag.to_lowercase());
        }
        for tag in [
            "",
            "d",
            "1a",
            "de-",
            "de_AT",
            "de-AT;q=0.8",
            "de\r\nBcc",
            "../en",
            "-de",
        ] {
            assert_eq!(Language::parse(tag), None, "{tag:?}");
        }
        assert_eq!(Language::parse(&format!("de-{}", "a-".repeat(20))), None);
    }

    #[test]
    fn who_is_not_understood_is_written_to_in_the_server_s_language() {
        let german = Language::parse("de-CH").unwrap();
        let check = |wanted, expected: &[&str]| assert_eq!(candidates(wanted, &german), expected);
        check("de-AT", &["de-at", "de", "de-ch", "en"]);
        check("fr", &["fr", "de-ch", "de", "en"]);
        check("", &["de-ch", "de", "en"]);
        check("no language", &["de-ch", "de", "en"]);
        check("en-GB", &["en-gb", "en", "de-ch", "de"]);
    }
}
