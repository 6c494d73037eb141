//! Organisations, teams, memberships and invitations.

/// Why a use case here ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OrganisationError {}
