//! Who may read what: access lists of documents, what readers hold, and the scopes that follow.
//!
//! A document's access list is a set of *principals*; the list's *signature* names it. Documents are
//! indexed under the signature as a label, with the principals as its members. What a reader held,
//! and since when, is his history; from it follows what he sees, saw and sees again.
//!
//! Rules here are pure; verbs take a transaction and never commit it. Only this crate makes a
//! [`Scope`](adea_base::Scope).

mod scope;

pub use scope::aggregate;
