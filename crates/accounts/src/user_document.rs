//! The rules of the database `_users`, where each account is a document.
//!
//! ```json
//! {"_id":"org.couchdb.user:ann","type":"user","name":"ann","roles":[],"password":"secret"}
//! ```
//!
//! A write goes through [`validate`], then [`prepare`], which replaces the password by its hash
//! (the fields stand in [`StoredCredential`]'s module). A read goes through [`public_view`], and
//! sign-in reads an [`Account`]. The rules are those that `CouchDB` writes into the database as
//! `_design/_auth`, and in the same order, so that the same fault gets the same words.
//!
//! Invariants: a password in the clear is never stored; nobody gives himself a role; no document
//! makes anybody a server administrator.

use std::borrow::Cow;

use adea_base::{Caller, Entropy};
use serde_json::{Map, Value};

use crate::credential::{InvalidCredential, StoredCredential};
use crate::password::hash_password;
use crate::password_rules::PasswordScheme;
use crate::refusal::Refusal;
use crate::security::Access;
use crate::totp::Totp;

/// What the id of every user document begins with.
pub const USER_ID_PREFIX: &str = "org.couchdb.user:";

/// The one role with an underscore that a document may give: reading the server's metrics.
const METRICS_ROLE: &str = "_metrics";

/// What roles begin with that are worked out from memberships, and given by nothing else.
const WORKED_OUT: [&str; 4] = ["app:", "org:", "team:", "user:"];

/// The fields that hold a credential under some scheme, besides the scheme's name.
const CREDENTIAL_FIELDS: [&str; 5] = [
    "derived_key",
    "iterations",
    "password_sha",
    "pbkdf2_prf",
    "salt",
];

/// The id of the document of the user called `name`.
#[must_use]
pub fn user_id(name: &str) -> String {
    format!("{USER_ID_PREFIX}{name}")
}

/// Decides whether `caller` may write `new` over `old` in a database of users.
///
/// `new` carries its `_id`; `old` is the revision that it replaces, if that is no tombstone;
/// `deleted` is whether `new` is one; `access` is what the caller is to this database. It costs
/// microseconds, so ask it before [`prepare`].
///
/// For a revision that brings its own history (`new_edits=false`) and replaces none that is known,
/// `old` must be the winner, if there is one: otherwise whoever may create an account could put a
/// branch beside an existing one that wins, and so take it over.
///
/// # Errors
/// The [`Refusal`], in `CouchDB`'s words.
pub fn validate(
    new: &Value,
    old: Option<&Value>,
    deleted: bool,
    caller: &Caller,
    access: Access,
) -> Result<(), Refusal> {
    let id = text(new, "_id").unwrap_or_default();
    let is_admin = caller.is_admin() || access == Access::Admin;
    let owns = caller.name().is_none() || caller.name() == id.strip_prefix(USER_ID_PREFIX);
    if !is_admin && !owns {
        return Err(Refusal::NotFound);
    }
    if id.starts_with("_design/") {
        return if is_admin {
            Ok(())
        } else {
            Err(Refusal::unauthorized("You are not a db or server admin."))
        };
    }
    // A tombstone says nothing of the account that was.
    let old = old.filter(|old| old.get("_deleted") != Some(&Value::Bool(true)));
    if deleted {
        return may_delete(old, caller);
    }
    let user = User::read(new, id)?;
    if let Some(old) = old
        && text(old, "name") != Some(user.name)
    {
        return Err(Refusal::forbidden("Usernames can not be changed."));
    }
    if clear_password(new)?.is_none() {
        may_carry_credential(new)?;
    }
    if !is_admin {
        may_keep_roles(&user, old, caller)?;
    }
    user.has_no_system_words()
}

