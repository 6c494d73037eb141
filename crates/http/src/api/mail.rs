//! Mail: templates, previews, and what was captured in development.

use super::Route;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[];
