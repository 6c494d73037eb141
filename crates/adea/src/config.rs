//! Settings: one table, four layers, and an origin for every value.
//!
//! A setting is declared once, below; see [`setting`] for what follows from it. A value is taken
//! from its flag, else from the environment, else from the TOML file, else from its default. It is
//! read and checked here, before anything starts; the rest of the program sees only [`Config`].

mod auth_kind;
pub(crate) mod explain;
mod file;
mod kind;
mod layers;
mod mail_kind;
mod quantity;
mod setting;
mod suggestion;

pub(crate) use kind::{Kind, LogLevel, Raw, Secret, WebOrigin};
pub(crate) use layers::{Fault, Faults, Origin, Values};
pub(crate) use setting::Setting;

use crate::commands::{LOCKOUT_MODES, SIGN_UP_MODES};
use adea_http::Vhost;
use auth_kind::{
    BASE_URL, CLAIMS, COOKIE_NAME, DATABASE, DATABASE_PREFIX, HEADER, KEYS_URL, LIMIT, ListOf,
    NETWORK, OWN_PATH, Optional, Parsed, ProviderList, REQUIREMENT, TEXT, TokenKeyList,
};
use kind::{
    Address, Choice, Count, OptionalPath, OptionalSecret, Path, Size, Span, Switch, UserName,
    Vhosts, WebOrigins,
};
use mail_kind::{LANGUAGE, LINK, SENDER, SMTP_SERVER};
use setting::settings;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// After it is on disk.
    Strict,
    /// Before; a crash loses at most `durability_interval` of acknowledged writes.
    Relaxed,
}

/// How new passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashScheme {
    /// With argon2id.
    Argon2id,
    /// As `CouchDB` does.
    Pbkdf2,
}

/// The words of `session.same_site`.
const SAME_SITE: Parsed<adea_accounts::SameSite> = Parsed {
    read: |text| {
        adea_accounts::SameSite::parse(text).ok_or_else(|| "it is none of them".to_owned())
    },
    allowed: "none, lax or strict",
};

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);

