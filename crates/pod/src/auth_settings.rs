//! What is set for signing in, for tokens and for accounts; it may change while the server runs.

use adea_accounts::{LockoutRules, PasswordRules, ProxyRules, SameSite, TokenKeys, TokenRules};
use std::net::IpAddr;
use std::sync::Arc;

use crate::pod::Pod;

/// All that is set for signing in and for accounts.
#[derive(Clone, Debug, Default)]
pub struct AuthSettings {
    /// Bearer tokens.
    pub tokens: TokenSettings,
    /// A server in front that says who it is.
    pub proxy: ProxyRules,
    /// What follows too many wrong passwords.
    pub lockout: LockoutRules,
    /// New passwords.
    pub passwords: PasswordRules,
    /// The database of accounts.
    pub users: UsersSettings,
    /// A database for each account.
    pub per_user: PerUserSettings,
    /// Session cookies.
    pub cookies: CookieSettings,
    /// Who may ask at all.
    pub strangers: Strangers,
    /// `WWW-Authenticate` of answers 401; none, so that no browser asks for a password by itself.
    pub www_authenticate: Option<String>,
    /// Where a browser is sent instead of a 401: a page of this server.
    pub redirect: Option<String>,
    /// Servers in front whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Accounts, sessions and what goes with them.
    pub accounts: crate::settings::AccountSettings,
}

/// Bearer tokens.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The keys that the configuration has.
    pub keys: Arc<TokenKeys>,
    /// Where more keys are published.
    pub published_at: Option<String>,
    /// After how many seconds those are fetched again.
    pub refresh_s: u64,
    /// What tokens must say.
    pub rules: TokenRules,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            keys: Arc::default(),
            published_at: None,
            refresh_s: 3_600,
            rules: TokenRules::default(),
        }
    }
}

impl TokenSettings {
    /// Whether tokens are accepted at all.
    #[must_use]
    pub fn enabled(&self) -> bool {
        !self.keys.is_empty() || self.published_at.is_some()
    }
}

/// The database of accounts.
#[derive(Clone, Debug)]
pub struct UsersSettings {
    /// What everybody sees of every account; nothing, if there are none.
    pub public_fields: Vec<String>,
    /// Whether everybody may make himself an account, unless `_security` of `_users` says who may.
    pub sign_up: bool,
    /// Whether administrators may change that `_security`.
    pub security_editable: bool,
}

impl Default for UsersSettings {
    fn default() -> Self {
        Self {
            public_fields: Vec::new(),
            sign_up: false,
            security_editable: true,
        }
    }
}

/// A database for each account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerUserSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Whether it is dropped with the account.
    pub delete: bool,
    /// What its name begins with; the rest is the account's name in hexadecimal digits.
    pub prefix: String,
}

impl Default for PerUserSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            delete: false,
            prefix: "userdb-".to_owned(),
        }
    }
}

/// Session cookies.
#[derive(Clone, Debug)]
pub struct CookieSettings {
    /// Whether a browser keeps them when it is closed.
    pub persistent: bool,
    /// The domain whose servers they are sent to; only this one, if there is none.
    pub domain: Option<String>,
    /// `SameSite`, always; otherwise it follows from how the request came.
    pub same_site: Option<SameSite>,
    /// Whether they are only for connections with TLS.
    pub secure: bool,
}

impl Default for CookieSettings {
    fn default() -> Self {
        Self {
            persistent: true,
            domain: None,
            same_site: None,
            secure: false,
        }
    }
}

/// What those may do who have not signed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// Ask, like everybody.
    #[default]
    Ask,
    /// Sign in.
    SignIn,
    /// Sign in, and ask whether the server is up.
    SignInOrUp,
}

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads an address, or a network as `10.0.0.0/8`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.trim().parse().ok().filter(|bits| *bits <= longest)?,
            None => longest,
        };
        Some(Self { address, bits })
    }

    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                self.bits == 0 || differing >> (32 - self.bits) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                self.bits == 0 || differing >> (128 - self.bits) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl AuthSettings {
    /// `CouchDB`'s names of the ways to sign in that are open, in the order in which they are tried.
    #[must_use]
    pub fn handlers(&self) -> Vec<&'static str> {
        let tokens = self.tokens.enabled().then_some("jwt");
        let proxy = self.proxy.enabled.then_some("proxy");
        let always = ["cookie", "default"];
        tokens.into_iter().chain(proxy).chain(always).collect()
    }

    /// Whether a server at `address` is one in front that is trusted.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let mut networks = self.trusted_proxies.iter();
        networks.any(|network| network.contains(address))
    }

    /// The address that a request came from: that of its connection, or where a trusted server is
    /// at its other end, the last that is not one of those that it passed through.
    #[must_use]
    pub fn origin(&self, peer: IpAddr, forwarded_for: Option<&str>) -> IpAddr {
        let mut origin = peer.to_canonical();
        for hop in forwarded_for.unwrap_or("").rsplit(',') {
            if !self.trusts(origin) {
                break;
            }
            // What cannot be read was not written by a server that is trusted.
            let Ok(before) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            origin = before.to_canonical();
        }
        origin
    }
}

impl Pod {
    /// What is set for signing in and for accounts.
    #[must_use]
    pub fn auth(&self) -> Arc<AuthSettings> {
        Arc::clone(&self.inner.auth.read())
    }

    /// Changes what is set for signing in and for accounts; requests from now on follow it.
    pub fn change_auth(&self, change: impl FnOnce(&mut AuthSettings)) {
        {
            let mut current = self.inner.auth.write();
            let mut settings = AuthSettings::clone(&current);
            change(&mut settings);
            *current = Arc::new(settings);
        }
        self.inner.tokens.forget();
        self.inner.databases.forget_all();
        self.inner.auth_changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_their_addresses() {
        let holds = |network: &str, text: &str| {
            let network = Network::parse(network).unwrap();
            network.contains(address(text))
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        for bad in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_trusted_servers_say_where_a_request_came_from() {
        let settings = AuthSettings {
            trusted_proxies: ["127.0.0.1", "10.0.0.0/8"]
                .map(|text| Network::parse(text).unwrap())
                .to_vec(),
            ..AuthSettings::default()
        };
        let origin =
            |peer: &str, header: Option<&str>| settings.origin(address(peer), header).to_string();
        assert_eq!(origin("192.0.2.1", Some("198.51.100.1")), "192.0.2.1");
        assert_eq!(origin("127.0.0.1", None), "127.0.0.1");
        assert_eq!(origin("127.0.0.1", Some("198.51.100.1")), "198.51.100.1");
        assert_eq!(
            origin("::ffff:127.0.0.1", Some("198.51.100.1")),
            "198.51.100.1"
        );
        // What the client wrote in front of it counts for nothing.
        let forged = "1.1.1.1, 198.51.100.1, 10.0.0.7";
        assert_eq!(origin("127.0.0.1", Some(forged)), "198.51.100.1");
        assert_eq!(origin("127.0.0.1", Some("1.1.1.1, nonsense")), "127.0.0.1");
        assert_eq!(origin("127.0.0.1", Some("10.0.0.1, 10.0.0.2")), "10.0.0.1");
    }

    #[test]
    fn the_ways_in_are_told_in_order() {
        let mut settings = AuthSettings::default();
        assert_eq!(settings.handlers(), ["cookie", "default"]);
        settings.proxy.enabled = true;
        settings.tokens.published_at = Some("https://id.example/keys".to_owned());
        assert_eq!(settings.handlers(), ["jwt", "proxy", "cookie", "default"]);
    }
}
