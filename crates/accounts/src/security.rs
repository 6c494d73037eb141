//! The `_security` object of a database: who may enter it, and who administers it.
//!
//! ```json
//! {"admins":{"names":["ann"],"roles":[]},"members":{"names":[],"roles":["staff"]}}
//! ```
//!
//! Members read and write documents; admins also change design documents and this object. Server
//! administrators (role `_admin`) are always admins. Where neither a name nor a role is a member,
//! everybody is one, the anonymous included: `CouchDB` calls this a public database.
//!
//! Invariant: the text is kept as it was given, unknown fields included, for it is printed back.

use adea_base::Caller;
use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// What a new database has: nobody but server administrators may enter.
const DEFAULT: &str = r#"{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}"#;
/// What everybody may enter.
const OPEN: &str = r#"{"members":{"roles":[]},"admins":{"roles":["_admin"]}}"#;
/// The longest object that is kept; it is read on every request.
const SECURITY_BYTES_MAX: usize = 1 << 20;

/// The reason of the 403 for changing `_users/_security`, unless the server is told to let it.
pub const USERS_SECURITY_IS_FIXED: &str =
    "You can't edit the security object of the user database.";

/// Who may enter a database, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    text: String,
    admins: Group,
    members: Group,
}

/// The names and roles of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    names: Vec<String>,
    roles: Vec<String>,
}

/// What a caller is to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// He administers it, or the whole server.
    Admin,
    /// He reads and writes its documents.
    Member,
    /// Nobody knows who he is, and the database is not public: 401.
    Denied401,
    /// It is known who he is, and he is not let in: 403.
    Denied403,
}

/// A text that is no security object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecurity {
    /// Not JSON.
    #[error("invalid UTF-8 JSON")]
    NotJson,
    /// JSON, but no object.
    #[error("Request body must be a JSON object")]
    NotObject,
    /// `admins` or `members` is no object.
    #[error("admins or members must be a JSON list of strings")]
    GroupNotObject,
    /// `names` is no list of texts.
    #[error("names must be a JSON list of strings")]
    NamesNotTexts,
    /// `roles` is no list of texts.
    #[error("roles must be a JSON list of strings")]
    RolesNotTexts,
    /// Larger than is read on every request.
    #[error("The security object is larger than {SECURITY_BYTES_MAX} bytes")]
    TooLarge,
}

impl Default for Security {
    fn default() -> Self {
        let admins_only = Group {
            names: Vec::new(),
            roles: vec!["_admin".to_owned()],
        };
        Self {
            text: DEFAULT.to_owned(),
            admins: admins_only.clone(),
            members: admins_only,
        }
    }
}

impl Security {
    /// What everybody may enter and server administrators administer.
    #[must_use]
    pub fn open() -> Self {
        Self {
            text: OPEN.to_owned(),
            members: Group::default(),
            ..Self::default()
        }
    }

    /// Reads the object from JSON text.
    ///
    /// # Errors
    /// [`InvalidSecurity`], in `CouchDB`'s words.
    pub fn parse(text: &str) -> Result<Self, InvalidSecurity> {
        if text.len() > SECURITY_BYTES_MAX {
            return Err(InvalidSecurity::TooLarge);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| InvalidSecurity::NotJson)?;
        let object = value.as_object().ok_or(InvalidSecurity::NotObject)?;
        let admins = Group::read(object.get("admins"))?;
        // Databases that were made before CouchDB 1.2 call the members readers.
        let members = Group::read(object.get("members").or_else(|| object.get("readers")))?;
        Ok(Self {
            text: value.to_string(),
            admins,
            members,
        })
    }

    /// This object with `name` among the admins and the members, or without it; `None` if that is so
    /// already.
    #[must_use]
    pub fn with_name(&self, name: &str, present: bool) -> Option<Self> {
        let mut value: Value = serde_json::from_str(&self.text).ok()?;
        let object = value.as_object_mut()?;
        let mut changed = false;
        for side in ["admins", "members"] {
            if !present && !object.contains_key(side) {
                continue;
            }
            let group = object.entry(side).or_insert_with(|| Map::new().into());
            let names = group.as_object_mut()?.entry("names");
            let names = names
                .or_insert_with(|| Value::Array(Vec::new()))
                .as_array_mut()?;
            let listed = names.iter().any(|listed| listed == name);
            if present && !listed {
                names.insert(0, name.into());
            } else if listed && !present {
                names.retain(|listed| listed != name);
            }
            changed |= listed != present;
        }
        let text = changed.then(|| value.to_string())?;
        Self::parse(&text).ok()
    }

