//! The access list of a document: who may read it, and the signature that names the list.
//!
//! Invariant: two lists have the same signature if and only if they are the same set of principals,
//! on every pod and in every version.

use std::sync::Arc;

use serde_json::Value;

use crate::body::members;
use crate::principals::{ADMIN, digest};

/// The most principals that a list has.
pub const LIST_PRINCIPALS_MAX: usize = 1000;
/// The longest principal.
pub const PRINCIPAL_BYTES_MAX: usize = 256;

/// The number of characters of a signature.
const SIGNATURE_LENGTH: usize = 26;
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Who may read a document: at least one principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessList {
    signature: Arc<str>,
    principals: Arc<[Arc<str>]>,
}

/// A value that is no access list: where it stands, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} {fault}")]
pub struct InvalidAccessList {
    /// The field and the place in it, as `access[3]`.
    pub place: String,
    /// What is wrong there.
    pub fault: ListFault,
}

/// What is wrong with an access list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListFault {
    /// The document cannot be read.
    #[error("cannot be read")]
    Unreadable,
    /// Neither an array, nor an object with one under `read`.
    #[error("must be an array of strings")]
    NotAList,
    /// No principal at all.
    #[error("must name at least one principal")]
    Empty,
    /// More principals than are kept.
    #[error("must not name more than {LIST_PRINCIPALS_MAX} principals")]
    TooMany,
    /// A principal that is no text.
    #[error("must be a string")]
    NotText,
    /// A principal without characters.
    #[error("must not be empty")]
    EmptyText,
    /// A principal longer than is kept.
    #[error("must not be longer than {PRINCIPAL_BYTES_MAX} bytes")]
    TooLong,
    /// A principal that stands for nothing that could be held.
    #[error("must not begin with an underscore, unless it is _admin")]
    Reserved,
}

impl AccessList {
    /// The list of these.
    ///
    /// # Errors
    /// [`InvalidAccessList`] that names the place in `field`.
    pub fn new(
        field: &str,
        principals: impl IntoIterator<Item = Arc<str>>,
    ) -> Result<Self, InvalidAccessList> {
        let mut list = Vec::new();
        for (index, principal) in principals.into_iter().enumerate() {
            if index == LIST_PRINCIPALS_MAX {
                return Err(invalid(field, ListFault::TooMany));
            }
            check(&principal).map_err(|fault| invalid(&format!("{field}[{index}]"), fault))?;
            list.push(principal);
        }
        if list.is_empty() {
            return Err(invalid(field, ListFault::Empty));
        }
        Ok(Self::canonical(list))
    }

    /// The list that `value` says, which a document has in `field`: an array of principals, or an
    /// object with one under `read`. `None` for an object without `read`.
    ///
    /// # Errors
    /// [`InvalidAccessList`] that names the place in `field`.
    pub fn parse(field: &str, value: &Value) -> Result<Option<Self>, InvalidAccessList> {
        match value {
            Value::Array(items) => Self::of_items(field, items).map(Some),
            Value::Object(object) => {
                let field = format!("{field}.read");
                match object.get("read") {
                    None => Ok(None),
                    Some(Value::Array(items)) => Self::of_items(&field, items).map(Some),
                    Some(_) => Err(invalid(&field, ListFault::NotAList)),
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Err(invalid(field, ListFault::NotAList))
            }
        }
    }

    /// The list that the document with this body has in `property`, as [`Self::parse`] reads it.
    /// `None` where there is none.
    ///
    /// # Errors
    /// [`InvalidAccessList`] that names the place in `property`.
    pub fn of_body(property: &str, body: &[u8]) -> Result<Option<Self>, InvalidAccessList> {
        let members = members(body, &[property]);
        match members.as_ref().map(|members| members.get(property)) {
            None => Err(invalid(property, ListFault::Unreadable)),
            Some(None) => Ok(None),
            Some(Some(value)) => Self::parse(property, value),
        }
    }

    /// Who sees all, and nobody else.
    #[must_use]
    pub fn admin() -> Self {
        Self::canonical(vec![Arc::from(ADMIN)])
    }

    /// One principal, as [`author`](crate::author) gives it.
    #[must_use]
    pub fn only(principal: &Arc<str>) -> Self {
        Self::canonical(vec![Arc::clone(principal)])
    }

    /// What names the list.
    #[must_use]
    pub fn signature(&self) -> &Arc<str> {
        &self.signature
    }

    /// The principals in order, each once.
    #[must_use]
    pub fn principals(&self) -> &Arc<[Arc<str>]> {
        &self.principals
    }

    fn of_items(field: &str, items: &[Value]) -> Result<Self, InvalidAccessList> {
        if items.len() > LIST_PRINCIPALS_MAX {
            return Err(invalid(field, ListFault::TooMany));
        }
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let fault = match item.as_str() {
                None => ListFault::NotText,
                Some(text) => match check(text) {
                    Ok(()) => {
                        list.push(Arc::from(text));
                        continue;
                    }
                    Err(fault) => fault,
                },
            };
            return Err(invalid(&format!("{field}[{index}]"), fault));
        }
        Self::new(field, list)
    }

    fn canonical(mut principals: Vec<Arc<str>>) -> Self {
        principals.sort_unstable();
        principals.dedup();
        Self {
            signature: signature(&principals),
            principals: principals.into(),
        }
    }
}

/// What names the list of these principals, which are sorted and each once: the first characters of
/// the base32 (RFC 4648, in lower case) of the SHA-256 over them.
#[must_use]
pub fn signature(sorted: &[Arc<str>]) -> Arc<str> {
    let mut text = base32(&digest(sorted));
    text.truncate(SIGNATURE_LENGTH);
    text.into()
}

/// Base32 of RFC 4648 in lower case, without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 8 / 5 + 1);
    for chunk in bytes.chunks(5) {
        let mut block = [0u8; 8];
        for (to, from) in block.iter_mut().skip(3).zip(chunk) {
            *to = *from;
        }
        let bits = u64::from_be_bytes(block);
        let digits = (chunk.len() * 8).div_ceil(5);
        for digit in 0..digits {
            let index = usize::try_from(bits >> (35 - 5 * digit) & 31).unwrap_or(0);
            out.push(char::from(*BASE32.get(index).unwrap_or(&b'a')));
        }
    }
    out
}

/// Whether `principal` may stand in a list.
pub(crate) fn check(principal: &str) -> Result<(), ListFault> {
    if principal.is_empty() {
        Err(ListFault::EmptyText)
    } else if principal.len() > PRINCIPAL_BYTES_MAX {
        Err(ListFault::TooLong)
    } else if principal.starts_with('_') && principal != ADMIN {
        Err(ListFault::Reserved)
    } else {
        Ok(())
    }
}

pub(crate) fn invalid(place: &str, fault: ListFault) -> InvalidAccessList {
    InvalidAccessList {
        place: place.to_owned(),
        fault,
    }
}

#[cfg(test)]
mod tests;