settings! {
    "Server" {
        /// Address and port to listen on.
        /// 127.0.0.1 is reached from this machine only, 0.0.0.0 from every network it is in.
        listen: SocketAddr = "listen", Address, Some("127.0.0.1:5984");
        /// Directory that holds all databases.
        data: PathBuf = "data", Path, Some("./adea-data");
        /// When a write is acknowledged: after it is on disk (strict), or before (relaxed).
        /// With relaxed, a crash or power cut loses what was acknowledged in the last
        /// `durability_interval`.
        durability: Durability = "durability",
            Choice(&[("strict", Durability::Strict), ("relaxed", Durability::Relaxed)]),
            Some("strict");
        /// With durability relaxed, the most time between an acknowledgement and the disk.
        durability_interval: Duration = "durability_interval",
            Span { min: MS, max: Duration::from_secs(60) }, Some("100ms");
        /// Memory for the storage engine's caches and write buffers.
        memory: u64 = "memory",
            Size { min: 8_000_000, max: 1 << 40, unlimited: false }, Some("64MB");
        /// Whether answers are compressed for clients that ask for it.
        compression: bool = "compression", Switch, Some("true");
    }
    "Administrator" {
        /// Name of the administrator made at the first start.
        admin_name: String = "admin.name", UserName, Some("admin");
        /// Password of the administrator made at the first start.
        /// Without one, the server makes one and shows it once. Prefer the environment or the file
        /// to the flag: other users of the machine can see flags.
        admin_password: Option<Secret> = "admin.password", OptionalSecret { shortest: 1 }, None;
    }
    "Limits" {
        /// Largest document, as JSON without its attachments.
        max_document_size: u64 = "max_document_size",
            Size { min: 1_000, max: 1 << 30, unlimited: false }, Some("8_000_000");
        /// Largest attachment.
        max_attachment_size: u64 = "max_attachment_size",
            Size { min: 1, max: 1 << 50, unlimited: true }, Some("1_073_741_824");
        /// Largest body of a request.
        max_request_size: u64 = "max_request_size",
            Size { min: 1_000, max: 1 << 50, unlimited: true }, Some("4_294_967_296");
        /// Largest head of a request: its first line and its headers together.
        max_header_size: u64 = "max_header_size",
            Size { min: 8_192, max: 1 << 24, unlimited: false }, Some("64KiB");
        /// Time a client has to send the head of a request.
        header_timeout: Duration = "header_timeout", Span { min: MS, max: HOUR }, Some("10s");
        /// Time after which a connection that neither asks nor is being answered is closed.
        idle_timeout: Duration = "idle_timeout", Span { min: SECOND, max: DAY }, Some("600s");
        /// Most connections at a time; further ones wait.
        max_connections: usize = "max_connections",
            Count { min: 1, max: 10_000_000 }, Some("200_000");
        /// Longest time a changes feed without a heartbeat waits for a change.
        changes_timeout: Duration = "changes_timeout", Span { min: SECOND, max: DAY }, Some("60s");
    }
    "Design functions" {
        /// Longest time a function of a design document may take for one document or request.
        script_timeout: Duration = "script.timeout",
            Span { min: Duration::from_millis(10), max: HOUR }, Some("5s");
        /// Memory for the JavaScript of one process that runs such functions.
        script_memory: u64 = "script.memory",
            Size { min: 8_000_000, max: 1 << 36, unlimited: false }, Some("64MiB");
        /// Most processes that run such functions at a time; further calls wait.
        script_processes: usize = "script.processes", Count { min: 1, max: 10_000 }, Some("16");
    }
    "CORS" {
        /// Whether web pages of other origins may call the server.
        cors_enabled: bool = "cors.enabled", Switch, Some("true");
        /// Origins whose pages may call the server.
        /// With "*" any page may, but only with credentials it holds itself (an Authorization
        /// header); the session cookie counts only for origins that are listed.
        cors_origins: Vec<WebOrigin> = "cors.origins", WebOrigins, Some("*");
    }
    "Virtual hosts" {
        /// Hosts that stand for paths of the server.
        /// A label may be a name that stands in the path, too (:db.example.org=/:db), and the
        /// first one a * for anything.
        vhosts: Vec<Vhost> = "vhosts", Vhosts, Some("");
    }
    "Sessions" {
        /// Time until an unused session ends.
        session_timeout: Duration = "session.timeout", Span { min: SECOND, max: YEAR }, Some("600s");
        /// Secret that signs session cookies.
        /// Without one, the server makes one at the first start and keeps it in the data directory.
        session_secret: Option<Secret> = "session.secret", OptionalSecret { shortest: 16 }, None;
        /// Whether a browser keeps the session cookie when it is closed (Expires and Max-Age).
        session_persistent: bool = "session.persistent", Switch, Some("true");
        /// Whether the session cookie is only for connections with TLS (Secure).
        /// It always is for requests that a proxy says came over TLS (X-Forwarded-Proto).
        session_secure: bool = "session.secure", Switch, Some("false");
        /// `SameSite` of the session cookie.
        /// Without it, `SameSite` follows from how the request came: nothing without TLS,
        /// Lax with it, None for pages of listed origins.
        session_same_site: Option<adea_accounts::SameSite> = "session.same_site",
            Optional(SAME_SITE), None;
        /// Domain whose servers the session cookie is sent to; without it, this server alone.
        session_domain: Option<String> = "session.domain", Optional(TEXT), None;
    }
    "Sign-up and sessions of accounts" {
        /// Address under which clients reach this server, as `https://app.example.org`.
        /// Links in mail begin with it, and passkeys belong to its host.
        public_url: Option<String> = "public_url", Optional(BASE_URL), None;
        /// Who may sign up at /_auth/signup.
        /// Everybody, whoever has a listed address, whoever was invited, or nobody.
        signup_mode: adea_pod::SignUpMode = "signup.mode", Choice(SIGN_UP_MODES), Some("open");
        /// Addresses (ann@example.org) and domains (example.org) that may sign up where they are listed.
        signup_allowed: Vec<String> = "signup.allowed", ListOf { item: TEXT, separator: ',' }, None;
        /// Database into which documents of the type `signup` are written to sign up.
        /// It is for clients that reach databases only. Everybody writes there and sees what he was answered, and nothing else.
        signup_inbox: Option<adea_base::DatabaseName> = "signup.inbox", Optional(DATABASE), None;
        /// Whether there may be accounts of people who have not told who they are.
        signup_anonymous: bool = "signup.anonymous", Switch, Some("false");
        /// Time that an access token is good; the refresh token that comes with it outlives it.
        session_access_lifetime: Duration = "session.access_lifetime",
            Span { min: SECOND, max: DAY }, Some("15m");
        /// Time without use after which a session of an account ends.
        session_idle: Duration = "session.idle", Span { min: SECOND, max: YEAR }, Some("30d");
        /// Time after which a session of an account ends in any case.
        session_lifetime: Duration = "session.lifetime", Span { min: SECOND, max: YEAR }, Some("365d");
        /// Time that a temporary name and password are good.
        session_basic_lifetime: Duration = "session.basic_lifetime",
            Span { min: SECOND, max: YEAR }, Some("24h");
        /// Name of the cookie of a session; __Host- stands before it where there is TLS.
        session_cookie_name: String = "session.cookie_name", COOKIE_NAME, Some("adea");
        /// Whether a name and a password are good for nothing but asking for a session.
        session_required: bool = "session.required", Switch, Some("false");
        /// Whether credentials are taken that come over plain HTTP from another machine.
        session_plain_http: bool = "session.plain_http", Switch, Some("false");
    }
    "Limits of requests" {
        /// How often one address may try to sign in.
        /// Passwords that were right a moment ago do not count.
        /// Under IPv6 an address is a network of 64 bits. More is answered 429, with Retry-After.
        limits_sign_in: Option<adea_pod::LimitRule> = "limits.sign_in", LIMIT, Some("60/1m");
        /// How often somebody may try to sign in to one account, wherever he is.
        limits_account_sign_in: Option<adea_pod::LimitRule> =
            "limits.account_sign_in", LIMIT, Some("100/10m");
        /// How often one address may cause a mail.
        limits_mail: Option<adea_pod::LimitRule> = "limits.mail", LIMIT, Some("30/10m");
        /// How often a mail may go to one account or one mail address.
        limits_account_mail: Option<adea_pod::LimitRule> =
            "limits.account_mail", LIMIT, Some("10/1h");
        /// How often one address may make an account.
        limits_sign_up: Option<adea_pod::LimitRule> = "limits.sign_up", LIMIT, Some("30/1h");
        /// How often one address may ask for anything else below /_auth, /_orgs and the like.
        limits_requests: Option<adea_pod::LimitRule> = "limits.requests", LIMIT, Some("1200/1m");
        /// Whether requests of this machine itself are counted, too.
        /// Where a proxy runs on it, name it in `auth.trusted_proxies`: then its clients are counted.
        limits_loopback: bool = "limits.loopback", Switch, Some("false");
        /// Time that entries of the audit log are kept.
        audit_keep: Duration = "audit.keep", Span { min: DAY, max: Duration::from_secs(100 * 366 * 86_400) },
            Some("400d");
    }
    "Mail" {
        /// Server that mail is handed to, as `smtps://name:password@mail.example.org:465`.
        /// `smtp://` begins TLS after a greeting (STARTTLS) unless the server is on this machine; behind
        /// `?tls=` may stand required, opportunistic or none. What is special in name and password is
        /// escaped (`%40` for @). Without a server, mail is captured and shown at `/_mail/captured`.
        mail_smtp: Option<Secret> = "mail.smtp", SMTP_SERVER, None;
        /// File of certificates (PEM) of that server to believe instead of the list of Mozilla.
        mail_authorities: Option<PathBuf> = "mail.authorities", OptionalPath, None;
        /// Whom mail comes from, as `Adea <no-reply@example.org>`.
        mail_from: Option<adea_mail::Sender> = "mail.from", Optional(SENDER), None;
        /// Whom mail is answered to, if not to that one.
        mail_reply_to: Option<adea_mail::Sender> = "mail.reply_to", Optional(SENDER), None;
        /// Language of mail for who wants none, or one that there is no template in.
        mail_default_language: adea_mail::Language = "mail.default_language", LANGUAGE, Some("en");
        /// Where the link to verify an address leads; {token} and {app} are filled in.
        /// Without it, to a page of this server, under `public_url`. The same goes for the others.
        mail_link_verify: Option<adea_pod::LinkTemplate> = "mail.link.verify", Optional(LINK), None;
        /// Where the link to choose a new password leads.
        mail_link_recover: Option<adea_pod::LinkTemplate> = "mail.link.recover", Optional(LINK), None;
        /// Where the link to sign in leads.
        mail_link_sign_in: Option<adea_pod::LinkTemplate> = "mail.link.sign_in", Optional(LINK), None;
        /// Where the link to accept an invitation leads.
        mail_link_invitation: Option<adea_pod::LinkTemplate> =
            "mail.link.invitation", Optional(LINK), None;
    }
    "Other providers" {
        /// Providers that people can sign in with, besides a name and a password.
        /// Each must know https://…/_auth/oidc/NAME/callback for a redirect URI, below `public_url`. Accounts
        /// are linked to a provider's name, so a name that is taken away and given to another provider
        /// would let strangers in. `trust_email=true` links people to accounts with the same verified address,
        /// so it is only for providers that let nobody claim an address that is not his.
        providers: Vec<std::sync::Arc<adea_accounts::oidc::Provider>> = "providers", ProviderList, None;
        /// Whether users get a mail when somebody signs in to their account from a new device.
        session_new_device_notice: bool = "session.new_device_notice", Switch, Some("true");
    }
    "Organisations" {
        /// Whether every account may make organisations, and not only server administrators.
        orgs_open: bool = "orgs.open", Switch, Some("true");
        /// Most organisations that one account may own.
        orgs_owned_max: usize = "orgs.owned_max", Count { min: 0, max: 1_000 }, Some("20");
        /// Most members of an organisation, where server administrators have not set its quota.
        orgs_members_max: usize = "orgs.members_max",
            Count { min: 1, max: 1_000_000 }, Some("1_000");
        /// Most teams of an organisation, where server administrators have not set its quota.
        orgs_teams_max: usize = "orgs.teams_max", Count { min: 0, max: 100_000 }, Some("200");
        /// Most open invitations of an organisation.
        /// It holds where server administrators have not set its quota.
        orgs_invitations_max: usize = "orgs.invitations_max",
            Count { min: 0, max: 100_000 }, Some("500");
        /// Most organisations and teams that one account may belong to.
        /// Each is up to four roles, and roles are looked through with every request.
        orgs_memberships_max: usize = "orgs.memberships_max",
            Count { min: 1, max: 10_000 }, Some("1_000");
        /// Time that an invitation is good.
        orgs_invitation_lifetime: Duration = "orgs.invitation_lifetime",
            Span { min: SECOND, max: YEAR }, Some("7d");
        /// Domains where everybody gets an address.
        /// Owners of organisations cannot prove them by one; without any, those of the mail services that most people use.
        orgs_shared_domains: Vec<String> = "orgs.shared_domains",
            ListOf { item: TEXT, separator: ',' }, None;
    }
    "Authentication" {
        /// Whether everybody must sign in, for everything but POST /_session.
        auth_require_valid_user: bool = "auth.require_valid_user", Switch, Some("false");
        /// Whether everybody must sign in, for everything but POST /_session and /_up.
        auth_require_valid_user_except_for_up: bool =
            "auth.require_valid_user_except_for_up", Switch, Some("false");
        /// WWW-Authenticate of every answer 401, as `Basic realm="adea"`.
        /// It makes browsers ask for a password in a window of their own.
        auth_www_authenticate: Option<String> = "auth.www_authenticate", Optional(TEXT), None;
        /// Page of this server where browsers are sent that want a page and would get a 401.
        auth_redirect: Option<String> = "auth.redirect", Optional(OWN_PATH), None;
        /// Proxies in front of the server whose X-Forwarded-For is believed.
        /// Without them, lock-outs take all clients behind a proxy for one.
        auth_trusted_proxies: Vec<adea_pod::Network> = "auth.trusted_proxies",
            ListOf { item: NETWORK, separator: ',' }, None;
    }
    "Passwords" {
        /// How new passwords are hashed; pbkdf2 is for accounts that are replicated to CouchDB.
        /// What is stored in a weaker form is made anew when its owner signs in.
        password_scheme: HashScheme = "password.scheme",
            Choice(&[("argon2id", HashScheme::Argon2id), ("pbkdf2", HashScheme::Pbkdf2)]),
            Some("argon2id");
        /// Rounds of PBKDF2 (with SHA-256) for new passwords.
        password_iterations: usize = "password.iterations",
            Count { min: 1_000, max: 10_000_000 }, Some("600_000");
        /// Regular expressions that every new password must match.
        /// What stands behind " -- " is told to whoever chose a password that does not.
        password_requirements: Vec<adea_accounts::PasswordRequirement> = "password.requirements",
            ListOf { item: REQUIREMENT, separator: '\n' }, None;
        /// What follows too many wrong passwords for one name from one address.
        lockout_mode: adea_accounts::LockoutMode = "lockout.mode",
            Choice(LOCKOUT_MODES), Some("enforce");
        /// Wrong passwords until then.
        lockout_threshold: usize = "lockout.threshold", Count { min: 1, max: 1_000_000 }, Some("5");
        /// Time after the first wrong password when all is forgotten.
        lockout_window: Duration = "lockout.window", Span { min: SECOND, max: DAY }, Some("300s");
        /// Most names and addresses that are counted at a time; the oldest are forgotten first.
        lockout_max_entries: usize = "lockout.max_entries",
            Count { min: 1, max: 10_000_000 }, Some("10_000");
    }
    "Accounts" {
        /// Whether everybody may make himself an account in _users, as with CouchDB 1 and 2.
        /// Setting _security of _users does the same more finely, and goes before this.
        users_sign_up: bool = "users.sign_up", Switch, Some("false");
        /// Fields of accounts that everybody sees who may enter _users.
        users_public_fields: Vec<String> = "users.public_fields",
            ListOf { item: TEXT, separator: ',' }, None;
        /// Whether administrators may change _security of _users.
        users_security_editable: bool = "users.security_editable", Switch, Some("true");
        /// Whether each account gets a database of its own, as `couch_peruser` makes them.
        peruser_enabled: bool = "peruser.enabled", Switch, Some("false");
        /// Whether that database is dropped with the account.
        peruser_delete_databases: bool = "peruser.delete_databases", Switch, Some("false");
        /// What the names of these databases begin with; the account's name follows in hexadecimal.
        peruser_prefix: String = "peruser.prefix", DATABASE_PREFIX, Some("userdb-");
    }
    "Tokens" {
        /// Keys of bearer tokens (JWT), by kind and kid.
        jwt_keys: std::sync::Arc<adea_accounts::TokenKeys> = "jwt.keys", TokenKeyList, None;
        /// URL where more public keys are published (JWKS).
        /// They are fetched when they are needed, when they are old, and at most every ten seconds
        /// when a token names a key that is not among them.
        jwt_keys_url: Option<String> = "jwt.keys_url", Optional(KEYS_URL), None;
        /// Time until published keys are fetched again.
        jwt_keys_refresh: Duration = "jwt.keys_refresh",
            Span { min: Duration::from_secs(10), max: DAY }, Some("1h");
        /// Claims that a token must have; exp and nbf count wherever they are there.
        jwt_required_claims: adea_accounts::RequiredClaims = "jwt.required_claims", CLAIMS, Some("");
        /// Claim that holds the roles.
        jwt_roles_claim_name: String = "jwt.roles_claim_name", TEXT, Some("_couchdb.roles");
        /// Path to the claim that holds the roles: names between dots, \. for a dot in a name.
        /// It goes before `jwt.roles_claim_name`.
        jwt_roles_claim_path: Option<String> = "jwt.roles_claim_path", Optional(TEXT), None;
        /// By how much the clock of who makes the tokens may differ.
        jwt_leeway: Duration = "jwt.leeway", Span { min: Duration::ZERO, max: HOUR }, Some("0s");
        /// Whether tokens may give roles that begin with an underscore; _admin is one of them.
        jwt_system_roles: bool = "jwt.system_roles", Switch, Some("true");
    }
    "Proxy authentication" {
        /// Whether a proxy in front may say in headers who sends a request.
        proxy_auth_enabled: bool = "proxy_auth.enabled", Switch, Some("false");
        /// Whether it must prove to be that proxy, with the HMAC of the name.
        /// Without, whoever reaches the server can be anybody.
        proxy_auth_use_secret: bool = "proxy_auth.use_secret", Switch, Some("true");
        /// Secret of that HMAC; without one, session.secret.
        proxy_auth_secret: Option<Secret> = "proxy_auth.secret",
            OptionalSecret { shortest: 16 }, None;
        /// Header that holds the name.
        proxy_auth_username_header: String = "proxy_auth.username_header",
            HEADER, Some("X-Auth-CouchDB-UserName");
        /// Header that holds the roles, between commas.
        proxy_auth_roles_header: String = "proxy_auth.roles_header",
            HEADER, Some("X-Auth-CouchDB-Roles");
        /// Header that holds the HMAC-SHA256 or HMAC-SHA1 of the name, in hexadecimal digits.
        proxy_auth_token_header: String = "proxy_auth.token_header",
            HEADER, Some("X-Auth-CouchDB-Token");
    }
    "Replication" {
        /// Most replications that work at a time.
        /// Those that wait for a change of a database of this server do not count.
        replication_max_jobs: usize = "replication.max_jobs",
            Count { min: 1, max: 100_000 }, Some("500");
        /// Time after which a replication that goes on lets others that wait have its place.
        replication_interval: Duration = "replication.interval",
            Span { min: MS, max: DAY }, Some("60s");
        /// First pause after a replication of the _replicator database failed.
        /// It doubles each time, up to a thousand times.
        replication_retry: Duration = "replication.retry", Span { min: MS, max: HOUR }, Some("30s");
        /// Time that connecting to another server may take.
        replication_connect_timeout: Duration = "replication.connect_timeout",
            Span { min: MS, max: HOUR }, Some("30s");
        /// Whether certificates of other servers are checked.
        replication_verify: bool = "replication.verify_certificates", Switch, Some("true");
        /// File of certificates (PEM) to believe instead of the list of Mozilla.
        replication_authorities: Option<PathBuf> = "replication.authorities", OptionalPath, None;
    }
    "Log" {
        /// Form of the log lines on standard error.
        log_format: LogFormat = "log.format",
            Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]), Some("text");
        /// What is logged: a level, and after commas other levels for single parts.
        log_level: tracing_subscriber::filter::Targets = "log.level", LogLevel, Some("info");
        /// Whether each request is logged in one line.
        log_access: bool = "log.access", Switch, Some("true");
    }
}