    /// The object as JSON text without spaces, for storing and for printing.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// Whether everybody may enter.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        self.members.is_empty()
    }

    /// What `caller` is to the database.
    #[must_use]
    pub fn access(&self, caller: &Caller) -> Access {
        if caller.is_admin() || self.admins.has(caller) {
            Access::Admin
        } else if self.is_public() || self.members.has(caller) {
            Access::Member
        } else if caller.name().is_none() {
            Access::Denied401
        } else {
            Access::Denied403
        }
    }
}

impl Access {
    /// Lets members and admins pass.
    ///
    /// # Errors
    /// The [`Refusal`] for everybody else.
    pub const fn require_member(self) -> Result<(), Refusal> {
        match self {
            Self::Admin | Self::Member => Ok(()),
            Self::Denied401 => Err(Refusal::unauthorized(
                "You are not authorized to access this db.",
            )),
            Self::Denied403 => Err(Refusal::forbidden("You are not allowed to access this db.")),
        }
    }

    /// Lets admins pass.
    ///
    /// # Errors
    /// The [`Refusal`] for everybody else.
    pub fn require_admin(self) -> Result<(), Refusal> {
        const REASON: &str = "You are not a db or server admin.";
        self.require_member()?;
        match self {
            Self::Admin => Ok(()),
            // As CouchDB: another name might do, so it is 401 for everybody.
            Self::Member | Self::Denied401 | Self::Denied403 => Err(Refusal::unauthorized(REASON)),
        }
    }
}

impl Group {
    fn read(value: Option<&Value>) -> Result<Self, InvalidSecurity> {
        let Some(value) = value else {
            return Ok(Self::default());
        };
        let group = value.as_object().ok_or(InvalidSecurity::GroupNotObject)?;
        Ok(Self {
            names: texts(group, "names").ok_or(InvalidSecurity::NamesNotTexts)?,
            roles: texts(group, "roles").ok_or(InvalidSecurity::RolesNotTexts)?,
        })
    }

    const fn is_empty(&self) -> bool {
        self.names.is_empty() && self.roles.is_empty()
    }

    fn has(&self, caller: &Caller) -> bool {
        caller.is_one_of(&self.names, &self.roles)
    }
}

