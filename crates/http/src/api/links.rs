//! Signing in by a link or a code in mail, and without an account of one's own.

use super::Route;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[];
