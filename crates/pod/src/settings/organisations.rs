//! What organisations may have.

pub use adea_accounts::organisations::Limits as OrganisationSettings;
