//! The built-in rules of writing: who may change or delete a document, who may change who may, and
//! which access lists may be set.
//!
//! They are asked of what is proposed against the document as it stands, its winner and whatever
//! live leaf the proposal extends, so that nobody gets round them with a forged history: a branch
//! beside the winner is judged by the winner, too.
//!
//! Invariant: no answer tells apart a document that the caller may not read from one that he may
//! read and not write.

use crate::list::AccessList;
use crate::principals::Principals;

/// What a document says about who may do what with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Who may read it.
    pub access: AccessList,
    /// Whether the document itself says so, and not a default or a function.
    pub stated: bool,
    /// Whether documents of this database say so themselves, where they say anything.
    pub by_document: bool,
    /// Who may update and delete it, if it says so.
    pub writers: Option<AccessList>,
    /// Who may change who may, if it says so.
    pub owners: Option<AccessList>,
}

/// Why a write is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleBroken {
    /// The caller is neither a writer nor, where there are none, a reader.
    #[error("You may not write this document.")]
    NotAWriter,
    /// The caller is no owner and changes who may read, write or own it.
    #[error("Only an owner of this document may change its {0}.")]
    NotAnOwner(OwnersPart),
    /// The caller sets a list that he is not in.
    #[error("You may not set an access list that you yourself are not in.")]
    NotInList,
}

/// What owners change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnersPart {
    /// Who reads.
    Access,
    /// Who writes.
    Writers,
    /// Who owns.
    Owners,
}

impl std::fmt::Display for OwnersPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Access => "access list",
            Self::Writers => "writers",
            Self::Owners => "owners",
        })
    }
}

/// Whether a caller who holds `held` may update or delete a document with these rights.
///
/// # Errors
/// [`RuleBroken::NotAWriter`].
pub fn may_write(held: &Principals, rights: &Rights) -> Result<(), RuleBroken> {
    let writers = rights.writers.as_ref().unwrap_or(&rights.access);
    if held.holds_any(writers.principals()) {
        Ok(())
    } else {
        Err(RuleBroken::NotAWriter)
    }
}

