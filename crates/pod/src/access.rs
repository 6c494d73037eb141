//! Databases with access control: documents say who may read them, and every door obeys.

pub(crate) mod label;
mod refused;

pub use refused::WriteRefused;
