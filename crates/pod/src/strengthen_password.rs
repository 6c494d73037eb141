//! Making a stored password anew in a stronger form, when its owner has just proved to know it.
//!
//! Hashes that `CouchDB` made long ago, or that were made with other settings, are cheap to attack.
//! Only a sign-in brings the password that a better one can be made from. It is written as an
//! ordinary edit of the account's document, or in place of the administrator's hash.
//!
//! Invariant: only what stands for this very password is replaced. If it changed meanwhile, or
//! anything goes wrong, all stays as it is, and the sign-in succeeds.

use adea_accounts::{Account, StoredCredential, put_credential, user_id};
use adea_base::{Caller, DatabaseName, DocumentId};
use adea_documents::WriteError;
use adea_documents::json::parse_document;
use serde_json::{Map, Value, json};

use crate::admins::ADMIN_ROLE;
use crate::error::PodError;
use crate::pod::Pod;
use crate::read_document::{Told, Which};
use crate::sign_in::USERS;
use crate::write_document::DraftedEdit;
use crate::write_user::{parse_body, with_id};

impl Pod {
    /// Makes what is stored for `name` anew, if what would be made now is better than `stored`.
    pub(crate) async fn strengthen(&self, name: &str, password: &str, stored: &StoredCredential) {
        if !self.auth().passwords.scheme.is_better_than(stored) {
            return;
        }
        match self.try_to_strengthen(name, password, stored).await {
            // Somebody else was faster.
            Ok(()) | Err(PodError::Write(WriteError::Conflict)) => {}
            Err(error) => {
                tracing::warn!(%error, "what is stored for a password was not made stronger");
            }
        }
    }

    async fn try_to_strengthen(
        &self,
        name: &str,
        password: &str,
        stored: &StoredCredential,
    ) -> Result<(), PodError> {
        let better = self.hash_password_slowly(password.to_owned()).await?;
        // Read into a value first: the lock must not be held over what follows.
        let of_admin = self.inner.admins.read().find(name);
        if of_admin.is_some() {
            self.store_admin(name, better.clone(), Some(stored), None)
                .await?;
        } else {
            self.edit_credential(name, &better, stored).await?;
        }
        self.remember_right(name, password, &better);
        Ok(())
    }

