//! Where an answer ended, for the next to go on from there.
//!
//! A bookmark names the index and the last row's place in it, so that the next page is read from the
//! same index even if another one would be chosen by now. It is opaque to clients, looks like those
//! of `CouchDB`, and says nothing that the answer did not say.

use adea_documents::index::Signature;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::FindError;

/// The first bytes of every bookmark, as those of `CouchDB` begin; then the version.
const FRONT: [u8; 4] = [131, 80, 0, 1];

/// A place in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bookmark {
    /// The index; `None` for the primary one.
    pub(super) index: Option<Signature>,
    /// The row's position, or the document's id.
    pub(super) position: Vec<u8>,
}

impl Bookmark {
    pub(super) fn encode(&self) -> String {
        let mut bytes = FRONT.to_vec();
        let index = self.index.map_or([0; 16], |signature| signature.0);
        bytes.extend_from_slice(&index);
        bytes.extend_from_slice(&self.position);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn decode(text: &str) -> Result<Self, FindError> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            let rest = bytes.strip_prefix(&FRONT)?;
            let (index, position) = rest.split_first_chunk::<16>()?;
            Some(Self {
                index: (*index != [0; 16]).then_some(Signature(*index)),
                position: position.to_vec(),
            })
        };
        read().ok_or_else(|| invalid(text))
    }
}

pub(super) fn invalid(text: &str) -> FindError {
    let shown: String = text.chars().take(200).collect();
    FindError::InvalidBookmark(serde_json::Value::from(shown).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookmarks_come_back() {
        for index in [None, Some(Signature([7; 16]))] {
            let bookmark = Bookmark {
                index,
                position: vec![0x60, 0, 255],
            };
            let text = bookmark.encode();
            assert!(text.starts_with("g1AAA"), "{text}");
            assert_eq!(Bookmark::decode(&text), Ok(bookmark));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "x",
            "g1AAAAA0eJzLYWBgYMpgSmHgKy5JLCrJTq2MT8lPzkzJBYlnG4JkOGAyULEsAGm8DfE",
            "€",
            "\"",
            "g1AAAQ",
        ] {
            assert!(Bookmark::decode(text).is_err(), "{text}");
        }
        let refused = Bookmark::decode("a\"b").unwrap_err();
        assert_eq!(refused.to_string(), r#"Invalid bookmark value: "a\"b""#);
    }
}
