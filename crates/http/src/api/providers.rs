//! Signing in with another provider (`OpenID Connect`).

use super::Route;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[];