    async fn edit_credential(
        &self,
        name: &str,
        better: &StoredCredential,
        stored: &StoredCredential,
    ) -> Result<(), PodError> {
        let (Ok(users), Ok(id)) = (
            DatabaseName::parse(USERS),
            DocumentId::parse(&user_id(name)),
        ) else {
            return Ok(());
        };
        let server = Caller::named("", vec![ADMIN_ROLE.to_owned()]);
        let entry = self.database(&users)?;
        let found = self.read(
            &entry,
            &server,
            id.as_str(),
            &Which::Winner,
            Told::default(),
        )?;
        let mut user = with_id(parse_body(&found.body.json)?, id.as_str());
        let account = Account::from_document(&user)?;
        if account.credential.as_ref() != Some(stored) {
            return Ok(());
        }
        put_credential(&mut user, better);
        if let Some(fields) = user.as_object_mut() {
            fields.shift_remove("_id");
            let stub = |name: &str| (name.to_owned(), json!({"stub": true}));
            let stubs: Map<String, Value> = found
                .body
                .attachments
                .iter()
                .map(|attachment| stub(&attachment.name))
                .collect();
            if !stubs.is_empty() {
                fields.insert("_attachments".to_owned(), Value::Object(stubs));
            }
        }
        let draft = parse_document(user.to_string().as_bytes())?;
        // An edit of what was read: it conflicts with whatever was written since.
        let edit = DraftedEdit::Edit(Some(found.revision));
        let mut prepared = self
            .prepare(&entry, &server, id, draft, edit, Vec::new())
            .await?;
        prepared.same_password = true;
        self.write(&entry, prepared).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign_in::SignIn;
    use crate::write_user::current_user;
    use crate::write_user::tests::{
        caller, edit, is_wrong, nameless_id, pod, signs_in, users, write,
    };
    use adea_accounts::PasswordScheme;

    const ID: &str = "org.couchdb.user:jan";

    /// The example of `CouchDB`'s documentation: the password is "apple".
    fn jan() -> Value {
        json!({
            "type":"user","name":"jan","roles":["staff"],"mail":"j@n","iterations":10,
            "password_scheme":"pbkdf2","salt":"1112283cf988a34f124200a050d308a1",
            "derived_key":"e579375db0e0c6a6fc79cd9e36a36859f71575c3",
        })
    }

    fn stored(pod: &Pod) -> Value {
        let root = caller("root", &["_admin"]);
        let found = current_user(pod.view().as_ref(), &users(pod), ID, &root);
        found.unwrap().unwrap()
    }

    #[tokio::test]
    async fn an_old_hash_becomes_a_new_one_when_its_owner_signs_in() {
        let pod = pod().await;
        let root = caller("root", &["_admin"]);
        write(&pod, &root, ID, jan(), edit(None)).await.unwrap();
        assert!(is_wrong(&pod, "jan", "pear").await);
        assert_eq!(stored(&pod)["password_scheme"], "pbkdf2");
        assert_eq!(
            signs_in(&pod, "jan", "apple").await,
            caller("jan", &["staff"])
        );
        let after = stored(&pod);
        assert_eq!(after["password_scheme"], "argon2id");
        assert_eq!((&after["mail"], after.get("salt")), (&json!("j@n"), None));
        // The session that follows is one of the new hash.
        let peer = "192.0.2.1".parse().unwrap();
        let opened = pod.open_session("jan", "apple", None, peer).await;
        let (_, session) = opened.unwrap();
        signs_in(&pod, "jan", "apple").await;
        assert_eq!(stored(&pod), after, "once");
        let resumed = pod.authenticate(SignIn::Cookie(&session)).await.unwrap();
        assert_eq!(nameless_id(&resumed.caller), caller("jan", &["staff"]));
        assert!(is_wrong(&pod, "jan", "pear").await);
    }

    #[tokio::test]
    async fn what_changed_meanwhile_stays() {
        let pod = pod().await;
        let root = caller("root", &["_admin"]);
        let first = write(&pod, &root, ID, jan(), edit(None)).await.unwrap();
        let seen = Account::from_document(&stored(&pod)).unwrap().credential;
        let mut changed = jan();
        changed["password"] = "pear".into();
        write(&pod, &root, ID, changed, edit(Some(first)))
            .await
            .unwrap();
        let after = stored(&pod);
        pod.strengthen("jan", "apple", &seen.unwrap()).await;
        assert_eq!(stored(&pod), after);
        signs_in(&pod, "jan", "pear").await;
        assert!(is_wrong(&pod, "jan", "apple").await);
    }

    #[tokio::test]
    async fn an_administrators_old_hash_too() {
        let pod = pod().await;
        let old = "-hashed-e21216acd080d1077e4f9894c0945eb4b023202c,salt";
        let sha1_of_apple_and_salt = old;
        pod.set_admin("root", sha1_of_apple_and_salt).await.unwrap();
        pod.set_admin("other", "geheim").await.unwrap();
        assert!(is_wrong(&pod, "root", "pear").await);
        assert!(signs_in(&pod, "root", "apple").await.is_admin());
        let text = pod.admins().remove(1).1;
        assert!(text.starts_with("$argon2id$"), "{text}");
        assert!(signs_in(&pod, "root", "apple").await.is_admin());
    }

    #[tokio::test]
    async fn the_form_is_the_one_that_is_set() {
        let pod = pod().await;
        pod.change_auth(|auth| auth.passwords.scheme = PasswordScheme::pbkdf2(1_000));
        let root = caller("root", &["_admin"]);
        write(&pod, &root, ID, jan(), edit(None)).await.unwrap();
        signs_in(&pod, "jan", "apple").await;
        let after = stored(&pod);
        assert_eq!(
            (&after["pbkdf2_prf"], &after["iterations"]),
            (&json!("sha256"), &json!(1_000))
        );
        pod.change_auth(|auth| auth.passwords.scheme = PasswordScheme::pbkdf2(2_000));
        // Right from memory: nothing is made anew for that.
        signs_in(&pod, "jan", "apple").await;
        assert_eq!(stored(&pod), after);
    }
}
