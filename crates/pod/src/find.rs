//! Mango: finding documents by a selector.
//!
//! A query is planned (`plan.rs`) against the indexes that there are (`catalog.rs`), each of which a
//! design document defines (`definition.rs`); the plan is walked portion by portion (`walk.rs`). The
//! selector always has the last word on a document, so an index only decides how many are tried and
//! in which order they come.

mod access;
mod aggregate;
mod bookmark;
mod candidates;
mod catalog;
mod covered;
mod definition;
mod error;
mod manage;
mod naming;
mod plan;
mod project;
mod query;
mod rows;
mod sum;
#[cfg(test)]
mod tests;
mod walk;

pub use aggregate::{Aggregate, AggregateQuery, Aggregated, GROUPS_MAX, Group};
pub use candidates::{Candidate, Reason};
pub(crate) use catalog::MangoCache;
pub use definition::{COLUMNS_MAX, MangoIndex, primary_index_json};
pub use error::{FindError, Reach};
pub use manage::{MadeIndex, NewIndex};
pub(crate) use plan::Access;
pub use plan::{Explained, FindPlan};
pub use query::FindQuery;
pub use walk::{FindPage, FindStatistics, FindWalk};
