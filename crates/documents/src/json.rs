//! JSON as clients send it, to the three things we make of it: the normal text that is stored and
//! sent again, the Erlang term that names the revision, and the few fields that mean something.
//!
//! All three come from one pass over the bytes ([`parse_document`], [`parse_bulk`]), without a tree
//! in between: reading JSON is most of what a write costs. Numbers, the order of keys and text
//! survive; white space, needless escapes and members that a later one with the same key replaces
//! do not.
//!
//! Invariant: normal text is valid JSON and normalising it changes nothing. Whatever the input, no
//! more than [`MAX_DEPTH`] levels are entered, memory stays a small multiple of its length, and time
//! does not grow with its square.

use std::borrow::Cow;

mod attachment;
mod bulk;
mod draft;
mod duplicate_keys;
mod number;
mod scanner;
pub mod skim;
pub(crate) mod term;

pub use attachment::{AttachmentContent, AttachmentField};
pub use bulk::{Bulk, MAX_BULK_DOCUMENTS, parse_bulk};
pub use draft::{Draft, DraftError, Field, MAX_REVISION_IDS, RevisionsField, parse_document};

pub(crate) use number::write_float;
use scanner::{Scalar, Scanner, plain_run};

/// How many arrays and objects may stand inside of one another.
pub const MAX_DEPTH: usize = 256;

/// Why bytes are not JSON that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8, not JSON, half a surrogate pair, or a number beyond what is kept.
    #[error("invalid UTF-8 JSON")]
    Invalid,
    /// More levels than [`MAX_DEPTH`].
    #[error("JSON is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// The normal text of any JSON value.
///
/// # Errors
///
/// Fails where the input is not one JSON value.
///
/// ```
/// use adea_documents::json::normalise;
///
/// let text = normalise(br#" { "a" : 1e3, "b": "\u00e9\/" } "#).unwrap();
/// assert_eq!(text, r#"{"a":1000.0,"b":"é/"}"#.as_bytes());
/// ```
pub fn normalise(input: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut scanner = Scanner::new(input)?;
    scanner.reserve();
    scanner.value()?;
    scanner.end()?;
    let (text, _) = scanner.output();
    Ok(std::mem::take(text))
}

/// Any JSON value as the Erlang term that `CouchDB` makes of it, in the external format and without
/// the byte that begins a whole term.
///
/// # Errors
///
/// Fails where the input is not one JSON value.
pub fn erlang_external(input: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut scanner = Scanner::new(input)?;
    scanner.value()?;
    scanner.end()?;
    let (_, term) = scanner.output();
    Ok(std::mem::take(term))
}

/// Visits the members of an object: the decoded key, and the value as it was sent. A key that comes
/// twice is visited twice, and the later one counts. Answers `false`, and visits none, where the
/// input is another value than an object.
///
/// # Errors
///
/// Fails where the input is not one JSON value, or where `visit` does; members before the fault were
/// visited by then.
pub fn for_each_member<E: From<JsonError>>(
    input: &[u8],
    mut visit: impl FnMut(&str, &[u8]) -> Result<(), E>,
) -> Result<bool, E> {
    let mut scanner = Scanner::new(input)?;
    let is_object = scanner.peek() == b'{';
    if is_object {
        scanner.each_member(|scanner, key| {
            let raw = raw_value(scanner)?;
            visit(&key, raw)
        })?;
    } else {
        scanner.skip()?;
    }
    scanner.end()?;
    Ok(is_object)
}

/// Visits the items of an array as they were sent. Answers `false`, and visits none, where the input
/// is another value than an array.
///
/// # Errors
///
/// Fails where the input is not one JSON value, or where `visit` does; items before the fault were
/// visited by then.
pub fn for_each_item<E: From<JsonError>>(
    input: &[u8],
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<bool, E> {
    let mut scanner = Scanner::new(input)?;
    let is_array = scanner.peek() == b'[';
    if is_array {
        scanner.each_item(|scanner| {
            let raw = raw_value(scanner)?;
            visit(raw)
        })?;
    } else {
        scanner.skip()?;
    }
    scanner.end()?;
    Ok(is_array)
}

/// The text of a string, or `None` where the input is another value.
///
/// # Errors
///
/// Fails where the input is not one JSON value.
pub fn read_text(input: &[u8]) -> Result<Option<Cow<'_, str>>, JsonError> {
    let mut scanner = Scanner::new(input)?;
    let scalar = scanner.scalar()?;
    scanner.end()?;
    Ok(match scalar {
        Scalar::Text(text) => Some(text),
        Scalar::Null | Scalar::Bool(_) | Scalar::Count(_) | Scalar::Other => None,
    })
}

