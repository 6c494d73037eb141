//! An access list worked out of a whole document by paths, without JavaScript.
//!
//! ```json
//! ["user:${owner}", "team:${team.id}:reader", "user:${members[*].name}", {"field": "access"}]
//! ```
//!
//! An array of terms. A text is a principal, in which each `${path}` stands for the text or whole
//! number that the document has there; `{"field": path}` stands for the principals that the document
//! names there, as a text or an array of texts. A path is made of names with dots between them; `[*]`
//! behind a name means each element of the array there; `_id` is the document's id.
//!
//! A term of which a path leads to nothing, to `null` or to an empty text gives nothing; one whose
//! paths lead to several things gives a principal for each. What a path leads to and is of another
//! kind is a fault of the document, not nothing: a document must not fall to the default by mistake.
//!
//! Invariant: the work is bounded by the size of the document and of what it gives, which is never
//! more than a list may hold.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::body::members;
use crate::list::{AccessList, InvalidAccessList, LIST_PRINCIPALS_MAX, ListFault, check, invalid};

mod parse;

/// The most terms.
const TERMS_MAX: usize = 64;
/// The longest text of a term.
const TERM_BYTES_MAX: usize = 1024;
/// The most paths in a term.
const TERM_PATHS_MAX: usize = 8;
/// The most names in a path.
const PATH_NAMES_MAX: usize = 16;

/// The document's id, which its body does not have.
const ID: &str = "_id";

/// An expression that was read and is sound.
#[derive(Clone, Debug, PartialEq)]
pub struct PathExpression {
    given: Value,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    /// Principals, as the parts say.
    Text(Vec<Part>),
    /// The principals named there.
    Field(Path),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Path(Path),
}

/// Where something is in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    text: String,
    /// The member of the document that it begins with.
    root: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Each,
}

/// What is no expression: in which term and at which byte of its text, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("term {term}, byte {byte}: {fault}")]
pub struct InvalidExpression {
    /// The place of the term, from 0.
    pub term: usize,
    /// The byte of its text.
    pub byte: usize,
    /// What is wrong there.
    pub fault: ExpressionFault,
}

/// What is wrong with an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionFault {
    /// Not an array with terms.
    #[error("an access expression is an array of at least one term")]
    NotTerms,
    /// More terms than are looked at.
    #[error("an access expression has at most {TERMS_MAX} terms")]
    TooManyTerms,
    /// Neither a text, nor an object with a path under `field` and nothing else.
    #[error("a term is a string or {{\"field\": path}}")]
    NotATerm,
    /// A text longer than is looked at.
    #[error("a term has at most {TERM_BYTES_MAX} bytes")]
    TermTooLong,
    /// More paths than are followed.
    #[error("a term has at most {TERM_PATHS_MAX} paths")]
    TooManyPaths,
    /// A `${` without its `}`.
    #[error("the path is not closed by a brace")]
    Unclosed,
    /// A path without a name where one must be.
    #[error("a name is missing")]
    NameMissing,
    /// A character that no name in a path has.
    #[error("names in paths are without $ {{ }} [ ] and *; behind a name may stand [*]")]
    BadCharacter,
    /// More names than are followed.
    #[error("a path has at most {PATH_NAMES_MAX} names")]
    PathTooLong,
    /// What the term says can never be a principal.
    #[error("the principal {0}")]
    NoPrincipal(ListFault),
}

