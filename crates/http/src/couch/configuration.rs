//! Settings by section and key, as `CouchDB` names them: `_node/{node}/_config/…`.
//!
//! What `CouchDB`'s names mean here stands in tables (`known.rs`): how a value is shown, whether
//! one is taken, and what it changes in the options by which requests are taken. Other settings are
//! asked for by whoever depends on them ([`adea_pod::Pod::setting`]), belong to the program around
//! ([`Outside`]), or mean nothing here: those are kept and shown as they were written, since tools
//! set up a server by writing them and look whether they took.
//!
//! Invariant: what is shown is in force, unless it means nothing here.

mod known;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use adea_documents::json::{JsonError, read_text, write_json_string};
use adea_pod::{AuthSettings, Pod, SettingScope};
use http::StatusCode;

use crate::App;
use crate::body::Response;
use crate::couch::configuration::known::{Changeable, Known, LIMITS, REQUESTS, SIGN_IN};
use crate::couch::intake;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use crate::server::HttpOptions;

/// Told of a section, a key and the value that is about to hold (`None`: what the server was started
/// with); says why it does not take it.
pub type SettingHook = Arc<dyn Fn(&str, &str, Option<&str>) -> Result<(), String> + Send + Sync>;

/// Settings of the program around the server.
#[derive(Clone, Default)]
pub struct Outside {
    /// Section, key and value, as the server was started.
    pub shown: Vec<(&'static str, &'static str, String)>,
    /// Who has to know when one is changed.
    pub hook: Option<SettingHook>,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside")
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

impl Outside {
    fn tell(&self, section: &str, key: &str, value: Option<&str>) -> Result<(), ApiError> {
        match &self.hook {
            Some(hook) => hook(section, key, value).map_err(ApiError::bad),
            None => Ok(()),
        }
    }
}

/// The longest body that a setting may have.
const BODY_MAX: u64 = 512 << 10;

/// Sections that `CouchDB` lets nobody change over HTTP: what stands in them is run.
const LOCKED: &[&str] = &[
    "daemons",
    "external",
    "httpd_design_handlers",
    "httpd_db_handlers",
    "httpd_global_handlers",
    "native_query_servers",
    "os_daemons",
    "query_servers",
];

/// What settings change, as it is now: what the server was started with, and over it what was set.
fn in_force(started: &HttpOptions, pod: &Pod) -> Changeable {
    let mut options = Changeable {
        http: started.clone(),
        auth: pod.options().auth.clone(),
    };
    for known in known() {
        let set = known
            .sections
            .iter()
            .find_map(|section| pod.setting(section, known.key));
        // One that is not understood was stored by another version, and changes nothing.
        if let Some(value) = set
            && !(known.take)(&mut options, &value)
        {
            let (section, key) = (known.sections.first().copied().unwrap_or(""), known.key);
            tracing::warn!("the stored setting {section}/{key} is not understood: {value:?}");
        }
    }
    let keys = pod.settings().remove(TOKEN_KEYS).unwrap_or_default();
    for (name, key) in keys {
        if let Err(error) = add_token_key(&mut options.auth, &name, &key) {
            tracing::warn!("the stored setting {TOKEN_KEYS}/{name}: {error}");
        }
    }
    options
}

/// Puts in force what was set, over what the server was started with; gives the options of requests.
pub(crate) fn put_in_force(started: &HttpOptions, pod: &Pod) -> HttpOptions {
    let Changeable { http, auth } = in_force(started, pod);
    pod.change_auth(|current| *current = auth);
    http
}

/// All settings that mean something here.
fn known() -> impl Iterator<Item = &'static Known> {
    REQUESTS.iter().chain(SIGN_IN).chain(LIMITS)
}

fn find_known(section: &str, key: &str) -> Option<&'static Known> {
    known().find(|row| row.key == key && row.sections.contains(&section))
}

/// The section whose keys are those that tokens are signed with.
const TOKEN_KEYS: &str = "jwt_keys";

