//! The kinds of value a setting may have: how each is read, and what each allows.
//!
//! A kind turns what was written ([`Raw`]) into a type that cannot be wrong, so nobody checks a
//! setting again after this file. The complaint of a kind says what is wrong in half a sentence;
//! who adds the key, the value and where it came from is `layers.rs`.

use super::quantity::{parse_duration, parse_size, show_duration, show_size};
use super::suggestion::{did_you_mean, suggest};
use adea_http::Vhost;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A value as it was written, before a kind has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    /// Nothing: the setting has no default and nobody gave a value.
    Absent,
    /// A flag, a variable or a TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array of strings, or a flag given several times.
    List(Vec<String>),
    /// A TOML value that no setting takes; what it is, and as it was written.
    Other(&'static str, String),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("(none)"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::List(items) => write!(f, "{items:?}"),
            Self::Other(what, written) => write!(f, "{written} ({what})"),
        }
    }
}

/// One kind of value.
pub(crate) trait Kind {
    /// What the program works with.
    type Value;
    /// Reads what was written; the error says what is wrong with it, in half a sentence.
    fn read(&self, raw: &Raw) -> Result<Self::Value, String>;
    /// What may be written, in half a sentence.
    fn allowed(&self) -> String;
    /// Whether the value must never be shown.
    fn secret(&self) -> bool {
        false
    }
    /// Whether a flag may stand without a value, meaning `true`.
    fn switch(&self) -> bool {
        false
    }
    /// Whether several values may be given.
    fn list(&self) -> bool {
        false
    }
}

/// A [`Kind`] with its type forgotten, for the table of settings.
pub(crate) trait AnyKind: Sync {
    /// Whether `raw` can be read.
    fn check(&self, raw: &Raw) -> Result<(), String>;
    /// As [`Kind::allowed`].
    fn allowed(&self) -> String;
    /// As [`Kind::secret`].
    fn secret(&self) -> bool;
    /// As [`Kind::switch`].
    fn switch(&self) -> bool;
    /// As [`Kind::list`].
    fn list(&self) -> bool;
}

impl<K: Kind + Sync> AnyKind for K {
    fn check(&self, raw: &Raw) -> Result<(), String> {
        self.read(raw).map(drop)
    }
    fn allowed(&self) -> String {
        Kind::allowed(self)
    }
    fn secret(&self) -> bool {
        Kind::secret(self)
    }
    fn switch(&self) -> bool {
        Kind::switch(self)
    }
    fn list(&self) -> bool {
        Kind::list(self)
    }
}

/// The text in `raw`, or a complaint that something else was expected.
fn text(raw: &Raw) -> Result<&str, String> {
    match raw {
        Raw::Text(text) => Ok(text),
        Raw::Absent => Err("it has no value".to_owned()),
        Raw::Integer(_) => Err("it is an integer, not a string".to_owned()),
        Raw::Boolean(_) => Err("it is a boolean, not a string".to_owned()),
        Raw::List(_) => Err("it is an array, not a string".to_owned()),
        Raw::Other(what, _) => Err(format!("it is {what}")),
    }
}

/// An IP address with a port.
pub(crate) struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn read(&self, raw: &Raw) -> Result<SocketAddr, String> {
        let text = text(raw)?;
        text.parse().map_err(|_| match text.rsplit_once(':') {
            Some(("localhost", port)) => {
                format!("a name can stand for several addresses; write \"127.0.0.1:{port}\"")
            }
            Some(("" | "*", port)) => {
                format!("it has no address; write \"0.0.0.0:{port}\" for every interface")
            }
            Some(_) | None => "it is not an address with a port".to_owned(),
        })
    }

    fn allowed(&self) -> String {
        "an IP address and a port, as 127.0.0.1:5984, 0.0.0.0:5984 or [::1]:5984".to_owned()
    }
}

/// A path of the file system; relative ones start in the working directory.
pub(crate) struct Path;

impl Kind for Path {
    type Value = PathBuf;

    fn read(&self, raw: &Raw) -> Result<PathBuf, String> {
        match text(raw)? {
            "" => Err("it is empty".to_owned()),
            path if path.contains('\0') => Err("it holds a zero byte".to_owned()),
            path => Ok(PathBuf::from(path)),
        }
    }

