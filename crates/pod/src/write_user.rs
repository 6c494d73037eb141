//! Accounts as documents: what is asked and changed before one is written, and who sees one.
//!
//! A database of users is an ordinary one whose every write passes through here first: the rules
//! of accounts are asked about what would replace the winner, and a password in the clear becomes
//! its hash. The writing itself is the same as everywhere.
//!
//! Invariant: what is judged is what is stored. The body that the rules saw is the one that is
//! written, or the one that it became when its password was hashed.

mod spared;

use std::borrow::Cow;

use adea_accounts::{Refusal, USER_ID_PREFIX, new_password, prepare, public_view, validate};
use adea_base::Caller;
use adea_documents::WriteError;
use adea_documents::json::{Draft, JsonError, parse_document};
use adea_documents::record::{Body, split_body};
use adea_store::{EngineError, View};
use serde_json::Value;

use crate::databases::{DatabaseEntry, reader};
use crate::error::PodError;
use crate::pod::Pod;
use crate::write_document::{DraftedEdit, Prepared};
use spared::spare_admins;

/// What the keys begin with under which `serde_json` hides numbers and texts that it is to parse
/// again. No document of ours needs them, and a text inside a text inside a text would be entered
/// without any limit on its depth.
const HIDDEN_KEYS: &[u8] = b"$serde_json::private::";

/// `CouchDB`'s reason where only server administrators may list a database.
const NOT_SERVER_ADMIN: &str = "You are not a server admin.";

impl Pod {
    /// Refuses an edit of an account that its author has not seen as it is: who wants a name that
    /// somebody has gets a conflict, before the rules would tell him that it is not his.
    ///
    /// # Errors
    /// [`WriteError::Conflict`]. Who may not even learn whether the account exists gets none.
    pub(crate) fn refuse_outdated_account(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        id: &str,
        deletes: bool,
        edit: &DraftedEdit,
    ) -> Result<(), PodError> {
        let DraftedEdit::Edit(base) = edit else {
            return Ok(());
        };
        let own = caller.name().is_none() || caller.name() == id.strip_prefix(USER_ID_PREFIX);
        if !entry.name.is_users() || !(own || caller.is_admin()) {
            return Ok(());
        }
        let view = self.view();
        if let Some(record) = reader(view.as_ref(), entry, caller).record(id)? {
            let parent = record.tree.edit_parent(base.as_ref(), deletes);
            parent.map_err(|_| WriteError::Conflict)?;
        }
        Ok(())
    }

    /// Asks the rules of accounts about `draft`, and hashes the password that it brings.
    ///
    /// # Errors
    /// [`PodError::Refused`] if this caller may not write this; [`PodError::WeakPassword`] if the
    /// password is not as it must be; [`PodError::Json`] if the document is deeper than any account.
    pub(crate) async fn prepare_user(
        &self,
        entry: &DatabaseEntry,
        draft: Draft,
        id: &str,
        caller: &Caller,
    ) -> Result<Draft, PodError> {
        let new = with_id(parse_body(&draft.body)?, id);
        let old = current_user(self.view().as_ref(), entry, id, caller)?;
        let access = entry.security.access(caller);
        validate(&new, old.as_ref(), draft.deleted, caller, access)?;
        spare_admins(self.view().as_ref(), entry, id, caller)?;
        let Some(password) = new_password(&new).filter(|_| !draft.deleted) else {
            return Ok(draft);
        };
        let auth = self.auth();
        auth.passwords.check(password)?;
        let (scheme, entropy) = (auth.passwords.scheme, self.inner.entropy.clone());
        let work = move || prepare(new, scheme, &entropy);
        let mut hashed = self.hash_slowly(work).await??;
        if let Some(fields) = hashed.as_object_mut() {
            fields.shift_remove("_id");
        }
        let made = parse_document(hashed.to_string().as_bytes())?;
        Ok(Draft {
            body: made.body,
            term: made.term,
            ..draft
        })
    }

    /// Lets list all documents whoever sees something of each: everybody, unless the database holds
    /// accounts; of accounts everybody who may enter if there are fields that all may see, and else
    /// as [`may_list_users`] says.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`], also to those who have signed in.
    pub fn may_list(&self, entry: &DatabaseEntry, caller: &Caller) -> Result<(), Refusal> {
        if self.auth().users.public_fields.is_empty() {
            may_list_users(entry, caller)
        } else {
            Ok(())
        }
    }

