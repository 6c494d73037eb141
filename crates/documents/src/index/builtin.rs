//! The reduces that need no JavaScript.

use super::row::OwnedRow;

/// A reduce that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// `_sum`
    Sum,
    /// `_count`
    Count,
    /// `_stats`
    Stats,
    /// `_approx_count_distinct`
    ApproxCountDistinct,
    /// `_first`
    First,
    /// `_last`
    Last,
    /// `_top_N`
    Top(u8),
    /// `_bottom_N`
    Bottom(u8),
}

/// A name that begins as those of built-in reduces do, and is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a supported reduce function.")]
pub struct UnknownBuiltin(pub String);

/// What a reduce answers instead of a value: a whole query fails of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BuiltinError {
    /// `CouchDB`'s word.
    pub error: String,
    /// `CouchDB`'s sentence.
    pub reason: String,
}

impl Builtin {
    /// The built-in reduce that `source` names; `None` if it is a function's source.
    ///
    /// # Errors
    /// [`UnknownBuiltin`] for another name.
    pub fn parse(source: &str) -> Result<Option<Self>, UnknownBuiltin> {
        Ok(match source {
            "_sum" => Some(Self::Sum),
            "_count" => Some(Self::Count),
            "_stats" => Some(Self::Stats),
            "_approx_count_distinct" => Some(Self::ApproxCountDistinct),
            "_first" => Some(Self::First),
            "_last" => Some(Self::Last),
            other if other.starts_with('_') => return Err(UnknownBuiltin(other.to_owned())),
            _ => None,
        })
    }

    /// What it makes of rows, in the order of keys: a value for [`Builtin::rereduce`] and
    /// [`Builtin::finalize`].
    ///
    /// # Errors
    /// [`BuiltinError`] for values that it cannot take.
    pub fn reduce(self, rows: &[OwnedRow]) -> Result<String, BuiltinError> {
        let _ = rows;
        Ok("null".to_owned())
    }

    /// What it makes of what it made before, in the order of keys.
    ///
    /// # Errors
    /// [`BuiltinError`] for values that it cannot take.
    pub fn rereduce(self, values: &[String]) -> Result<String, BuiltinError> {
        let _ = values;
        Ok("null".to_owned())
    }

    /// What a client sees of what it made.
    ///
    /// # Errors
    /// [`BuiltinError`] for values that it cannot take.
    pub fn finalize(self, value: &str) -> Result<String, BuiltinError> {
        Ok(value.to_owned())
    }
}
