//! Hosts, origins, and addresses that a browser may be sent to.
//!
//! Invariant: an address that is below an origin is on that origin for every reader of URLs: it has
//! nobody's name before the host, no backslash, no space and nothing that cannot be seen.

/// The longest host name.
const HOST_MAX: usize = 253;
/// The longest address.
const ADDRESS_MAX: usize = 2_048;

/// A host's name in the form that is compared: small letters, foreign ones in ASCII's form, without a
/// port or a dot at its end. `None` if it is none.
#[must_use]
pub fn normal_host(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let ascii = idna::domain_to_ascii(text).ok()?;
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    (ascii.len() <= HOST_MAX && ascii.split('.').all(label)).then_some(ascii)
}

/// An origin in the form that is compared: `https://host`, with a port where it is not the scheme's own.
/// Without TLS only this machine is one.
#[must_use]
pub fn normal_origin(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (host, port) = match rest.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    let host = normal_host(host)?;
    let local = host == "localhost" || host.ends_with(".localhost") || host == "127.0.0.1";
    let own = match scheme {
        "https" => 443,
        "http" if local => 80,
        _ => return None,
    };
    match port {
        None => Some(format!("{scheme}://{host}")),
        Some(text) => {
            let port: u16 = text.parse().ok().filter(|port| *port > 0)?;
            (text.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
            Some(if port == own {
                format!("{scheme}://{host}")
            } else {
                format!("{scheme}://{host}:{port}")
            })
        }
    }
}

/// Whether `address` is on `origin`, which is in its normal form.
#[must_use]
pub fn is_below(address: &str, origin: &str) -> bool {
    let readable = address.len() <= ADDRESS_MAX
        && address
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b));
    let rest = address.strip_prefix(origin);
    readable && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

/// Whether `link` is on `origin`, with one place for a secret (`{token}`) behind it, and perhaps places for
/// the app's id (`{app}`).
#[must_use]
pub(super) fn is_link_below(link: &str, origin: &str) -> bool {
    let behind = link.strip_prefix(origin);
    behind.is_some_and(|behind| {
        let filled = behind.replacen("{token}", "t", 1).replace("{app}", "a");
        filled.len() < behind.len()
            && behind.contains("{token}")
            && is_below(&format!("{origin}{filled}"), origin)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_origins_have_one_form() {
        let host = |text: &str, expected: Option<&str>| {
            assert_eq!(normal_host(text).as_deref(), expected, "{text:?}");
        };
        host("Shop.Example.ORG.", Some("shop.example.org"));
        host("bücher.example", Some("xn--bcher-kva.example"));
        host("localhost", Some("localhost"));
        for wrong in [
            "", ".", "a..b", "a b", "a/b", "a:80", "-a.b", "a@b", "[::1]", "a\u{0}", "a\\b", "*",
        ] {
            host(wrong, None);
        }
        host(&format!("{}.x", "a".repeat(64)), None);
        let origin = |text: &str, expected: Option<&str>| {
            assert_eq!(normal_origin(text).as_deref(), expected, "{text:?}");
        };
        origin("https://Shop.example", Some("https://shop.example"));
        origin("https://shop.example:443", Some("https://shop.example"));
        origin(
            "https://shop.example:8443",
            Some("https://shop.example:8443"),
        );
        origin("http://localhost:5173", Some("http://localhost:5173"));
        origin("http://127.0.0.1:3000", Some("http://127.0.0.1:3000"));
        for wrong in [
            "http://shop.example",
            "javascript://x",
            "https://",
            "https://a/b",
            "https://u@a",
            "HTTPS://a",
            "https://a:0",
            "https://a:99999",
            "https://a:+80",
            "https://a:80:80",
            "ftp://localhost",
            "null",
            "*",
        ] {
            origin(wrong, None);
        }
    }

    #[test]
    fn an_address_is_below_its_own_origin_alone() {
        let origin = "https://shop.example";
        for inside in ["", "/", "/a?b=c#d", "?x", "#x"] {
            assert!(is_below(&format!("{origin}{inside}"), origin), "{inside}");
        }
        for outside in [
            ".evil.example/",
            "@evil.example/",
            ":443/",
            "evil",
            "\\@evil/",
            "/a b",
            "/\n",
            "/\u{0}",
            "/ü",
            "/\"",
            "/<",
        ] {
            assert!(
                !is_below(&format!("{origin}{outside}"), origin),
                "{outside}"
            );
        }
        for link in ["/#{token}", "/{app}/x?t={token}", "?{token}"] {
            assert!(is_link_below(&format!("{origin}{link}"), origin), "{link}");
        }
        for link in [
            "",
            "/",
            "/{app}",
            "{token}",
            "/{token}{token}",
            "/{token}{x}",
            ".{app}/{token}",
            "@e/{token}",
        ] {
            assert!(!is_link_below(&format!("{origin}{link}"), origin), "{link}");
        }
        assert!(!is_link_below(
            "https://{app}.example/{token}",
            "https://a.example"
        ));
        assert!(!is_below(
            "https://evil.example/?https://shop.example/",
            origin
        ));
        assert!(!is_below(
            &format!("{origin}/{}", "a".repeat(3_000)),
            origin
        ));
    }
}