fn add_token_key(
    auth: &mut AuthSettings,
    name: &str,
    key: &str,
) -> Result<(), adea_accounts::InvalidTokenKey> {
    let keys = Arc::make_mut(&mut auth.tokens.keys);
    // It goes before one of the same name that was there at the start.
    keys.remove(name);
    keys.insert(name, key)
}

impl App {
    /// Hands what was set before to the program around, once it can take it.
    pub fn tell_stored_settings(&self) {
        for (section, values) in self.pod.settings() {
            for (key, value) in values {
                if let Err(error) = self.outside.tell(&section, &key, Some(&value)) {
                    tracing::warn!("the stored setting {section}/{key}: {error}");
                }
            }
        }
    }

    fn apply_settings(&self) {
        self.live.set(|| put_in_force(&self.options, &self.pod));
    }

    fn changeable(&self) -> Changeable {
        Changeable {
            http: HttpOptions::clone(&self.live.current()),
            auth: AuthSettings::clone(&self.pod.auth()),
        }
    }

    /// What holds for a setting; `None` if there is no such.
    fn shown_setting(&self, section: &str, key: &str) -> Option<String> {
        if section == ADMINS {
            let mut admins = self.pod.admins().into_iter();
            return admins.find(|(name, _)| name == key).map(|(_, hash)| hash);
        }
        if let Some(value) = self.pod.setting(section, key) {
            return Some(masked(section, key, &value));
        }
        if let Some(known) = find_known(section, key) {
            return (known.show)(&self.changeable(), &self.pod);
        }
        let mut outside = self.outside.shown.iter();
        outside
            .find(|(known, name, _)| *known == section && *name == key)
            .map(|(_, _, value)| value.clone())
    }

    /// All settings, by section and key.
    fn shown_settings(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut show = |section: &str, key: &str, value: String| {
            let section = all.entry(section.to_owned()).or_default();
            section.insert(key.to_owned(), value);
        };
        for (section, key, value) in &self.outside.shown {
            show(section, key, value.clone());
        }
        let options = self.changeable();
        for known in known() {
            if let Some(value) = (known.show)(&options, &self.pod) {
                for section in known.sections {
                    show(section, known.key, value.clone());
                }
            }
        }
        for (section, values) in self.pod.settings() {
            for (key, value) in values {
                show(&section, &key, masked(&section, &key, &value));
            }
        }
        for (name, hash) in self.pod.admins() {
            show(ADMINS, &name, hash);
        }
        all
    }
}

/// The section whose keys are the server's administrators.
const ADMINS: &str = "admins";

/// A value as it may be seen: what seals sessions is nobody's to read.
fn masked(section: &str, key: &str, value: &str) -> String {
    let secret = match section {
        "chttpd_auth" | "couch_httpd_auth" => key == "secret",
        TOKEN_KEYS => {
            let kind = key.split(':').next().unwrap_or("").trim();
            !matches!(kind, "rsa" | "ec" | "eddsa")
        }
        _ => false,
    };
    if secret {
        "********".to_owned()
    } else {
        value.to_owned()
    }
}

/// Answers for `/_node/{node}/_config/…`, to an administrator.
pub(crate) async fn route(exchange: Exchange, rest: &[&str]) -> Result<Response, ApiError> {
    match (exchange.method.as_str(), rest) {
        ("GET" | "HEAD", []) => Ok(list(&exchange.app.shown_settings())),
        (_, []) => Err(ApiError::MethodNotAllowed("GET")),
        ("POST", ["_reload"]) => {
            exchange.app.pod.forget_unkept_settings();
            exchange.app.apply_settings();
            Ok(reply::ok(StatusCode::OK))
        }
        (_, ["_reload"]) => Err(ApiError::MethodNotAllowed("POST")),
        ("GET" | "HEAD", [section]) => {
            let mut all = exchange.app.shown_settings();
            Ok(section_of(&all.remove(*section).unwrap_or_default()))
        }
        (_, [_section]) => Err(ApiError::MethodNotAllowed("GET")),
        ("GET" | "HEAD", [section, key]) => {
            let value = exchange.app.shown_setting(section, key);
            Ok(value_of(&value.ok_or(UNKNOWN)?))
        }
        ("PUT", [section, key]) => put(exchange, section, key).await,
        ("DELETE", [section, key]) => delete(&exchange, section, key).await,
        (_, [_section, _key]) => Err(ApiError::MethodNotAllowed("GET,PUT,DELETE")),
        _ => Err(ApiError::NotFound("missing")),
    }
}