/// Replaces the password in the clear, if there is one, by its hash. A document without one, or
/// with an old hash, comes back as it was; so does `"password":null`, which `CouchDB` accepts.
///
/// # Errors
/// A [`Refusal`] if the password is no text, or empty.
pub fn prepare(
    mut document: Value,
    scheme: PasswordScheme,
    entropy: &Entropy,
) -> Result<Value, Refusal> {
    let Some(password) = clear_password(&document)? else {
        return Ok(document);
    };
    let credential = hash_password(password, scheme, entropy);
    put_credential(&mut document, &credential);
    Ok(document)
}

/// Puts `credential` into a user document in place of whatever stood there for the password.
pub fn put_credential(document: &mut Value, credential: &StoredCredential) {
    if let Some(fields) = document.as_object_mut() {
        fields.shift_remove("password");
        for stale in CREDENTIAL_FIELDS {
            fields.shift_remove(stale);
        }
        for (name, value) in credential.to_fields() {
            fields.insert(name.to_owned(), value);
        }
    }
}

/// The password in the clear that [`prepare`] would hash.
#[must_use]
pub fn new_password(document: &Value) -> Option<&str> {
    document.get("password").and_then(Value::as_str)
}

/// What `caller` may see of `document`: admins and its owner all of it, others only the
/// `public_fields` (none, unless the server is told so).
///
/// # Errors
/// [`Refusal::NotFound`] if that is nothing: strangers do not even learn that the account exists.
pub fn public_view<'a>(
    document: &'a Value,
    caller: &Caller,
    access: Access,
    public_fields: &[String],
) -> Result<Cow<'a, Value>, Refusal> {
    let id = text(document, "_id").unwrap_or_default();
    let is_admin = caller.is_admin() || access == Access::Admin;
    if is_admin {
        return Ok(Cow::Borrowed(document));
    }
    if id.starts_with("_design/") {
        return Err(Refusal::forbidden(
            "Only administrators can view design docs in the users database.",
        ));
    }
    if caller.name().is_some() && caller.name() == id.strip_prefix(USER_ID_PREFIX) {
        return Ok(Cow::Borrowed(document));
    }
    let fields = document.as_object().ok_or(Refusal::NotFound)?;
    let seen = |name: &str| !name.starts_with('_') && public_fields.iter().any(|f| f == name);
    if !fields.keys().any(|name| seen(name)) {
        return Err(Refusal::NotFound);
    }
    let visible: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "_id" | "_rev") || seen(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(Cow::Owned(Value::Object(visible)))
}

/// What sign-in needs of a user document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name, which is the rest of the document's id.
    pub name: String,
    /// The roles, without any that only the server may give, or a membership.
    pub roles: Vec<String>,
    /// What stands for the password; without it nobody can sign in with one.
    pub credential: Option<StoredCredential>,
    /// What makes the digits that are wanted besides the password, if any are.
    pub totp: Option<Totp>,
}

impl Account {
    /// Reads the account out of its document, which has `_id`, and `_conflicts` if it has any.
    ///
    /// # Errors
    /// A [`Refusal`] if the document is no account, or says two things at once.
    pub fn from_document(document: &Value) -> Result<Self, Refusal> {
        let fields = document.as_object().ok_or(Refusal::NotFound)?;
        let name = text(document, "_id")
            .and_then(|id| id.strip_prefix(USER_ID_PREFIX))
            .filter(|name| text(document, "name") == Some(name))
            .ok_or(Refusal::NotFound)?;
        if fields.get("_deleted") == Some(&Value::Bool(true)) {
            return Err(Refusal::NotFound);
        }
        if fields.contains_key("_conflicts") {
            return Err(Refusal::unauthorized(
                "User document conflicts must be resolved before the document is used for authentication purposes.",
            ));
        }
        let roles = fields
            .get("roles")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        Ok(Self {
            name: name.to_owned(),
            // The rules keep such roles out; whatever else writes the store does not ask them.
            roles: roles
                .filter_map(Value::as_str)
                .filter(|role| !is_system_role(role) && !is_worked_out(role))
                .map(str::to_owned)
                .collect(),
            credential: StoredCredential::from_document(fields).ok().flatten(),
            totp: Totp::from_field(fields.get("totp")),
        })
    }
}

