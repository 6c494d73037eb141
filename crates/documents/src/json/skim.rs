//! Reading parts of stored text: the members that somebody asks for, and nothing built of the rest.
//!
//! A selector, an index or a list of fields names a few members of a document. A tree of the whole
//! would cost ten times what they need, so the text is run over once: what is not asked for is
//! stepped across, eight bytes at a time where it is a string.
//!
//! Invariant: the input is normal text ([`super::normalise`]), so there is no white space between
//! tokens, no key comes twice, and a key is written in one way only. Other bytes give wrong parts or
//! none, and never a panic, a loop without end or a deep recursion.

use serde_json::{Map, Number, Value};

use super::{MAX_DEPTH, plain_run, write_escaped};
use crate::selector::{FieldPath, array_index};

/// A path into stored text, its steps spelled as keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPath {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    /// The key as it stands between its quotes.
    key: Box<[u8]>,
    /// The same step into an array.
    index: Option<usize>,
}

impl TextPath {
    /// The same path as a selector has it.
    #[must_use]
    pub fn of(path: &FieldPath) -> Self {
        let steps = path.steps().map(|step| Step {
            key: key_of(step).into_boxed_slice(),
            index: array_index(step),
        });
        Self {
            steps: steps.collect(),
        }
    }

    /// The text of the value at the end of the path, if there is one.
    #[must_use]
    pub fn find<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let mut found = text;
        for step in &self.steps {
            let mut skim = Skim { rest: found };
            found = match skim.rest.first()? {
                b'{' => skim.member(&step.key)?,
                b'[' => skim.item(step.index?)?,
                _ => return None,
            };
        }
        Some(found)
    }
}

/// The members of documents that somebody asks for, as a tree of their names.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    whole: bool,
    /// By key, so that a document of many members is no trouble to one who asks for many.
    members: Vec<(Box<[u8]>, Box<str>, Self)>,
}

impl Wanted {
    /// Asks for what `path` leads to; the empty path leads to the document itself.
    pub fn add(&mut self, path: &FieldPath) {
        let mut node = self;
        for step in path.steps() {
            if node.whole {
                return;
            }
            let key = key_of(step);
            let place = node.place_of(&key);
            let at = place.unwrap_or_else(|at| {
                let member = (key.into_boxed_slice(), step.into(), Self::default());
                node.members.insert(at, member);
                at
            });
            let Some((_, _, next)) = node.members.get_mut(at) else {
                return;
            };
            node = next;
        }
        node.whole = true;
        node.members.clear();
    }

    /// Where a key is among the members, or would be.
    fn place_of(&self, key: &[u8]) -> Result<usize, usize> {
        self.members
            .binary_search_by(|(known, _, _)| (**known).cmp(key))
    }

    /// Whether everything is asked for.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether a member of the document is asked for, or something inside it.
    #[must_use]
    pub fn names(&self, member: &str) -> bool {
        self.whole || self.members.iter().any(|(_, name, _)| **name == *member)
    }

    /// Whether a member is asked for that the server tells of a document and that is not in its
    /// stored text.
    #[must_use]
    pub fn names_any_of_the_servers(&self) -> bool {
        self.whole
            || self
                .members
                .iter()
                .any(|(_, name, _)| name.starts_with('_'))
    }

    /// Whether of those members none is asked for but `_id` and `_rev`.
    #[must_use]
    pub fn names_only_id_and_rev_of_the_servers(&self) -> bool {
        let mut members = self.members.iter();
        !self.whole
            && members
                .all(|(_, name, _)| !name.starts_with('_') || matches!(&**name, "_id" | "_rev"))
    }

    /// Adds those members of `text`, an object, that are asked for.
    pub fn read_into(&self, text: &[u8], out: &mut Map<String, Value>) {
        let mut skim = Skim { rest: text };
        if skim.rest.first() == Some(&b'{') {
            skim.read_members(self, MAX_DEPTH, out);
        }
    }

    /// What is asked for of a value.
    fn read(&self, skim: &mut Skim<'_>, depth: usize) -> Option<Value> {
        let inside = depth.checked_sub(1)?;
        // A step may go into an array, too; of those everything is kept.
        if self.whole || skim.rest.first() != Some(&b'{') {
            return skim.value(depth);
        }
        let mut members = Map::new();
        skim.read_members(self, inside, &mut members)?;
        Some(Value::Object(members))
    }
}

/// The value of a text; `None` where it is none.
#[must_use]
pub fn read_value(text: &[u8]) -> Option<Value> {
    let mut skim = Skim { rest: text };
    let value = skim.value(MAX_DEPTH + 1)?;
    skim.rest.is_empty().then_some(value)
}

