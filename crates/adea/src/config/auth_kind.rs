//! Kinds of value that only signing in needs: texts that something else knows how to read.

use std::sync::Arc;

use adea_accounts::oidc::Provider;
use adea_accounts::{PasswordRequirement, RequiredClaims, TokenKeys};
use adea_pod::{LimitRule, Network};

use super::kind::{Kind, Raw};

/// A text that a function reads.
pub(crate) struct Parsed<T: 'static> {
    /// Reads it; the error says what is wrong, in half a sentence.
    pub(crate) read: fn(&str) -> Result<T, String>,
    /// What may be written.
    pub(crate) allowed: &'static str,
}

/// A text that a function reads, or nothing.
pub(crate) struct Optional<T: 'static>(pub(crate) Parsed<T>);

/// Texts that a function reads, each on its own.
pub(crate) struct ListOf<T: 'static> {
    /// One of them.
    pub(crate) item: Parsed<T>,
    /// What stands between them where they are written as one text.
    pub(crate) separator: char,
}

/// How often something may be asked.
pub(crate) const LIMIT: Parsed<Option<LimitRule>> = Parsed {
    read: |text| LimitRule::parse(text).ok_or_else(|| "it is no such rule".to_owned()),
    allowed: "a number in a time, as 10/1m, and where it differs how many at once, as 10/1m 50; or \
              off",
};

/// The keys of tokens, which hold secrets.
pub(crate) struct TokenKeyList;

/// Providers to sign in with, which hold secrets.
pub(crate) struct ProviderList;

fn text(raw: &Raw) -> Result<&str, String> {
    match raw {
        Raw::Text(text) => Ok(text),
        Raw::Absent => Err("it has no value".to_owned()),
        Raw::Integer(_) | Raw::Boolean(_) | Raw::List(_) | Raw::Other(..) => {
            Err("it is not a string".to_owned())
        }
    }
}

fn texts(raw: &Raw, separator: char) -> Result<Vec<&str>, String> {
    let all: Vec<&str> = match raw {
        Raw::Absent => Vec::new(),
        Raw::List(items) => items.iter().map(String::as_str).collect(),
        Raw::Text(_) | Raw::Integer(_) | Raw::Boolean(_) | Raw::Other(..) => {
            text(raw)?.split(separator).collect()
        }
    };
    let trimmed = all.into_iter().map(str::trim);
    Ok(trimmed.filter(|item| !item.is_empty()).collect())
}

impl<T> Kind for Parsed<T> {
    type Value = T;

    fn read(&self, raw: &Raw) -> Result<T, String> {
        (self.read)(text(raw)?)
    }

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }
}

impl<T> Kind for Optional<T> {
    type Value = Option<T>;

    fn read(&self, raw: &Raw) -> Result<Option<T>, String> {
        if *raw == Raw::Absent {
            return Ok(None);
        }
        self.0.read(raw).map(Some)
    }

    fn allowed(&self) -> String {
        Kind::allowed(&self.0)
    }
}

impl<T> Kind for ListOf<T> {
    type Value = Vec<T>;

    fn read(&self, raw: &Raw) -> Result<Vec<T>, String> {
        let items = texts(raw, self.separator)?;
        items.into_iter().map(self.item.read).collect()
    }

    fn allowed(&self) -> String {
        Kind::allowed(&self.item)
    }

    fn list(&self) -> bool {
        true
    }
}

impl Kind for TokenKeyList {
    type Value = Arc<TokenKeys>;

    fn read(&self, raw: &Raw) -> Result<Arc<TokenKeys>, String> {
        let mut keys = TokenKeys::default();
        for item in texts(raw, ',')? {
            let (name, value) = item.split_once('=').ok_or("a key has no \"=\"")?;
            let inserted = keys.insert(name.trim(), value);
            inserted.map_err(|error| error.to_string())?;
        }
        Ok(Arc::new(keys))
    }

    fn allowed(&self) -> String {
        "keys as \"hmac:KID=BASE64\", \"rsa:KID=PEM\", \"ec:KID=PEM\" or \"eddsa:KID=PEM\", with \
         \\n for the ends of lines; KID is _default for tokens that name none"
            .to_owned()
    }

    fn secret(&self) -> bool {
        true
    }

