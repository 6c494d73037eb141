//! Whose words a mail is written in: those of an app, else of this server, else those that are
//! built in; each in the language of whoever gets it, or the nearest to it.

use adea_store::{Direction, EngineError, Space, Transaction, View};

use crate::builtin;
use crate::keys;
use crate::kind::Kind;
use crate::language::{Language, candidates};
use crate::queue::Outgoing;
use crate::stored::{decode, encode};
use crate::template::{Around, InvalidTemplate, Rendered, Template};

/// The most templates that are kept.
pub const TEMPLATES_MAX: usize = 1_000;
/// The most templates of one app: one that has many must leave room for the others.
pub const TEMPLATES_OF_APP_MAX: usize = 100;

/// Which template: what it is about, in which app (empty for all), in which language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Which {
    /// What it is about.
    pub kind: Kind,
    /// The app; empty for those that have none of their own.
    pub app: String,
    /// The language.
    pub language: Language,
}

impl Which {
    fn key(&self) -> Vec<u8> {
        keys::template(self.kind.name(), &self.app, self.language.tag())
    }
}

/// Languages with templates that are built in.
#[must_use]
pub fn built_in_languages() -> &'static [&'static str] {
    builtin::LANGUAGES
}

/// The template that is built in; `None` if none is in that language.
#[must_use]
pub fn built_in(kind: Kind, language: &str) -> Option<Template> {
    builtin::template(kind, language)
}

/// From now on these words are used. Whoever calls has checked them. Whether there was room.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn put(
    tx: &mut Transaction<'_>,
    which: &Which,
    template: &Template,
) -> Result<bool, EngineError> {
    let key = which.key();
    if tx.get(Space::Index, &key)?.is_none() {
        let there = tx.range(Space::Index, &keys::templates(), TEMPLATES_MAX)?;
        let of_app = there.iter().filter(|(key, _)| {
            let parsed = keys::parse_template(key);
            parsed.is_some_and(|(_, app, _)| app == which.app)
        });
        let too_many = !which.app.is_empty() && of_app.count() >= TEMPLATES_OF_APP_MAX;
        if too_many || there.len() >= TEMPLATES_MAX {
            return Ok(false);
        }
    }
    tx.put(Space::Index, key, encode(template));
    Ok(true)
}

/// From now on the words are used that stood behind these. Whether these were there.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn remove(tx: &mut Transaction<'_>, which: &Which) -> Result<bool, EngineError> {
    let key = which.key();
    let there = tx.get(Space::Index, &key)?.is_some();
    tx.delete(Space::Index, key);
    Ok(there)
}

/// The words that somebody chose.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn find(view: &dyn View, which: &Which) -> Result<Option<Template>, EngineError> {
    let found = view.get(Space::Index, &which.key())?;
    found.map(|bytes| decode(&bytes, "a template")).transpose()
}

/// All for which somebody chose words.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn list(view: &dyn View) -> Result<Vec<Which>, EngineError> {
    let mut cursor = view.range(Space::Index, keys::templates(), Direction::Forward)?;
    let mut found = Vec::new();
    while let Some((key, _)) = cursor.next()? {
        let which = keys::parse_template(key).and_then(|(kind, app, language)| {
            Some(Which {
                kind: Kind::parse(kind)?,
                app: app.to_owned(),
                language: Language::parse(language)?,
            })
        });
        found.extend(which);
    }
    Ok(found)
}

/// Words that were chosen for a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The words.
    pub template: Template,
    /// Their language.
    pub language: String,
    /// Whether somebody chose them, and they are not those that are built in.
    pub own: bool,
}

/// The words for a mail of `kind`, in `app`, to somebody who wants the language `wanted`.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn choose(
    view: &dyn View,
    kind: Kind,
    app: &str,
    wanted: &str,
    server: &Language,
) -> Result<Chosen, EngineError> {
    for tag in candidates(wanted, server) {
        let apps: &[&str] = if app.is_empty() { &[""] } else { &[app, ""] };
        for app in apps {
            let found = view.get(Space::Index, &keys::template(kind.name(), app, &tag))?;
            if let Some(bytes) = found {
                return Ok(Chosen {
                    template: decode(&bytes, "a template")?,
                    language: tag,
                    own: true,
                });
            }
        }
        if let Some(template) = built_in(kind, &tag) {
            return Ok(Chosen {
                template,
                language: tag,
                own: false,
            });
        }
    }
    Err(EngineError::Corrupt(
        "the templates that are built in".to_owned(),
    ))
}

/// What a mail says. Words that somebody chose and that cannot be filled in with this mail's data
/// are passed over for those that are built in: better plain words than no mail.
///
/// # Errors
/// [`EngineError`] if the store cannot be read; the inner error if the data is not as the kind
/// wants it.
pub fn render(
    view: &dyn View,
    mail: &Outgoing,
    server: &str,
    language: &Language,
) -> Result<Result<Rendered, InvalidTemplate>, EngineError> {
    let chosen = choose(view, mail.kind, &mail.app, &mail.language, language)?;
    let rendered = fill(&chosen.template, mail, server);
    let Err(error) = &rendered else {
        return Ok(rendered);
    };
    let instead = candidates(&mail.language, language)
        .iter()
        .find_map(|tag| built_in(mail.kind, tag));
    match instead {
        Some(instead) if chosen.own => {
            let kind = mail.kind.name();
            let (app, language) = (&mail.app, &chosen.language);
            tracing::warn!(
                kind, app, language, %error,
                "the template {kind} ({language}) of app {app:?} was passed over: {error}"
            );
            Ok(fill(&instead, mail, server))
        }
        Some(_) | None => Ok(rendered),
    }
}

/// What `template` says with the data of `mail`.
///
/// # Errors
/// [`InvalidTemplate`] if it cannot be filled in.
pub fn fill(
    template: &Template,
    mail: &Outgoing,
    server: &str,
) -> Result<Rendered, InvalidTemplate> {
    let around = Around {
        to: &mail.to,
        app: &mail.app,
        server,
    };
    template.render(mail.kind, &mail.data, around)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adea_store::{Memory, Store, StoreOptions, TransactError, WritePermit};

    use super::*;

    #[tokio::test]
    async fn an_app_with_many_templates_leaves_room_for_others() {
        let store = Store::open(Arc::new(Memory::new()), StoreOptions::default()).unwrap();
        let put = async |app: &str, language: usize| {
            let first = char::from(b'a' + u8::try_from(language / 26).unwrap());
            let second = char::from(b'a' + u8::try_from(language % 26).unwrap());
            let which = Which {
                kind: Kind::Test,
                app: app.to_owned(),
                language: Language::parse(&format!("{first}{second}")).unwrap(),
            };
            let done: Result<bool, TransactError<EngineError>> = store
                .transact(WritePermit::of_term(1), move |tx| {
                    let template = built_in(Kind::Test, "en").unwrap();
                    Ok(put(tx, &which, &template)?)
                })
                .await;
            done.unwrap_or_else(|_| panic!("a transaction over memory"))
        };
        for language in 0..TEMPLATES_OF_APP_MAX {
            assert!(put("shop", language).await, "{language}");
        }
        assert!(!put("shop", TEMPLATES_OF_APP_MAX).await);
        // What is there may be written anew, and others may write.
        assert!(put("shop", 0).await);
        assert!(put("sho", TEMPLATES_OF_APP_MAX).await);
        for language in 0..=TEMPLATES_OF_APP_MAX {
            assert!(put("", language).await, "{language}");
        }
    }
}
