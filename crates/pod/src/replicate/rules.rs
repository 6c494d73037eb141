//! Who may write a description of a replication, what it must be, and who sees what is secret in it.
//!
//! The rules are those of `CouchDB`'s `_replicator` database, in its words. A description belongs to
//! who wrote it first; the server itself writes into it how the replication ended.

use adea_accounts::{Access, Refusal};
use adea_base::Caller;
use adea_documents::json::{Draft, JsonError, parse_document};
use adea_replication::{Description, InvalidDescription};
use serde_json::{Map, Value};

use crate::error::PodError;

/// The role of the server itself.
pub(super) const REPLICATOR_ROLE: &str = "_replicator";

fn forbidden(reason: impl Into<String>) -> PodError {
    Refusal::Forbidden(reason.into().into()).into()
}

/// Checks a description that `caller` writes over `old`, and says whose it is in it.
pub(super) fn prepared(
    draft: Draft,
    old: Option<&Map<String, Value>>,
    caller: &Caller,
    access: Access,
) -> Result<Draft, PodError> {
    if caller.roles().iter().any(|role| role == REPLICATOR_ROLE) {
        return Ok(draft);
    }
    if draft.deleted {
        let admin = access == Access::Admin;
        let own = old
            .and_then(owner)
            .is_some_and(|name| Some(name) == caller.name());
        if admin || own || old.is_none() {
            return Ok(draft);
        }
        return Err(forbidden(
            "Replication documents can only be deleted by admins or by the users who created them.",
        ));
    }
    // A description is run with the rights of whose it is: only who has all rights writes another's.
    let admin = caller.is_admin();
    let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(&draft.body) else {
        return Err(JsonError::Invalid.into());
    };
    // One that failed may make no sense, and is not run.
    if fields.get("_replication_state").and_then(Value::as_str) != Some("failed") {
        check(&fields, caller, admin)?;
    }
    if old.is_some_and(|old| owner(old).is_some() && owner(old) != caller.name()) && !admin {
        return Err(forbidden(
            "Can't update replication documents from other users.",
        ));
    }
    let named = match fields.get("owner") {
        None | Some(Value::Null) => false,
        Some(Value::String(name)) if Some(name.as_str()) == caller.name() => true,
        Some(_) if admin => true,
        Some(_) => {
            return Err(forbidden(
                "Can't update replication documents from other users.",
            ));
        }
    };
    if named {
        return Ok(draft);
    }
    let owner = caller.name().map_or(Value::Null, Value::from);
    fields.insert("owner".to_owned(), owner);
    let made = parse_document(Value::Object(fields).to_string().as_bytes())?;
    Ok(Draft {
        body: made.body,
        term: made.term,
        ..draft
    })
}

/// Whose a description is.
pub(super) fn owner(fields: &Map<String, Value>) -> Option<&str> {
    fields.get("owner").and_then(Value::as_str)
}

fn check(fields: &Map<String, Value>, caller: &Caller, admin: bool) -> Result<(), PodError> {
    for name in ["source", "target"] {
        check_endpoint(fields.get(name), name)?;
    }
    let described = Description::read(fields);
    described.map_err(|InvalidDescription(reason)| forbidden(reason))?;
    match fields.get("user_ctx") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(context)) => check_user(context, caller, admin),
        Some(_) => Err(forbidden(
            "The `user_ctx' property must be a non-null object.",
        )),
    }
}

fn check_endpoint(value: Option<&Value>, name: &str) -> Result<(), PodError> {
    let fields = match value {
        Some(Value::String(_)) => return Ok(()),
        Some(Value::Object(fields)) => fields,
        Some(_) | None => {
            return Err(forbidden(format!(
                "The `{name}' property must exist and be either a string or an object."
            )));
        }
    };
    if fields
        .get("url")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return Err(forbidden(format!(
            "The url property must exist in the `{name}' field and must be a non-empty string."
        )));
    }
    for part in ["auth", "headers"] {
        if fields.get(part).is_some_and(|part| !part.is_object()) {
            return Err(forbidden(format!(
                "`{name}.{part}' must be a non-null object."
            )));
        }
    }
    Ok(())
}

/// Nobody describes a replication in another's name, or with roles that he does not have.
fn check_user(context: &Map<String, Value>, caller: &Caller, admin: bool) -> Result<(), PodError> {
    let name = match context.get("name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if !name.is_empty() => Some(name.as_str()),
        Some(_) => {
            return Err(forbidden(
                "The `user_ctx.name' property must be a non-empty string or null.",
            ));
        }
    };
    if !admin && name != caller.name() {
        return Err(forbidden("The given `user_ctx.name' is not valid"));
    }
    let roles = match context.get("roles") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(roles)) => roles,
        Some(_) => {
            return Err(forbidden(
                "The `user_ctx.roles' property must be an array of strings.",
            ));
        }
    };
    for role in roles {
        let Some(role) = role.as_str().filter(|role| !role.is_empty()) else {
            return Err(forbidden("Roles must be non-empty strings."));
        };
        let held = caller.roles().iter().any(|held| held == role);
        if !held && !admin {
            return Err(forbidden(format!(
                "Invalid role (`{role}') in the `user_ctx'"
            )));
        }
    }
    Ok(())
}

