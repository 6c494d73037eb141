//! A provider as it is set: who we are there, and where and how it is asked.
//!
//! It is written as one text, `name=google;client_id=…;client_secret=…`, so that a list of them fits an
//! environment variable. Google, Microsoft, Apple, GitHub and GitLab need no more than who we are there;
//! any other needs its issuer, and one that only speaks `OAuth 2.0`, its endpoints.

use std::fmt;

use super::apple::AppleKey;
use super::issuer::{Issuer, is_safe_url};

/// A provider to sign in with.
#[derive(Clone, Debug)]
pub struct Provider {
    /// What it is called in paths and records; never changes, since accounts are linked to it.
    pub name: String,
    /// What stands on its button.
    pub label: String,
    /// Who we are there.
    pub client_id: String,
    /// How we prove that.
    pub secret: ClientSecret,
    /// How it is asked.
    pub protocol: Protocol,
    /// What we want to know of people.
    pub scopes: String,
    /// Whether browsers come back with a form of the provider's page.
    pub form_post: bool,
    /// Whether we believe it that an address is somebody's own.
    pub trusts_addresses: bool,
}

/// How we prove who we are.
#[derive(Clone, Debug)]
pub enum ClientSecret {
    /// Not at all; the verifier does.
    None,
    /// By a text.
    Text(SecretText),
    /// By a token that is made for each request.
    Apple(Box<AppleKey>),
}

/// How a provider is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `OpenID Connect`.
    OpenId {
        /// Who signs.
        issuer: Issuer,
        /// Where it tells about itself.
        discovery: String,
    },
    /// `OAuth 2.0` alone.
    OAuth(Endpoints),
}

