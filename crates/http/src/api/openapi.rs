//! The description of all our own routes, and a page to read it.

use super::Route;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[];
