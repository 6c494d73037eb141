//! Who may read what: access lists of documents, what readers hold, and the scopes that follow.
//!
//! A document's access list is a set of *principals*; the list's *signature* names it. Documents are
//! indexed under the signature as a label, with the principals as its members. What a reader held,
//! and since when, is his history; from it follows what he sees, saw and sees again.
//!
//! Rules here are pure; verbs take a transaction and never commit it. Only this crate makes a
//! [`Scope`](adea_base::Scope).

mod body;
pub mod conflict;
mod expression;
mod history;
mod list;
mod place;
mod principals;
pub mod rules;
pub mod schema;
mod scope;
mod settings;
mod sight;

pub use expression::{ExpressionFault, InvalidExpression, PathExpression};
pub use history::{Change, History, Recorded, amend, last_event, load, record};
pub use list::{
    AccessList, InvalidAccessList, LIST_PRINCIPALS_MAX, ListFault, PRINCIPAL_BYTES_MAX, signature,
};
pub use place::{Phase, PhaseKind, Place, Seal};
pub use principals::{ADMIN, ANYONE, Principals, USERS, author, looks_like_account, reader_name};
pub use scope::{aggregate, anonymous_scope, nothing_scope, partition_scope, reader_scope};
pub use settings::{
    AccessSettings, Conflicts, DefaultList, InvalidSettings, Mailboxes, Rule, Schemas,
    SettingsFault, WriteRules,
};