    fn allowed(&self) -> String {
        "a path; a relative one starts in the working directory".to_owned()
    }
}

/// A path that need not be given.
pub(crate) struct OptionalPath;

impl Kind for OptionalPath {
    type Value = Option<PathBuf>;

    fn read(&self, raw: &Raw) -> Result<Option<PathBuf>, String> {
        if *raw == Raw::Absent {
            return Ok(None);
        }
        Kind::read(&Path, raw).map(Some)
    }

    fn allowed(&self) -> String {
        Kind::allowed(&Path)
    }
}

/// A user name, as it must be to pass through Basic authentication and `CouchDB`'s rules.
pub(crate) struct UserName;

impl Kind for UserName {
    type Value = String;

    fn read(&self, raw: &Raw) -> Result<String, String> {
        let name = text(raw)?;
        if name.is_empty() || name.len() > 128 {
            return Err(format!("it has {} bytes", name.len()));
        }
        if name.starts_with('_') {
            return Err("it begins with an underscore".to_owned());
        }
        if name.contains(':') || name.contains(char::is_control) {
            return Err("it holds a colon or a control character".to_owned());
        }
        Ok(name.to_owned())
    }

    fn allowed(&self) -> String {
        "1 to 128 bytes without a colon, not beginning with an underscore".to_owned()
    }
}

/// Something that nobody may read in a log or a listing. Its `Debug` shows stars.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret itself; the name makes every use easy to find.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// A secret of at least so many bytes; where none is given, the server makes one.
pub(crate) struct OptionalSecret {
    /// The fewest bytes.
    pub(crate) shortest: usize,
}

impl Kind for OptionalSecret {
    type Value = Option<Secret>;

    fn read(&self, raw: &Raw) -> Result<Option<Secret>, String> {
        if *raw == Raw::Absent {
            return Ok(None);
        }
        let secret = text(raw)?;
        if secret.len() < self.shortest || secret.len() > 1024 {
            return Err(format!("it has {} bytes", secret.len()));
        }
        Ok(Some(Secret(secret.to_owned())))
    }

    fn allowed(&self) -> String {
        format!("{} to 1024 bytes", self.shortest)
    }

    fn secret(&self) -> bool {
        true
    }
}

/// A number of bytes within bounds; `infinity`, where allowed, is `u64::MAX`.
pub(crate) struct Size {
    /// The smallest allowed.
    pub(crate) min: u64,
    /// The largest allowed, apart from infinity.
    pub(crate) max: u64,
    /// Whether "infinity" may be written.
    pub(crate) unlimited: bool,
}

impl Kind for Size {
    type Value = u64;

    fn read(&self, raw: &Raw) -> Result<u64, String> {
        if self.unlimited && *raw == Raw::Text("infinity".to_owned()) {
            return Ok(u64::MAX);
        }
        let bytes = if let Raw::Integer(number) = raw {
            u64::try_from(*number).map_err(|_| "it is negative".to_owned())?
        } else {
            parse_size(text(raw)?)?
        };
        within(&bytes, &self.min, &self.max)?;
        Ok(bytes)
    }

    fn allowed(&self) -> String {
        format!(
            "a size from {} to {}, as 8_000_000, \"64MB\" or \"64KiB\"{}",
            show_size(self.min),
            show_size(self.max),
            if self.unlimited {
                ", or \"infinity\""
            } else {
                ""
            }
        )
    }
}

/// A number of things within bounds.
pub(crate) struct Count {
    /// The smallest allowed.
    pub(crate) min: usize,
    /// The largest allowed.
    pub(crate) max: usize,
}

impl Kind for Count {
    type Value = usize;

    fn read(&self, raw: &Raw) -> Result<usize, String> {
        let count = if let Raw::Integer(number) = raw {
            usize::try_from(*number).map_err(|_| "it is negative".to_owned())?
        } else {
            let digits = text(raw)?.replace('_', "");
            let number = digits.parse();
            number.map_err(|_| "it is not a whole number".to_owned())?
        };
        within(&count, &self.min, &self.max)?;
        Ok(count)
    }

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }
}

