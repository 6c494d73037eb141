//! The kinds that parameters of paths and queries have: what is taken, and how that is described.
//!
//! A kind is named by a word in the row; `a|b|c` is one of these words. One table says for each what
//! it takes, so that what is described is what is checked, before a handler sees it.

use adea_accounts::keys;
use serde_json::{Value, json};

/// The longest text of a parameter, in bytes.
const TEXT_MAX: usize = 256;
/// The kind of what another server sends a browser back with. It may add what it likes; that is not
/// refused, and not read.
pub(super) const RETURNED: &str = "returned";
/// The longest text of it, in bytes.
const RETURNED_MAX: usize = 4_096;
/// The greatest number that every reader of JSON can hold.
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// The longest place in a list, in characters.
const CURSOR_MAX: usize = 1_024;

/// A kind of parameter.
struct Kind {
    name: &'static str,
    takes: fn(&str) -> bool,
    /// What it takes, for who sent something else.
    wanted: &'static str,
    schema: fn() -> Value,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "string",
        takes: is_text,
        wanted: "text of at most 256 bytes without control characters",
        schema: || json!({"type": "string", "maxLength": TEXT_MAX, "pattern": "^[^\\x00-\\x1f\\x7f]*$"}),
    },
    Kind {
        name: RETURNED,
        takes: |text| text.len() <= RETURNED_MAX,
        wanted: "text of at most 4096 bytes",
        schema: || json!({"type": "string", "maxLength": RETURNED_MAX}),
    },
    Kind {
        name: "integer",
        takes: |text| in_range(text, 0, INTEGER_MAX),
        wanted: "a whole number from 0 on",
        schema: || json!({"type": "integer", "minimum": 0, "maximum": INTEGER_MAX}),
    },
    Kind {
        name: "time",
        takes: |text| in_range(text, 0, INTEGER_MAX),
        wanted: "a time in milliseconds since the Unix epoch",
        schema: || json!({"type": "integer", "minimum": 0, "maximum": INTEGER_MAX}),
    },
    Kind {
        name: "boolean",
        takes: |text| matches!(text, "true" | "false"),
        wanted: "true or false",
        schema: || json!({"type": "boolean"}),
    },
    Kind {
        name: "limit",
        takes: |text| in_range(text, 1, super::paging::LIMIT_MAX),
        wanted: "a whole number from 1 to 1000",
        schema: || {
            json!({"type": "integer", "minimum": 1, "maximum": super::paging::LIMIT_MAX,
                   "default": 100})
        },
    },
    Kind {
        name: "cursor",
        takes: |text| {
            let is_part =
                |byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
            !text.is_empty() && text.len() <= CURSOR_MAX && text.bytes().all(is_part)
        },
        wanted: "what was `next` in the answer before",
        schema: || {
            json!({"type": "string", "minLength": 1, "maxLength": CURSOR_MAX,
                   "pattern": "^[A-Za-z0-9_-]+$"})
        },
    },
    Kind {
        name: "id",
        takes: keys::is_id,
        wanted: "an id of 26 characters",
        schema: || json!({"type": "string", "pattern": "^[a-z2-7]{26}$"}),
    },
    Kind {
        name: "app",
        takes: is_app,
        wanted: "the name of an app: a letter, then letters, digits and hyphens, all lower-case, 63 at most",
        schema: || json!({"type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$"}),
    },
];

/// Parameters of paths, by name: what they are, and of which kind.
const OF_PATHS: &[(&str, &str, &str)] = &[
    ("account", "The id of an account.", "string"),
    ("app", "The name of an app.", "app"),
    ("email", "An address.", "string"),
    ("email", "A mail address of the account.", "string"),
    ("id", "The id of a mail in the queue.", "string"),
    ("invitation", "The id of an invitation.", "string"),
    ("kind", "Which kind of mail.", "string"),
    ("language", "A language, as `de` or `pt-BR`.", "string"),
    ("membership", "The id of a membership.", "string"),
    ("org", "The id of an organisation.", "string"),
    ("organisation", "The id of an organisation.", "string"),
    ("passkey", "The id of a passkey.", "string"),
    (
        "provider",
        "The name of a provider to sign in with.",
        "string",
    ),
    ("session", "The id of a session.", "string"),
    ("team", "The id of a team.", "string"),
];

