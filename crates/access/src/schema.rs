//! JSON Schemas of documents by their type, and the members that clients do not set.
//!
//! A schema is what its standard says it is; regular expressions run in linear time, and a reference
//! leads nowhere outside of the schema. Besides, the schema of a member may say `"x-client": "refuse"`
//! (or, in the standard's words, `"readOnly": true`) or `"x-client": "drop"`: such a member is set by administrators alone. A client's document in which
//! it is not as it was before is refused, or gets back what was there.
//!
//! Invariant: what a client writes never changes such a member, neither by itself nor with what is
//! around it, and whichever type the document had before or says it has now. (In an array, items are
//! told by their places; an item that is gone has taken its members along.)

use std::collections::{BTreeMap, HashMap};

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::settings::Schemas;

mod guard;

use guard::Guard;

/// The longest schema.
const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// The most types.
const TYPES_MAX: usize = 256;
/// The most memory of a compiled regular expression.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// The name of the schema of documents whose type has none.
const OTHERS: &str = "*";
/// How much of what is wrong is told.
const REASON_CHARS_MAX: usize = 300;

/// The schemas of a database, made ready.
#[derive(Debug)]
pub struct DocumentSchemas {
    type_property: String,
    types: HashMap<String, TypeSchema>,
}

#[derive(Debug)]
struct TypeSchema {
    validator: Validator,
    guard: Guard,
}

/// A schema that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schema of type {of:?} {fault}")]
pub struct InvalidSchema {
    /// The type.
    pub of: String,
    /// What is wrong.
    pub fault: SchemaFault,
}

/// What is wrong with a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaFault {
    /// There are too many types.
    #[error("is one of more than {TYPES_MAX}")]
    TooMany,
    /// It is too long.
    #[error("is longer than {SCHEMA_BYTES_MAX} bytes")]
    TooLong,
    /// It is no schema.
    #[error("is none: {0}")]
    Invalid(String),
    /// `x-client` stands where it is not understood, or says something else.
    #[error(
        "has `x-client` at {0}, where it is not understood, or with another value than \"refuse\" or \"drop\""
    )]
    Misplaced(String),
}

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaRefusal {
    /// It does not satisfy the schema: where in it (a JSON pointer), and what is wrong.
    Unsatisfied(String, String),
    /// A client sets, changes or takes away the member at this place.
    NotForClients(String),
}

/// A document as it stands, whose members are compared.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'d>(pub &'d Map<String, Value>);

impl DocumentSchemas {
    /// Makes schemas ready.
    ///
    /// # Errors
    /// [`InvalidSchema`] that names the type.
    pub fn compile(schemas: &Schemas) -> Result<Self, InvalidSchema> {
        let mut types = HashMap::new();
        for (of, schema) in &schemas.types {
            let fail = |fault| InvalidSchema {
                of: of.clone(),
                fault,
            };
            if types.len() == TYPES_MAX {
                return Err(fail(SchemaFault::TooMany));
            }
            if schema.to_string().len() > SCHEMA_BYTES_MAX {
                return Err(fail(SchemaFault::TooLong));
            }
            let guard = Guard::read(schema).map_err(|at| fail(SchemaFault::Misplaced(at)))?;
            let patterns = PatternOptions::regex()
                .size_limit(PATTERN_BYTES_MAX)
                .dfa_size_limit(PATTERN_BYTES_MAX);
            let validator = jsonschema::options()
                .with_pattern_options(patterns)
                .build(schema)
                .map_err(|error| fail(SchemaFault::Invalid(cut(&error.to_string()))))?;
            types.insert(of.clone(), TypeSchema { validator, guard });
        }
        Ok(Self {
            type_property: schemas.type_property.clone(),
            types,
        })
    }

    /// Judges a document that is not a deletion: clients' members first, which `old`, the live
    /// revisions that it stands to, have to say of; then the schema. True if the document was changed.
    ///
    /// # Errors
    /// [`SchemaRefusal`].
    pub fn judge(
        &self,
        document: &mut Map<String, Value>,
        old: &[Standing<'_>],
        is_client: bool,
    ) -> Result<bool, SchemaRefusal> {
        let changed = if is_client {
            self.guard(document, old)?
        } else {
            false
        };
        if let Some(schema) = self.schema_of(document) {
            let whole = Value::Object(std::mem::take(document));
            let answer = schema.validator.validate(&whole).map_err(|error| {
                let place = error.instance_path().to_string();
                SchemaRefusal::Unsatisfied(place, cut(&error.masked().to_string()))
            });
            if let Value::Object(back) = whole {
                *document = back;
            }
            answer?;
        }
        Ok(changed)
    }

    /// Sees to it that members which clients do not set are as they were in all of `old`.
    fn guard(
        &self,
        document: &mut Map<String, Value>,
        old: &[Standing<'_>],
    ) -> Result<bool, SchemaRefusal> {
        let type_now = self.schema_of(document).map(|schema| &schema.guard);
        let mut changed = false;
        if old.is_empty()
            && let Some(guard) = type_now
        {
            changed |= guard.apply(document, None, "")?;
        }
        for Standing(before) in old {
            let type_then = self.schema_of(before).map(|schema| &schema.guard);
            // Of another type before, it has nothing that the type it has now could go by.
            let same = self.type_of(before) == self.type_of(document);
            if let Some(guard) = type_then {
                changed |= guard.apply(document, Some(before), "")?;
            }
            if let (Some(guard), false) = (type_now, same) {
                // What the old type guards and left as it was is not the client's doing.
                changed |= guard.apply_beside(document, type_then, before)?;
            }
        }
        // By what a member got back, or by what was taken out, another revision may see it changed.
        for Standing(before) in old.iter().filter(|_| changed) {
            let guard = self.schema_of(before).map(|schema| &schema.guard);
            if let Some(guard) = guard
                && guard.apply(&mut document.clone(), Some(before), "")?
            {
                return Err(SchemaRefusal::NotForClients(String::new()));
            }
        }
        Ok(changed)
    }

    fn type_of<'d>(&self, document: &'d Map<String, Value>) -> Option<&'d str> {
        document.get(&self.type_property).and_then(Value::as_str)
    }

    fn schema_of(&self, document: &Map<String, Value>) -> Option<&TypeSchema> {
        let of = self.type_of(document).and_then(|of| self.types.get(of));
        of.or_else(|| self.types.get(OTHERS))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}

/// Guards by the names of members.
type Members = BTreeMap<String, Guard>;

#[cfg(test)]
mod tests;