/// A span of time within bounds.
pub(crate) struct Span {
    /// The shortest allowed.
    pub(crate) min: Duration,
    /// The longest allowed.
    pub(crate) max: Duration,
}

impl Kind for Span {
    type Value = Duration;

    fn read(&self, raw: &Raw) -> Result<Duration, String> {
        let span = if let Raw::Integer(number) = raw {
            parse_duration(&number.to_string())?
        } else {
            parse_duration(text(raw)?)?
        };
        within(&span, &self.min, &self.max)?;
        Ok(span)
    }

    fn allowed(&self) -> String {
        format!(
            "a span of time from {} to {}, as \"500ms\", \"10s\" or \"2m\"",
            show_duration(self.min),
            show_duration(self.max)
        )
    }
}

fn within<T: Ord>(value: &T, min: &T, max: &T) -> Result<(), String> {
    if value < min {
        Err("it is too small".to_owned())
    } else if value > max {
        Err("it is too large".to_owned())
    } else {
        Ok(())
    }
}

/// Yes or no.
pub(crate) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, raw: &Raw) -> Result<bool, String> {
        if let Raw::Boolean(value) = raw {
            return Ok(*value);
        }
        match text(raw)? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("it is neither true nor false".to_owned()),
        }
    }

    fn allowed(&self) -> String {
        "true or false".to_owned()
    }

    fn switch(&self) -> bool {
        true
    }
}

/// One of a few words, each standing for a value.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy> Kind for Choice<T> {
    type Value = T;

    fn read(&self, raw: &Raw) -> Result<T, String> {
        let word = text(raw)?;
        self.0
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let near = suggest(word, self.0.iter().map(|(name, _)| *name));
                format!("it is none of them{}", did_you_mean(near))
            })
    }

    fn allowed(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(name, _)| *name).collect();
        words.join(" or ")
    }
}

/// What the log lets through: a level for all, and levels for single targets.
pub(crate) struct LogLevel;

impl Kind for LogLevel {
    type Value = tracing_subscriber::filter::Targets;

    fn read(&self, raw: &Raw) -> Result<Self::Value, String> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let text = text(raw)?;
        for directive in text.split(',') {
            let level = directive.rsplit('=').next().unwrap_or_default().trim();
            if !LEVELS.contains(&level) {
                let near = suggest(level, LEVELS.into_iter());
                return Err(format!("\"{level}\" is no level{}", did_you_mean(near)));
            }
        }
        text.parse().map_err(|_| "it cannot be read".to_owned())
    }

    fn allowed(&self) -> String {
        "off, error, warn, info, debug or trace, and after commas target=level, \
         as \"info,adea_store=debug\""
            .to_owned()
    }
}

/// An origin of web pages that may call the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WebOrigin {
    /// `*`: any page.
    Any,
    /// Exactly this one, as browsers send it: `https://app.example.org`.
    Exactly(String),
}

/// A list of web origins.
pub(crate) struct WebOrigins;

impl Kind for WebOrigins {
    type Value = Vec<WebOrigin>;

    fn read(&self, raw: &Raw) -> Result<Vec<WebOrigin>, String> {
        if let Raw::List(items) = raw {
            return items.iter().map(|item| web_origin(item)).collect();
        }
        text(raw)?
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(web_origin)
            .collect()
    }

    fn allowed(&self) -> String {
        "\"*\" or origins as https://app.example.org or http://localhost:3000".to_owned()
    }

    fn list(&self) -> bool {
        true
    }
}

/// A list of hosts that stand for paths.
pub(crate) struct Vhosts;

impl Kind for Vhosts {
    type Value = Vec<Vhost>;

    fn read(&self, raw: &Raw) -> Result<Vec<Vhost>, String> {
        let hosts: Result<Vec<Vhost>, String> = if let Raw::List(items) = raw {
            items.iter().map(|item| Vhost::parse(item)).collect()
        } else {
            text(raw)?
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(Vhost::parse)
                .collect()
        };
        hosts.map(Vhost::ordered)
    }

    fn allowed(&self) -> String {
        "hosts with paths, as blog.example.org=/blog/_design/app/_rewrite".to_owned()
    }

    fn list(&self) -> bool {
        true
    }
}

