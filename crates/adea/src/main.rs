//! Adea.
fn main() {}
