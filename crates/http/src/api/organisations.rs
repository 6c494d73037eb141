//! Organisations.

use super::Route;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[];