    /// Takes from the body of document `id` what `caller` may not see: nothing, unless it is the
    /// account of somebody else.
    ///
    /// # Errors
    /// As [`Pod::visible_user`]; [`PodError::Json`] if the body is deeper than any account.
    pub fn show_user(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        id: &str,
        body: &mut Body,
    ) -> Result<(), PodError> {
        if !entry.name.is_users() || caller.is_admin() {
            return Ok(());
        }
        let user = with_id(parse_body(&body.json)?, id);
        if let Cow::Owned(seen) = self.visible_user(entry, caller, &user)? {
            body.json = parse_document(seen.to_string().as_bytes())?.body;
            body.attachments.clear();
        }
        Ok(())
    }

    /// What `caller` may see of `document`, which has its `_id`.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if it is somebody else's account, [`Refusal::Forbidden`] if it is a
    /// design document among accounts.
    pub fn visible_user<'d>(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        document: &'d Value,
    ) -> Result<Cow<'d, Value>, Refusal> {
        if entry.name.is_users() {
            let (auth, access) = (self.auth(), entry.security.access(caller));
            public_view(document, caller, access, &auth.users.public_fields)
        } else {
            Ok(Cow::Borrowed(document))
        }
    }
}

/// Lets everybody list a database, unless it holds accounts: those only server administrators
/// may list, whether by id, by change or by what is in them. Being an admin of that database does
/// not suffice, and it is asked before anything else is, as in `CouchDB`.
///
/// # Errors
/// [`Refusal::Unauthorized`], also to those who have signed in.
pub fn may_list_users(entry: &DatabaseEntry, caller: &Caller) -> Result<(), Refusal> {
    if entry.name.is_users() && !caller.is_admin() {
        Err(Refusal::Unauthorized(Cow::Borrowed(NOT_SERVER_ADMIN)))
    } else {
        Ok(())
    }
}

/// The account stored under `id` as the rules and sign-in read it: the winner's body with `_id`,
/// and `_conflicts` if other revisions claim to be it. `None` if there is none or it is deleted.
///
/// # Errors
/// [`EngineError`] if the store cannot be read.
pub(crate) fn current_user(
    view: &dyn View,
    entry: &DatabaseEntry,
    id: &str,
    caller: &Caller,
) -> Result<Option<Value>, EngineError> {
    let reader = reader(view, entry, caller);
    let Some(record) = reader.record(id)? else {
        return Ok(None);
    };
    let Some(winner) = record.tree.winner().filter(|winner| !winner.is_deleted()) else {
        return Ok(None);
    };
    let damaged = || EngineError::Corrupt(format!("document {id} of {}", entry.name));
    let body = match winner.body() {
        // Only its name was replicated: something is there, and it is nobody's account.
        None => Value::Object(serde_json::Map::new()),
        Some(body) => {
            let stored = reader.body(body)?.ok_or_else(damaged)?;
            let (_, json) = split_body(&stored)?;
            parse_body(json).map_err(|_| damaged())?
        }
    };
    let mut user = with_id(body, id);
    let conflicts: Vec<Value> = record
        .tree
        .conflicts()
        .map(|leaf| Value::String(leaf.revision().to_string()))
        .collect();
    if let Some(fields) = user.as_object_mut()
        && !conflicts.is_empty()
    {
        fields.insert("_conflicts".to_owned(), Value::Array(conflicts));
    }
    Ok(Some(user))
}

/// Asks the rules of accounts again about a draft whose body, as it was sent, is `sent`: as the
/// account stands in `view`.
///
/// # Errors
/// [`PodError::Refused`] if this caller may not write this any more.
pub(crate) fn judge_user(
    view: &dyn View,
    entry: &DatabaseEntry,
    draft: &Prepared,
    sent: &[u8],
) -> Result<(), PodError> {
    let (id, caller) = (draft.id().as_str(), &draft.caller);
    let new = with_id(parse_body(sent)?, id);
    let old = current_user(view, entry, id, caller)?;
    let access = entry.security.access(caller);
    validate(&new, old.as_ref(), draft.deleted(), caller, access)?;
    spare_admins(view, entry, id, caller)
}

/// Reads normal JSON text, as drafts and stored bodies have it.
///
/// # Errors
/// [`JsonError`] if it is deeper than is read here, or uses a key of [`HIDDEN_KEYS`].
pub(crate) fn parse_body(json: &[u8]) -> Result<Value, JsonError> {
    // Normal text does not escape these characters, so a key that has them shows them.
    let hidden = json
        .windows(HIDDEN_KEYS.len())
        .any(|window| window == HIDDEN_KEYS);
    if hidden {
        return Err(JsonError::Invalid);
    }
    // It is JSON; what can still be wrong with it is its depth.
    serde_json::from_slice(json).map_err(|_| JsonError::TooDeep)
}