/// Where a provider is asked that tells nothing about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Where browsers are sent.
    pub authorize: String,
    /// Where a code is swapped for a token.
    pub token: String,
    /// Where it tells who the bearer of a token is.
    pub user: String,
    /// Where it lists the addresses of the bearer, as GitHub does.
    pub emails: Option<String>,
}

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The text, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Why a text is no provider. No value is in it, since it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProvider {
    /// A part has no `=`.
    #[error("a part of a provider has no \"=\"")]
    Syntax,
    /// A member that is not known.
    #[error("a provider has no member \"{0}\"")]
    Unknown(String),
    /// A member that comes twice.
    #[error("a provider has the member {0} twice")]
    Twice(&'static str),
    /// A member that is missing.
    #[error("a provider has no {0}")]
    Missing(&'static str),
    /// A member with a value that it cannot have.
    #[error("the {0} of a provider is not as it must be")]
    Value(&'static str),
}

/// The members of the text.
const MEMBERS: &[&str] = &[
    "name",
    "preset",
    "label",
    "client_id",
    "client_secret",
    "issuer",
    "discovery",
    "tenant",
    "team_id",
    "key_id",
    "key",
    "scopes",
    "authorize",
    "token",
    "user",
    "emails",
    "trust_email",
];

/// The longest value.
const VALUE_BYTES_MAX: usize = 4_096;
/// The longest name.
const NAME_BYTES_MAX: usize = 32;

/// What is known of a provider that many use.
struct Preset {
    name: &'static str,
    label: &'static str,
    issuer: &'static str,
    discovery: Option<&'static str>,
    scopes: &'static str,
    form_post: bool,
    trusts_addresses: bool,
}

impl Preset {
    /// Whether addresses count unless it is said otherwise: what is known of a provider is known of those
    /// who run it, and of nobody who took its preset for a server of his own.
    fn trusts(&self, issuer: &Issuer, discovery: &str) -> bool {
        let own = match self.discovery {
            Some(own) => own == discovery,
            None => issuer.discovery_url() == discovery,
        };
        self.trusts_addresses && issuer.as_str() == self.issuer && own
    }
}

/// GitHub is not among them: it has no issuer.
const PRESETS: &[Preset] = &[
    Preset {
        name: "google",
        label: "Google",
        issuer: "https://accounts.google.com",
        discovery: None,
        scopes: "openid email",
        form_post: false,
        trusts_addresses: true,
    },
    // Whoever runs a tenant writes any address into its accounts, so none of them counts.
    Preset {
        name: "microsoft",
        label: "Microsoft",
        issuer: "https://login.microsoftonline.com/{tenantid}/v2.0",
        discovery: Some(
            "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration",
        ),
        scopes: "openid email",
        form_post: false,
        trusts_addresses: false,
    },
    Preset {
        name: "apple",
        label: "Apple",
        issuer: "https://appleid.apple.com",
        discovery: None,
        scopes: "openid email",
        // Apple tells an address only so.
        form_post: true,
        trusts_addresses: true,
    },
    Preset {
        name: "gitlab",
        label: "GitLab",
        issuer: "https://gitlab.com",
        discovery: None,
        scopes: "openid email",
        form_post: false,
        trusts_addresses: true,
    },
];

const GITHUB: &str = "github";
/// Where GitHub sends browsers, swaps codes, and tells who somebody is and which addresses he has.
const GITHUB_ENDPOINTS: [&str; 4] = [
    "https://github.com/login/oauth/authorize",
    "https://github.com/login/oauth/access_token",
    "https://api.github.com/user",
    "https://api.github.com/user/emails",
];

/// Whether `text` may be the name of a provider.
#[must_use]
pub fn is_provider_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(fits)
}

impl Provider {
    /// Reads a provider from its text.
    ///
    /// # Errors
    /// [`InvalidProvider`], without any value.
    pub fn parse(text: &str) -> Result<Self, InvalidProvider> {
        let members = Members::parse(text)?;
        let name = members.required("name")?;
        if !is_provider_name(name) {
            return Err(InvalidProvider::Value("name"));
        }
        let preset = members.get("preset").unwrap_or(name);
        if preset == GITHUB {
            return members.github(name);
        }
        match PRESETS.iter().find(|known| known.name == preset) {
            Some(known) => members.open_id(name, Some(known)),
            None if members.get("preset").is_some() => Err(InvalidProvider::Value("preset")),
            None if members.get("issuer").is_some() => members.open_id(name, None),
            None if members.get("token").is_some() => members.oauth(name),
            None => Err(InvalidProvider::Missing("issuer")),
        }
    }

    /// The issuer, if it has one.
    #[must_use]
    pub fn issuer(&self) -> Option<&Issuer> {
        match &self.protocol {
            Protocol::OpenId { issuer, .. } => Some(issuer),
            Protocol::OAuth(_) => None,
        }
    }

    /// The text that proves who we are, if there is one.
    #[must_use]
    pub fn client_secret(&self, now_s: u64) -> Option<String> {
        match &self.secret {
            ClientSecret::None => None,
            ClientSecret::Text(text) => Some(text.reveal().to_owned()),
            ClientSecret::Apple(key) => key.client_secret(&self.client_id, now_s),
        }
    }
}

/// The members of a provider's text.
struct Members<'t>(Vec<(&'static str, &'t str)>);

impl<'t> Members<'t> {
    fn parse(text: &'t str) -> Result<Self, InvalidProvider> {
        let mut members: Vec<(&'static str, &'t str)> = Vec::new();
        for part in text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part.split_once('=').ok_or(InvalidProvider::Syntax)?;
            let (name, value) = (name.trim(), value.trim());
            let known = MEMBERS.iter().find(|member| **member == name);
            let shown = || name.chars().take(40).collect();
            let known = known.ok_or_else(|| InvalidProvider::Unknown(shown()))?;
            if members.iter().any(|(member, _)| member == known) {
                return Err(InvalidProvider::Twice(known));
            }
            // A key in PEM has lines; nothing else has.
            let plain = *known == "key" || !value.contains(char::is_control);
            if value.is_empty() || value.len() > VALUE_BYTES_MAX || !plain {
                return Err(InvalidProvider::Value(known));
            }
            members.push((known, value));
        }
        Ok(Self(members))
    }

    fn get(&self, name: &str) -> Option<&'t str> {
        let found = self.0.iter().find(|(member, _)| *member == name);
        found.map(|(_, value)| *value)
    }

    fn required(&self, name: &'static str) -> Result<&'t str, InvalidProvider> {
        self.get(name).ok_or(InvalidProvider::Missing(name))
    }

    fn url(&self, name: &'static str, usual: Option<&str>) -> Result<String, InvalidProvider> {
        let url = self.get(name).or(usual);
        let url = url.ok_or(InvalidProvider::Missing(name))?;
        if is_safe_url(url) {
            Ok(url.to_owned())
        } else {
            Err(InvalidProvider::Value(name))
        }
    }

    fn trusts(&self, usual: bool) -> Result<bool, InvalidProvider> {
        match self.get("trust_email") {
            None => Ok(usual),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(InvalidProvider::Value("trust_email")),
        }
    }

    fn secret(&self) -> Result<ClientSecret, InvalidProvider> {
        if let Some(pem) = self.get("key") {
            let (team, id) = (self.required("team_id")?, self.required("key_id")?);
            let key = AppleKey::new(team, id, pem).map_err(|_| InvalidProvider::Value("key"))?;
            return Ok(ClientSecret::Apple(Box::new(key)));
        }
        Ok(match self.get("client_secret") {
            Some(text) => ClientSecret::Text(SecretText(text.to_owned())),
            None => ClientSecret::None,
        })
    }

    fn open_id(&self, name: &str, preset: Option<&Preset>) -> Result<Provider, InvalidProvider> {
        let mut issuer = preset.map(|known| known.issuer.to_owned());
        let mut discovery = preset.and_then(|known| known.discovery).map(str::to_owned);
        if let Some(tenant) = self.get("tenant") {
            (issuer, discovery) = of_tenant(tenant).ok_or(InvalidProvider::Value("tenant"))?;
        }
        if let Some(set) = self.get("issuer") {
            (issuer, discovery) = (Some(set.to_owned()), None);
        }
        let issuer = issuer.ok_or(InvalidProvider::Missing("issuer"))?;
        let issuer = Issuer::new(&issuer).ok_or(InvalidProvider::Value("issuer"))?;
        let usual = discovery.unwrap_or_else(|| issuer.discovery_url());
        if issuer.has_tenants() && self.get("discovery").is_none() && usual.contains('{') {
            return Err(InvalidProvider::Missing("discovery"));
        }
        let discovery = self.url("discovery", Some(&usual))?;
        let trusts = preset.is_some_and(|known| known.trusts(&issuer, &discovery));
        let label = self.get("label").or(preset.map(|known| known.label));
        let scopes = self.get("scopes").or(preset.map(|known| known.scopes));
        let scopes = scopes.unwrap_or("openid email");
        if !scopes.split(' ').any(|scope| scope == "openid") {
            return Err(InvalidProvider::Value("scopes"));
        }
        Ok(Provider {
            name: name.to_owned(),
            label: label.unwrap_or(name).to_owned(),
            client_id: self.required("client_id")?.to_owned(),
            secret: self.secret()?,
            protocol: Protocol::OpenId { issuer, discovery },
            scopes: scopes.to_owned(),
            form_post: preset.is_some_and(|known| known.form_post),
            trusts_addresses: self.trusts(trusts)?,
        })
    }

    fn github(&self, name: &str) -> Result<Provider, InvalidProvider> {
        let [authorize, token, user, emails] = GITHUB_ENDPOINTS;
        let endpoints = Endpoints {
            authorize: self.url("authorize", Some(authorize))?,
            token: self.url("token", Some(token))?,
            user: self.url("user", Some(user))?,
            emails: Some(self.url("emails", Some(emails))?),
        };
        let own = [&endpoints.authorize, &endpoints.token, &endpoints.user];
        let own = own.into_iter().chain(&endpoints.emails);
        let trusts = own.map(String::as_str).eq(GITHUB_ENDPOINTS);
        self.of_endpoints(name, "GitHub", "read:user user:email", endpoints, trusts)
    }

    fn oauth(&self, name: &str) -> Result<Provider, InvalidProvider> {
        let emails = self.get("emails").map(|_| self.url("emails", None));
        let endpoints = Endpoints {
            authorize: self.url("authorize", None)?,
            token: self.url("token", None)?,
            user: self.url("user", None)?,
            emails: emails.transpose()?,
        };
        self.of_endpoints(name, name, "email", endpoints, false)
    }

    fn of_endpoints(
        &self,
        name: &str,
        label: &str,
        scopes: &str,
        endpoints: Endpoints,
        trusts: bool,
    ) -> Result<Provider, InvalidProvider> {
        Ok(Provider {
            name: name.to_owned(),
            label: self.get("label").unwrap_or(label).to_owned(),
            client_id: self.required("client_id")?.to_owned(),
            secret: self.secret()?,
            protocol: Protocol::OAuth(endpoints),
            scopes: self.get("scopes").unwrap_or(scopes).to_owned(),
            form_post: false,
            trusts_addresses: self.trusts(trusts)?,
        })
    }
}

/// The issuer and the discovery document of Microsoft's tenants: all of a kind, or a single one.
fn of_tenant(tenant: &str) -> Option<(Option<String>, Option<String>)> {
    let base = "https://login.microsoftonline.com";
    let known = "/v2.0/.well-known/openid-configuration";
    let issuer = match tenant {
        "common" | "organizations" => format!("{base}/{{tenantid}}/v2.0"),
        id if super::issuer::is_tenant(id) => format!("{base}/{id}/v2.0"),
        _ => return None,
    };
    Some((Some(issuer), Some(format!("{base}/{tenant}{known}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Provider {
        Provider::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn discovery_of(provider: &Provider) -> &str {
        match &provider.protocol {
            Protocol::OpenId { discovery, .. } => discovery,
            Protocol::OAuth(_) => "none",
        }
    }

    #[test]
    fn what_many_use_needs_no_more_than_who_we_are() {
        let google = parsed("name=google; client_id=x; client_secret=hush");
        assert_eq!(google.label, "Google");
        assert!(google.trusts_addresses);
        assert_eq!(google.client_secret(0).as_deref(), Some("hush"));
        assert_eq!(
            discovery_of(&google),
            "https://accounts.google.com/.well-known/openid-configuration"
        );
        let microsoft = parsed("name=microsoft;client_id=x;client_secret=y");
        assert!(microsoft.issuer().unwrap().has_tenants());
        assert!(!microsoft.trusts_addresses);
        let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        let one = parsed(&format!(
            "name=work;preset=microsoft;tenant={tenant};client_id=x"
        ));
        assert!(!one.issuer().unwrap().has_tenants());
        assert!(discovery_of(&one).contains(tenant));
        let github = parsed("name=github;client_id=x;client_secret=y");
        assert!(github.issuer().is_none());
        let own = parsed("name=ours;preset=gitlab;issuer=https://git.example;client_id=x");
        assert_eq!(
            discovery_of(&own),
            "https://git.example/.well-known/openid-configuration"
        );
        let any = parsed("name=id;issuer=https://id.example/realms/a;client_id=x;label=Our ID");
        assert_eq!(
            (any.label.as_str(), any.trusts_addresses),
            ("Our ID", false)
        );
        let plain = "name=o;authorize=https://o/a;token=https://o/t;user=https://o/u;client_id=x";
        assert!(matches!(parsed(plain).protocol, Protocol::OAuth(_)));
    }

    #[test]
    fn addresses_count_by_a_preset_only_with_its_own_servers() {
        let trusts = |more: &str| parsed(&format!("client_id=x;{more}")).trusts_addresses;
        for own in [
            "name=google",
            "name=google;issuer=https://accounts.google.com",
            "name=apple",
            "name=gitlab",
            "name=github",
            "name=hub;preset=github;user=https://api.github.com/user",
        ] {
            assert!(trusts(own), "{own}");
            assert!(!trusts(&format!("{own};trust_email=false")), "{own}");
        }
        for other in [
            "name=gitlab;issuer=https://git.example",
            "name=ours;preset=google;issuer=https://id.example",
            "name=google;discovery=https://id.example/x",
            "name=google;tenant=72f988bf-86f1-41af-91ab-2d7cd011db47",
            "name=apple;issuer=https://appleid.apple.com.evil.example",
            "name=github;token=https://git.example/t",
            "name=github;user=https://git.example/u",
            "name=github;emails=https://git.example/e",
            "name=github;authorize=https://git.example/a",
            "name=microsoft",
        ] {
            assert!(!trusts(other), "{other}");
            assert!(trusts(&format!("{other};trust_email=true")), "{other}");
        }
    }

    #[test]
    fn a_text_that_is_no_provider_is_refused_without_its_values() {
        use InvalidProvider::{Missing, Syntax, Twice, Unknown, Value};
        let refused = |text: &str, expected: InvalidProvider| {
            let error = Provider::parse(text).unwrap_err();
            assert!(!error.to_string().contains("hush"), "{error}");
            assert_eq!(error, expected, "{text}");
        };
        refused("", Missing("name"));
        refused("google", Syntax);
        refused("name=google", Missing("client_id"));
        refused("name=google;secret=hush", Unknown("secret".to_owned()));
        refused("name=google;name=apple", Twice("name"));
        refused("name=other;client_id=x", Missing("issuer"));
        for name in ["Google", "a b", "1a", "a/b", "ä", &"a".repeat(33)] {
            refused(&format!("name={name};client_id=x"), Value("name"));
        }
        refused("name=a;preset=hush;client_id=x", Value("preset"));
        refused(
            "name=a;issuer=http://id.example;client_id=x",
            Value("issuer"),
        );
        refused(
            "name=a;issuer=https://id.example;client_id=x;scopes=email",
            Value("scopes"),
        );
        refused(
            "name=a;issuer=https://id.example;client_id=x;trust_email=1",
            Value("trust_email"),
        );
        refused(
            "name=a;issuer=https://id.example/{tenantid};client_id=x",
            Missing("discovery"),
        );
        refused("name=microsoft;tenant=hush;client_id=x", Value("tenant"));
        refused("name=apple;client_id=x;key=hush", Missing("team_id"));
        refused(
            "name=apple;client_id=x;team_id=t;key_id=k;key=hush",
            Value("key"),
        );
        refused(
            "name=o;authorize=http://o/a;token=https://o/t;user=https://o/u;client_id=x",
            Value("authorize"),
        );
        let shown = format!("{:?}", parsed("name=google;client_id=x;client_secret=hush"));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
