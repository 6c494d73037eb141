//! The two ends of a replication as a user names them: a database of this server, or an address.

use std::fmt;

use adea_outbound::Address;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::{Map, Value};

use crate::description::InvalidDescription;

/// Headers that are about a connection, or that a request's form decides.
const OWN_HEADERS: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::CONTENT_TYPE,
    header::ACCEPT_ENCODING,
];

/// An end of a replication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A database of this server.
    Local(String),
    /// A database of another.
    Remote(Box<Remote>),
}

/// A database of another server.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where it is and who asks; its path ends with a slash.
    pub address: Address,
    /// What is sent along with every request.
    pub headers: HeaderMap,
    /// A proxy on the way.
    pub proxy: Option<String>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.address, f)
    }
}

/// As it may be shown: without passwords and headers.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(name) => f.write_str(name),
            Self::Remote(remote) => fmt::Display::fmt(&remote.address, f),
        }
    }
}

fn invalid(reason: &str) -> InvalidDescription {
    InvalidDescription(reason.to_owned().into())
}

impl Endpoint {
    /// Reads `source` or `target`: a name, an address, or an object with one and how to sign in.
    pub(crate) fn read(
        value: Option<&Value>,
        proxy: Option<&str>,
    ) -> Result<Self, InvalidDescription> {
        match value {
            Some(Value::String(text)) => Self::named(text, None, proxy),
            Some(Value::Object(fields)) => {
                let Some(Value::String(url)) = fields.get("url") else {
                    return Err(invalid("endpoint has an invalid url"));
                };
                Self::named(url, Some(fields), proxy)
            }
            Some(_) | None => Err(invalid("Missing replicator database")),
        }
    }

    fn named(
        text: &str,
        fields: Option<&Map<String, Value>>,
        proxy: Option<&str>,
    ) -> Result<Self, InvalidDescription> {
        if text.is_empty() {
            return Err(invalid("endpoint has an invalid url"));
        }
        if !text.contains("://") {
            return Ok(Self::Local(text.to_owned()));
        }
        let mut address = Address::parse(text)
            .map_err(|_| invalid("endpoint has an invalid url"))?
            .as_directory();
        let mut headers = HeaderMap::new();
        if let Some(fields) = fields {
            read_headers(&mut headers, fields.get("headers"))?;
            if let Some(credentials) = read_auth(fields.get("auth"))? {
                address.set_credentials(Some(credentials));
            }
        }
        if address.name().is_some() {
            headers.remove(header::AUTHORIZATION);
        }
        Ok(Self::Remote(Box::new(Remote {
            address,
            headers,
            proxy: proxy.map(str::to_owned),
        })))
    }
}

fn read_headers(into: &mut HeaderMap, value: Option<&Value>) -> Result<(), InvalidDescription> {
    let fields = match value {
        None => return Ok(()),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(invalid("`headers` must be an object")),
    };
    for (name, value) in fields {
        let name: HeaderName = name
            .parse()
            .map_err(|_| invalid("`headers` has a name that no header can have"))?;
        let mut value = value
            .as_str()
            .and_then(|value| HeaderValue::from_str(value).ok())
            .ok_or_else(|| invalid("`headers` has a value that no header can have"))?;
        if OWN_HEADERS.contains(&name) {
            continue;
        }
        value.set_sensitive(true);
        into.insert(name, value);
    }
    Ok(())
}

fn read_auth(value: Option<&Value>) -> Result<Option<(String, String)>, InvalidDescription> {
    let fields = match value {
        None => return Ok(None),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(invalid("`auth` must be an object")),
    };
    let Some(basic) = fields.get("basic") else {
        return Ok(None);
    };
    let text = |name: &str| basic.get(name).and_then(Value::as_str).map(str::to_owned);
    match (text("username"), text("password")) {
        (Some(name), Some(password)) => Ok(Some((name, password))),
        _ => Err(invalid("`auth.basic` must have `username` and `password`")),
    }
}