pub(crate) fn with_id(mut body: Value, id: &str) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("_id".to_owned(), Value::String(id.to_owned()));
    }
    body
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use adea_base::{DatabaseName, DocumentId};
    use adea_documents::revision::{Revision, RevisionId};
    use adea_documents::writer::{self, Writer};
    use adea_files::Directory;
    use adea_store::{Decline, Durability, Memory};
    use serde_json::json;

    use adea_accounts::WRONG_NAME_OR_PASSWORD;

    use super::*;
    use crate::databases::no_database;
    use crate::pod::PodOptions;
    use crate::sign_in::SignIn;

    const ID: &str = "org.couchdb.user:ann";

    /// How a test writes.
    pub(crate) enum Edit {
        Of(Option<Revision>),
        Replicated(u64, RevisionId),
    }

    pub(crate) fn edit(based_on: Option<Revision>) -> Edit {
        Edit::Of(based_on)
    }

    pub(crate) async fn over<E: adea_store::Engine + 'static>(engine: Arc<E>) -> Pod {
        let files = Arc::new(adea_files::backend::Memory::default());
        let options = PodOptions {
            data: PathBuf::new(),
            durability: Durability::Strict,
            memory: 0,
            session_timeout_s: 600,
            session_secret: None,
            attachment_max: 1 << 20,
            auth: crate::AuthSettings::default(),
            script: crate::ScriptSettings::default(),
            replication: Default::default(),
        };
        let files = Directory::open_backend(files).unwrap();
        Pod::over(engine, files, options).await.unwrap()
    }

    pub(crate) async fn pod() -> Pod {
        over(Arc::new(Memory::new())).await
    }

    pub(crate) fn caller(name: &str, roles: &[&str]) -> Caller {
        Caller::named(name, roles.iter().map(|role| (*role).to_owned()).collect())
    }

    pub(crate) fn users(pod: &Pod) -> Arc<DatabaseEntry> {
        pod.database(&DatabaseName::parse("_users").unwrap())
            .unwrap()
    }

    pub(crate) fn refused<T>(answer: &Result<T, PodError>) -> Option<Refusal> {
        match answer {
            Err(PodError::Refused(refusal)) => Some(refusal.clone()),
            Ok(_) | Err(_) => None,
        }
    }

    /// Prepares and writes a document of `_users`.
    pub(crate) async fn write(
        pod: &Pod,
        caller: &Caller,
        id: &str,
        document: Value,
        edit: Edit,
    ) -> Result<Revision, PodError> {
        let entry = users(pod);
        let draft = parse_document(document.to_string().as_bytes())?;
        let draft = pod.prepare_user(&entry, draft, id, caller).await?;
        let draft = writer::Draft {
            id: DocumentId::parse(id).unwrap(),
            deleted: draft.deleted,
            attachments: Vec::new(),
            json: draft.body,
            term: draft.term,
            label: None,
            author: None,
            creator: None,
        };
        let written = pod.inner.store.transact(Pod::permit(), move |tx| {
            let mut writer = Writer::open(tx, entry.number).map_err(no_database)?;
            let written = match edit {
                Edit::Of(based_on) => writer.edit(&draft, based_on.as_ref()),
                Edit::Replicated(generation, id) => writer
                    .replicate(&draft, generation, std::slice::from_ref(&id))
                    .map(|()| Revision { generation, id }),
            };
            let revision = written.map_err(|declined| match declined {
                Decline::Refused(error) => Decline::Refused(PodError::Write(error)),
                Decline::Engine(error) => Decline::Engine(error),
            })?;
            writer.finish()?;
            Ok::<_, Decline<PodError>>(revision)
        });
        Ok(written.await?)
    }

    /// Signs in with a name and a password.
    pub(crate) fn basic<'a>(name: &'a str, password: &'a str) -> SignIn<'a> {
        SignIn::Basic {
            name,
            password,
            peer: None,
        }
    }

    /// Whether these are refused as wrong.
    pub(crate) async fn is_wrong(pod: &Pod, name: &str, password: &str) -> bool {
        let answer = pod.authenticate(basic(name, password)).await;
        refused(&answer) == Some(Refusal::Unauthorized(Cow::Borrowed(WRONG_NAME_OR_PASSWORD)))
    }

    /// Who these sign in.
    pub(crate) async fn signs_in(pod: &Pod, name: &str, password: &str) -> Caller {
        let signed_in = pod.authenticate(basic(name, password)).await.unwrap();
        assert_eq!(signed_in.handler, Some("default"));
        assert_eq!(signed_in.renewed_cookie, None);
        nameless_id(&signed_in.caller)
    }

    /// The same caller without the id of his account, which is made up anew each time.
    pub(crate) fn nameless_id(caller: &Caller) -> Caller {
        Caller::named(caller.name().unwrap_or_default(), caller.roles().to_vec())
    }

    fn stored(pod: &Pod) -> Option<Value> {
        let root = caller("root", &["_admin"]);
        current_user(pod.view().as_ref(), &users(pod), ID, &root).unwrap()
    }

    fn ann() -> Value {
        json!({"type":"user","name":"ann","roles":[],"n":1.50,"password":"geheim"})
    }

    #[tokio::test]
    async fn a_password_is_stored_as_its_hash_and_the_rest_as_it_came() {
        let pod = pod().await;
        let text = br#"{"_rev":"1-a","type":"user","name":"ann","roles":[],"n":1.50,
            "password":"geheim","_attachments":{"a":{"stub":true}},
            "_revisions":{"start":2,"ids":["b","a"]}}"#;
        let given = parse_document(text).unwrap();
        let entry = users(&pod);
        let root = caller("root", &["_admin"]);
        let made = pod
            .prepare_user(&entry, given.clone(), ID, &root)
            .await
            .unwrap();
        let body = String::from_utf8(made.body.clone()).unwrap();
        assert!(!body.contains("geheim") && !body.contains("_id"), "{body}");
        assert!(body.contains(r#""derived_key":"$argon2id$"#), "{body}");
        let again = parse_document(&made.body).unwrap();
        assert_eq!((&again.body, &again.term), (&made.body, &made.term));
        assert_eq!(
            Draft {
                body: given.body.clone(),
                term: given.term.clone(),
                ..made.clone()
            },
            given
        );
        // Without a password nothing is touched.
        assert_eq!(
            pod.prepare_user(&entry, made.clone(), ID, &root)
                .await
                .unwrap(),
            made
        );
    }

    #[tokio::test]
    async fn owners_change_their_account_and_strangers_do_not() {
        let pod = pod().await;
        let first = write(&pod, &Caller::anonymous(), ID, ann(), edit(None))
            .await
            .unwrap();
        let key = stored(&pod).unwrap()["derived_key"].clone();
        assert!(key.as_str().unwrap().starts_with("$argon2id$"));
        let owner = caller("ann", &[]);
        let stranger = caller("bob", &[]);
        let kept = json!({"type":"user","name":"ann","roles":[],"mail":"a@b"});
        for who in [&stranger, &Caller::anonymous()] {
            let answer = write(&pod, who, ID, kept.clone(), edit(Some(first.clone()))).await;
            assert!(refused(&answer).is_some(), "{who:?}");
        }
        let grab = json!({"type":"user","name":"ann","roles":["boss"]});
        let answer = write(&pod, &owner, ID, grab, edit(Some(first.clone()))).await;
        assert_eq!(
            refused(&answer).unwrap().reason(),
            "Only _admin may edit roles"
        );
        write(&pod, &owner, ID, kept, edit(Some(first)))
            .await
            .unwrap();
        assert_eq!(stored(&pod).unwrap()["mail"], "a@b");
    }

    #[tokio::test]
    async fn a_replicated_branch_is_judged_by_the_winner() {
        let pod = pod().await;
        write(&pod, &caller("ann", &[]), ID, ann(), edit(None))
            .await
            .unwrap();
        let branch = || Edit::Replicated(9, RevisionId::Md5([9; 16]));
        let answer = write(&pod, &Caller::anonymous(), ID, ann(), branch()).await;
        assert_eq!(
            refused(&answer).unwrap().reason(),
            "You may only update your own user document."
        );
        assert!(stored(&pod).unwrap().get("_conflicts").is_none());
        write(&pod, &caller("root", &["_admin"]), ID, ann(), branch())
            .await
            .unwrap();
        assert_eq!(
            stored(&pod).unwrap()["_conflicts"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }

    #[tokio::test]
    async fn a_deleted_account_may_be_made_again() {
        let pod = pod().await;
        let owner = caller("ann", &[]);
        let first = write(&pod, &owner, ID, ann(), edit(None)).await.unwrap();
        let gone = json!({"_deleted":true});
        let stranger = caller("bob", &[]);
        let answer = write(&pod, &stranger, ID, gone.clone(), edit(Some(first.clone()))).await;
        assert_eq!(refused(&answer), Some(Refusal::NotFound));
        write(&pod, &owner, ID, gone, edit(Some(first)))
            .await
            .unwrap();
        assert_eq!(stored(&pod), None);
        write(&pod, &Caller::anonymous(), ID, ann(), edit(None))
            .await
            .unwrap();
        assert_eq!(stored(&pod).unwrap()["name"], "ann");
    }

    #[tokio::test]
    async fn a_name_that_is_taken_is_a_conflict_before_it_is_refused() {
        let pod = pod().await;
        let entry = users(&pod);
        let first = write(&pod, &Caller::anonymous(), ID, ann(), edit(None)).await;
        let first = first.unwrap();
        let check = |who: &Caller, base: Option<Revision>, deletes| {
            let edit = DraftedEdit::Edit(base);
            let checked = pod.refuse_outdated_account(&entry, who, ID, deletes, &edit);
            matches!(checked, Err(PodError::Write(WriteError::Conflict)))
        };
        let (owner, stranger) = (caller("ann", &[]), caller("bob", &[]));
        let other = Revision::parse("1-0123456789abcdef0123456789abcdef").unwrap();
        for who in [&Caller::anonymous(), &owner, &caller("root", &["_admin"])] {
            assert!(check(who, None, false) && check(who, Some(other.clone()), false));
            assert!(!check(who, Some(first.clone()), false));
        }
        assert!(!check(&stranger, None, false), "he does not learn of it");
        let replicated = DraftedEdit::Replicated(2, Vec::new());
        let checked = pod.refuse_outdated_account(&entry, &owner, ID, false, &replicated);
        assert!(checked.is_ok());
        let gone = json!({"_deleted":true});
        write(&pod, &owner, ID, gone, edit(Some(first)))
            .await
            .unwrap();
        assert!(!check(&Caller::anonymous(), None, false));
    }

    #[tokio::test]
    async fn hostile_bodies_are_refused_in_peace() {
        let pod = pod().await;
        let root = caller("root", &["_admin"]);
        let entry = users(&pod);
        let deep = format!(
            r#"{{"type":"user","name":"ann","roles":[],"x":{}{}}}"#,
            "[".repeat(200),
            "]".repeat(200)
        );
        // A text that is parsed again wherever this key is honoured, at no cost in depth.
        let mut nested = r#"{"type":"user","name":"ann","roles":[]}"#.to_owned();
        for _ in 0..60 {
            let arrays = (100, "[", "]");
            let quoted = nested.replace('\\', "\\u005c").replace('"', "\\u0022");
            nested = format!(
                "{}{{\"$serde_json::private::RawValue\":\"{quoted}\"}}{}",
                arrays.1.repeat(arrays.0),
                arrays.2.repeat(arrays.0)
            );
        }
        let nested = format!(r#"{{"type":"user","name":"ann","roles":[],"x":{nested}}}"#);
        let number =
            r#"{"type":"user","name":"ann","roles":[],"x":{"$serde_json::private::Number":"1"}}"#;
        for text in [deep.as_str(), nested.as_str(), number] {
            let draft = parse_document(text.as_bytes()).unwrap();
            let answer = pod.prepare_user(&entry, draft, ID, &root).await;
            assert!(matches!(answer, Err(PodError::Json(_))), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn accounts_are_shown_to_their_owners_and_listed_for_admins() {
        let pod = pod().await;
        let entry = users(&pod);
        pod.create_database(&DatabaseName::parse("notes").unwrap(), false)
            .await
            .unwrap();
        let notes = pod
            .database(&DatabaseName::parse("notes").unwrap())
            .unwrap();
        let document = json!({"_id":ID,"name":"ann"});
        let (root, owner) = (caller("root", &["_admin"]), caller("ann", &[]));
        for seer in [&root, &owner] {
            assert!(pod.visible_user(&entry, seer, &document).is_ok());
        }
        for who in [caller("bob", &[]), Caller::anonymous()] {
            let seen = pod.visible_user(&entry, &who, &document);
            assert_eq!(seen, Err(Refusal::NotFound));
            assert!(pod.visible_user(&notes, &who, &document).is_ok());
            assert!(may_list_users(&notes, &who).is_ok());
        }
        assert!(may_list_users(&entry, &root).is_ok());
        for who in [owner, Caller::anonymous()] {
            let refusal = may_list_users(&entry, &who).unwrap_err();
            assert_eq!(
                refusal,
                Refusal::Unauthorized(Cow::Borrowed(NOT_SERVER_ADMIN))
            );
        }
    }
}
