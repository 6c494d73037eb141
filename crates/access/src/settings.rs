//! What is set for access in a database.
//!
//! ```json
//! {"version": 1,
//!  "rule": {"property": "access"},
//!  "default": "admin",
//!  "write_rules": {"writers": "writers", "owners": "owners"},
//!  "write_only": false,
//!  "mailboxes": false,
//!  "schemas": null,
//!  "conflicts": "keep"}
//! ```
//!
//! Every field may be missing; this is what is meant then, and what is shown back has them all. Other
//! rules are `{"expression": [...]}` and `{"function": {"design": "_design/app", "name": "access"}}`;
//! another default is `"author"` or a list of principals. `true` for `write_rules` and `mailboxes`
//! means the usual names of properties. Schemas are `{"property": "type", "types": {"note": {...}}}`,
//! and another way with conflicts is `"reject"` or `{"merge": ...}`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::expression::{InvalidExpression, PathExpression};
use crate::list::{AccessList, InvalidAccessList};

mod read;

/// The version of what is stored.
const VERSION: u64 = 1;
/// The longest text of settings; they are read with the database.
const SETTINGS_BYTES_MAX: usize = 1 << 20;

/// What is set for access in a database, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessSettings {
    /// Where a document's access list comes from.
    pub rule: Rule,
    /// Who reads a document for which the rule gives nothing.
    pub default: DefaultList,
    /// The built-in rules of who may write what; `None` if they are off.
    pub write_rules: Option<WriteRules>,
    /// Whether nobody but its admins reads the database.
    pub write_only: bool,
    /// Messages that go to the mailbox of whom they are for; `None` if there are no mailboxes.
    pub mailboxes: Option<Mailboxes>,
    /// JSON Schemas of documents; `None` if there are none.
    pub schemas: Option<Schemas>,
    /// What becomes of a write that would fork a document.
    pub conflicts: Conflicts,
}

/// Where a document's access list comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// The document says it in a property of this name.
    Property(String),
    /// It is worked out of the document by paths.
    Expression(PathExpression),
    /// A function of a design document says it.
    Function {
        /// The id of the design document.
        design: String,
        /// The name of the function in it.
        name: String,
    },
}

/// Who reads a document for which the rule gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultList {
    /// Admins of the database.
    Admin,
    /// Who made it.
    Author,
    /// These.
    List(AccessList),
}

/// Properties that the built-in write rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRules {
    /// Names who may update and delete the document.
    pub writers: String,
    /// Names who may change who reads, writes and owns it.
    pub owners: String,
}

/// How messages find their mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailboxes {
    /// The property that names whom a message is for.
    pub recipient: String,
}

/// JSON Schemas of documents, by type.
#[derive(Clone, Debug, PartialEq)]
pub struct Schemas {
    /// The property that says of which type a document is.
    pub type_property: String,
    /// The schema of each type, as it was given.
    pub types: Map<String, Value>,
}

/// What becomes of a write that would fork a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Conflicts {
    /// It forks, as in `CouchDB`.
    Keep,
    /// It is refused.
    Reject,
    /// It is merged by this resolver.
    Merge(Value),
}

/// What is no set of access settings: which field, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}{}{fault}", if field.is_empty() { "" } else { ": " })]
pub struct InvalidSettings {
    /// The field, as `rule.property`; empty for the whole.
    pub field: String,
    /// What is wrong there.
    pub fault: SettingsFault,
}

/// What is wrong with access settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsFault {
    /// Not JSON.
    #[error("invalid JSON")]
    NotJson,
    /// Larger than is kept.
    #[error("larger than {SETTINGS_BYTES_MAX} bytes")]
    TooLarge,
    /// A version that this server does not know.
    #[error("this server knows version {VERSION}")]
    Version,
    /// A field that there is none of.
    #[error("unknown field")]
    Unknown,
    /// A value of another kind than the field has.
    #[error("must be {0}")]
    MustBe(&'static str),
    /// A list of principals that is none.
    #[error(transparent)]
    List(InvalidAccessList),
    /// An access expression that is none.
    #[error(transparent)]
    Expression(InvalidExpression),
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            rule: Rule::Property("access".to_owned()),
            default: DefaultList::Admin,
            write_rules: Some(WriteRules::default()),
            write_only: false,
            mailboxes: None,
            schemas: None,
            conflicts: Conflicts::Keep,
        }
    }
}

impl AccessSettings {
    /// Reads settings from JSON text.
    ///
    /// # Errors
    /// [`InvalidSettings`] that names the field.
    pub fn parse(text: &str) -> Result<Self, InvalidSettings> {
        read::settings(text)
    }

    /// All that is set, as JSON.
    #[must_use]
    pub fn summary(&self) -> Value {
        json!({
            "version": VERSION,
            "rule": self.rule.summary(),
            "default": self.default.summary(),
            "write_rules": self.write_rules.as_ref().map_or(Value::Bool(false), |rules| {
                json!({"writers": rules.writers, "owners": rules.owners})
            }),
            "write_only": self.write_only,
            "mailboxes": self.mailboxes.as_ref().map_or(Value::Bool(false), |mailboxes| {
                json!({"recipient": mailboxes.recipient})
            }),
            "schemas": self.schemas.as_ref().map_or(Value::Null, |schemas| {
                json!({"property": schemas.type_property, "types": schemas.types})
            }),
            "conflicts": match &self.conflicts {
                Conflicts::Keep => "keep".into(),
                Conflicts::Reject => "reject".into(),
                Conflicts::Merge(resolver) => json!({"merge": resolver}),
            },
        })
    }

    /// All that is set, as the text that is stored.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.summary().to_string()
    }

    /// Whether documents may stand under other labels by `other` than by these.
    #[must_use]
    pub fn labels_differ(&self, other: &Self) -> bool {
        (&self.rule, &self.default, self.write_only, &self.mailboxes)
            != (
                &other.rule,
                &other.default,
                other.write_only,
                &other.mailboxes,
            )
    }

    /// The access list of a document for which the rule gave nothing; `author` is the principal of who
    /// made it, if that is known.
    #[must_use]
    pub fn default_list(&self, author: Option<&Arc<str>>) -> AccessList {
        match (&self.default, author) {
            (DefaultList::List(list), _) => list.clone(),
            (DefaultList::Author, Some(author)) => AccessList::only(author),
            (DefaultList::Author, None) | (DefaultList::Admin, _) => AccessList::admin(),
        }
    }
}

impl Rule {
    /// The rule in words and values, for showing.
    #[must_use]
    pub fn summary(&self) -> Value {
        match self {
            Self::Property(name) => json!({"property": name}),
            Self::Expression(expression) => json!({"expression": expression.as_value()}),
            Self::Function { design, name } => {
                json!({"function": {"design": design, "name": name}})
            }
        }
    }
}

impl DefaultList {
    fn summary(&self) -> Value {
        match self {
            Self::Admin => "admin".into(),
            Self::Author => "author".into(),
            Self::List(list) => {
                let principals = list.principals().iter();
                principals.map(|principal| principal.as_ref()).collect()
            }
        }
    }
}

impl Default for WriteRules {
    fn default() -> Self {
        Self {
            writers: "writers".to_owned(),
            owners: "owners".to_owned(),
        }
    }
}

impl Default for Mailboxes {
    fn default() -> Self {
        Self {
            recipient: "to".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
