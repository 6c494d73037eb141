//! Virtual hosts: a host name that stands for a path of the server.
//!
//! `blog.example.org=/blog/_design/app/_rewrite` answers what is asked of that host as if it had been
//! asked below that path. A label of the host may be a name (`:db.example.org=/:db`) or, in front,
//! anything (`*.example.org`); what it was stands in the path under the same name, or as `*`. Rights
//! are those of the path that is answered: a host shows something, and hides nothing.

use http::uri::Uri;

/// What is answered as itself whatever the host, as `CouchDB` has it.
const GLOBAL: [&str; 4] = ["_utils", "_uuids", "_session", "_users"];

/// A label of a host, or a segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
    Any,
}

/// A host, and the path that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vhost {
    /// From the last label to the first.
    labels: Vec<Part>,
    port: Option<u16>,
    /// What the path that is asked for must begin with.
    front: Vec<String>,
    target: Vec<Part>,
}

impl Vhost {
    /// Reads `host=/path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (pattern, target) = text
            .split_once('=')
            .ok_or_else(|| format!("\"{text}\" has no path; write \"{text}=/database\""))?;
        let (pattern, target) = (pattern.trim(), target.trim());
        let (host, front) = pattern.split_once('/').unwrap_or((pattern, ""));
        // A name begins with a colon, a port stands behind the last one.
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) && !port.is_empty() => {
                let port = port.parse();
                (
                    host,
                    Some(port.map_err(|_| format!("\"{pattern}\" has no such port"))?),
                )
            }
            _ => (host.strip_suffix(":*").unwrap_or(host), None),
        };
        let labels: Vec<Part> = host.split('.').rev().map(label).collect();
        let inside = labels.split_last().map_or(&[][..], |(_, rest)| rest);
        if inside.contains(&Part::Any) {
            return Err(format!("\"{pattern}\" may have a * only in front"));
        }
        if host.is_empty() || labels.contains(&Part::Text(String::new())) {
            return Err(format!("\"{pattern}\" is no host"));
        }
        if !target.starts_with('/') {
            return Err(format!("\"{target}\" must begin with /"));
        }
        let segments = |path: &str| -> Vec<String> {
            let segments = path.split('/').filter(|segment| !segment.is_empty());
            segments.map(str::to_owned).collect()
        };
        Ok(Self {
            labels,
            port,
            front: segments(front),
            target: segments(target).iter().map(|part| label(part)).collect(),
        })
    }

    /// How particular it is: hosts that name more come before those that name less.
    fn rank(&self) -> (usize, usize, bool) {
        let texts = self.labels.iter();
        let texts = texts.filter(|label| matches!(label, Part::Text(_))).count();
        (texts, self.front.len(), self.port.is_some())
    }

    /// The path that is answered, if this is the host that was asked.
    fn matched(&self, host: &str, port: Option<u16>, path: &str) -> Option<String> {
        if self.port.is_some() && self.port != port {
            return None;
        }
        let mut rest = path.trim_start_matches('/');
        for segment in &self.front {
            let (first, more) = rest.split_once('/').unwrap_or((rest, ""));
            (first == segment).then_some(())?;
            rest = more;
        }
        let mut bound: Vec<(&str, String)> = Vec::new();
        let mut labels = host.split('.').rev();
        for label in &self.labels {
            match label {
                Part::Any => {
                    let mut left: Vec<&str> = labels.by_ref().collect();
                    left.reverse();
                    (!left.is_empty()).then_some(())?;
                    bound.push(("*", left.join(".")));
                }
                Part::Name(name) => bound.push((name, labels.next()?.to_owned())),
                Part::Text(text) => (labels.next()? == text).then_some(())?,
            }
        }
        labels.next().is_none().then_some(())?;
        let mut answered = String::new();
        for part in &self.target {
            let (name, text) = match part {
                Part::Text(text) => ("", text.clone()),
                Part::Name(name) => (name.as_str(), format!(":{name}")),
                Part::Any => ("*", "*".to_owned()),
            };
            let found = bound.iter().find(|(known, _)| *known == name);
            answered.push('/');
            answered.push_str(found.map_or(&text, |(_, value)| value));
        }
        answered.push('/');
        answered.push_str(rest);
        Some(answered)
    }
}

fn label(text: &str) -> Part {
    match text.strip_prefix(':') {
        Some(name) => Part::Name(name.to_owned()),
        None if text == "*" => Part::Any,
        None => Part::Text(text.to_owned()),
    }
}

impl Vhost {
    /// Puts hosts into the order in which they are tried.
    #[must_use]
    pub fn ordered(mut hosts: Vec<Self>) -> Vec<Self> {
        hosts.sort_by_key(|host| std::cmp::Reverse(host.rank()));
        hosts
    }
}

/// What is answered to a request for `uri` at `host`, if one of `hosts` is meant.
pub(crate) fn answered(hosts: &[Vhost], host: &str, uri: &Uri) -> Option<Uri> {
    let first = uri.path().trim_start_matches('/').split('/').next();
    if GLOBAL.contains(&first.unwrap_or("")) {
        return None;
    }
    let host = host.to_ascii_lowercase();
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (host.as_str(), None),
    };
    let mut found = hosts.iter();
    let path = found.find_map(|vhost| vhost.matched(host, port, uri.path()))?;
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    whole.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_stands_for_a_path() {
        let hosts = [
            "*.example.org=/any/*",
            "blog.example.org=/blog/_design/app/_rewrite",
            ":db.example.org:81=/:db",
            "example.org/api=/api_db",
            ":user.:db.wild.org=/:db/_design/:user/_rewrite",
        ];
        let hosts = Vhost::ordered(
            hosts
                .iter()
                .map(|text| Vhost::parse(text).unwrap())
                .collect(),
        );
        let check = |host: &str, uri: &str, expected: Option<&str>| {
            let answer = answered(&hosts, host, &uri.parse().unwrap());
            let answer = answer.map(|uri| uri.to_string());
            assert_eq!(answer.as_deref(), expected, "{host} {uri}");
        };
        let rewrite = "/blog/_design/app/_rewrite";
        check("blog.example.org", "/", Some(&format!("{rewrite}/")));
        check(
            "BLOG.example.org:5984",
            "/a%2Fb?x=1",
            Some(&format!("{rewrite}/a%2Fb?x=1")),
        );
        check("blog.example.org", "/_session", None);
        check("shop.example.org:81", "/d", Some("/shop/d"));
        check("shop.example.org", "/d", Some("/any/shop/d"));
        check("a.b.example.org", "/d", Some("/any/a.b/d"));
        check("example.org", "/api/d", Some("/api_db/d"));
        check("example.org", "/apis", None);
        check(
            "ann.notes.wild.org",
            "/x",
            Some("/notes/_design/ann/_rewrite/x"),
        );
        check("wild.org", "/x", None);
        check("localhost:5984", "/x", None);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for wrong in ["x", "=/a", "a.*.b=/c", "a=b", "a..b=/c", "a:99999=/c"] {
            assert!(Vhost::parse(wrong).is_err(), "{wrong}");
        }
    }
}