/// The list of texts under `name`, empty where there is none; `None` if it is something else.
fn texts(group: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    match group.get(name) {
        None => Some(Vec::new()),
        Some(value) => value
            .as_array()?
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, roles: &[&str]) -> Caller {
        Caller::named(name, roles.iter().map(|&role| role.to_owned()).collect())
    }

    fn check(security: &str, caller: &Caller, expected: Access) {
        let security = Security::parse(security).expect(security);
        assert_eq!(security.access(caller), expected, "{security:?} {caller:?}");
    }

    #[test]
    fn the_default_prints_as_couchdb_prints_it() {
        assert_eq!(
            Security::default().as_text(),
            r#"{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}"#
        );
        assert_eq!(Security::parse(DEFAULT), Ok(Security::default()));
        assert!(!Security::default().is_public());
    }

    #[test]
    fn members_enter_and_others_are_told_who_they_are() {
        let anonymous = Caller::anonymous();
        let ann = named("ann", &[]);
        let staff = named("sam", &["staff"]);
        let root = named("root", &["_admin"]);
        for security in [
            "{}",
            r#"{"members":{}}"#,
            r#"{"members":{"names":[],"roles":[]},"x":1}"#,
        ] {
            check(security, &anonymous, Access::Member);
            check(security, &ann, Access::Member);
            check(security, &root, Access::Admin);
        }
        let closed = r#"{"members":{"names":["ann"],"roles":["staff"]},"admins":{"names":["bob"],"roles":["chief"]}}"#;
        check(closed, &anonymous, Access::Denied401);
        check(closed, &named("eve", &["staf"]), Access::Denied403);
        check(closed, &named("Ann", &[]), Access::Denied403);
        check(closed, &named("staff", &["ann"]), Access::Denied403);
        check(closed, &ann, Access::Member);
        check(closed, &staff, Access::Member);
        check(closed, &named("bob", &[]), Access::Admin);
        check(closed, &named("x", &["chief"]), Access::Admin);
        check(closed, &root, Access::Admin);
        check(DEFAULT, &anonymous, Access::Denied401);
        check(DEFAULT, &ann, Access::Denied403);
        check(DEFAULT, &root, Access::Admin);
        check(
            r#"{"readers":{"names":["ann"]}}"#,
            &staff,
            Access::Denied403,
        );
        check(r#"{"readers":{"names":["ann"]}}"#, &ann, Access::Member);
        check(
            r#"{"readers":{"names":["ann"]},"members":{"names":["sam"]}}"#,
            &ann,
            Access::Denied403,
        );
        check(
            r#"{"admins":{"names":["bob"]}}"#,
            &anonymous,
            Access::Member,
        );
    }

    #[test]
    fn refusals_have_couchdbs_words() {
        let unauthorized = |text| Err(Refusal::unauthorized(text));
        let forbidden = |text| Err(Refusal::forbidden(text));
        assert_eq!(
            Access::Denied401.require_member(),
            unauthorized("You are not authorized to access this db.")
        );
        assert_eq!(
            Access::Denied403.require_member(),
            forbidden("You are not allowed to access this db.")
        );
        assert_eq!(Access::Member.require_member(), Ok(()));
        assert_eq!(Access::Admin.require_member(), Ok(()));
        assert_eq!(Access::Admin.require_admin(), Ok(()));
        assert_eq!(
            Access::Member.require_admin(),
            unauthorized("You are not a db or server admin.")
        );
        assert_eq!(
            Access::Denied403.require_admin(),
            forbidden("You are not allowed to access this db.")
        );
    }

    #[test]
    fn unknown_fields_and_their_order_are_kept() {
        let given = r#"{ "z": [1.0, 12345678901234567890123], "members": {"names":["x"], "note":"é"}, "a": null }"#;
        let security = Security::parse(given).unwrap();
        assert_eq!(
            security.as_text(),
            r#"{"z":[1.0,12345678901234567890123],"members":{"names":["x"],"note":"é"},"a":null}"#
        );
        assert_eq!(Security::parse(security.as_text()), Ok(security.clone()));
    }

    #[test]
    fn a_name_is_put_on_both_sides_and_taken_from_them() {
        let with = |text: &str, present| {
            let security = Security::parse(text).unwrap();
            let changed = security.with_name("ann", present);
            changed.map(|changed| changed.as_text().to_owned())
        };
        let both =
            r#"{"x":1,"admins":{"names":["ann"]},"members":{"names":["ann","bob"],"roles":["r"]}}"#;
        let before = r#"{"x":1,"admins":{},"members":{"names":["bob"],"roles":["r"]}}"#;
        let after = r#"{"x":1,"admins":{"names":[]},"members":{"names":["bob"],"roles":["r"]}}"#;
        assert_eq!(with(before, true).as_deref(), Some(both));
        assert_eq!(with(both, true), None);
        assert_eq!(with(both, false).as_deref(), Some(after));
        assert_eq!(with(after, false), None);
        assert_eq!(with("{}", false), None);
        let open = Security::open();
        assert!(open.is_public() && Security::parse(open.as_text()) == Ok(open.clone()));
    }

    #[test]
    fn malformed_objects_are_refused_in_couchdbs_words() {
        let deep = "[".repeat(10_000);
        let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(SECURITY_BYTES_MAX));
        for (text, error) in [
            ("", InvalidSecurity::NotJson),
            ("{", InvalidSecurity::NotJson),
            (r#"{"x":"\ud800"}"#, InvalidSecurity::NotJson),
            (deep.as_str(), InvalidSecurity::NotJson),
            ("[]", InvalidSecurity::NotObject),
            ("null", InvalidSecurity::NotObject),
            (r#"{"admins":["ann"]}"#, InvalidSecurity::GroupNotObject),
            (r#"{"members":null}"#, InvalidSecurity::GroupNotObject),
            (r#"{"members":"x"}"#, InvalidSecurity::GroupNotObject),
            (
                r#"{"members":{"names":"ann"}}"#,
                InvalidSecurity::NamesNotTexts,
            ),
            (
                r#"{"members":{"names":[1]}}"#,
                InvalidSecurity::NamesNotTexts,
            ),
            (
                r#"{"admins":{"roles":null}}"#,
                InvalidSecurity::RolesNotTexts,
            ),
            (
                r#"{"admins":{"roles":["a",{}]}}"#,
                InvalidSecurity::RolesNotTexts,
            ),
            (large.as_str(), InvalidSecurity::TooLarge),
        ] {
            assert_eq!(
                Security::parse(text),
                Err(error),
                "{}",
                text.chars().take(60).collect::<String>()
            );
        }
        assert_eq!(
            InvalidSecurity::GroupNotObject.to_string(),
            "admins or members must be a JSON list of strings"
        );
    }
}