/// The fields of a user document that the rules speak of.
struct User<'a> {
    name: &'a str,
    roles: Vec<&'a str>,
}

impl<'a> User<'a> {
    fn read(document: &'a Value, id: &str) -> Result<Self, Refusal> {
        if text(document, "type") != Some("user") {
            return Err(Refusal::forbidden("doc.type must be user"));
        }
        let name = text(document, "name")
            .filter(|name| !name.is_empty())
            .ok_or(Refusal::forbidden("doc.name is required"))?;
        let roles = document.get("roles");
        if is_falsy(roles) {
            return Err(Refusal::forbidden("doc.roles must exist"));
        }
        let roles = roles
            .and_then(Value::as_array)
            .ok_or(Refusal::forbidden("doc.roles must be an array"))?
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<&str>>>()
            .ok_or(Refusal::forbidden("doc.roles can only contain strings"))?;
        if id.strip_prefix(USER_ID_PREFIX) != Some(name) {
            return Err(Refusal::forbidden(
                "Doc ID must be of the form org.couchdb.user:name",
            ));
        }
        Ok(Self { name, roles })
    }

    fn has_no_system_words(&self) -> Result<(), Refusal> {
        if self.roles.iter().any(|role| is_system_role(role)) {
            return Err(Refusal::forbidden(
                "No system roles (starting with underscore) in users db.",
            ));
        }
        if self.name.starts_with('_') {
            return Err(Refusal::forbidden(
                "Username may not start with underscore.",
            ));
        }
        if self.name.contains(':') {
            return Err(Refusal::forbidden(
                "Character `:` is not allowed in usernames.",
            ));
        }
        Ok(())
    }
}

fn may_delete(old: Option<&Value>, caller: &Caller) -> Result<(), Refusal> {
    let own = caller.name().is_some() && caller.name() == old.and_then(|old| text(old, "name"));
    if caller.is_admin() || own {
        Ok(())
    } else {
        Err(Refusal::forbidden(
            "Only admins may delete other user docs.",
        ))
    }
}

/// Checks a credential that came ready-made, as replication and backups bring it.
fn may_carry_credential(document: &Value) -> Result<(), Refusal> {
    let Some(fields) = document.as_object() else {
        return Ok(());
    };
    let checked = if !is_falsy(fields.get("password_sha")) && is_falsy(fields.get("salt")) {
        Err(InvalidCredential::NoSalt)
    } else {
        StoredCredential::from_document(fields).map(|_| ())
    };
    checked.map_err(|error| Refusal::Forbidden(Cow::Owned(error.to_string())))
}

/// What those who are no admins may not do: write another's document, or change roles.
fn may_keep_roles(user: &User<'_>, old: Option<&Value>, caller: &Caller) -> Result<(), Refusal> {
    let Some(old) = old else {
        return if user.roles.is_empty() {
            Ok(())
        } else {
            Err(Refusal::forbidden("Only _admin may set roles"))
        };
    };
    if caller.name() != Some(user.name) {
        return Err(Refusal::forbidden(
            "You may only update your own user document.",
        ));
    }
    let old_roles = old
        .get("roles")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let mut before: Vec<Option<&str>> = old_roles.map(Value::as_str).collect();
    let mut after: Vec<Option<&str>> = user.roles.iter().copied().map(Some).collect();
    before.sort_unstable();
    after.sort_unstable();
    if before == after {
        Ok(())
    } else {
        Err(Refusal::forbidden("Only _admin may edit roles"))
    }
}

/// The password in the clear. An empty one is refused, unlike in `CouchDB`: it would let anybody in.
fn clear_password(document: &Value) -> Result<Option<&str>, Refusal> {
    match document.get("password") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(password)) if password.is_empty() => {
            Err(Refusal::forbidden("Password must not be empty."))
        }
        Some(Value::String(password)) => Ok(Some(password)),
        // The value is not repeated: reasons end up in logs.
        Some(_) => Err(Refusal::forbidden(
            "Password value is invalid: it must be a string.",
        )),
    }
}