/// The items of an array as they stand in the text.
pub fn items(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut skim = Skim {
        rest: text.strip_prefix(b"[").unwrap_or_default(),
    };
    std::iter::from_fn(move || {
        if matches!(skim.rest.first(), None | Some(b']')) {
            return None;
        }
        let item = skim.raw()?;
        if skim.rest.first() == Some(&b',') {
            skim.step();
        }
        Some(item)
    })
}

/// The members of an object as they stand in the text: what is between the quotes of each key, and
/// the value.
pub fn members(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut skim = Skim {
        rest: text.strip_prefix(b"{").unwrap_or_default(),
    };
    std::iter::from_fn(move || {
        if skim.rest.first() != Some(&b'"') {
            return None;
        }
        let name = skim.string()?;
        skim.take(b':')?;
        let value = skim.raw()?;
        if skim.rest.first() == Some(&b',') {
            skim.step();
        }
        Some((name, value))
    })
}

/// A name as it stands between the quotes of a key.
#[must_use]
pub fn key_of(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len());
    write_escaped(&mut key, name.as_bytes());
    key
}

/// What is left of a text.
struct Skim<'t> {
    rest: &'t [u8],
}

impl<'t> Skim<'t> {
    fn step(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    /// Steps across a string, from its opening quote on, and answers what is between the quotes.
    fn string(&mut self) -> Option<&'t [u8]> {
        let text = self.rest.get(1..)?;
        let mut length = 0;
        loop {
            let ahead = text.get(length..)?;
            length += plain_run(ahead);
            match text.get(length)? {
                b'"' => break,
                b'\\' => length += 2,
                _ => length += 1,
            }
        }
        let (content, rest) = text.split_at_checked(length)?;
        self.rest = rest.get(1..)?;
        Some(content)
    }

    /// Steps across a value and answers its text.
    fn raw(&mut self) -> Option<&'t [u8]> {
        let text = self.rest;
        match text.first()? {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.container()?,
            _ => {
                let end = text
                    .iter()
                    .position(|byte| matches!(byte, b',' | b'}' | b']'))
                    .unwrap_or(text.len());
                self.rest = text.get(end..)?;
            }
        }
        text.get(..text.len() - self.rest.len())
    }

    fn container(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.rest.first()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.step();
            if open == 0 {
                return Some(());
            }
        }
    }

    /// The value under `key`, of an object.
    fn member(&mut self, key: &[u8]) -> Option<&'t [u8]> {
        self.step();
        while self.rest.first() == Some(&b'"') {
            let name = self.string()?;
            self.take(b':')?;
            let value = self.raw()?;
            if name == key {
                return Some(value);
            }
            self.take(b',')?;
        }
        None
    }

    /// The item at `index`, of an array.
    fn item(&mut self, index: usize) -> Option<&'t [u8]> {
        items(self.rest).nth(index)
    }

    /// Reads the members of an object that are wanted, and stops where no other can come.
    fn read_members(
        &mut self,
        wanted: &Wanted,
        depth: usize,
        out: &mut Map<String, Value>,
    ) -> Option<()> {
        let mut left = wanted.members.len();
        self.step();
        while left > 0 || wanted.whole {
            if self.rest.first() != Some(&b'"') {
                self.take(b'}')?;
                return Some(());
            }
            let name = self.string()?;
            self.take(b':')?;
            if wanted.whole {
                out.insert(unescaped(name)?, self.value(depth)?);
            } else if let Some((_, name, inner)) = wanted
                .place_of(name)
                .ok()
                .and_then(|at| wanted.members.get(at))
            {
                left -= 1;
                out.insert(String::from(&**name), inner.read(self, depth)?);
            } else {
                self.raw()?;
            }
            if self.rest.first() == Some(&b',') {
                self.step();
            }
        }
        // All were found. Inside of another object, whoever called goes on behind this one.
        while depth < MAX_DEPTH && self.rest.first() == Some(&b'"') {
            self.string()?;
            self.take(b':')?;
            self.raw()?;
            if self.rest.first() == Some(&b',') {
                self.step();
            }
        }
        if depth < MAX_DEPTH {
            self.take(b'}')?;
        }
        Some(())
    }

    /// Reads a whole value.
    fn value(&mut self, depth: usize) -> Option<Value> {
        let inside = depth.checked_sub(1)?;
        Some(match self.rest.first()? {
            b'"' => Value::String(unescaped(self.string()?)?),
            b'{' => {
                let mut members = Map::new();
                self.step();
                while self.rest.first() == Some(&b'"') {
                    let name = unescaped(self.string()?)?;
                    self.take(b':')?;
                    members.insert(name, self.value(inside)?);
                    if self.rest.first() == Some(&b',') {
                        self.step();
                    }
                }
                self.take(b'}')?;
                Value::Object(members)
            }
            b'[' => {
                let mut elements = Vec::new();
                self.step();
                while self.rest.first() != Some(&b']') {
                    elements.push(self.value(inside)?);
                    if self.rest.first() == Some(&b',') {
                        self.step();
                    }
                }
                self.step();
                Value::Array(elements)
            }
            _ => scalar(self.raw()?)?,
        })
    }
}

