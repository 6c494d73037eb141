//! Values that are read for what they say, and written to neither output.
//!
//! Reading may leave pieces of text behind, which whoever reads forgets himself: a field of a
//! document with [`Scanner::forget_member`], anything else with [`Scanner::clear`].

use std::borrow::Cow;

use super::{JsonError, Scanner};

/// A JSON value of which only the simple forms matter.
pub(in crate::json) enum Scalar<'a> {
    Null,
    Bool(bool),
    Text(Cow<'a, str>),
    /// An integer that is not negative.
    Count(u64),
    Other,
}

impl<'a> Scanner<'a> {
    /// Reads and forgets a value. Text may stay behind: whoever reads this way forgets it himself.
    pub(in crate::json) fn skip(&mut self) -> Result<(), JsonError> {
        let term = self.term.len();
        self.value()?;
        self.term.truncate(term);
        Ok(())
    }

    /// Reads a value of which only the simple forms matter.
    pub(in crate::json) fn scalar(&mut self) -> Result<Scalar<'a>, JsonError> {
        if self.peek() == b'"' {
            return Ok(Scalar::Text(self.plain_string()?));
        }
        let start = self.at;
        self.skip()?;
        Ok(match self.since(start) {
            "null" => Scalar::Null,
            "true" => Scalar::Bool(true),
            "false" => Scalar::Bool(false),
            other => other.parse().map_or(Scalar::Other, Scalar::Count),
        })
    }

    /// Reads an object; `visit` gets each key and must read the value.
    pub(in crate::json) fn each_member<E: From<JsonError>>(
        &mut self,
        mut visit: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter()?;
        if self.peek() != b'}' {
            loop {
                let key = self.plain_string()?;
                self.colon()?;
                visit(self, key)?;
                if !self.comma(b'}')? {
                    break;
                }
            }
        }
        self.leave();
        Ok(())
    }

    /// Reads an array; `visit` must read each item.
    pub(in crate::json) fn each_item<E: From<JsonError>>(
        &mut self,
        mut visit: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter()?;
        if self.peek() != b']' {
            loop {
                visit(self)?;
                if !self.comma(b']')? {
                    break;
                }
            }
        }
        self.leave();
        Ok(())
    }
}
