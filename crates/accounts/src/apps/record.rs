//! What is stored for an app, and what of it makes sense.

use serde::{Deserialize, Serialize};

use adea_store::{Direction, EngineError, Space, Transaction, View};

use super::name::is_app_id;
use super::target::{is_below, is_link_below, normal_host, normal_origin};
use crate::directory::rights_change;
use crate::keys;
use crate::organisations::closing;
use crate::stored::{Source, decode, get, get_text, put};

/// The most apps of a server: all are in memory.
pub const APPS_MAX: usize = 1_000;
/// The longest title, in characters.
const TITLE_MAX: usize = 128;
/// The most domains, and the most origins.
const HOSTS_MAX: usize = 32;
/// The most addresses and domains that may sign up.
const ALLOWED_MAX: usize = 1_000;
/// The longest of those, in bytes.
const ALLOWED_BYTES_MAX: usize = 320;
/// The longest tag of a language.
const LANGUAGE_MAX: usize = 35;
/// The most databases that a quota may grant; it is counted through at each new one.
const DATABASES_MAX: u32 = 10_000;
/// The longest span of a session: ten years.
const SPAN_MAX_S: u64 = 10 * 366 * 86_400;

/// An app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct App {
    /// Its name in databases, roles and requests; never changes.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// When it was registered, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Raised with every change.
    pub revision: u64,
    /// Tells this registration from others under the same id.
    pub registration: String,
    /// Hosts that stand for it, in their normal form.
    pub domains: Vec<String>,
    /// Origins that a browser may be sent to, besides those of its domains; in their normal form.
    pub origins: Vec<String>,
    /// Who may sign up or join.
    pub sign_up: AppSignUp,
    /// Where links in mail lead.
    pub links: AppLinks,
    /// The language of its mail, as a BCP 47 tag.
    pub language: Option<String>,
    /// How much of the server it may take.
    pub quota: AppQuota,
    /// How long its sessions last.
    pub sessions: SessionSpans,
}

/// Who may sign up in an app; what is not said is as the server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSignUp {
    /// Who may.
    pub mode: Option<SignUpWord>,
    /// Addresses and domains that may, where they are listed.
    pub allowed: Option<Vec<String>>,
    /// Whether there are anonymous accounts.
    pub anonymous: Option<bool>,
}

/// Who may sign up, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignUpWord {
    /// Everybody.
    Open,
    /// Whoever has an address that is listed, or one of a domain that is.
    Listed,
    /// Whoever was invited.
    Invited,
    /// Nobody.
    Closed,
}

/// Where links in mail lead, as URLs with `{token}` in place of the secret; as the server has it where
/// nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppLinks {
    /// To prove an address.
    pub verify: Option<String>,
    /// To set a new password.
    pub recover: Option<String>,
    /// To sign in.
    pub sign_in: Option<String>,
    /// To answer an invitation.
    pub invitation: Option<String>,
}

impl AppLinks {
    /// All that are set.
    fn set(&self) -> impl Iterator<Item = &str> {
        [&self.verify, &self.recover, &self.sign_in, &self.invitation]
            .into_iter()
            .filter_map(|link| link.as_deref())
    }
}

/// How much of the server an app may take; as much as there is where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppQuota {
    /// Databases.
    pub databases: Option<u32>,
    /// Accounts that have joined.
    pub accounts: Option<u64>,
}

/// How long sessions last, in seconds; as the server has it where nothing is said. An access token is
/// good no longer than the server's own, whose keys are kept so long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSpans {
    /// How long an access token is good.
    pub access_s: Option<u64>,
    /// After how long a session ends in any case.
    pub lifetime_s: Option<u64>,
    /// How long a temporary name and password are good.
    pub basic_s: Option<u64>,
}

