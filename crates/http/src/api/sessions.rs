//! Signing in and out, and the sessions of a user.

use super::Route;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[];
