//! Requests that this server makes: HTTP and HTTPS with bounds on size and time.
//!
//! A [`Client`] keeps connections and sends; what comes back is read piece by piece or whole up to a
//! bound that the caller names. Nothing waits without an end: connecting, the answer's head and every
//! silence in its body have a time of their own. No redirect is followed with anybody's credentials,
//! and an [`Address`] shows itself without its password, so that what is logged tells no secret.

mod address;
mod answer;
mod body;
mod client;
mod dialer;
mod error;
mod fetch;
#[cfg(test)]
mod tests;
mod trust;

pub use address::{Address, InvalidAddress};
pub use answer::Answer;
pub use body::{Body, BodySender};
pub use client::{Client, Options};
pub use error::{OutboundError, Unusable};
pub use fetch::Credentials;