const UNKNOWN: ApiError = ApiError::NotFound("unknown_config_value");

fn value_of(value: &str) -> Response {
    let mut out = Vec::with_capacity(value.len() + 3);
    write_json_string(&mut out, value);
    out.push(b'\n');
    reply::json(StatusCode::OK, out)
}

fn write_section(out: &mut Vec<u8>, values: &BTreeMap<String, String>) {
    out.push(b'{');
    for (n, (key, value)) in values.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(out, key);
        out.push(b':');
        write_json_string(out, value);
    }
    out.push(b'}');
}

fn section_of(values: &BTreeMap<String, String>) -> Response {
    let mut out = Vec::new();
    write_section(&mut out, values);
    out.push(b'\n');
    reply::json(StatusCode::OK, out)
}

fn list(all: &BTreeMap<String, BTreeMap<String, String>>) -> Response {
    let mut out = b"{".to_vec();
    for (n, (section, values)) in all.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_json_string(&mut out, section);
        out.push(b':');
        write_section(&mut out, values);
    }
    out.extend_from_slice(b"}\n");
    reply::json(StatusCode::OK, out)
}

fn refuse_locked(section: &str) -> Result<(), ApiError> {
    if LOCKED.contains(&section) {
        let reason = "Config section blacklisted for modification over HTTP API.";
        return Err(adea_accounts::Refusal::Forbidden(reason.into()).into());
    }
    Ok(())
}

async fn put(mut exchange: Exchange, section: &str, key: &str) -> Result<Response, ApiError> {
    refuse_locked(section)?;
    let body = intake::whole_up_to(&mut exchange, BODY_MAX).await?;
    let text = read_text(&body)?;
    if text.is_none() && adea_documents::json::normalise(&body).is_err() {
        return Err(JsonError::Invalid.into());
    }
    let text = text.ok_or_else(|| ApiError::bad("The value must be a JSON string."))?;
    let value = text.trim();
    let app = &exchange.app;
    let before = app.shown_setting(section, key).unwrap_or_default();
    if section == ADMINS {
        let by = crate::api::actor(&exchange);
        app.pod.set_admin_by(key, value, Some(&by)).await?;
        return Ok(value_of(&before));
    }
    if section == TOKEN_KEYS {
        let added = add_token_key(&mut app.changeable().auth, key, value);
        added.map_err(|error| ApiError::bad(error.to_string()))?;
    }
    if let Some(known) = find_known(section, key)
        && !(known.take)(&mut app.changeable(), value)
    {
        let wanted = known.wanted;
        return Err(ApiError::bad(format!("{section}/{key} must be {wanted}.")));
    }
    app.outside.tell(section, key, Some(value))?;
    let scope = match exchange.headers.get("x-couch-persist") {
        Some(persist) if persist == "false" => SettingScope::ThisRun,
        Some(_) | None => SettingScope::Kept,
    };
    let by = crate::api::actor(&exchange);
    app.pod
        .set_by(section, key, value, scope, Some(&by))
        .await?;
    app.apply_settings();
    tracing::info!(section, key, "setting {section}/{key} was changed");
    Ok(value_of(&before))
}

async fn delete(exchange: &Exchange, section: &str, key: &str) -> Result<Response, ApiError> {
    refuse_locked(section)?;
    let app = &exchange.app;
    let before = app.shown_setting(section, key).ok_or(UNKNOWN)?;
    let by = crate::api::actor(exchange);
    if section == ADMINS {
        app.pod.remove_admin_by(key, Some(&by)).await?;
        return Ok(value_of(&before));
    }
    if app.pod.unset_by(section, key, Some(&by)).await? {
        app.outside.tell(section, key, None)?;
        app.apply_settings();
        tracing::info!(section, key, "setting {section}/{key} was taken back");
    }
    Ok(value_of(&before))
}