/// The file that is read without being named, if it is there.
const DEFAULT_FILE: &str = "adea.toml";

/// What the layers are read from.
#[derive(Default)]
pub(crate) struct Sources {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// The environment, as `std::env::vars_os` gives it.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The flags given, each with its values.
    pub(crate) flags: Vec<(&'static Setting, Vec<String>)>,
}

/// A configuration that is right.
pub(crate) struct Loaded {
    /// What the program works with.
    pub(crate) config: Config,
    /// Where it came from.
    pub(crate) values: Values,
    /// The file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    /// What is odd and does no harm; to be logged.
    pub(crate) warnings: Vec<String>,
}

/// Reads and checks all layers. The error holds every fault found, not only the first.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let environment = layers::from_environment(sources.environment.iter().cloned());
    let file = match sources.config.clone().or(environment.config) {
        Some(named) => Some(named),
        None => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()),
    };
    let (from_file, mut faults) = file
        .as_deref()
        .map_or_else(Default::default, file::from_file);
    let flags = layers::from_flags(&sources.flags);
    let values = Values::layered(vec![from_file, environment.offers, flags]);
    faults.extend(values.faults());
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    let config = Config::read(&values)?;
    if let Some(fault) = contradiction(&config, &values) {
        return Err(Faults(vec![fault]));
    }
    let mut warnings = environment.warnings;
    warnings.extend(oddities(&config, &values));
    Ok(Loaded {
        config,
        values,
        file,
        warnings,
    })
}

