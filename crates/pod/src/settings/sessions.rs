//! How long sessions last, and what they are asked for.

/// How long sessions last, and what they are asked for. Spans are in seconds.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// How long an access token is good; the refresh token outlives it.
    pub access_s: u64,
    /// After how long without use a session ends.
    pub idle_s: u64,
    /// After how long a session ends in any case.
    pub lifetime_s: u64,
    /// How long a temporary name and password are good.
    pub basic_s: u64,
    /// The name of the cookie; `__Host-` stands before it where there is TLS.
    pub cookie_name: String,
    /// Whether a name and password are good for nothing but asking for a session.
    pub required: bool,
    /// Whether credentials are taken that came over plain HTTP from another machine.
    pub plain_http: bool,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            access_s: 900,
            idle_s: 30 * 86_400,
            lifetime_s: 365 * 86_400,
            basic_s: 86_400,
            cookie_name: "adea".to_owned(),
            required: false,
            plain_http: false,
        }
    }
}
