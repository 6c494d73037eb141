//! Query strings: pairs in their order, and the values that `CouchDB`'s parameters have.

use adea_documents::revision::Revision;

use crate::error::ApiError;
use crate::wire::path::decode;

/// The most parameters a query may have.
const PARAMETERS_MAX: usize = 1_000;

/// The parameters of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads the part of a URL behind `?`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for pair in text
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            if pairs.len() == PARAMETERS_MAX {
                return Err(ApiError::bad("The query has too many parameters."));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name, true)?, decode(value, true)?));
        }
        Ok(Self { pairs })
    }

    /// Every parameter, in the order in which they were given.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.pairs.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The last value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of the first of `names` that is there.
    pub(crate) fn any(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Whether `name` is `true`; anything else is no.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// `name` as a boolean.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => Err(ApiError::query(format!(
                "Invalid boolean parameter: {text:?}"
            ))),
        }
    }

    /// `name` as a number that is not negative.
    pub(crate) fn count(&self, name: &str) -> Result<Option<u64>, ApiError> {
        self.get(name)
            .map(|text| {
                text.trim().parse().map_err(|_| {
                    ApiError::query(if text.trim().parse::<i128>().is_ok() {
                        format!("Invalid value for positive integer: {text:?}")
                    } else {
                        format!("Invalid value for integer: {text:?}")
                    })
                })
            })
            .transpose()
    }

    /// `name` as a revision.
    pub(crate) fn revision(&self, name: &str) -> Result<Option<Revision>, ApiError> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => Ok(Some(Revision::parse(text)?)),
        }
    }
}

/// Revisions in a JSON array, as `open_revs` and `atts_since` have them.
pub(crate) fn revisions(json: &str) -> Result<Vec<Revision>, ApiError> {
    let mut revisions = Vec::new();
    let is_array = adea_documents::json::for_each_item(json.as_bytes(), |item| {
        let text = adea_documents::json::read_text(item)?
            .ok_or_else(|| ApiError::bad("Invalid rev format"))?;
        revisions.push(Revision::parse(&text)?);
        Ok::<_, ApiError>(())
    })?;
    if is_array {
        Ok(revisions)
    } else {
        Err(ApiError::bad("The revisions must be a JSON array."))
    }
}
