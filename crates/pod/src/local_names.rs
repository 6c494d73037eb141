//! Local documents of who does not see all of a database: kept for each reader and face by itself.
//!
//! A reader's local document is stored under a name with him and the face in front. Such names begin
//! with a zero byte, and no client addresses one by it: on the whole of a database those names stand
//! for nothing.
//!
//! Invariant: names of two readers, or of two faces, never meet, and no name is both a reader's and a
//! plain one.

use std::borrow::Cow;

use adea_accounts::Refusal;
use adea_base::Scope;

use crate::databases::{DatabaseEntry, DatabaseFace};
use crate::error::PodError;

/// Begins the stored names of readers' local documents.
const KEPT: char = '\0';
/// Stands behind what is in front of them,
const END: char = ';';
/// and this behind all names that have it there.
const BEHIND: char = '<';
/// The first name behind all of those.
const PLAIN: &str = "\u{1}";

/// What stands in front of the stored names of who reads through `entry`; empty where they are plain.
fn front(entry: &DatabaseEntry) -> String {
    front_for(&entry.scope, &entry.face)
}

fn front_for(scope: &Scope, face: &DatabaseFace) -> String {
    let Some(sight) = scope.sight() else {
        return String::new();
    };
    let face = match face {
        DatabaseFace::Whole => "w".to_owned(),
        DatabaseFace::Mine => "m".to_owned(),
        DatabaseFace::Partition(signature) => format!("p{signature}"),
    };
    let reader = sight.reader();
    // The lengths tell where each ends, whatever is in it.
    let (face_bytes, reader_bytes) = (face.len(), reader.len());
    format!("{KEPT}{face_bytes}:{face}{reader_bytes}:{reader}{END}")
}

/// The name that local document `name` is stored under; `None` for one that there cannot be.
pub(crate) fn stored<'n>(entry: &DatabaseEntry, name: &'n str) -> Option<Cow<'n, str>> {
    stored_behind(&front(entry), name)
}

fn stored_behind<'n>(front: &str, name: &'n str) -> Option<Cow<'n, str>> {
    if !front.is_empty() {
        return Some(Cow::Owned(format!("{front}{name}")));
    }
    (!name.starts_with(KEPT)).then_some(Cow::Borrowed(name))
}

/// As [`stored`], of one that is to be written.
pub(crate) fn writable(entry: &DatabaseEntry, name: &str) -> Result<String, PodError> {
    let stored = stored(entry, name).map(Cow::into_owned);
    stored.ok_or_else(|| Refusal::Forbidden("Names like this are the server's.".into()).into())
}

/// The name that a client knows a stored one by.
pub(crate) fn shown(entry: &DatabaseEntry, stored: &str) -> String {
    let front = front(entry);
    stored.strip_prefix(&*front).unwrap_or(stored).to_owned()
}

/// The stored names between `from` and `to`, as a client gives them.
pub(crate) fn range(
    entry: &DatabaseEntry,
    from: Option<&str>,
    to: Option<&str>,
) -> (String, Option<String>) {
    range_behind(front(entry), from, to)
}

fn range_behind(front: String, from: Option<&str>, to: Option<&str>) -> (String, Option<String>) {
    if front.is_empty() {
        let from = from.filter(|from| *from > PLAIN).unwrap_or(PLAIN);
        return (from.to_owned(), to.map(str::to_owned));
    }
    let to = match to {
        Some(to) => format!("{front}{to}"),
        None => format!("{}{BEHIND}", front.strip_suffix(END).unwrap_or(&front)),
    };
    (front + from.unwrap_or(""), Some(to))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adea_base::{Reach, Sight, Span};
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Named(String);

    impl Sight for Named {
        fn spans(&self, _: &str, _: &[Arc<str>]) -> Vec<Span> {
            Vec::new()
        }

        fn reach(&self) -> Reach {
            Reach::Everything
        }

        fn turned_at(&self) -> u64 {
            0
        }

        fn reader(&self) -> &str {
            &self.0
        }

        fn key(&self) -> &[u8; 32] {
            &[0; 32]
        }
    }

    /// A reader and a face of a database; without, all of it.
    type Who = Option<(String, DatabaseFace)>;

    fn who() -> impl Strategy<Value = Who> {
        let face = prop_oneof![
            Just(DatabaseFace::Whole),
            Just(DatabaseFace::Mine),
            "[a;]{1,2}".prop_map(|name| DatabaseFace::Partition(name.into())),
        ];
        prop::option::of(("[\\x00a;<:1]{0,3}", face))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the readers of this test see nothing"
    )]
    fn front_of(who: &Who) -> String {
        let Some((reader, face)) = who else {
            return String::new();
        };
        front_for(&Scope::of(Arc::new(Named(reader.clone()))), face)
    }

    proptest! {
        #[test]
        fn names_of_two_readers_never_meet(
            one in who(), other in who(),
            x in "[\\x00a;<:1mw]{1,6}", y in "[\\x00a;<:1mw]{1,6}",
        ) {
            let (a, b) = (front_of(&one), front_of(&other));
            let (p, q) = (stored_behind(&a, &x), stored_behind(&b, &y));
            if p.is_some() && p == q {
                prop_assert_eq!((&one, &x), (&other, &y));
            }
            // A listing has all of the reader's names, and no others.
            let (from, to) = range_behind(a.clone(), None, None);
            if let Some(q) = q {
                let listed = *from <= *q && to.is_none_or(|to| *q < *to);
                prop_assert_eq!(listed, one == other, "{:?} {:?}", a, q);
            }
        }
    }
}