/// Reads a value, keeps nothing of it, and answers how it was sent.
fn raw_value<'a>(scanner: &mut Scanner<'a>) -> Result<&'a [u8], JsonError> {
    let start = scanner.at();
    scanner.skip()?;
    let raw = scanner.since(start);
    scanner.clear();
    Ok(raw.as_bytes())
}

/// Appends a text as a JSON string.
pub fn write_json_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Appends what stands between the quotes of a JSON string.
fn write_escaped(out: &mut Vec<u8>, mut bytes: &[u8]) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    while let Some((plain, rest)) = bytes.split_at_checked(plain_run(bytes)) {
        out.extend_from_slice(plain);
        let Some((&special, rest)) = rest.split_first() else {
            return;
        };
        bytes = rest;
        let letter = match special {
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0x00..0x20 => {
                let low = HEX.get(usize::from(special & 15)).copied();
                let high = b'0' + (special >> 4);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low.unwrap_or(b'0')]);
                continue;
            }
            quote_or_backslash => quote_or_backslash,
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn normal(json: &str) -> Result<String, JsonError> {
        normalise(json.as_bytes()).map(|text| String::from_utf8(text).unwrap())
    }

    fn check(json: &str, expected: &str) {
        assert_eq!(normal(json).as_deref(), Ok(expected), "{json}");
        assert_eq!(normal(expected).as_deref(), Ok(expected), "{json}");
    }

    fn check_wrong(json: impl AsRef<[u8]>) {
        let json = json.as_ref();
        let shown = String::from_utf8_lossy(json);
        assert_eq!(normalise(json), Err(JsonError::Invalid), "{shown}");
    }

    /// The term of a value, as the only member of a document.
    fn term_of(json: &str) -> Vec<u8> {
        let document = format!(r#"{{"k":{json}}}"#);
        let term = parse_document(document.as_bytes()).unwrap().term;
        let head = [104, 1, 108, 0, 0, 0, 1, 104, 2, 109, 0, 0, 0, 1, b'k'];
        let rest = term.strip_prefix(&head).unwrap();
        rest.strip_suffix(&[106]).unwrap().to_vec()
    }

    #[test]
    fn white_space_is_left_out() {
        check(" \t\r\n1 \n", "1");
        check("[ ]", "[]");
        check("{ }", "{}");
        check("[ 1 , 2 ]", "[1,2]");
        check("{ \"a b\" : [ { } , \" \" ] }", r#"{"a b":[{}," "]}"#);
        check_wrong("\u{feff}1");
        check_wrong("\u{a0}1");
        check_wrong("[1\u{c}]");
    }

    #[test]
    fn numbers_are_kept() {
        for same in [
            "0",
            "1",
            "-1",
            "255",
            "256",
            "2147483647",
            "-2147483648",
            "18446744073709551616",
            "369553424691494913",
            "123456789012345678901234567890",
            "1.0",
            "-1.0",
            "0.1",
            "-0.5",
            "1.5e-7",
            "1e+23",
            "0.000001",
            "0.007609390259259273",
            "0.30000000000000004",
        ] {
            check(same, same);
        }
        check("-0", "0");
        check("[-0,-0]", "[0,0]");
        check("-0.0", "0.0");
        check("-0e5", "0.0");
        check("1e3", "1000.0");
        check("1E2", "100.0");
        check("1E+2", "100.0");
        check("1.50", "1.5");
        check("1.00", "1.0");
        check("100000000000000000000000.0", "1e+23");
        check("0.00760939025925927263", "0.007609390259259273");
        check("1e-7", "1e-7");
        check("0.0000001", "1e-7");
        check("1e-400", "0.0");
        check(&"9".repeat(1024), &"9".repeat(1024));
        check_wrong("9".repeat(1025));
        for wrong in [
            "+1",
            "01",
            "-01",
            "00",
            ".5",
            "1.",
            "1.e1",
            "1e",
            "1e+",
            "-",
            "--1",
            "NaN",
            "nan",
            "Infinity",
            "-Infinity",
            "0x1",
            "1_000",
            "1e400",
            "-1e400",
            "1.5.5",
            "1e1.5",
            "1a",
        ] {
            check_wrong(wrong);
            check_wrong(format!("[{wrong}]"));
        }
    }

    #[test]
    fn strings_are_written_one_way() {
        check(r#""""#, r#""""#);
        check(r#""\/""#, r#""/""#);
        check(r#""a\/b\/c""#, r#""a/b/c""#);
        check(r#""\u00e9\u20AC""#, r#""é€""#);
        check(r#""\ud83d\ude00""#, r#""😀""#);
        check(r#""\u0041\u0022\u005c\u002f""#, r#""A\"\\/""#);
        check(r#""\b\f\n\r\t\"\\""#, r#""\b\f\n\r\t\"\\""#);
        check(r#""\u0008\u000c\u000a\u000d\u0009""#, r#""\b\f\n\r\t""#);
        check(r#""\u0000\u001f\u000b""#, r#""\u0000\u001F\u000B""#);
        check("\"\\u007f\"", "\"\u{7f}\"");
        check("\"\u{7f}\u{2028}é\"", "\"\u{7f}\u{2028}é\"");
        check(
            r#""1234567\n12345678\/123456789\u0020""#,
            r#""1234567\n12345678/123456789 ""#,
        );
        for wrong in [
            r#"""#,
            r#""a"#,
            r#""\"#,
            r#""\""#,
            r#""\x""#,
            r#""\u""#,
            r#""\u12""#,
            r#""\u123g""#,
            r#""\u+123""#,
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\ud800""#,
            r#""\ud800\u0041""#,
            r#""\ud800x""#,
            r#""\ude00\ud83d""#,
            r#""\U0041""#,
            "'a'",
            "\"\n\"",
            "\"\t\"",
            "\"\0\"",
            "\"12345678\u{1f}\"",
        ] {
            check_wrong(wrong);
        }
        check_wrong(b"\"\xff\"");
        check_wrong(b"\"\xed\xa0\x80\"");
        check_wrong(b"\"\xc0\x80\"");
    }

    #[test]
    fn syntax_is_strict() {
        for wrong in [
            "",
            " ",
            "[",
            "]",
            "{",
            "}",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{1:2}",
            "{a:1}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a" 1}"#,
            "[1}",
            r#"{"a":1]"#,
            "tru",
            "True",
            "nul",
            "nullx",
            "1 1",
            "[]]",
            "// a\n1",
            "[1]\0",
            "\0",
        ] {
            check_wrong(wrong);
        }
        for same in ["true", "false", "null", "[true,[false],null]", r#"{"":{}}"#] {
            check(same, same);
        }
    }

    #[test]
    fn the_last_of_equal_keys_stays_where_it_is() {
        check(r#"{"a":1,"a":2}"#, r#"{"a":2}"#);
        check(r#"{"a":1,"b":3,"a":2}"#, r#"{"b":3,"a":2}"#);
        check(r#"{"b":3,"a":1,"a":2,"c":4}"#, r#"{"b":3,"a":2,"c":4}"#);
        check(r#"{"a":1,"a":2,"a":[3]}"#, r#"{"a":[3]}"#);
        check(r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#);
        check(r#"{"":1,"":2}"#, r#"{"":2}"#);
        check(
            r#"[{"a":{"x":1,"x":2},"a":{"y":1,"y":2}}]"#,
            r#"[{"a":{"y":2}}]"#,
        );
        check(r#"{"a":1,"A":2,"aa":3}"#, r#"{"a":1,"A":2,"aa":3}"#);
        check(
            r#"{ "a" : 1.50 , "b" : "\/" , "a" : 1e2 , "c" : [ ] }"#,
            r#"{"b":"/","a":100.0,"c":[]}"#,
        );
        let many: String = (0..40).map(|i| format!(r#""k{}":{i},"#, i % 20)).collect();
        let once: Vec<String> = (20..40).map(|i| format!(r#""k{}":{i}"#, i % 20)).collect();
        check(
            &format!(r#"{{{many}"z":0}}"#),
            &format!(r#"{{{},"z":0}}"#, once.join(",")),
        );
    }

    #[test]
    fn a_hundred_thousand_keys_are_no_trouble() {
        let twice: String = (0..2)
            .flat_map(|_| (0..100_000).map(|i| format!(r#""key{i:07}":0,"#)))
            .collect();
        let text = normal(&format!(r#"{{{twice}"z":0}}"#)).unwrap();
        assert_eq!(text.matches(':').count(), 100_001);
        let same = normal(&format!(r#"{{{}"z":0}}"#, r#""":0,"#.repeat(200_000))).unwrap();
        assert_eq!(same, r#"{"":0,"z":0}"#);
    }

    #[test]
    fn depth_is_bounded() {
        let nested =
            |levels: usize| normal(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
        assert!(nested(MAX_DEPTH).is_ok());
        assert_eq!(nested(MAX_DEPTH + 1), Err(JsonError::TooDeep));
        assert_eq!(
            normal(&r#"{"a":"#.repeat(1_000_000)),
            Err(JsonError::TooDeep)
        );
        assert_eq!(
            JsonError::TooDeep.to_string(),
            "JSON is nested deeper than 256 levels"
        );
    }

    #[test]
    fn terms_are_those_of_erlang() {
        let check = |json: &str, expected: &[u8]| assert_eq!(term_of(json), expected, "{json}");
        check("true", b"d\0\x04true");
        check("false", b"d\0\x05false");
        check("null", b"d\0\x04null");
        check("0", &[97, 0]);
        check("-0", &[97, 0]);
        check("255", &[97, 255]);
        check("256", &[98, 0, 0, 1, 0]);
        check("-1", &[98, 255, 255, 255, 255]);
        check("2147483647", &[98, 127, 255, 255, 255]);
        check("-2147483648", &[98, 128, 0, 0, 0]);
        check("2147483648", &[110, 4, 0, 0, 0, 0, 128]);
        check("-2147483649", &[110, 4, 1, 1, 0, 0, 128]);
        check(
            "18446744073709551616",
            &[110, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        );
        check("1.0", &[70, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
        check("-0.0", &[70, 0x80, 0, 0, 0, 0, 0, 0, 0]);
        check(r#""é\n""#, &[109, 0, 0, 0, 3, 0xc3, 0xa9, 10]);
        check("[]", &[106]);
        check("[1,255]", &[107, 0, 2, 1, 255]);
        check("[1,256]", &[108, 0, 0, 0, 2, 97, 1, 98, 0, 0, 1, 0, 106]);
        check("[-0]", &[107, 0, 1, 0]);
        check("[[]]", &[108, 0, 0, 0, 1, 106, 106]);
        check("[[7]]", &[108, 0, 0, 0, 1, 107, 0, 1, 7, 106]);
        check("{}", &[104, 1, 106]);
        check(
            r#"{"a":1,"a":2}"#,
            b"h\x01l\0\0\0\x01h\x02m\0\0\0\x01aa\x02j",
        );
        // Lists of small integers have a short form up to 65,535 of them.
        let list = |count: usize| term_of(&format!("[{}]", vec!["7"; count].join(",")));
        assert_eq!(list(65_535).len(), 3 + 65_535);
        assert_eq!(list(65_536).len(), 5 + 2 * 65_536 + 1);
        // 256 bytes of size, or more, have a longer head.
        assert_eq!(
            term_of(&format!("1{}", "0".repeat(612)))[..3],
            [110, 255, 0]
        );
        assert_eq!(
            term_of(&format!("1{}", "0".repeat(616)))[..6],
            [111, 0, 0, 1, 0, 0]
        );
    }

    #[test]
    fn members_and_items_are_visited_as_they_were_sent() {
        let members = |json: &str| {
            let mut seen = Vec::new();
            let is_object = for_each_member(json.as_bytes(), |key, raw| {
                seen.push((key.to_owned(), String::from_utf8(raw.to_vec()).unwrap()));
                Ok::<(), JsonError>(())
            });
            is_object.map(|is_object| is_object.then_some(seen))
        };
        let pair = |key: &str, raw: &str| (key.to_owned(), raw.to_owned());
        assert_eq!(
            members(r#" { "\u0061" : [ 1 , {} ] , "b":1.50, "a" : "\/" } "#),
            Ok(Some(vec![
                pair("a", "[ 1 , {} ]"),
                pair("b", "1.50"),
                pair("a", r#""\/""#),
            ]))
        );
        assert_eq!(members("{}"), Ok(Some(vec![])));
        assert_eq!(members("[1]"), Ok(None));
        assert_eq!(members(r#"{"a":1} x"#), Err(JsonError::Invalid));
        assert_eq!(members("[1] x"), Err(JsonError::Invalid));

        let items = |json: &str| {
            let mut seen = Vec::new();
            let is_array = for_each_item(json.as_bytes(), |raw| {
                seen.push(String::from_utf8(raw.to_vec()).unwrap());
                Ok::<(), JsonError>(())
            });
            is_array.map(|is_array| is_array.then_some(seen))
        };
        assert_eq!(
            items(r#"["a", 1 ]"#),
            Ok(Some(vec![r#""a""#.to_owned(), "1".to_owned()]))
        );
        assert_eq!(items("{}"), Ok(None));
        assert_eq!(items("[1,]"), Err(JsonError::Invalid));

        assert_eq!(read_text(br#" "\u0061b" "#), Ok(Some("ab".into())));
        assert_eq!(read_text(b"1"), Ok(None));
        assert_eq!(read_text(b"\"a"), Err(JsonError::Invalid));
    }

    #[test]
    fn a_visitor_can_stop() {
        let stopped = for_each_member(br#"{"a":1,"b":"#, |_, _| Err(DraftError::NotAnObject));
        assert_eq!(stopped, Err(DraftError::NotAnObject));
    }

    /// Any JSON value.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0..300i64).prop_map(Value::from),
            any::<f64>()
                .prop_filter("finite", |number| number.is_finite())
                .prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x20\"\\\\/a]{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::vec(("[a-z]{0,3}|\\PC{0,5}", inner), 0..20)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Numbers as floats where they are floats, so that only their value is compared.
    fn by_value(value: &Value) -> Value {
        match value {
            Value::Number(number)
                if !number
                    .as_str()
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b == b'-') =>
            {
                // Adding zero makes one zero of both.
                Value::from((number.as_f64().unwrap() + 0.0).to_bits())
            }
            Value::Array(items) => items.iter().map(by_value).collect(),
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(key, value)| (key.clone(), by_value(value)))
                    .collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    /// Whether another parser takes the input, and holds its numbers in floats.
    fn serde_takes(json: &[u8]) -> bool {
        fn is_finite(value: &Value) -> bool {
            match value {
                Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
                Value::Array(items) => items.iter().all(is_finite),
                Value::Object(members) => members.values().all(is_finite),
                Value::Null | Value::Bool(_) | Value::String(_) => true,
            }
        }
        serde_json::from_slice(json).is_ok_and(|value| is_finite(&value))
    }

    proptest! {
        #[test]
        fn normal_text_means_the_same(value in values(), pretty in any::<bool>()) {
            let json = if pretty {
                serde_json::to_string_pretty(&value)
            } else {
                serde_json::to_string(&value)
            }
            .unwrap();
            let text = normal(&json).unwrap();
            let read: Value = serde_json::from_str(&text).unwrap();
            let sent: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(by_value(&read), by_value(&sent));
            prop_assert_eq!(normal(&text).unwrap(), text);
        }

        #[test]
        fn we_take_what_serde_takes(json in r#"([\[\]{}:,]|[ \n]|"[a\\/nu0]{0,3}"|-?[0-9]{1,3}|[0-9]\.[0-9]|e[+-]?[0-9]|true|null){0,12}"#) {
            prop_assert_eq!(normal(&json).is_ok(), serde_takes(json.as_bytes()), "{}", json);
        }

        #[test]
        fn bytes_are_never_trouble(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let taken = normalise(&bytes).is_ok();
            prop_assert_eq!(taken, serde_takes(&bytes));
            prop_assert!(taken || parse_document(&bytes).is_err());
            prop_assert!(taken || parse_bulk(&bytes).is_err());
        }

        #[test]
        fn broken_json_is_never_trouble(value in values(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut json = format!(r#"{{"docs":[{{"_id":"a","k":{value}}}]}}"#).into_bytes();
            let at = cut.index(json.len());
            json[at] = byte;
            let taken = normalise(&json).is_ok();
            if parse_bulk(&json).is_ok() {
                prop_assert!(taken);
            }
            json.truncate(at);
            prop_assert!(parse_bulk(&json).is_err());
        }

        #[test]
        fn written_strings_read_back(text in any::<String>()) {
            let mut json = Vec::new();
            write_json_string(&mut json, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text.as_str());
            prop_assert_eq!(normalise(&json).unwrap(), json.as_slice());
            prop_assert_eq!(read_text(&json).unwrap().unwrap(), text);
        }

        #[test]
        fn a_plain_run_ends_at_the_first_special_byte(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let naive = bytes.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\');
            prop_assert_eq!(plain_run(&bytes), naive.unwrap_or(bytes.len()));
        }

        #[test]
        fn a_body_is_normal_and_named_the_same_again(value in values(), id in any::<String>()) {
            let json = serde_json::json!({ "_id": id, "a": value, "_rev": "1-a", "b": value });
            let draft = parse_document(json.to_string().as_bytes()).unwrap();
            prop_assert_eq!(normalise(&draft.body).unwrap(), draft.body.as_slice());
            let again = parse_document(&draft.body).unwrap();
            prop_assert_eq!(&again.body, &draft.body);
            prop_assert_eq!(draft.id, Some(Field::Text(id)));
        }
    }
}
