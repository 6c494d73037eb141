//! Other providers to sign in with.

/// Another provider to sign in with.
#[derive(Clone, Debug, Default)]
pub struct ProviderSettings {}
