//! The names of a database's faces.

use adea_base::DatabaseName;
use adea_documents::database;
use adea_store::{Decline, Transaction};
use std::sync::Arc;

use super::AccessError;
use crate::databases::{DatabaseEntry, DatabaseFace};
use crate::error::PodError;

/// Behind the database's name: what the caller may read.
const MINE: &str = "/mine";
/// Behind the database's name and before a signature: a partition.
const PARTITION: &str = "/p-";
/// Characters of a signature.
const SIGNATURE_LENGTH: usize = 26;

/// The database and the face that `name` would stand for, if that database has access control.
pub(crate) fn face_of(name: &DatabaseName) -> Option<(DatabaseName, DatabaseFace)> {
    let text = name.as_str();
    if let Some(base) = text.strip_suffix(MINE) {
        return Some((DatabaseName::parse(base).ok()?, DatabaseFace::Mine));
    }
    let at = text.len().checked_sub(SIGNATURE_LENGTH)?;
    // A name is ASCII, so every place is one between characters.
    let (front, signature) = text.split_at_checked(at)?;
    let base = front.strip_suffix(PARTITION)?;
    let written = |byte: u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte);
    if !signature.bytes().all(written) {
        return None;
    }
    let face = DatabaseFace::Partition(Arc::from(signature));
    Some((DatabaseName::parse(base).ok()?, face))
}

impl DatabaseEntry {
    /// The name under which it was asked for.
    #[must_use]
    pub fn face_name(&self) -> String {
        let name = self.name.as_str();
        match &self.face {
            DatabaseFace::Whole => name.to_owned(),
            DatabaseFace::Mine => format!("{name}{MINE}"),
            DatabaseFace::Partition(signature) => format!("{name}{PARTITION}{signature}"),
        }
    }

    /// Whether its documents say who may read them.
    #[must_use]
    pub fn has_access_control(&self) -> bool {
        self.settings.labels != 0
    }
}

/// Refuses to make a database whose name is that of a face.
///
/// # Errors
/// [`AccessError::PartName`], or that the store cannot be read.
pub(crate) fn refuse_face_names(
    tx: &Transaction<'_>,
    name: &DatabaseName,
) -> Result<(), Decline<PodError>> {
    let Some((base, _)) = face_of(name) else {
        return Ok(());
    };
    match database::find_in(tx, &base)? {
        Some(found) if found.settings.labels != 0 => {
            Err(Decline::Refused(AccessError::PartName(base).into()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses access control where databases stand that have the names of faces.
///
/// # Errors
/// [`AccessError::PartTaken`], or that the store cannot be read.
pub(crate) fn refuse_taken_faces(
    tx: &Transaction<'_>,
    base: &DatabaseName,
) -> Result<(), Decline<PodError>> {
    /// Names beginning like partitions' that are none are passed over, this many at the most.
    const LOOKED_AT_MAX: usize = 10_000;
    for front in [MINE, PARTITION] {
        let below = database::names_below(tx, &format!("{base}{front}"), LOOKED_AT_MAX)?;
        let taken = below.into_iter().find(|name| {
            let parsed = DatabaseName::parse(name).ok();
            let face = parsed.as_ref().and_then(face_of);
            face.is_some_and(|(of, _)| of == *base)
        });
        if let Some(taken) = taken {
            return Err(Decline::Refused(AccessError::PartTaken(taken).into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<(&str, DatabaseFace)>) {
        let found = face_of(&DatabaseName::parse(name).unwrap());
        let expected = expected.map(|(base, face)| (DatabaseName::parse(base).unwrap(), face));
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn names_of_faces_are_told_from_others() {
        let signature = "abcdefghijklmnopqrstuvwx27";
        let partition = || DatabaseFace::Partition(Arc::from(signature));
        check("app/mine", Some(("app", DatabaseFace::Mine)));
        check("app/x/mine", Some(("app/x", DatabaseFace::Mine)));
        check(&format!("app/p-{signature}"), Some(("app", partition())));
        check(&format!("a/b/p-{signature}"), Some(("a/b", partition())));
        for other in [
            "app",
            "mine",
            "app/mine/x",
            "app/mines",
            "app/p-",
            "app/p-abcdefghijklmnopqrstuvwx2",
            "app/p-abcdefghijklmnopqrstuvwx278",
            "app/p-abcdefghijklmnopqrstuvwx28",
            "app/p-abcdefghijklmnopqrstuvw-27",
            "app/q-abcdefghijklmnopqrstuvwx27",
        ] {
            check(other, None);
        }
    }
}