/// Two settings that are right alone and wrong together.
fn contradiction(config: &Config, values: &Values) -> Option<Fault> {
    let secret = config.proxy_auth_secret.as_ref();
    let secret = secret.or(config.session_secret.as_ref());
    if config.proxy_auth_enabled && config.proxy_auth_use_secret && secret.is_none() {
        return Some(Fault::Contradiction(
            "proxy_auth.enabled needs proxy_auth.secret or session.secret: without a secret no \
             proxy could prove anything"
                .to_owned(),
        ));
    }
    if config.mail_smtp.is_some() && config.mail_from.is_none() {
        return Some(Fault::Contradiction(
            "mail.smtp needs mail.from: servers take no mail that comes from nobody".to_owned(),
        ));
    }
    (config.max_document_size > config.max_request_size).then(|| {
        let said = |key| values.entry(key).map_or_else(String::new, said);
        Fault::Contradiction(format!(
            "{} is more than {}: no such document could be sent",
            said("max_document_size"),
            said("max_request_size")
        ))
    })
}

fn said(entry: &layers::Entry) -> String {
    let (key, value, origin) = (entry.setting.key, entry.shown(), &entry.origin);
    format!("{key} = {value} ({origin})")
}

/// Settings that have no effect, or more of it than was meant.
fn oddities(config: &Config, values: &Values) -> Vec<String> {
    let mut found = Vec::new();
    let links = [
        &config.mail_link_verify,
        &config.mail_link_recover,
        &config.mail_link_sign_in,
        &config.mail_link_invitation,
    ];
    let own_links = links.iter().any(|link| link.is_none());
    if config.mail_smtp.is_some() && config.public_url.is_none() && own_links {
        found.push(
            "mail is sent, and its links lead to the address that the server listens on, which may \
             be reached from this machine only: set public_url"
                .to_owned(),
        );
    }
    if let Some(entry) = values.entry("durability_interval")
        && entry.origin != Origin::Default
        && config.durability == Durability::Strict
    {
        found.push(format!(
            "{}: durability_interval has no effect while durability is strict",
            entry.origin
        ));
    }
    if config.proxy_auth_enabled && !config.proxy_auth_use_secret {
        found.push(
            "proxy_auth.use_secret is false: whoever reaches the server can be anybody".to_owned(),
        );
    }
    for entry in &values.entries {
        if let Origin::File(path, _) = &entry.origin
            && entry.setting.kind.secret()
            && others_may_read(path)
        {
            found.push(format!(
                "{}: {} can be read by every user of this machine; chmod 600 {}",
                entry.origin,
                entry.setting.key,
                path.display()
            ));
        }
    }
    found
}

#[cfg(unix)]
fn others_may_read(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn others_may_read(_: &std::path::Path) -> bool {
    false
}

#[cfg(test)]
mod tests;