fn is_system_role(role: &str) -> bool {
    role.starts_with('_') && role != METRICS_ROLE
}

/// Whether a role says that somebody belongs to something, which no document can.
fn is_worked_out(role: &str) -> bool {
    WORKED_OUT.iter().any(|kind| role.starts_with(kind))
}

fn text<'a>(document: &'a Value, field: &str) -> Option<&'a str> {
    document.get(field).and_then(Value::as_str)
}

/// What JavaScript takes for false: the rules were written in it.
fn is_falsy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::verify_password;
    use serde_json::json;

    const KEY: &str = "e579375db0e0c6a6fc79cd9e36a36859f71575c3";

    fn named(name: &str, roles: &[&str]) -> Caller {
        Caller::named(name, roles.iter().map(|&role| role.to_owned()).collect())
    }

    fn ann() -> Value {
        json!({"_id":"org.couchdb.user:ann","type":"user","name":"ann","roles":[]})
    }

    /// `ann()` with `changes` merged over it; `null` takes a field away.
    fn ann_with(changes: &Value) -> Value {
        let mut document = ann();
        let fields = document.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap().clone() {
            if value.is_null() {
                fields.shift_remove(&name);
            } else {
                fields.insert(name, value);
            }
        }
        document
    }

    fn write(new: &Value, old: Option<&Value>, caller: &Caller) -> Result<(), Refusal> {
        let access = if caller.is_admin() {
            Access::Admin
        } else {
            Access::Member
        };
        validate(new, old, new.get("_deleted").is_some(), caller, access)
    }

    fn refused(new: &Value, old: Option<&Value>, caller: &Caller, reason: &'static str) {
        assert_eq!(
            write(new, old, caller),
            Err(Refusal::forbidden(reason)),
            "{new} {caller:?}"
        );
    }

    #[test]
    fn a_well_formed_account_is_accepted() {
        let root = named("root", &["_admin"]);
        for caller in [&root, &named("ann", &[]), &Caller::anonymous()] {
            assert_eq!(write(&ann(), None, caller), Ok(()));
            assert_eq!(
                write(&ann_with(&json!({"password":"x"})), None, caller),
                Ok(())
            );
        }
        for roles in [json!(["a", "b"]), json!(["_metrics"])] {
            assert_eq!(
                write(&ann_with(&json!({ "roles": roles })), None, &root),
                Ok(())
            );
        }
        let hashed =
            json!({"password_scheme":"pbkdf2","derived_key":KEY,"salt":"s","iterations":10,"x":1});
        assert_eq!(write(&ann_with(&hashed), None, &root), Ok(()));
        // With a new password the old credential is replaced, so that it does not matter.
        let replaced = json!({"password":"x","password_scheme":"md5","password_sha":"?"});
        assert_eq!(write(&ann_with(&replaced), None, &root), Ok(()));
    }

    fn refused_with(changes: &Value, reason: &'static str) {
        let refusal = write(&ann_with(changes), None, &named("root", &["_admin"])).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::Forbidden(Cow::Borrowed(reason)),
            "{changes}"
        );
        assert_eq!(refusal.reason(), reason);
    }

    #[test]
    fn malformed_accounts_are_refused_in_couchdbs_words() {
        refused_with(&json!({"type":null}), "doc.type must be user");
        refused_with(&json!({"type":"users"}), "doc.type must be user");
        for name in [json!(null), json!(""), json!(["ann"]), json!(0)] {
            refused_with(&json!({ "name": name }), "doc.name is required");
        }
        for roles in [json!(null), json!(false), json!(0), json!("")] {
            refused_with(&json!({ "roles": roles }), "doc.roles must exist");
        }
        for roles in [json!({}), json!("a"), json!(true), json!(1)] {
            refused_with(&json!({ "roles": roles }), "doc.roles must be an array");
        }
        for roles in [json!(["a", 1]), json!([null]), json!([["a"]])] {
            refused_with(
                &json!({ "roles": roles }),
                "doc.roles can only contain strings",
            );
        }
        for id in [
            json!({"name":"bob"}),
            json!({"_id":"ann"}),
            json!({"_id":null}),
        ] {
            refused_with(&id, "Doc ID must be of the form org.couchdb.user:name");
        }
    }

    #[test]
    fn names_and_roles_of_the_server_are_refused() {
        refused_with(
            &json!({"roles":["a","_admin"]}),
            "No system roles (starting with underscore) in users db.",
        );
        refused_with(
            &json!({"_id":"org.couchdb.user:_ann","name":"_ann"}),
            "Username may not start with underscore.",
        );
        refused_with(
            &json!({"_id":"org.couchdb.user:a:b","name":"a:b"}),
            "Character `:` is not allowed in usernames.",
        );
    }

    #[test]
    fn passwords_and_hashes_that_are_none_are_refused() {
        for sha in [
            json!({"password_sha":KEY}),
            json!({"password_sha":KEY,"salt":""}),
        ] {
            refused_with(
                &sha,
                "Users with password_sha must have a salt.See /_utils/script/couch.js for example code.",
            );
        }
        let unknown = json!({"password_scheme":"md5"});
        refused_with(&unknown, "Password scheme `md5` not supported.");
        let no_rounds = json!({"password_scheme":"pbkdf2","derived_key":KEY});
        refused_with(&no_rounds, "iterations must be a number.");
        let no_key = json!({"password_scheme":"pbkdf2","iterations":1});
        refused_with(&no_key, "derived_key must be a string.");
        for password in [json!(1), json!(false), json!({}), json!(["x"])] {
            let reason = "Password value is invalid: it must be a string.";
            refused_with(&json!({ "password": password }), reason);
        }
        refused_with(&json!({"password":""}), "Password must not be empty.");
    }

    #[test]
    fn values_that_are_no_objects_are_refused() {
        let root = named("root", &["_admin"]);
        for value in [json!(null), json!([]), json!("x"), json!(1)] {
            refused(&value, None, &root, "doc.type must be user");
            refused(&ann(), Some(&value), &root, "Usernames can not be changed.");
            assert_eq!(
                write(&value, None, &named("ann", &[])),
                Err(Refusal::NotFound)
            );
            assert!(Account::from_document(&value).is_err());
            assert_eq!(
                prepare(value.clone(), PasswordScheme::Argon2id, &Entropy::System),
                Ok(value)
            );
        }
    }

    #[test]
    fn only_admins_touch_roles_and_others() {
        let (own, anonymous) = (named("ann", &["a"]), Caller::anonymous());
        let old = ann_with(&json!({"roles":["a","b"]}));
        assert_eq!(
            write(
                &ann_with(&json!({"roles":["b","a"],"x":1})),
                Some(&old),
                &own
            ),
            Ok(())
        );
        for roles in [
            json!([]),
            json!(["a"]),
            json!(["a", "b", "c"]),
            json!(["a", "a"]),
            json!(["a", "_admin"]),
        ] {
            refused(
                &ann_with(&json!({ "roles": roles })),
                Some(&old),
                &own,
                "Only _admin may edit roles",
            );
        }
        refused(
            &ann_with(&json!({"roles":["a"]})),
            None,
            &own,
            "Only _admin may set roles",
        );
        refused(
            &ann_with(&json!({"roles":["a"]})),
            None,
            &anonymous,
            "Only _admin may set roles",
        );
        refused(
            &old,
            Some(&old),
            &anonymous,
            "You may only update your own user document.",
        );
        assert_eq!(
            write(&ann(), None, &named("bob", &[])),
            Err(Refusal::NotFound)
        );
        assert_eq!(
            write(&ann(), Some(&old), &named("bob", &[])),
            Err(Refusal::NotFound)
        );
        let renamed = json!({"_id":"org.couchdb.user:ann","name":"bob"});
        refused(
            &ann(),
            Some(&renamed),
            &named("root", &["_admin"]),
            "Usernames can not be changed.",
        );
    }

    #[test]
    fn an_admin_of_the_database_may_give_roles_but_none_of_the_servers() {
        let chief = named("chief", &[]);
        let given = ann_with(&json!({"roles":["a"]}));
        assert_eq!(validate(&given, None, false, &chief, Access::Admin), Ok(()));
        assert_eq!(
            validate(
                &ann_with(&json!({"roles":["_admin"]})),
                None,
                false,
                &chief,
                Access::Admin
            ),
            Err(Refusal::forbidden(
                "No system roles (starting with underscore) in users db."
            ))
        );
    }

    #[test]
    fn accounts_are_deleted_by_admins_and_owners() {
        let gone = json!({"_id":"org.couchdb.user:ann","_deleted":true});
        let reason = "Only admins may delete other user docs.";
        assert_eq!(
            write(&gone, Some(&ann()), &named("root", &["_admin"])),
            Ok(())
        );
        assert_eq!(write(&gone, None, &named("root", &["_admin"])), Ok(()));
        assert_eq!(write(&gone, Some(&ann()), &named("ann", &[])), Ok(()));
        assert_eq!(
            write(&gone, Some(&ann()), &named("bob", &[])),
            Err(Refusal::NotFound)
        );
        refused(&gone, Some(&ann()), &Caller::anonymous(), reason);
        refused(&gone, Some(&json!({})), &Caller::anonymous(), reason);
        refused(&gone, None, &named("ann", &[]), reason);
        // A new account over a tombstone is a new account.
        assert_eq!(write(&ann(), Some(&gone), &Caller::anonymous()), Ok(()));
    }

    #[test]
    fn design_documents_are_for_admins() {
        let design = json!({"_id":"_design/_auth","language":"javascript"});
        assert_eq!(write(&design, None, &named("root", &["_admin"])), Ok(()));
        assert_eq!(
            write(&design, None, &named("ann", &[])),
            Err(Refusal::NotFound)
        );
        assert_eq!(
            write(&design, None, &Caller::anonymous()),
            Err(Refusal::unauthorized("You are not a db or server admin."))
        );
        assert_eq!(
            public_view(&design, &named("ann", &[]), Access::Member, &[]),
            Err(Refusal::forbidden(
                "Only administrators can view design docs in the users database."
            ))
        );
        assert!(public_view(&design, &named("root", &["_admin"]), Access::Admin, &[]).is_ok());
    }

    #[test]
    fn a_password_is_replaced_by_its_hash_and_signs_in() {
        let given = ann_with(&json!({
            "password":"sécret","salt":"old","iterations":10,"password_scheme":"pbkdf2",
            "derived_key":KEY,"pbkdf2_prf":"sha","password_sha":KEY,"mail":"a@b",
        }));
        assert!(new_password(&given) == Some("sécret"));
        let stored = prepare(given, PasswordScheme::Argon2id, &Entropy::System).unwrap();
        let names: Vec<&str> = stored
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            names,
            [
                "_id",
                "type",
                "name",
                "roles",
                "password_scheme",
                "mail",
                "derived_key"
            ]
        );
        assert_eq!(stored["password_scheme"], "argon2id");
        assert!(!stored.to_string().contains("sécret"));
        assert!(new_password(&stored).is_none());
        assert_eq!(write(&stored, Some(&stored), &named("ann", &[])), Ok(()));

        let account = Account::from_document(&stored).unwrap();
        assert_eq!((account.name.as_str(), account.roles.len()), ("ann", 0));
        assert!(verify_password(account.credential.as_ref(), "sécret"));
        assert!(!verify_password(account.credential.as_ref(), "secret"));
        assert_eq!(
            prepare(stored.clone(), PasswordScheme::Argon2id, &Entropy::System),
            Ok(stored)
        );
    }

    #[test]
    fn a_document_of_couchdbs_is_kept_and_signs_in() {
        let document = ann_with(&json!({
            "derived_key":KEY,"iterations":10,"password_scheme":"pbkdf2",
            "salt":"1112283cf988a34f124200a050d308a1",
        }));
        assert_eq!(
            prepare(document.clone(), PasswordScheme::Argon2id, &Entropy::System),
            Ok(document.clone())
        );
        let account = Account::from_document(&document).unwrap();
        assert!(verify_password(account.credential.as_ref(), "apple"));
    }

    #[test]
    fn no_password_means_no_change() {
        let document = json!({"_id":"org.couchdb.user:ann","password":null});
        assert_eq!(
            prepare(document.clone(), PasswordScheme::Argon2id, &Entropy::System),
            Ok(document)
        );
        for bad in [
            json!({"password":1}),
            json!({"password":""}),
            json!({"password":{"a":1}}),
        ] {
            assert!(prepare(bad, PasswordScheme::Argon2id, &Entropy::System).is_err());
        }
    }

    #[test]
    fn strangers_do_not_see_accounts() {
        let document = ann_with(&json!({"_rev":"1-a","mail":"a@b","derived_key":"k"}));
        for caller in [named("ann", &[]), named("root", &["_admin"])] {
            let seen = public_view(&document, &caller, Access::Member, &[]).unwrap();
            assert_eq!(seen.as_ref(), &document);
        }
        assert!(public_view(&document, &named("chief", &[]), Access::Admin, &[]).is_ok());
        for caller in [named("bob", &[]), named("an", &[]), Caller::anonymous()] {
            assert_eq!(
                public_view(&document, &caller, Access::Member, &[]),
                Err(Refusal::NotFound)
            );
            let none = ["phone".to_owned(), "_id".to_owned()];
            assert_eq!(
                public_view(&document, &caller, Access::Member, &none),
                Err(Refusal::NotFound)
            );
            let fields = ["name".to_owned(), "mail".to_owned()];
            let seen = public_view(&document, &caller, Access::Member, &fields).unwrap();
            assert_eq!(
                seen.as_ref(),
                &json!({"_id":"org.couchdb.user:ann","name":"ann","_rev":"1-a","mail":"a@b"})
            );
        }
    }

    #[test]
    fn an_account_is_read_with_care() {
        let roles = ann_with(&json!({"roles":["a","_admin",7,"_metrics"]}));
        assert_eq!(
            Account::from_document(&roles).unwrap().roles,
            ["a", "_metrics"]
        );
        for none in [
            json!({"_id":"ann","name":"ann"}),
            json!({"_id":"org.couchdb.user:ann","name":"bob"}),
            json!({"_id":"org.couchdb.user:ann"}),
            ann_with(&json!({"_deleted":true})),
        ] {
            assert_eq!(Account::from_document(&none), Err(Refusal::NotFound));
        }
        let torn = Account::from_document(&ann_with(&json!({"_conflicts":["1-a"]})));
        assert!(matches!(torn, Err(Refusal::Unauthorized(_))));
        let dear = ann_with(
            &json!({"password_scheme":"pbkdf2","derived_key":KEY,"iterations":1_000_000_000_000_u64}),
        );
        assert_eq!(Account::from_document(&dear).unwrap().credential, None);
        assert_eq!(Account::from_document(&ann()).unwrap().credential, None);
    }

    #[test]
    fn a_document_makes_nobody_a_member() {
        let user = json!({
            "_id": "org.couchdb.user:ann", "type": "user", "name": "ann",
            "roles": ["org:a:owner", "staff", "app:notes", "team:b", "user:c", "_admin", "apple", "organ"],
        });
        let account = Account::from_document(&user).unwrap();
        assert_eq!(account.roles, ["staff", "apple", "organ"]);
    }
}
