//! Addresses as users write them: `https://name:password@host:port/path`.
//!
//! Name and password are taken out when the address is read, and never shown with it again.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// The longest address that is read.
const LENGTH_MAX: usize = 8_192;

/// Where to send requests, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    scheme: Scheme,
    authority: Authority,
    /// Begins with a slash; has no query.
    path: String,
    query: Option<String>,
    name: Option<String>,
    password: Option<String>,
}

/// A text that is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https URL")]
pub struct InvalidAddress;

impl Address {
    /// Reads an absolute URL of HTTP or HTTPS.
    ///
    /// # Errors
    /// [`InvalidAddress`].
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        if text.len() > LENGTH_MAX {
            return Err(InvalidAddress);
        }
        let (scheme, rest) = text.split_once("://").ok_or(InvalidAddress)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::HTTP,
            "https" => Scheme::HTTPS,
            _ => return Err(InvalidAddress),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let authority: Authority = host.parse().map_err(|_| InvalidAddress)?;
        let port = authority.as_str().strip_prefix(authority.host());
        let bad_port = port.is_none_or(|port| !port.is_empty()) && authority.port_u16().is_none();
        if authority.host().is_empty() || bad_port {
            return Err(InvalidAddress);
        }
        let (name, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((name, password)) if !name.is_empty() => (
                Some(decoded(name).ok_or(InvalidAddress)?),
                Some(decoded(password).ok_or(InvalidAddress)?),
            ),
            Some(_) | None => (None, None),
        };
        let tail = tail.split('#').next().unwrap_or("");
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (tail, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        let address = Self {
            scheme,
            authority,
            path: path.to_owned(),
            query,
            name,
            password,
        };
        address.at("").ok_or(InvalidAddress)?;
        Ok(address)
    }

    /// The address itself as a request's.
    #[must_use]
    pub fn uri(&self) -> Uri {
        let query = self.query.as_ref();
        let text = query.map_or(String::new(), |query| format!("?{query}"));
        self.at(&text).unwrap_or_default()
    }

    /// The address of something below: `rest` is put behind the path as it is. `None` if that is no
    /// address.
    #[must_use]
    pub fn at(&self, rest: &str) -> Option<Uri> {
        let path: PathAndQuery = format!("{}{rest}", self.path).parse().ok()?;
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .ok()
    }

    /// Puts a slash behind the path, if there is none and no query.
    #[must_use]
    pub fn as_directory(mut self) -> Self {
        if !self.path.ends_with('/') && self.query.is_none() {
            self.path.push('/');
        }
        self
    }

    /// The path, which begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host's name or number.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The port, unless it is the usual one of the scheme or of `CouchDB`.
    #[must_use]
    pub fn unusual_port(&self) -> Option<u16> {
        let usual = |port: u16| {
            (self.scheme == Scheme::HTTPS && port == 443)
                || (self.scheme == Scheme::HTTP && (port == 80 || port == 5984))
        };
        self.authority.port_u16().filter(|port| !usual(*port))
    }

    /// The name in it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Names somebody else, or nobody.
    pub fn set_credentials(&mut self, credentials: Option<(String, String)>) {
        (self.name, self.password) = match credentials {
            Some((name, password)) => (Some(name), Some(password)),
            None => (None, None),
        };
    }

    /// The header that proves who asks, if a name is in the address.
    #[must_use]
    pub fn authorization(&self) -> Option<HeaderValue> {
        let name = self.name.as_ref()?;
        let password = self.password.as_deref().unwrap_or("");
        let encoded = BASE64.encode(format!("{name}:{password}"));
        let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The address as it may be shown: as `CouchDB` shows it, with stars for the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(name) = &self.name {
            write!(f, "{name}:*****@")?;
        }
        write!(f, "{}{}", self.authority, self.path)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Percent-decoded text.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            out.push(u8::try_from(value).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shows_no_password() {
        let address = Address::parse("https://j%40ne:s%3Acret@db.example:6984/a%2Fb?x=1").unwrap();
        assert_eq!(address.name(), Some("j@ne"));
        assert_eq!(
            address.authorization().unwrap(),
            &format!("Basic {}", BASE64.encode("j@ne:s:cret"))
        );
        for shown in [format!("{address}"), format!("{address:?}")] {
            assert_eq!(shown, "https://j@ne:*****@db.example:6984/a%2Fb");
        }
        assert_eq!(address.uri(), "https://db.example:6984/a%2Fb?x=1");
        let plain = Address::parse("http://[::1]:5984/db")
            .unwrap()
            .as_directory();
        assert_eq!(
            plain.at("_changes?limit=0").unwrap(),
            "http://[::1]:5984/db/_changes?limit=0"
        );
        assert_eq!(plain.unusual_port(), None);
        assert!(plain.authorization().is_none());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "db",
            "/db",
            "ftp://h/",
            "http://",
            "http:///x",
            "http://a b/",
            "http://u:%zz@h/",
            "http://h:99999999/",
            "http://h/\u{7f}\n",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
        assert!(Address::parse(&format!("http://h/{}", "x".repeat(LENGTH_MAX))).is_err());
    }
}
