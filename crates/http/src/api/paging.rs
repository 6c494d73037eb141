//! Lists, a page at a time: `?limit=` and `?after=`, and an answer of items and where the next
//! page begins.
//!
//! Where it begins is opaque to clients: the place in our own order, in base64url. Whoever reads it
//! takes it as a place to begin from and never as a right to see something.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Ref, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::Parameter;
use crate::error::ApiError;
use crate::router::Exchange;

/// The most items of one page.
pub(crate) const LIMIT_MAX: u64 = 1_000;
/// The items of a page if nobody says how many.
const LIMIT_DEFAULT: u64 = 100;

/// How many items, at the most.
pub(crate) const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "How many items at the most; 100 unless it is given.",
    kind: "limit",
};

/// Where to begin.
pub(crate) const AFTER: Parameter = Parameter {
    name: "after",
    about: "Where to begin: what was `next` in the answer before.",
    kind: "cursor",
};

/// What the query of a list takes, if it takes nothing else.
pub(crate) const QUERY: &[Parameter] = &[LIMIT, AFTER];

/// Which page is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many items, at the most: 1 to 1000.
    pub(crate) limit: usize,
    /// The place behind which it begins, if it is not the first.
    pub(crate) after: Option<Vec<u8>>,
}

impl Page {
    /// The page that a request asks for.
    pub(crate) fn of(exchange: &Exchange) -> Result<Self, ApiError> {
        let limit = exchange.query.count("limit")?.unwrap_or(LIMIT_DEFAULT);
        let limit = usize::try_from(limit.clamp(1, LIMIT_MAX)).unwrap_or(1);
        let after = exchange.query.get("after").map(|text| {
            let place = BASE64.decode(text);
            place.map_err(|_| ApiError::Input("`after` is not what was `next`".to_owned()))
        });
        Ok(Self {
            limit,
            after: after.transpose()?,
        })
    }

    /// The place as text, where places are text.
    pub(crate) fn after_text(&self) -> Result<Option<&str>, ApiError> {
        let text = self.after.as_deref().map(std::str::from_utf8);
        text.transpose()
            .map_err(|_| ApiError::Input("`after` is not what was `next`".to_owned()))
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Paged<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// Where the next page begins; null at the end.
    pub(crate) next: Option<String>,
}

impl<T> Paged<T> {
    /// A page; the next one begins behind `place`, if there is one.
    pub(crate) fn new(items: Vec<T>, place: Option<impl AsRef<[u8]>>) -> Self {
        Self {
            items,
            next: place.map(|place| BASE64.encode(place)),
        }
    }
}

impl<T: ToSchema> PartialSchema for Paged<T> {
    fn schema() -> RefOr<Schema> {
        let items = ArrayBuilder::new()
            .items(Ref::from_schema_name(T::name()))
            .max_items(Some(1_000));
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("Where the next page begins; null at the end."));
        ObjectBuilder::new()
            .description(Some("A page of a list."))
            .property("items", items)
            .required("items")
            .property("next", next)
            .required("next")
            .into()
    }
}

impl<T: ToSchema> ToSchema for Paged<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("PageOf{}", T::name()))
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}
