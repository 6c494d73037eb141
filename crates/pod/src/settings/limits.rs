//! How often something may be asked.

/// How often something may be asked.
#[derive(Clone, Debug, Default)]
pub struct LimitSettings {}
