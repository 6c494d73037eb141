//! Mail: what is to be sent, in whose words, and how it gets there.
//!
//! A mail is queued in the commit that causes it ([`enqueue`]). Later it is rendered from a template
//! in the language of whoever gets it, composed, and handed to a server, or kept to be looked at
//! where there is none. Verbs that store something take a transaction and never commit it; who runs
//! the queue, and when, is decided above.
//!
//! Invariants: no text from outside becomes a header of its own; a template can read nothing but
//! what it is given, and ends after a bounded number of steps with a bounded text; what is shown of
//! the queue never holds what a mail fills in, since that may be good for signing in.

mod builtin;
pub mod captured;
mod grammar;
mod keys;
mod kind;
mod language;
mod letter;
pub mod queue;
mod rate;
mod smtp;
mod stored;
mod template;
pub mod templates;

pub use kind::Kind;
pub use language::Language;
pub use letter::{InvalidLetter, Letter, Sender, address_is_valid};
pub use queue::{Outgoing, QUEUE_TOPIC, enqueue};
pub use smtp::{InvalidServer, SendError, SmtpServer};
pub use template::{InvalidTemplate, Rendered, TEMPLATE_BYTES_MAX, Template};
