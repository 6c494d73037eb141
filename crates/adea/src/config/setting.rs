//! One row of the table of settings, and the macro that makes the table.
//!
//! A setting is declared once, in `config.rs`. From that line come its key in the file, its
//! environment variable, its flag, its default, its field in `Config` and its documentation, so
//! none of these can drift from the others.

use super::kind::AnyKind;

/// A setting as the table declares it.
pub(crate) struct Setting {
    /// The key in the file, dotted where it stands in a section.
    pub(crate) key: &'static str,
    /// The heading it stands under in `--help` and in the reference.
    pub(crate) group: &'static str,
    /// The default as one would write it; none where the server makes a value itself.
    pub(crate) default: Option<&'static str>,
    /// The lines of its documentation; the first alone says what it is.
    pub(crate) about: &'static [&'static str],
    /// How its values are read.
    pub(crate) kind: &'static dyn AnyKind,
}

impl Setting {
    /// Its environment variable: `ADEA_` and the key in capitals.
    pub(crate) fn environment(&self) -> String {
        format!("ADEA_{}", self.key.to_uppercase().replace('.', "_"))
    }

    /// Its flag without the dashes in front.
    pub(crate) fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// What it is, in one line.
    pub(crate) fn summary(&self) -> &'static str {
        self.about.first().map_or("", |line| line.trim())
    }

    /// All that is said about it, in one paragraph.
    pub(crate) fn description(&self) -> String {
        let lines: Vec<_> = self.about.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }
}

/// Declares the table of settings and the struct they are read into.
macro_rules! settings {
    ($( $group:literal { $(
        $(#[doc = $about:literal])+
        $field:ident: $type:ty = $key:literal, $kind:expr, $default:expr;
    )+ } )+) => {
        /// The settings of one process, read and checked.
        #[derive(Clone, Debug)]
        pub(crate) struct Config { $( $(
            $(#[doc = $about])+
            pub(crate) $field: $type,
        )+ )+ }

        /// Every setting there is, in the order of the reference.
        pub(crate) static SETTINGS: &[Setting] = &[ $( $(
            Setting {
                key: $key,
                group: $group,
                default: $default,
                about: &[$($about),+],
                kind: &$kind,
            },
        )+ )+ ];

        impl Config {
            /// Reads the winning values of all layers into their fields.
            fn read(values: &Values) -> Result<Self, Faults> {
                Ok(Self { $( $( $field: values.read($key, &$kind)?, )+ )+ })
            }
        }
    };
}
pub(crate) use settings;
