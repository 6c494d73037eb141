//! Parts of a JSON text as they are written: documents travel from peer to peer as text.
//!
//! `serde_json` has a type for that, but with it any text, also one of a client's, that is read into
//! a [`serde_json::Value`] may hold a key under which more text is read at no cost in depth, until
//! the stack is full. So that feature stays off, and values are found here by their ends.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::peer::PeerError;

/// Calls `visit` with the name and the text of each member of the object `json`, in their order.
pub(crate) fn for_each_member<'a>(
    json: &'a [u8],
    mut visit: impl FnMut(&str, &'a [u8]) -> Result<(), serde_json::Error>,
) -> Result<(), serde_json::Error> {
    let mut rest = open(json, b'{')?;
    let mut first = true;
    while let Some(inside) = next(rest, b'}', first)? {
        first = false;
        let (name, behind) = value(inside)?;
        let behind = behind.trim_ascii_start().strip_prefix(b":");
        let (text, behind) = value(behind.ok_or_else(malformed)?)?;
        visit(&string(name)?, text)?;
        rest = behind;
    }
    Ok(())
}

/// The texts of the items of the array `json`.
pub(crate) fn items(json: &[u8]) -> Result<Vec<&[u8]>, serde_json::Error> {
    let mut rest = open(json, b'[')?;
    let mut items = Vec::new();
    while let Some(inside) = next(rest, b']', items.is_empty())? {
        let (text, behind) = value(inside)?;
        items.push(text);
        rest = behind;
    }
    Ok(items)
}

/// What stands behind the bracket that begins a text.
fn open(json: &[u8], bracket: u8) -> Result<&[u8], serde_json::Error> {
    let text = json.trim_ascii_start().strip_prefix(&[bracket]);
    text.ok_or_else(malformed)
}

/// What stands from the next item on, or nothing at the closing bracket that ends the text.
fn next(rest: &[u8], bracket: u8, first: bool) -> Result<Option<&[u8]>, serde_json::Error> {
    match rest.trim_ascii_start().split_first() {
        Some((closing, behind)) if *closing == bracket && behind.trim_ascii().is_empty() => {
            Ok(None)
        }
        Some((b',', inside)) if !first => Ok(Some(inside)),
        Some(_) if first => Ok(Some(rest)),
        Some(_) | None => Err(malformed()),
    }
}

/// The first value of `text`, and what stands behind it.
fn value(text: &[u8]) -> Result<(&[u8], &[u8]), serde_json::Error> {
    let text = text.trim_ascii_start();
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next().ok_or_else(malformed)??;
    text.split_at_checked(values.byte_offset())
        .ok_or_else(malformed)
}

fn string(text: &[u8]) -> Result<Cow<'_, str>, serde_json::Error> {
    let inside = text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\""));
    match inside.map(std::str::from_utf8) {
        Some(Ok(plain)) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
        _ => serde_json::from_slice(text).map(Cow::Owned),
    }
}

/// The document in a row `{"ok": …}`; `None` for a row that has none.
pub(crate) fn document_in(row: &[u8]) -> Result<Option<&[u8]>, PeerError> {
    let mut found = None;
    for_each_member(row, |name, text| {
        if name == "ok" {
            found = Some(text).filter(|text| *text != b"null");
        }
        Ok(())
    })
    .map_err(|error| unreadable(&error))?;
    Ok(found)
}

/// What a peer is told to have sent that is not what was expected.
pub(crate) fn unreadable(error: &serde_json::Error) -> PeerError {
    PeerError::Nonsense(format!("an answer that cannot be read: {error}"))
}

fn malformed() -> serde_json::Error {
    serde::de::Error::custom("not the JSON that was expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(json: &str) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        for_each_member(json.as_bytes(), |name, text| {
            found.push((name.to_owned(), String::from_utf8(text.to_vec()).unwrap()));
            Ok(())
        })
        .ok()?;
        Some(found)
    }

    #[test]
    fn texts_stay_as_they_are_written() {
        let json = r#" { "a" : 1e3 , "b\u0022" : [1, {"x": "}"}],"c":null , "d":"" } "#;
        let expected = [
            ("a", "1e3"),
            ("b\"", r#"[1, {"x": "}"}]"#),
            ("c", "null"),
            ("d", "\"\""),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(members(json), Some(expected.to_vec()));
        assert_eq!(members("{}"), Some(Vec::new()));
        assert_eq!(
            items(b" [ 1.0 ,[],\"]\" ] ").unwrap(),
            [&b"1.0"[..], b"[]", b"\"]\""]
        );
        assert!(items(b"[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for wrong in [
            "",
            "[",
            "{",
            "[1",
            "{\"a\"}",
            "{\"a\":}",
            "{,}",
            "{\"a\":1,}",
            "{1:2}",
            "[]",
        ] {
            assert_eq!(members(wrong), None, "{wrong}");
        }
        for wrong in ["", "[1,]", "[,1]", "[1 2]", "{}", "[]]"] {
            assert!(items(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    /// The feature of `serde_json` that must stay off, whoever asks for it.
    #[test]
    fn no_key_makes_text_be_read_again() {
        let text = r#"{"$serde_json::private::RawValue":"[1]"}"#;
        let read: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(read.is_object(), "{read}");
    }
}