impl PathExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`InvalidExpression`] that names the place.
    pub fn parse(value: &Value) -> Result<Self, InvalidExpression> {
        Ok(Self {
            given: value.clone(),
            terms: parse::terms(value)?,
        })
    }

    /// The expression as it was given.
    #[must_use]
    pub fn as_value(&self) -> &Value {
        &self.given
    }

    /// The access list of the document with this id and body; `None` where no term gives a principal.
    ///
    /// # Errors
    /// [`InvalidAccessList`] that names the place in the document.
    pub fn evaluate_body(
        &self,
        id: &str,
        body: &[u8],
    ) -> Result<Option<AccessList>, InvalidAccessList> {
        let unreadable = || invalid("document", ListFault::Unreadable);
        let mut found = members(body, &self.roots()).ok_or_else(unreadable)?;
        found.insert(ID.to_owned(), id.into());
        self.evaluate(&found)
    }

    /// The access list of `document`; `None` where no term gives a principal.
    ///
    /// # Errors
    /// [`InvalidAccessList`] that names the place in the document.
    pub fn evaluate(
        &self,
        document: &Map<String, Value>,
    ) -> Result<Option<AccessList>, InvalidAccessList> {
        let mut principals = Vec::new();
        for term in &self.terms {
            match term {
                Term::Text(parts) => fill(parts, document, &mut principals)?,
                Term::Field(path) => named_at(path, document, &mut principals)?,
            }
        }
        if principals.is_empty() {
            return Ok(None);
        }
        AccessList::new("access expression", principals).map(Some)
    }

    /// The members of a document that it looks at.
    fn roots(&self) -> Vec<&str> {
        let mut roots = Vec::new();
        for term in &self.terms {
            match term {
                Term::Field(path) => roots.push(path.root.as_str()),
                Term::Text(parts) => roots.extend(parts.iter().filter_map(|part| match part {
                    Part::Literal(_) => None,
                    Part::Path(path) => Some(path.root.as_str()),
                })),
            }
        }
        roots
    }
}

/// Adds the principals of a text: one for each way to fill its paths in.
fn fill(
    parts: &[Part],
    document: &Map<String, Value>,
    out: &mut Vec<Arc<str>>,
) -> Result<(), InvalidAccessList> {
    let mut texts = vec![String::new()];
    let mut last = "access expression";
    for part in parts {
        match part {
            Part::Literal(literal) => texts.iter_mut().for_each(|text| text.push_str(literal)),
            Part::Path(path) => {
                last = &path.text;
                let found = texts_at(path, document)?;
                if texts.len() * found.len() > LIST_PRINCIPALS_MAX {
                    return Err(invalid(last, ListFault::TooMany));
                }
                let with = |text: &String| {
                    let text = text.clone();
                    found
                        .iter()
                        .map(move |value| [text.as_str(), value].concat())
                };
                let filled: Vec<String> = texts.iter().flat_map(with).collect();
                if filled.iter().any(|text| text.len() > TERM_BYTES_MAX * 2) {
                    return Err(invalid(last, ListFault::TooLong));
                }
                texts = filled;
            }
        }
    }
    for text in texts {
        take(last, &text, out)?;
    }
    Ok(())
}

/// The texts that a path leads to, to be put into a principal.
fn texts_at(path: &Path, document: &Map<String, Value>) -> Result<Vec<String>, InvalidAccessList> {
    let mut found = Vec::new();
    for value in path.follow(document) {
        match value {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => found.push(text.clone()),
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                found.push(number.to_string());
            }
            Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(invalid(&path.text, ListFault::NotText));
            }
        }
        if found.len() > LIST_PRINCIPALS_MAX {
            return Err(invalid(&path.text, ListFault::TooMany));
        }
    }
    Ok(found)
}

/// Adds the principals that a document names where the path leads to.
fn named_at(
    path: &Path,
    document: &Map<String, Value>,
    out: &mut Vec<Arc<str>>,
) -> Result<(), InvalidAccessList> {
    for value in path.follow(document) {
        let items = match value {
            Value::Null => continue,
            Value::Array(items) => items.as_slice(),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Object(_) => {
                std::slice::from_ref(value)
            }
        };
        for item in items {
            let text = item.as_str();
            let text = text.ok_or_else(|| invalid(&path.text, ListFault::NotText))?;
            take(&path.text, text, out)?;
        }
    }
    Ok(())
}

/// Adds a principal, if it is one and there is room.
fn take(place: &str, text: &str, out: &mut Vec<Arc<str>>) -> Result<(), InvalidAccessList> {
    check(text).map_err(|fault| invalid(place, fault))?;
    if out.len() == LIST_PRINCIPALS_MAX {
        return Err(invalid(place, ListFault::TooMany));
    }
    out.push(Arc::from(text));
    Ok(())
}

impl Path {
    /// All that it leads to.
    fn follow<'d>(&self, document: &'d Map<String, Value>) -> Vec<&'d Value> {
        let mut at: Vec<&Value> = document.get(&self.root).into_iter().collect();
        for step in &self.steps {
            at = match step {
                Step::Name(name) => at.into_iter().filter_map(|value| value.get(name)).collect(),
                Step::Each => at
                    .into_iter()
                    .filter_map(Value::as_array)
                    .flatten()
                    .collect(),
            };
        }
        at
    }
}

#[cfg(test)]
mod tests;
