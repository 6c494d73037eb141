//! Who may sign up.

/// Who may sign up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignUpMode {
    /// Everybody.
    #[default]
    Open,
    /// Whoever has an address that is listed, or one of a domain that is.
    Listed,
    /// Whoever was invited.
    Invited,
    /// Nobody: administrators make accounts.
    Closed,
}

/// Who may sign up, and how.
#[derive(Clone, Debug, Default)]
pub struct SignUpSettings {
    /// Who may.
    pub mode: SignUpMode,
    /// Addresses (`ann@example.org`) and domains (`example.org`) that may, where they are listed.
    pub allowed: Vec<String>,
    /// Whether there are accounts that somebody has made without telling who he is.
    pub anonymous: bool,
}
