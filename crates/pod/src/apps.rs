//! Apps: who may use which databases.

/// Why a use case here ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {}
