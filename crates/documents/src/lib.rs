//! Adea.
