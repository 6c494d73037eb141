//! The layer of the configuration file: TOML, each value with the line it stands on.
//!
//! A key that is no setting is a fault and not a warning: a limit that is silently not in force is
//! worse than a server that does not start.

use super::SETTINGS;
use super::kind::Raw;
use super::layers::{Fault, Offer, Origin};
use super::suggestion::{did_you_mean, suggest};
use std::path::Path;
use toml_edit::{Document, Item, TableLike, Value};

/// The largest file that is read; more cannot be a configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the file at `path` into offers and faults.
pub(crate) fn from_file(path: &Path) -> (Vec<Offer>, Vec<Fault>) {
    match read(path) {
        Ok(text) => from_toml(path, &text),
        Err(reason) => {
            let path = path.to_owned();
            (Vec::new(), vec![Fault::File { path, reason }])
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(format!(
            "it has {size} bytes, more than a configuration can have"
        ));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Reads the text of a configuration file.
pub(crate) fn from_toml(path: &Path, text: &str) -> (Vec<Offer>, Vec<Fault>) {
    let mut walk = Walk {
        path,
        text,
        offers: Vec::new(),
        faults: Vec::new(),
    };
    match Document::parse(text) {
        Ok(document) => walk.table("", document.as_table()),
        Err(error) => walk.faults.push(Fault::Syntax {
            origin: walk.origin(error.span()),
            reason: error.message().replace('\n', ", "),
        }),
    }
    (walk.offers, walk.faults)
}

/// The way through a document, section by section.
struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    offers: Vec<Offer>,
    faults: Vec<Fault>,
}

impl Walk<'_> {
    fn table(&mut self, section: &str, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let key = if section.is_empty() {
                name.to_owned()
            } else {
                format!("{section}.{name}")
            };
            let name_span = table.get_key_value(name).and_then(|(key, _)| key.span());
            let origin = self.origin(item.span().or(name_span));
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
                let raw = raw(item);
                let key = setting.key;
                self.offers.push(Offer { key, raw, origin });
            } else if let Some(table) = item.as_table_like().filter(|_| is_section(&key)) {
                self.table(&key, table);
            } else {
                self.faults.push(unknown(&key, origin));
            }
        }
    }

    fn origin(&self, span: Option<std::ops::Range<usize>>) -> Origin {
        let start = span.map_or(0, |span| span.start);
        let before = self.text.as_bytes().iter().take(start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Origin::File(self.path.to_owned(), line)
    }
}

fn is_section(key: &str) -> bool {
    sections().any(|section| section == key)
}

fn sections() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .filter_map(|setting| setting.key.split_once('.').map(|(section, _)| section))
}

fn unknown(key: &str, origin: Origin) -> Fault {
    let known = SETTINGS.iter().map(|setting| setting.key).chain(sections());
    Fault::UnknownKey {
        origin,
        key: key.to_owned(),
        suggestion: if is_section(key) {
            "; it is a section that holds settings".to_owned()
        } else {
            did_you_mean(suggest(key, known))
        },
    }
}

/// A TOML value as the kinds read it.
fn raw(item: &Item) -> Raw {
    let Some(value) = item.as_value() else {
        return Raw::Other("a section, not a value", "[...]".to_owned());
    };
    let written = || value.to_string().trim().to_owned();
    match value {
        Value::String(text) => Raw::Text(text.value().clone()),
        Value::Integer(number) => Raw::Integer(*number.value()),
        Value::Boolean(value) => Raw::Boolean(*value.value()),
        Value::Float(_) => Raw::Other("a number with a fraction", written()),
        Value::Datetime(_) => Raw::Other("a date", written()),
        Value::InlineTable(_) => Raw::Other("a section, not a value", written()),
        Value::Array(array) => {
            let texts: Option<Vec<String>> = array
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect();
            texts.map_or_else(
                || Raw::Other("an array of something other than strings", written()),
                Raw::List,
            )
        }
    }
}