fn web_origin(text: &str) -> Result<WebOrigin, String> {
    if text == "*" {
        return Ok(WebOrigin::Any);
    }
    let Some((scheme, host)) = text.split_once("://") else {
        return Err(format!(
            "\"{text}\" has no scheme; write \"https://{text}\""
        ));
    };
    if scheme.is_empty() || host.is_empty() || text.contains(char::is_whitespace) {
        return Err(format!("\"{text}\" is not an origin"));
    }
    if host.contains(['/', '?', '#', '@', '*']) {
        return Err(format!(
            "\"{text}\" holds more than a scheme, a host and a port"
        ));
    }
    if text.contains(|c: char| c.is_ascii_uppercase()) {
        return Err(format!(
            "browsers send \"{}\", in lower case",
            text.to_lowercase()
        ));
    }
    Ok(WebOrigin::Exactly(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn an_address_needs_numbers_and_says_how_to_write_them() {
        assert!(Address.read(&written("[::1]:0")).is_ok());
        let said = |text| Address.read(&written(text)).unwrap_err();
        assert!(said("localhost:5984").contains("127.0.0.1:5984"));
        assert!(said(":5984").contains("0.0.0.0:5984"));
        assert!(said("127.0.0.1").contains("port"));
        let said = Address.read(&Raw::Integer(5984)).unwrap_err();
        assert!(said.contains("integer"));
    }

    #[test]
    fn sizes_keep_their_bounds() {
        let size = Size {
            min: 10,
            max: 100,
            unlimited: true,
        };
        assert_eq!(size.read(&Raw::Integer(10)), Ok(10));
        assert_eq!(size.read(&written("100B")), Ok(100));
        assert_eq!(size.read(&written("infinity")), Ok(u64::MAX));
        assert!(size.read(&Raw::Integer(-1)).is_err());
        assert!(size.read(&written("9")).unwrap_err().contains("small"));
        assert!(size.read(&written("1kB")).unwrap_err().contains("large"));
        assert!(Kind::allowed(&size).contains("10B to 100B"));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let kind = OptionalSecret { shortest: 1 };
        let secret = kind.read(&written("hush")).unwrap().unwrap();
        assert_eq!(format!("{secret:?}"), "********");
        assert_eq!(secret.reveal(), "hush");
        assert!(kind.read(&written("")).is_err());
        assert_eq!(kind.read(&Raw::Absent), Ok(None));
    }

    #[test]
    fn a_choice_suggests_the_near_word() {
        let kind = Choice(&[("strict", 1), ("relaxed", 2)]);
        assert_eq!(kind.read(&written("relaxed")), Ok(2));
        assert!(
            kind.read(&written("stirct"))
                .unwrap_err()
                .contains("mean strict?")
        );
    }

    #[test]
    fn log_levels_may_be_given_per_target() {
        assert!(LogLevel.read(&written("info,adea_store=debug")).is_ok());
        assert!(
            LogLevel
                .read(&written("inof"))
                .unwrap_err()
                .contains("mean info?")
        );
        assert!(LogLevel.read(&written("")).is_err());
    }

    #[test]
    fn web_origins_are_what_browsers_send() {
        let read = |text: &str| WebOrigins.read(&written(text));
        assert_eq!(read("*"), Ok(vec![WebOrigin::Any]));
        assert_eq!(
            read("https://a.example, moz-extension://1f-2")
                .unwrap()
                .len(),
            2
        );
        assert!(read("a.example").unwrap_err().contains("https://a.example"));
        assert!(read("https://a.example/").is_err());
        assert!(read("https://*.example").is_err());
        assert!(
            read("https://A.example")
                .unwrap_err()
                .contains("lower case")
        );
        let list = Raw::List(vec!["https://a.example".to_owned(), "nonsense".to_owned()]);
        assert!(WebOrigins.read(&list).is_err());
    }

    #[test]
    fn user_names_pass_through_basic_authentication() {
        assert!(UserName.read(&written("admin")).is_ok());
        for name in ["", "_admin", "a:b", "a\nb", &"x".repeat(129)] {
            assert!(UserName.read(&written(name)).is_err(), "{name:?}");
        }
    }
}