/// The body of a description as `caller` may see it: without secrets, unless it is his. `None` if that
/// is as it is stored.
pub(crate) fn stripped(json: &[u8], caller: &Caller, access: Access) -> Option<Vec<u8>> {
    if access == Access::Admin {
        return None;
    }
    let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(json) else {
        return Some(b"{}".to_vec());
    };
    if owner(&fields).is_some() && owner(&fields) == caller.name() {
        return None;
    }
    for name in ["source", "target"] {
        match fields.get_mut(name) {
            Some(Value::String(text)) => *text = stripped_url(text),
            Some(Value::Object(endpoint)) => {
                endpoint.shift_remove("headers");
                endpoint.shift_remove("auth");
                if let Some(Value::String(text)) = endpoint.get_mut("url") {
                    *text = stripped_url(text);
                }
            }
            Some(_) | None => {}
        }
    }
    for name in ["proxy", "source_proxy", "target_proxy"] {
        if let Some(Value::String(text)) = fields.get_mut(name) {
            *text = stripped_url(text);
        }
    }
    Some(Value::Object(fields).to_string().into_bytes())
}

/// A URL without who asks in it.
fn stripped_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{tail}")
}

/// An end of a description as everybody may see it.
pub(super) fn stripped_endpoint(value: Option<&Value>) -> String {
    let text = match value {
        Some(Value::String(text)) => Some(text.as_str()),
        Some(Value::Object(fields)) => fields.get("url").and_then(Value::as_str),
        Some(_) | None => None,
    };
    text.map_or_else(String::new, stripped_url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write(
        fields: &Value,
        old: Option<&Value>,
        caller: &Caller,
        access: Access,
    ) -> Result<Value, String> {
        let draft = parse_document(fields.to_string().as_bytes()).unwrap();
        let old = old.and_then(Value::as_object);
        prepared(draft, old, caller, access)
            .map(|draft| serde_json::from_slice(&draft.body).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_description_belongs_to_who_writes_it() {
        let ann = Caller::named("ann", vec!["staff".to_owned()]);
        let root = Caller::named("root", vec!["_admin".to_owned()]);
        let dba = Caller::named("dba", Vec::new());
        let ends = json!({"source": "http://a/x", "target": "y"});
        let written = write(&ends, None, &ann, Access::Member).unwrap();
        assert_eq!(written["owner"], "ann");
        assert_eq!(
            write(&written, Some(&written), &ann, Access::Member).unwrap(),
            written
        );
        let bob = Caller::named("bob", Vec::new());
        let others = "Can't update replication documents from other users.";
        assert_eq!(
            write(&written, Some(&written), &bob, Access::Member).unwrap_err(),
            others
        );
        assert_eq!(
            write(&ends, Some(&written), &bob, Access::Member).unwrap_err(),
            others
        );
        assert_eq!(
            write(&written, Some(&written), &root, Access::Admin).unwrap()["owner"],
            "ann"
        );
        // An admin of this database alone would get the rights of others.
        let of_root = json!({"source": "http://a/x", "target": "y", "owner": "root"});
        assert_eq!(
            write(&of_root, None, &dba, Access::Admin).unwrap_err(),
            others
        );
        assert_eq!(
            write(&written, Some(&written), &dba, Access::Admin).unwrap_err(),
            others
        );
        let gone = json!({"_deleted": true});
        assert!(write(&gone, Some(&written), &dba, Access::Admin).is_ok());
        assert!(write(&gone, Some(&written), &bob, Access::Member).is_err());
        assert!(write(&gone, Some(&written), &ann, Access::Member).is_ok());
        assert!(write(&gone, Some(&written), &root, Access::Admin).is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let ann = Caller::named("ann", vec!["staff".to_owned()]);
        let with = |name: &str, value: Value| {
            let mut fields = json!({"source": "http://a/x", "target": "y"});
            fields[name] = value;
            write(&fields, None, &ann, Access::Member)
        };
        for (name, value) in [
            ("source", json!(1)),
            ("source", json!({"url": ""})),
            ("target", json!({"url": "http://a/", "auth": null})),
            ("continuous", json!("yes")),
            ("doc_ids", json!({})),
            ("user_ctx", json!(1)),
            ("user_ctx", json!({"name": "bob"})),
            ("user_ctx", json!({"name": "ann", "roles": ["_admin"]})),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name} {value}");
        }
        assert!(with("user_ctx", json!({"name": "ann", "roles": ["staff"]})).is_ok());
        assert!(with("_replication_state", json!("failed")).is_ok());
    }

    #[test]
    fn secrets_are_shown_to_their_owner_alone() {
        let text = json!({"owner": "ann", "proxy": "http://p:q@h", "target": {"url": "http://u:s3cret@h/", "auth": {"basic": {}},
            "headers": {"a": "s3cret"}}, "source": "https://u:s3cret@h:1/x@y"})
        .to_string();
        let ann = Caller::named("ann", Vec::new());
        assert_eq!(stripped(text.as_bytes(), &ann, Access::Member), None);
        assert_eq!(
            stripped(text.as_bytes(), &Caller::anonymous(), Access::Admin),
            None
        );
        let seen = stripped(text.as_bytes(), &Caller::anonymous(), Access::Member).unwrap();
        let seen: Value = serde_json::from_slice(&seen).unwrap();
        assert_eq!(
            seen,
            json!({"owner": "ann", "proxy": "http://h", "target": {"url": "http://h/"}, "source": "https://h:1/x@y"})
        );
    }
}
