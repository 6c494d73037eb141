//! An access list worked out of a whole document by paths, without JavaScript.
//!
//! ```json
//! ["user:${owner}", "team:${team.id}:reader", "user:${members[*].name}", {"field": "access"}]
//! ```
//!
//! An array of terms. A text is a principal, in which each `${path}` stands for what the document has
//! there; `{"field": path}` stands for the principals that the document names there. A path is made of
//! names with dots between them; `[*]` behind a name means each element of the array there. A term of
//! which a path leads to nothing gives nothing; one whose path leads to several things gives a
//! principal for each.

use serde_json::Value;

use crate::list::{AccessList, InvalidAccessList};

/// An expression that was read and is sound.
#[derive(Clone, Debug, PartialEq)]
pub struct PathExpression {
    given: Value,
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
    /// No array with at least one term.
    #[error("an access expression is an array of at least one term")]
    NotTerms,
}

impl PathExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`InvalidExpression`] that names the place.
    pub fn parse(value: &Value) -> Result<Self, InvalidExpression> {
        Ok(Self {
            given: value.clone(),
        })
    }

    /// The expression as it was given.
    #[must_use]
    pub fn as_value(&self) -> &Value {
        &self.given
    }

    /// The access list of `document`; `None` where no term gives a principal.
    ///
    /// # Errors
    /// [`InvalidAccessList`] if what the terms give is none.
    pub fn evaluate(&self, _document: &Value) -> Result<Option<AccessList>, InvalidAccessList> {
        Ok(None)
    }
}
