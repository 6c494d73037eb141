//! Signing in by a link or a code in mail, without an account of one's own, and the notice of a new device.

/// Why a use case here ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {}
