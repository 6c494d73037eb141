//! Where a server is and how to be let in, as people write it: `http://name:password@host:port`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A server's address, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// Host and port, for connecting and for the `Host` header.
    pub(crate) host: String,
    /// The `Authorization` header, if there are credentials.
    pub(crate) authorization: Option<String>,
}

/// Says where, and no password.
impl std::fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host)
    }
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAddress {
    /// A proxy with TLS may stand before the server, but nothing here speaks any.
    #[error(
        "https is not spoken here; ask the server on its own address, http://name:password@host:port"
    )]
    Tls,
    /// It is not written like one. The password is not repeated.
    #[error("{0:?} should be http://name:password@host:port, with nothing behind")]
    Form(String),
    /// The part before the `@` cannot be read.
    #[error("credentials are written name:password, with %XX for odd characters")]
    Credentials,
}

impl ServerAddress {
    /// Reads an address; odd characters of name and password are `%XX`, and the port is 80 where
    /// none is written.
    ///
    /// # Errors
    /// [`InvalidAddress`], which names no password.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidAddress> {
        let wrong = || InvalidAddress::Form(without_password(url));
        if url.starts_with("https://") {
            return Err(InvalidAddress::Tls);
        }
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        if host.is_empty() || host.starts_with(':') || host.contains(['/', '?', '#']) {
            return Err(wrong());
        }
        // Colons in brackets belong to the address.
        let behind_brackets = host.rsplit(']').next().unwrap_or(host);
        let host = match behind_brackets.split_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            Some(_) => return Err(wrong()),
            None => format!("{host}:80"),
        };
        let authorization = user.map(basic).transpose()?;
        Ok(Self {
            host,
            authorization,
        })
    }
}

fn basic(user: &str) -> Result<String, InvalidAddress> {
    let plain = percent_decoded(user)
        .filter(|user| user.contains(&b':'))
        .ok_or(InvalidAddress::Credentials)?;
    Ok(format!("Basic {}", BASE64.encode(plain)))
}

/// An address for a message, which others may read.
fn without_password(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("http://...@{host}"),
        None => url.to_owned(),
    }
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
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
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_where_and_who() {
        let read = |url: &str| {
            let address = ServerAddress::parse(url).unwrap();
            (address.host, address.authorization)
        };
        let basic = |plain: &str| Some(format!("Basic {}", BASE64.encode(plain)));
        let check = |url: &str, host: &str, who: Option<String>| {
            assert_eq!(read(url), (host.to_owned(), who), "{url}");
        };
        check(
            "http://admin:p%40ss@127.0.0.1:5984/",
            "127.0.0.1:5984",
            basic("admin:p@ss"),
        );
        check(
            "http://admin:a@b@localhost:5984",
            "localhost:5984",
            basic("admin:a@b"),
        );
        check("http://h", "h:80", None);
        check("http://[::1]:1", "[::1]:1", None);
        check("http://[::1]/", "[::1]:80", None);
    }

    #[test]
    fn what_is_no_address_is_told_without_the_password() {
        for url in [
            "",
            "h:5984",
            "admin:secret@host",
            "ftp://admin:secret@host",
            "http://secret@host",
            "http://a:%4@h",
            "http://a:%zzsecret@host",
            "http://a:secret@h/db",
            "http://a:secret@h:port",
            "http://:5984",
            "http://",
        ] {
            let error = ServerAddress::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert_eq!(
            ServerAddress::parse("https://a:b@host"),
            Err(InvalidAddress::Tls)
        );
    }
}