/// What cannot be set for an app.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApp {
    /// The id.
    #[error("id: a small letter, then small letters, digits and hyphens; at most 63 characters")]
    Id,
    /// The title.
    #[error("title: 1 to 128 characters that can be seen")]
    Title,
    /// A domain.
    #[error("domains: `{0}` is no host name")]
    Domain(String),
    /// An origin.
    #[error("origins: `{0}` is none; write https://host or http://localhost:port")]
    Origin(String),
    /// Too many of them.
    #[error("{0}: too many")]
    TooMany(&'static str),
    /// One who may sign up.
    #[error("sign_up.allowed: `{0}` is no address and no domain")]
    Allowed(String),
    /// Where a link leads.
    #[error(
        "links: `{0}` is on none of the app's origins and domains, or has no place for a {{token}}"
    )]
    Link(String),
    /// The language.
    #[error("language: a BCP 47 tag, as `en` or `pt-BR`")]
    Language,
    /// A quota.
    #[error("quota.databases: at most 10000")]
    Quota,
    /// A span.
    #[error("sessions: each span is 1 second to 10 years, and the lifetime is the longest")]
    Span,
}

impl App {
    /// Brings what is set into its normal form, and checks it.
    ///
    /// # Errors
    /// [`InvalidApp`], which names the member.
    pub fn normal(mut self) -> Result<Self, InvalidApp> {
        if !is_app_id(&self.id) {
            return Err(InvalidApp::Id);
        }
        self.title = self.title.trim().to_owned();
        let length = self.title.chars().count();
        if length == 0 || length > TITLE_MAX || self.title.chars().any(char::is_control) {
            return Err(InvalidApp::Title);
        }
        self.domains = normals(&self.domains, "domains", normal_host, InvalidApp::Domain)?;
        self.origins = normals(&self.origins, "origins", normal_origin, InvalidApp::Origin)?;
        if let Some(allowed) = &mut self.sign_up.allowed {
            *allowed = normal_allowed(allowed)?;
        }
        if let Some(outside) = self.links.set().find(|link| !self.is_link(link)) {
            return Err(InvalidApp::Link(shortened(outside)));
        }
        self.language = self.language.filter(|tag| !tag.is_empty());
        if self
            .language
            .as_deref()
            .is_some_and(|tag| !is_language(tag))
        {
            return Err(InvalidApp::Language);
        }
        if self
            .quota
            .databases
            .is_some_and(|most| most > DATABASES_MAX)
        {
            return Err(InvalidApp::Quota);
        }
        if !self.sessions.make_sense() {
            return Err(InvalidApp::Span);
        }
        Ok(self)
    }

    /// Whether a browser may be sent to `address`: it is on one of the app's origins, or on one of its
    /// domains with TLS.
    #[must_use]
    pub fn may_lead_to(&self, address: &str) -> bool {
        self.own_origins().any(|origin| is_below(address, &origin))
    }

    /// Whether `link` may stand in mail: it is on the app's own ground, with a place for a secret.
    fn is_link(&self, link: &str) -> bool {
        self.own_origins()
            .any(|origin| is_link_below(link, &origin))
    }

    /// The origins, those of the domains among them.
    fn own_origins(&self) -> impl Iterator<Item = String> {
        let domains = self.domains.iter();
        let own = domains.map(|domain| format!("https://{domain}"));
        self.origins.iter().cloned().chain(own)
    }
}

impl SessionSpans {
    fn make_sense(self) -> bool {
        let all = [self.access_s, self.lifetime_s, self.basic_s];
        let most = self.lifetime_s.unwrap_or(SPAN_MAX_S).min(SPAN_MAX_S);
        let mut set = all.into_iter().flatten();
        set.all(|span| (1..=most).contains(&span)) && self.lifetime_s.unwrap_or(1) <= SPAN_MAX_S
    }
}

fn normals(
    given: &[String],
    member: &'static str,
    normal: fn(&str) -> Option<String>,
    wrong: fn(String) -> InvalidApp,
) -> Result<Vec<String>, InvalidApp> {
    if given.len() > HOSTS_MAX {
        return Err(InvalidApp::TooMany(member));
    }
    let mut normals: Vec<String> = Vec::with_capacity(given.len());
    for text in given {
        let found = normal(text).ok_or_else(|| wrong(shortened(text)))?;
        if !normals.contains(&found) {
            normals.push(found);
        }
    }
    Ok(normals)
}

