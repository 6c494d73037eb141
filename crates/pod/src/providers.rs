//! Signing in with another provider.

/// Why a use case here ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {}
