//! Signing up, recovery, and what a user does with his own account.

use super::Route;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[];