fn scalar(text: &[u8]) -> Option<Value> {
    Some(match text {
        b"null" => Value::Null,
        b"true" => Value::Bool(true),
        b"false" => Value::Bool(false),
        number => Value::Number(std::str::from_utf8(number).ok()?.parse::<Number>().ok()?),
    })
}

/// The text that stands escaped between quotes.
fn unescaped(content: &[u8]) -> Option<String> {
    if memchr::memchr(b'\\', content).is_none() {
        return Some(std::str::from_utf8(content).ok()?.to_owned());
    }
    let quoted = [b"\"", content, b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::normalise;
    use super::*;
    use crate::selector::Lookup;

    fn path(name: &str) -> FieldPath {
        FieldPath::parse(name).unwrap()
    }

    fn check_find(text: &str, name: &str, expected: Option<&str>) {
        let found = TextPath::of(&path(name)).find(text.as_bytes());
        assert_eq!(found, expected.map(str::as_bytes), "{name} in {text}");
    }

    #[test]
    fn paths_lead_into_text() {
        let text = r#"{"a":{"b":[10,{"c":null},"}\"]"],"é\"":1.50},"x.y":-1,"0":"zero","e":{}}"#;
        check_find(text, "", Some(text));
        check_find(text, "a.b.0", Some("10"));
        check_find(text, "a.b.1.c", Some("null"));
        check_find(text, "a.b.2", Some(r#""}\"]""#));
        check_find(text, "a.b.3", None);
        check_find(text, "a.b.x", None);
        check_find(text, "a.é\"", Some("1.50"));
        check_find(text, r"x\.y", Some("-1"));
        check_find(text, "0", Some(r#""zero""#));
        check_find(text, "e", Some("{}"));
        check_find(text, "e.f", None);
        check_find(text, "y", None);
    }

    #[test]
    fn broken_text_gives_nothing_and_does_no_harm() {
        for text in [
            "", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":[", "]]", "{\"a\\",
            "{]}",
        ] {
            check_find(text, "b.c", None);
            let mut wanted = Wanted::default();
            wanted.add(&path("b"));
            wanted.read_into(text.as_bytes(), &mut Map::new());
            assert_eq!(items(text.as_bytes()).count(), 0, "{text}");
            assert!(members(text.as_bytes()).count() <= 1, "{text}");
        }
        assert_eq!(read_value("[".repeat(100_000).as_bytes()), None);
        assert_eq!(read_value(b"1 "), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let key = || {
            prop_oneof![
                "[abc]",
                "[ab]\\\\?\"?",
                Just("0".to_owned()),
                Just("é\n".to_owned())
            ]
        };
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f32>().prop_map(|n| Value::from(f64::from(n))),
            "[a-c{}\\[\\],:\"\\\\\n\u{1}é]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_path() -> impl Strategy<Value = FieldPath> {
        let step = prop_oneof![
            "[abc]",
            Just("0".to_owned()),
            Just("1".to_owned()),
            Just("é\n".to_owned()),
            Just("a\"".to_owned())
        ];
        prop::collection::vec(step, 1..4).prop_map(|steps| path(&steps.join(".")))
    }

    proptest! {
        /// What a part of a document says at the paths that it was read for is what the whole says.
        #[test]
        fn parts_say_what_the_whole_says(
            members in prop::collection::vec((prop_oneof!["[abc]", Just("0".to_owned())], any_json()), 0..5),
            paths in prop::collection::vec(any_path(), 1..4),
        ) {
            let document = Value::Object(members.into_iter().collect());
            let text = normalise(document.to_string().as_bytes()).unwrap();
            let document: Value = serde_json::from_slice(&text).unwrap();
            prop_assert_eq!(read_value(&text), Some(document.clone()));
            let mut wanted = Wanted::default();
            paths.iter().for_each(|path| wanted.add(path));
            let mut part = Map::new();
            wanted.read_into(&text, &mut part);
            let part = Value::Object(part);
            for path in &paths {
                prop_assert_eq!(path.find(&part), path.find(&document), "{}", path.name());
                let raw = TextPath::of(path).find(&text);
                match path.find(&document) {
                    Lookup::Found(value) => prop_assert_eq!(raw.and_then(read_value), Some(value.clone())),
                    Lookup::Missing | Lookup::Unreachable => prop_assert_eq!(raw, None),
                }
            }
        }
    }
}
