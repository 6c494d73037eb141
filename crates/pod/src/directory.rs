//! Accounts: signing up, aliases, profile, recovery, blocking, deletion, export.

/// Why a use case here ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {}
