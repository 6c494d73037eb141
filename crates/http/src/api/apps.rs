//! Apps: namespaces of databases with sign-up rules of their own.

use super::Route;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[];