/// Addresses and domains in small letters.
fn normal_allowed(given: &[String]) -> Result<Vec<String>, InvalidApp> {
    if given.len() > ALLOWED_MAX {
        return Err(InvalidApp::TooMany("sign_up.allowed"));
    }
    let one = |text: &String| {
        let lower = text.trim().to_lowercase();
        let (local, domain) = lower.rsplit_once('@').unwrap_or(("", &lower));
        let visible = !local.chars().any(|c| c.is_whitespace() || c.is_control());
        let host = normal_host(domain);
        let host = host.filter(|_| visible && lower.len() <= ALLOWED_BYTES_MAX);
        match host {
            None => Err(InvalidApp::Allowed(shortened(text))),
            Some(host) if local.is_empty() => Ok(host),
            Some(host) => Ok(format!("{local}@{host}")),
        }
    };
    given.iter().map(one).collect()
}

/// Whether `text` has the form of a language's tag.
fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or("");
    text.len() <= LANGUAGE_MAX
        && (2..=8).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// So much of what was given as an error tells.
fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

/// The app `id`, if it is registered.
///
/// # Errors
/// [`EngineError`] if it cannot be read.
pub fn find<S: Source + ?Sized>(source: &S, id: &str) -> Result<Option<App>, EngineError> {
    if is_app_id(id) {
        get(source, &keys::app(id), id)
    } else {
        Ok(None)
    }
}

/// All apps, in the order of their ids.
///
/// # Errors
/// [`EngineError`] if they cannot be read.
pub fn all(view: &dyn View) -> Result<Vec<App>, EngineError> {
    let mut found = Vec::new();
    let mut cursor = view.range(Space::Index, keys::apps(), Direction::Forward)?;
    while let Some((_, value)) = cursor.next()? {
        found.push(decode(value, "an app")?);
    }
    Ok(found)
}

/// The first of `app`'s domains that is another app's.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn domain_taken(tx: &Transaction<'_>, app: &App) -> Result<Option<String>, EngineError> {
    for domain in &app.domains {
        let owner = get_text(tx, &keys::app_domain(domain))?;
        if owner.is_some_and(|owner| owner != app.id) {
            return Ok(Some(domain.clone()));
        }
    }
    Ok(None)
}

/// How many apps there are.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub(super) fn registered(tx: &Transaction<'_>) -> Result<usize, EngineError> {
    Ok(tx.range(Space::Index, &keys::apps(), APPS_MAX)?.len())
}

/// Stores `app` in place of `before`; `false` if there are as many as there may be. Whoever calls has
/// made sure that its domains are nobody else's.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn store(
    tx: &mut Transaction<'_>,
    before: Option<&App>,
    app: &App,
) -> Result<bool, EngineError> {
    if before.is_none() && registered(tx)? >= APPS_MAX {
        return Ok(false);
    }
    for domain in before.iter().flat_map(|before| &before.domains) {
        tx.delete(Space::Index, keys::app_domain(domain));
    }
    for domain in &app.domains {
        let id = app.id.clone().into_bytes();
        tx.put(Space::Index, keys::app_domain(domain), id);
    }
    put(tx, keys::app(&app.id), app);
    Ok(true)
}

