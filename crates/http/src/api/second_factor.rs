//! The second factor: digits by time, and recovery codes.

use super::Route;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[];
