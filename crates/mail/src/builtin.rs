//! The words that are built in: one file a kind and language, its three texts between lines of their
//! own.

use crate::kind::Kind;
use crate::template::Template;

/// Languages of the built-in templates.
pub(crate) const LANGUAGES: &[&str] = &["en", "de"];

macro_rules! files {
    ($language:literal) => {
        |kind: Kind| -> &'static str {
            match kind {
                Kind::VerifyAddress => file!($language, "verify_address"),
                Kind::AlreadyRegistered => file!($language, "already_registered"),
                Kind::Recover => file!($language, "recover"),
                Kind::NoAccount => file!($language, "no_account"),
                Kind::PasswordChanged => file!($language, "password_changed"),
                Kind::SignIn => file!($language, "sign_in"),
                Kind::NewDevice => file!($language, "new_device"),
                Kind::Invitation => file!($language, "invitation"),
                Kind::AddressChanged => file!($language, "address_changed"),
                Kind::FactorChanged => file!($language, "factor_changed"),
                Kind::Erased => file!($language, "erased"),
                Kind::Test => file!($language, "test"),
            }
        }
    };
}
macro_rules! file {
    ($language:literal, $kind:literal) => {
        include_str!(concat!("../templates/", $language, "/", $kind, ".txt"))
    };
}

const ENGLISH: fn(Kind) -> &'static str = files!("en");
const GERMAN: fn(Kind) -> &'static str = files!("de");

/// The template of `kind` in `language`; `None` if there is none in that language.
pub(crate) fn template(kind: Kind, language: &str) -> Option<Template> {
    let file = match language {
        "en" => ENGLISH(kind),
        "de" => GERMAN(kind),
        _ => return None,
    };
    let (subject, rest) = file.split_once("\n--- text\n")?;
    let (text, html) = rest.split_once("\n--- html\n")?;
    let page = include_str!("../templates/page.html");
    let page = page.replace("LANGUAGE", language);
    Some(Template {
        subject: subject.to_owned(),
        text: format!("{}\n", text.trim_end()),
        html: page.replace("BODY", html.trim_end()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Around;

    #[test]
    fn every_kind_is_written_in_every_language() {
        for language in LANGUAGES {
            for kind in Kind::ALL {
                let template = template(kind, language);
                let template = template.unwrap_or_else(|| panic!("{language}/{}", kind.name()));
                let checked = template.check(kind);
                checked.unwrap_or_else(|error| panic!("{language}/{}: {error}", kind.name()));
                let around = Around {
                    to: "ann@example.org",
                    app: "",
                    server: "Adea",
                };
                let made = template.render(kind, &kind.sample(), around).unwrap();
                let link = kind
                    .sample()
                    .get("link")
                    .and_then(|link| link.as_str().map(str::to_owned));
                if let Some(link) = link {
                    assert!(made.text.contains(&link), "{language}/{}", kind.name());
                    let escaped = link.replace('/', "&#x2f;");
                    assert!(
                        made.html.contains(&format!("href=\"{escaped}\"")),
                        "{}",
                        made.html
                    );
                }
                assert!(made.html.contains(&format!("lang=\"{language}\"")));
                assert!(!made.text.contains("none") && !made.html.contains("<script"));
                assert!(
                    made.text.lines().all(|line| !line.ends_with(' ')),
                    "{}",
                    made.text
                );
            }
        }
        assert!(template(Kind::Test, "fr").is_none());
    }
}