/// Whether a caller may make a document say `new`, which says `old` now and was made by `creator`;
/// `old` is `None` where there is none or it is deleted.
///
/// # Errors
/// [`RuleBroken`].
pub fn may_change(
    held: &Principals,
    old: Option<&Rights>,
    creator: Option<&str>,
    new: &Rights,
) -> Result<(), RuleBroken> {
    let is_in = |list: &AccessList| held.holds_any(list.principals());
    let Some(old) = old else {
        let owns = new.owners.as_ref().is_some_and(is_in);
        let strange = new.stated && !owns && !is_in(&new.access);
        return if strange {
            Err(RuleBroken::NotInList)
        } else {
            Ok(())
        };
    };
    may_write(held, old)?;
    let owns = match &old.owners {
        Some(owners) => is_in(owners),
        None => held.is_admin() || creator.is_some_and(|creator| held.holds(creator)),
    };
    if owns {
        return Ok(());
    }
    // What a function says is its author's affair, unless it takes over from what the document said.
    let by_document = new.by_document || old.by_document;
    let changed = [
        (by_document && new.access != old.access, OwnersPart::Access),
        (new.writers != old.writers, OwnersPart::Writers),
        (new.owners != old.owners, OwnersPart::Owners),
    ];
    match changed.into_iter().find(|(changed, _)| *changed) {
        Some((_, part)) => Err(RuleBroken::NotAnOwner(part)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn named(texts: &[&str]) -> AccessList {
        AccessList::new("access", texts.iter().map(|text| Arc::from(*text))).unwrap()
    }

    fn holding(who: &[&str]) -> Principals {
        Principals::new(who.iter().map(|text| Arc::from(*text)).collect())
    }

    fn rights(access: &[&str], writers: Option<&[&str]>, owners: Option<&[&str]>) -> Rights {
        Rights {
            access: named(access),
            stated: true,
            by_document: true,
            writers: writers.map(named),
            owners: owners.map(named),
        }
    }

    fn check(
        who: &[&str],
        old: Option<&Rights>,
        creator: Option<&str>,
        new: &Rights,
    ) -> Result<(), RuleBroken> {
        may_change(&holding(who), old, creator, new)
    }

    #[test]
    fn readers_write_where_no_writers_are_named() {
        let open = rights(&["user:ann", "staff"], None, None);
        assert_eq!(check(&["staff"], Some(&open), None, &open), Ok(()));
        let closed = rights(&["user:ann", "staff"], Some(&["user:ann"]), None);
        let refused = check(&["staff"], Some(&closed), None, &closed);
        assert_eq!(refused, Err(RuleBroken::NotAWriter));
        assert_eq!(check(&["user:ann"], Some(&closed), None, &closed), Ok(()));
        assert_eq!(check(&["_admin"], Some(&closed), None, &open), Ok(()));
    }

    #[test]
    fn owners_and_without_any_the_creator_change_who_may() {
        let old = rights(&["staff"], None, Some(&["user:ann"]));
        for (field, new) in [
            (
                OwnersPart::Access,
                rights(&["staff", "x"], None, Some(&["user:ann"])),
            ),
            (
                OwnersPart::Writers,
                rights(&["staff"], Some(&["staff"]), Some(&["user:ann"])),
            ),
            (OwnersPart::Owners, rights(&["staff"], None, None)),
        ] {
            let refused = check(&["staff"], Some(&old), Some("staff"), &new);
            assert_eq!(refused, Err(RuleBroken::NotAnOwner(field)));
            let may = check(&["user:ann", "staff"], Some(&old), None, &new);
            assert_eq!(may, Ok(()));
        }
        let made = rights(&["staff"], None, None);
        let new = rights(&["other"], None, None);
        assert!(check(&["staff", "user:b"], Some(&made), Some("user:a"), &new).is_err());
        assert!(check(&["staff", "user:a"], Some(&made), Some("user:a"), &new).is_ok());
        assert!(check(&["staff"], Some(&made), None, &new).is_err());
    }

    #[test]
    fn nobody_hides_what_he_writes_from_himself() {
        let other = rights(&["user:ben"], None, None);
        let refused = check(&["user:ann"], None, None, &other);
        assert_eq!(refused, Err(RuleBroken::NotInList));
        let owned = rights(&["user:ben"], None, Some(&["user:ann"]));
        assert_eq!(check(&["user:ann"], None, None, &owned), Ok(()));
        let by_default = Rights {
            stated: false,
            ..rights(&["_admin"], None, None)
        };
        assert_eq!(check(&["user:ann"], None, None, &by_default), Ok(()));
    }

    #[test]
    fn who_owns_nothing_does_not_give_away_what_a_function_labelled() {
        let by_function = |access| Rights {
            stated: false,
            by_document: false,
            ..rights(access, None, None)
        };
        let to_somebody = Rights {
            stated: false,
            ..rights(&["user:eve"], None, None)
        };
        let (shared, other) = (by_function(&["staff"]), by_function(&["other"]));
        let refused = Err(RuleBroken::NotAnOwner(OwnersPart::Access));
        let given = check(&["staff"], Some(&shared), Some("user:ann"), &to_somebody);
        assert_eq!(given, refused);
        let taken = check(&["user:eve"], Some(&to_somebody), Some("user:ann"), &other);
        assert_eq!(taken, refused);
        let asked = check(&["staff"], Some(&shared), Some("user:ann"), &other);
        assert_eq!(asked, Ok(()));
    }

    fn some_rights() -> impl Strategy<Value = Rights> {
        let list = || prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 1..3);
        let option = || prop::option::of(list());
        (list(), any::<bool>(), option(), option()).prop_map(|(access, stated, writers, owners)| {
            Rights {
                stated,
                ..rights(&access, writers.as_deref(), owners.as_deref())
            }
        })
    }

    proptest! {
        #[test]
        fn who_is_nobody_changes_nothing_and_who_owns_nothing_keeps_the_lists(
            old in some_rights(), new in some_rights(), who in prop::sample::subsequence(vec!["a", "b", "c", "d"], 0..3)
        ) {
            let held = holding(&who);
            let answer = may_change(&held, Some(&old), None, &new);
            if answer.is_ok() {
                prop_assert!(may_write(&held, &old).is_ok());
                let owns = old.owners.as_ref().is_some_and(|list| held.holds_any(list.principals()));
                let same = new.access == old.access && new.writers == old.writers && new.owners == old.owners;
                prop_assert!(owns || same);
            }
        }
    }
}
