//! The layers of settings: flag over environment over file over default.
//!
//! Each layer offers values; the highest that offers one wins, and its place is remembered, so that
//! every complaint and `adea config explain` can say where a value came from. All faults are
//! gathered before any is reported: whoever corrects a file should have to do it once.

use super::SETTINGS;
use super::kind::{Kind, Raw};
use super::setting::Setting;
use super::suggestion::{did_you_mean, suggest};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The table of settings.
    Default,
    /// A line of the configuration file.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// Something in the configuration that keeps the program from starting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The file cannot be read at all.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{origin}: this is not TOML: {reason}")]
    Syntax {
        /// The line.
        origin: Origin,
        /// What the parser says.
        reason: String,
    },
    /// A key that is no setting.
    #[error("{origin}: there is no setting \"{key}\"{suggestion}")]
    UnknownKey {
        /// The line.
        origin: Origin,
        /// The key as written.
        key: String,
        /// `; did you mean X?`, or nothing.
        suggestion: String,
    },
    /// A value of the wrong type, or out of bounds.
    #[error("{origin}: {key} is {written}: {complaint}. Allowed: {allowed}.")]
    Value {
        /// Where it was written.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// The value, masked if secret.
        written: String,
        /// What is wrong with it.
        complaint: String,
        /// What may be written.
        allowed: String,
    },
    /// Two settings that cannot both hold.
    #[error("{0}")]
    Contradiction(String),
}

/// All that is wrong, one fault a line.
#[derive(Debug)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A value somebody offers for a setting.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The setting's key.
    pub(crate) key: &'static str,
    /// The value as written.
    pub(crate) raw: Raw,
    /// By whom.
    pub(crate) origin: Origin,
}

/// The winning value of one setting.
pub(crate) struct Entry {
    /// The setting.
    pub(crate) setting: &'static Setting,
    /// Its value as written.
    pub(crate) raw: Raw,
    /// Where it came from.
    pub(crate) origin: Origin,
}

impl Entry {
    /// The value for eyes: secrets are stars.
    pub(crate) fn shown(&self) -> String {
        if self.raw != Raw::Absent && self.setting.kind.secret() {
            return "********".to_owned();
        }
        match &self.raw {
            // Plain words need no quotes to be understood.
            Raw::Text(text) if !text.is_empty() && !text.contains(char::is_control) => text.clone(),
            Raw::Absent
            | Raw::Text(_)
            | Raw::Integer(_)
            | Raw::Boolean(_)
            | Raw::List(_)
            | Raw::Other(..) => self.raw.to_string(),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        self.setting
            .kind
            .check(&self.raw)
            .map_err(|complaint| Fault::Value {
                origin: self.origin.clone(),
                key: self.setting.key,
                written: if self.setting.kind.secret() {
                    "********".to_owned()
                } else {
                    self.raw.to_string()
                },
                complaint,
                allowed: self.setting.kind.allowed(),
            })
    }
}

/// The winning values of all settings, in the order of the table.
pub(crate) struct Values {
    /// One entry a setting.
    pub(crate) entries: Vec<Entry>,
}

impl Values {
    /// Starts from the defaults and lays each layer over what lies below it.
    pub(crate) fn layered(layers: Vec<Vec<Offer>>) -> Self {
        let mut entries: Vec<Entry> = SETTINGS
            .iter()
            .map(|setting| Entry {
                setting,
                raw: setting
                    .default
                    .map_or(Raw::Absent, |text| Raw::Text(text.to_owned())),
                origin: Origin::Default,
            })
            .collect();
        for offer in layers.into_iter().flatten() {
            if let Some(entry) = entries.iter_mut().find(|e| e.setting.key == offer.key) {
                entry.raw = offer.raw;
                entry.origin = offer.origin;
            }
        }
        Self { entries }
    }

    /// The entry of `key`.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.setting.key == key)
    }

    /// What is wrong with the values, setting by setting.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.entries
            .iter()
            .filter_map(|entry| entry.check().err())
            .collect()
    }

    /// The value of `key` as `kind` reads it.
    pub(crate) fn read<K: Kind>(&self, key: &'static str, kind: &K) -> Result<K::Value, Faults> {
        let absent = Raw::Absent;
        let (raw, origin) = self
            .entry(key)
            .map_or((&absent, Origin::Default), |e| (&e.raw, e.origin.clone()));
        kind.read(raw).map_err(|complaint| {
            Faults(vec![Fault::Value {
                origin,
                key,
                written: "unreadable".to_owned(),
                complaint,
                allowed: kind.allowed(),
            }])
        })
    }
}

/// The layer of the command line.
pub(crate) fn from_flags(flags: &[(&'static Setting, Vec<String>)]) -> Vec<Offer> {
    flags
        .iter()
        .map(|(setting, values)| Offer {
            key: setting.key,
            raw: match values.as_slice() {
                [one] => Raw::Text(one.clone()),
                many => Raw::List(many.to_vec()),
            },
            origin: Origin::Flag(setting.flag()),
        })
        .collect()
}

/// What the environment says: the file to read, the layer of values, and what to warn about.
#[derive(Default)]
pub(crate) struct Environment {
    /// `ADEA_CONFIG`.
    pub(crate) config: Option<PathBuf>,
    /// The values offered.
    pub(crate) offers: Vec<Offer>,
    /// Variables that begin like ours and are not.
    pub(crate) warnings: Vec<String>,
}

/// The layer of the environment. An empty variable counts as not set: that is what tools that
/// pass variables on leave behind.
pub(crate) fn from_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Environment {
    let mut found = Environment::default();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("ADEA_")) else {
            continue;
        };
        if value.is_empty() {
            continue;
        }
        if name == "ADEA_CONFIG" {
            found.config = Some(PathBuf::from(value));
            continue;
        }
        let Some(setting) = SETTINGS.iter().find(|s| s.environment() == name) else {
            found.warnings.push(unknown_variable(name));
            continue;
        };
        let raw = value.into_string().map_or_else(
            |bytes| {
                let shown = bytes.to_string_lossy().into_owned();
                Raw::Other("text that is not UTF-8", shown)
            },
            Raw::Text,
        );
        found.offers.push(Offer {
            key: setting.key,
            raw,
            origin: Origin::Environment(name.to_owned()),
        });
    }
    found
}

fn unknown_variable(name: &str) -> String {
    let known: Vec<String> = SETTINGS.iter().map(Setting::environment).collect();
    let near = suggest(name, known.iter().map(String::as_str));
    format!(
        "environment {name}: this variable means nothing here{}",
        did_you_mean(near)
    )
}