    fn list(&self) -> bool {
        true
    }
}

impl Kind for ProviderList {
    type Value = Vec<Arc<Provider>>;

    fn read(&self, raw: &Raw) -> Result<Self::Value, String> {
        let mut list: Self::Value = Vec::new();
        for item in texts(raw, '\n')? {
            let provider = Provider::parse(item).map_err(|error| error.to_string())?;
            if list.iter().any(|known| known.name == provider.name) {
                return Err(format!("there are two providers called {}", provider.name));
            }
            list.push(Arc::new(provider));
        }
        Ok(list)
    }

    fn allowed(&self) -> String {
        "providers as \"name=google;client_id=…;client_secret=…\", each on a line of its own; google, \
         microsoft, apple, github and gitlab are known, any other has issuer=https://…, or authorize=, \
         token= and user= if it speaks OAuth 2.0 only; more members are label, scopes, trust_email, \
         preset, tenant (microsoft), team_id, key_id and key (apple), discovery and emails"
            .to_owned()
    }

    fn secret(&self) -> bool {
        true
    }

    fn list(&self) -> bool {
        true
    }
}

/// Any text but an empty one.
pub(crate) const TEXT: Parsed<String> = Parsed {
    read: |text| match text {
        "" => Err("it is empty".to_owned()),
        text if text.contains(char::is_control) => Err("it holds a control character".to_owned()),
        text => Ok(text.to_owned()),
    },
    allowed: "a text that is not empty",
};

/// The name of a header, in lower case.
pub(crate) const HEADER: Parsed<String> = Parsed {
    read: |text| {
        let named = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if text.is_empty() || !named {
            return Err("it is no name of a header".to_owned());
        }
        Ok(text.to_ascii_lowercase())
    },
    allowed: "letters, digits, - and _",
};

/// A page of the server itself.
pub(crate) const OWN_PATH: Parsed<String> = Parsed {
    read: |text| {
        let own = text.starts_with('/') && !text.starts_with("//");
        if !own || text.contains(|c: char| c.is_control() || c == '\\') {
            return Err("it is no path of this server".to_owned());
        }
        Ok(text.to_owned())
    },
    allowed: "a path of this server, as /_utils/session.html",
};

/// The name of a cookie.
pub(crate) const COOKIE_NAME: Parsed<String> = Parsed {
    read: |text| {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(named) {
            return Err("it is no name of a cookie".to_owned());
        }
        if text == "AuthSession" || text.starts_with("__") {
            return Err("that name has a meaning already".to_owned());
        }
        Ok(text.to_owned())
    },
    allowed: "at most 64 letters, digits, and -_., but not AuthSession and not __ in front",
};

