//! Mail: queued with the commit that causes it, sent in the background.

/// Why a use case here ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MailError {}