/// Whether `text` is of the kind that is named.
///
/// # Errors
/// What it should be.
pub(super) fn check(name: &str, text: &str) -> Result<(), String> {
    if name.contains('|') {
        return match name.split('|').any(|word| word == text) {
            true => Ok(()),
            false => Err(format!("one of {}", name.replace('|', ", "))),
        };
    }
    match KINDS.iter().find(|kind| kind.name == name) {
        Some(kind) if !(kind.takes)(text) => Err(kind.wanted.to_owned()),
        Some(_) | None => Ok(()),
    }
}

/// How the kind is described.
pub(super) fn schema(name: &str) -> Value {
    if name.contains('|') {
        let words: Vec<&str> = name.split('|').collect();
        return json!({"type": "string", "enum": words});
    }
    let kind = KINDS.iter().find(|kind| kind.name == name);
    kind.map_or_else(|| json!({"type": "string"}), |kind| (kind.schema)())
}

/// How the kind is described in a path, where it is one segment.
pub(super) fn path_schema(name: &str) -> Value {
    match name {
        "string" => json!({"type": "string", "minLength": 1, "maxLength": TEXT_MAX,
                           "pattern": "^[^/\\x00-\\x1f\\x7f]+$"}),
        name => schema(name),
    }
}

/// What a parameter of a path is, and its kind.
pub(super) fn of_path(name: &str) -> (&'static str, &'static str) {
    let found = OF_PATHS.iter().find(|(known, ..)| *known == name);
    found.map_or(("", "string"), |(_, about, kind)| (*about, *kind))
}

fn is_text(text: &str) -> bool {
    text.len() <= TEXT_MAX && !text.contains(|c: char| c.is_ascii_control())
}

fn is_app(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn in_range(text: &str, least: u64, most: u64) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        && text
            .parse()
            .is_ok_and(|number: u64| (least..=most).contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes;

    #[test]
    fn every_parameter_of_a_row_is_of_a_known_kind_and_described() {
        for route in routes() {
            for parameter in route.query {
                let known = KINDS.iter().any(|kind| kind.name == parameter.kind);
                assert!(
                    known || parameter.kind.contains('|'),
                    "{}: {} is of an unknown kind",
                    route.name,
                    parameter.name
                );
                assert!(!parameter.about.is_empty(), "{}", route.name);
            }
            for name in route.parameters() {
                assert!(
                    !of_path(name).0.is_empty(),
                    "{}: say in kind.rs what {{{name}}} is",
                    route.name
                );
            }
        }
    }

    #[test]
    fn kinds_take_what_they_say() {
        let check = |kind, text: &str, fits: bool| {
            assert_eq!(super::check(kind, text).is_ok(), fits, "{kind} {text:?}");
        };
        for (text, fits) in [
            ("0", true),
            ("9007199254740992", false),
            ("-1", false),
            ("+1", false),
        ] {
            check("integer", text, fits);
        }
        for (text, fits) in [
            ("1", true),
            ("1000", true),
            ("0", false),
            ("1001", false),
            ("", false),
        ] {
            check("limit", text, fits);
        }
        for (text, fits) in [
            ("ann", true),
            ("a\nb", false),
            ("ä", true),
            (&*"x".repeat(257), false),
        ] {
            check("string", text, fits);
        }
        for (text, fits) in [("AZ_-", true), ("", false), ("a+b", false)] {
            check("cursor", text, fits);
        }
        for (text, fits) in [
            ("shop-1", true),
            ("1shop", false),
            ("Shop", false),
            ("", false),
        ] {
            check("app", text, fits);
        }
        check("newest|oldest", "oldest", true);
        check("newest|oldest", "newest|oldest", false);
        check("boolean", "TRUE", false);
    }
}