/// Takes the registration away: from now on nobody has joined the app, and its databases are the
/// server's. What is left of joins is removed soon, by [`clear`](crate::organisations::clear).
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub fn remove(tx: &mut Transaction<'_>, app: &App) -> Result<(), EngineError> {
    for domain in &app.domains {
        tx.delete(Space::Index, keys::app_domain(domain));
    }
    tx.delete(Space::Index, keys::app(&app.id));
    tx.delete(Space::Index, keys::app_count(&app.id));
    closing::begin_app(tx, &app.id);
    // Roles were worked out under a version that ends here; open feeds are woken one by one, as joins
    // are removed.
    rights_change(tx, &app.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> App {
        App {
            id: "shop".to_owned(),
            title: "The shop".to_owned(),
            ..App::default()
        }
    }

    fn check(change: impl FnOnce(&mut App), expected: Result<(), &str>) {
        let mut app = app();
        change(&mut app);
        let told = app.normal().map(drop).map_err(|error| error.to_string());
        match (told, expected) {
            (Ok(()), Ok(())) => {}
            (Err(told), Err(word)) if told.starts_with(word) => {}
            (told, expected) => panic!("{told:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn what_is_set_is_brought_into_one_form() {
        let given = App {
            title: "  Büchershop ".to_owned(),
            domains: vec![
                "Bücher.Example.".to_owned(),
                "xn--bcher-kva.example".to_owned(),
            ],
            origins: vec!["https://App.example:443".to_owned()],
            language: Some(String::new()),
            sign_up: AppSignUp {
                allowed: Some(vec![
                    " Ann@Example.ORG".to_owned(),
                    "@Firm.example".to_owned(),
                ]),
                ..AppSignUp::default()
            },
            ..app()
        };
        let normal = given.normal().unwrap();
        assert_eq!(normal.title, "Büchershop");
        assert_eq!(normal.domains, ["xn--bcher-kva.example"]);
        assert_eq!(normal.origins, ["https://app.example"]);
        assert_eq!(normal.language, None);
        assert_eq!(
            normal.sign_up.allowed.unwrap(),
            ["ann@example.org", "firm.example"]
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_member() {
        check(|_| {}, Ok(()));
        check(|app| app.id = "Shop".to_owned(), Err("id"));
        check(|app| app.title = " ".to_owned(), Err("title"));
        check(|app| app.title = "a\nb".to_owned(), Err("title"));
        check(|app| app.title = "x".repeat(129), Err("title"));
        check(|app| app.domains = vec!["a b".to_owned()], Err("domains"));
        check(
            |app| app.domains = vec!["a.b".to_owned(); 33],
            Err("domains"),
        );
        check(
            |app| app.origins = vec!["http://a.example".to_owned()],
            Err("origins"),
        );
        check(
            |app| app.language = Some("de_DE".to_owned()),
            Err("language"),
        );
        check(|app| app.language = Some("de-DE".to_owned()), Ok(()));
        check(|app| app.quota.databases = Some(10_001), Err("quota"));
        check(|app| app.sessions.access_s = Some(0), Err("sessions"));
        check(
            |app| app.sessions.lifetime_s = Some(u64::MAX),
            Err("sessions"),
        );
        check(
            |app| (app.sessions.access_s, app.sessions.lifetime_s) = (Some(100), Some(99)),
            Err("sessions"),
        );
        for wrong in ["", "a b@c.d", "@", "a@", "a@b@", "x\u{0}@b.c"] {
            let allowed = Some(vec![wrong.to_owned()]);
            check(|app| app.sign_up.allowed = allowed, Err("sign_up"));
        }
    }

    #[test]
    fn a_link_leads_to_the_apps_own_places_alone() {
        let link = |address: &str| {
            let address = Some(address.to_owned());
            move |app: &mut App| {
                app.domains = vec!["shop.example".to_owned()];
                app.origins = vec!["http://localhost:3000".to_owned()];
                app.links.recover = address;
            }
        };
        check(link("https://shop.example/reset#{token}"), Ok(()));
        check(link("http://localhost:3000/#/reset/{token}"), Ok(()));
        for wrong in [
            "https://shop.example/reset",
            "https://evil.example/{token}",
            "http://shop.example/{token}",
            "https://shop.example.evil/{token}",
            "https://shop.example@evil/{token}",
            "//shop.example/{token}",
            "javascript:alert('{token}')",
            "/reset{token}",
        ] {
            check(link(wrong), Err("links"));
        }
    }
}