/// Where a server is reached.
pub(crate) const BASE_URL: Parsed<String> = Parsed {
    read: |text| {
        let rest = ["https://", "http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        let bad = |c: char| c.is_control() || c.is_whitespace() || "?#@\\".contains(c);
        match rest.map(|rest| rest.trim_end_matches('/')) {
            Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !rest.contains(bad) => {
                Ok(text.trim_end_matches('/').to_owned())
            }
            Some(_) | None => Err("it is no such URL".to_owned()),
        }
    },
    allowed: "a URL with nothing behind its path, as https://app.example.org",
};

/// Where keys are published.
pub(crate) const KEYS_URL: Parsed<String> = Parsed {
    read: |text| {
        let here = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
        let local = here.iter().any(|start| {
            let rest = text.strip_prefix(start);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        });
        if !text.starts_with("https://") && !local {
            return Err("whoever is on the way could replace the keys".to_owned());
        }
        Ok(text.to_owned())
    },
    allowed: "a URL that begins with https://, or with http:// on this machine",
};

/// The claims that tokens must have.
pub(crate) const CLAIMS: Parsed<RequiredClaims> = Parsed {
    read: |text| RequiredClaims::parse(text).map_err(|error| error.to_string()),
    allowed: "names of claims and {name, \"value\"} between commas, as exp, {iss, \"https://id.example.org\"}; a value that begins with ^ is a regular expression",
};

/// What a new password must match.
pub(crate) const REQUIREMENT: Parsed<PasswordRequirement> = Parsed {
    read: |text| PasswordRequirement::parse(text).map_err(|error| error.to_string()),
    allowed: "regular expressions, each with \" -- \" and a reason behind it if one shall be told",
};

/// An address or a network.
pub(crate) const NETWORK: Parsed<Network> = Parsed {
    read: |text| Network::parse(text).ok_or_else(|| "it is no address and no network".to_owned()),
    allowed: "addresses and networks, as 127.0.0.1 or 10.0.0.0/8",
};

/// What the names of databases may begin with.
pub(crate) const DATABASE_PREFIX: Parsed<String> = Parsed {
    read: |text| {
        let named = adea_base::DatabaseName::parse(text).is_ok() && text.len() <= 100;
        if !named || text.contains('/') {
            return Err("no database's name begins so".to_owned());
        }
        Ok(text.to_owned())
    },
    allowed: "a small letter, and more letters, digits, and _$()+-, at most 100",
};

/// The name of a database that is not `CouchDB`'s own.
pub(crate) const DATABASE: Parsed<adea_base::DatabaseName> = Parsed {
    read: |text| {
        let name = adea_base::DatabaseName::parse(text).ok();
        let ordinary = name.filter(|name| !name.is_system());
        ordinary.ok_or_else(|| "no database may have this name".to_owned())
    },
    allowed: "a small letter, and more letters, digits, and _$()+-/",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T>(parsed: &Parsed<T>, text: &str) -> bool {
        parsed.read(&Raw::Text(text.to_owned())).is_ok()
    }

    #[test]
    fn texts_are_read_by_who_knows_them() {
        assert!(
            said(&HEADER, "X-Auth-CouchDB-Roles") && !said(&HEADER, "a b") && !said(&HEADER, "")
        );
        assert!(said(&OWN_PATH, "/_utils") && !said(&OWN_PATH, "//evil") && !said(&OWN_PATH, "x"));
        assert!(
            said(&KEYS_URL, "https://id.example/keys") && said(&KEYS_URL, "http://localhost:1/")
        );
        for url in [
            "http://id.example",
            "http://localhost.evil",
            "http://127.0.0.1.evil/",
            "ftp://x",
        ] {
            assert!(!said(&KEYS_URL, url), "{url}");
        }
        assert!(said(&DATABASE_PREFIX, "userdb-") && !said(&DATABASE_PREFIX, "_x"));
        assert!(said(&CLAIMS, "exp, {iss, \"a\"}") && !said(&CLAIMS, "{"));
        let networks = ListOf {
            item: NETWORK,
            separator: ',',
        };
        let text = Raw::Text("127.0.0.1, 10.0.0.0/8".to_owned());
        assert_eq!(networks.read(&text).unwrap().len(), 2);
        assert!(networks.read(&Raw::Text("x".to_owned())).is_err());
        assert_eq!(networks.read(&Raw::Absent).unwrap(), []);
        assert_eq!(Optional(TEXT).read(&Raw::Absent), Ok(None));
    }

    #[test]
    fn providers_are_read_each_under_its_own_name() {
        let read = |text: &str| ProviderList.read(&Raw::Text(text.to_owned()));
        let google = "name=google;client_id=a;client_secret=b,c";
        let github = "name=github;client_id=a;client_secret=b";
        assert_eq!(read(&format!("{google}\n{github}\n")).unwrap().len(), 2);
        assert!(read(&format!("{google}\n{google}")).is_err());
        assert!(
            !read("name=google;client_secret=hush")
                .unwrap_err()
                .contains("hush")
        );
        assert!(Kind::secret(&ProviderList));
    }

    #[test]
    fn keys_are_read_and_not_repeated() {
        let read = |items: &[&str]| {
            let items = items.iter().map(|item| (*item).to_owned()).collect();
            TokenKeyList.read(&Raw::List(items))
        };
        assert!(read(&[]).unwrap().is_empty());
        assert!(!read(&["hmac:_default = aGVsbG8="]).unwrap().is_empty());
        for bad in ["hmac:_default", "hmac:a=hush!", "x=aGVsbG8="] {
            assert!(!read(&[bad]).unwrap_err().contains("hush"), "{bad}");
        }
        assert!(Kind::secret(&TokenKeyList));
    }
}
