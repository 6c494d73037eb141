//! Handing a mail to a server that passes it on (SMTP, RFC 5321), over TLS wherever there is one.
//!
//! Invariants: a password goes over TLS, or to this machine itself; a mail counts as sent when the
//! server has taken it, whatever happens after; only what the server says of this mail is final, so
//! that a wrong password or certificate loses no mail.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::timeout;

use crate::letter::{Composed, InvalidLetter, Letter};

/// The most time for connecting, TLS and signing in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The most time for handing over one mail.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);
/// The most time for a goodbye, which changes nothing any more.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether and when TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    /// With the connection.
    Wrapped,
    /// After a greeting, and nothing is sent if it cannot.
    Required,
    /// After a greeting, if the server can.
    Opportunistic,
    /// Never.
    None,
}

/// A server that mail is handed to.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpServer {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<(String, String)>,
    hello: Option<String>,
    authorities: Option<Vec<u8>>,
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        write!(
            f,
            "SmtpServer({}:{}, {:?})",
            self.host, self.port, self.security
        )
    }
}

/// Why a text names no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServer {
    /// It does not begin as it must.
    #[error("it begins with neither smtp:// nor smtps://")]
    Scheme,
    /// There is no host, or a port that is none.
    #[error("its host or port is none")]
    Host,
    /// Name or password hold what must be escaped, or only one of them is there.
    #[error("its name or password is none; escape what is special in them, as %40 for @")]
    Credentials,
    /// What stands behind the question mark is unknown.
    #[error("behind the question mark there is only tls=required, tls=opportunistic or tls=none")]
    Tls,
    /// A password would travel as it is.
    #[error("the password could be read on the way; use smtps:// or tls=required")]
    Readable,
}

/// Why a mail was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It is none.
    #[error(transparent)]
    Letter(#[from] InvalidLetter),
    /// The server does not want it, and never will.
    #[error("{0}")]
    Refused(String),
    /// It did not work this time.
    #[error("{0}")]
    Failed(String),
}

impl SendError {
    /// Whether trying again is of no use.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Letter(_) | Self::Refused(_) => true,
            Self::Failed(_) => false,
        }
    }
}

impl SmtpServer {
    /// Reads `smtps://name:password@host:port` or `smtp://…?tls=…`. Without `tls`, `smtp://` wants
    /// STARTTLS, unless the server is on this machine. A path names this side in the greeting.
    ///
    /// # Errors
    /// [`InvalidServer`], which says what is wrong and shows nothing of it.
    pub fn parse(url: &str) -> Result<Self, InvalidServer> {
        if url.contains(|c: char| c.is_control() || c.is_whitespace() || c == '#') {
            return Err(InvalidServer::Host);
        }
        let (wrapped, rest) = match (url.strip_prefix("smtps://"), url.strip_prefix("smtp://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(InvalidServer::Scheme),
        };
        let (rest, query) = rest
            .split_once('?')
            .map_or((rest, None), |(a, b)| (a, Some(b)));
        let (rest, hello) = rest.split_once('/').map_or((rest, ""), |both| both);
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(parse_credentials(credentials)?), place),
            None => (None, rest),
        };
        let (host, port) = parse_place(place)?;
        let here = is_here(&host);
        let security = match (wrapped, query) {
            (true, None) => Security::Wrapped,
            (false, Some("tls=required")) => Security::Required,
            (false, Some("tls=opportunistic")) => Security::Opportunistic,
            (false, Some("tls=none")) => Security::None,
            (false, None) if here => Security::None,
            (false, None) => Security::Required,
            (true | false, Some(_)) => return Err(InvalidServer::Tls),
        };
        let readable = matches!(security, Security::None | Security::Opportunistic);
        if credentials.is_some() && readable && !here {
            return Err(InvalidServer::Readable);
        }
        let hello = Some(hello).filter(|hello| !hello.is_empty());
        if hello.is_some_and(|hello| !is_host(hello)) {
            return Err(InvalidServer::Host);
        }
        Ok(Self {
            port: port.unwrap_or(match security {
                Security::Wrapped => 465,
                Security::Required => 587,
                Security::Opportunistic | Security::None => 25,
            }),
            host,
            security,
            credentials,
            hello: hello.map(str::to_owned),
            authorities: None,
        })
    }

    /// The same server, whose certificate is one of these (PEM), or is signed by one, and by nobody
    /// else.
    #[must_use]
    pub fn trusting(self, authorities: Vec<u8>) -> Self {
        Self {
            authorities: Some(authorities),
            ..self
        }
    }

    /// Hands a mail to the server.
    ///
    /// # Errors
    /// [`SendError`]; it says whether it may be tried again.
    pub async fn send(&self, letter: &Letter<'_>) -> Result<(), SendError> {
        let composed = letter.compose()?;
        let hello = self.hello.as_deref().unwrap_or(letter.from.domain());
        let hello = match hello.trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(address)) => ClientId::Ipv4(address),
            Ok(IpAddr::V6(address)) => ClientId::Ipv6(address),
            Err(_) if is_host(hello) => ClientId::Domain(hello.to_owned()),
            Err(_) => ClientId::default(),
        };
        // Boxed, since it holds the buffers of TLS.
        let connecting = Box::pin(self.connect(&hello));
        let connected = timeout(CONNECT_TIMEOUT, connecting).await;
        let connected = connected.map_err(|_| "the server did not answer in time".to_owned());
        let mut connection = connected
            .and_then(|connected| connected)
            .map_err(SendError::Failed)?;
        let sent = timeout(SEND_TIMEOUT, hand_over(&mut connection, &composed)).await;
        let sent = sent.map_err(|_| SendError::Failed("the server took too long".to_owned()));
        sent.and_then(|sent| sent)?;
        // It is sent; how the connection ends does not matter.
        drop(timeout(QUIT_TIMEOUT, connection.abort()).await);
        Ok(())
    }

    async fn connect(&self, hello: &ClientId) -> Result<AsyncSmtpConnection, String> {
        let tls = match self.security {
            Security::None => None,
            Security::Wrapped | Security::Required | Security::Opportunistic => Some(self.tls()?),
        };
        let wrapper = tls.clone().filter(|_| self.security == Security::Wrapped);
        let place = (self.host.as_str(), self.port);
        let connecting =
            AsyncSmtpConnection::connect_tokio1(place, Some(CONNECT_TIMEOUT), hello, wrapper, None);
        let mut connection = connecting.await.map_err(|error| error.to_string())?;
        if let Some(tls) = tls {
            let begin = match self.security {
                Security::Required => true,
                Security::Opportunistic => connection.can_starttls(),
                Security::Wrapped | Security::None => false,
            };
            if begin {
                let begun = connection.starttls(tls, hello).await;
                begun.map_err(|error| error.to_string())?;
            }
        }
        if let Some((name, password)) = &self.credentials {
            let credentials = Credentials::new(name.clone(), password.clone());
            let signed_in = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            signed_in.map_err(|error| format!("signing in failed: {error}"))?;
        }
        Ok(connection)
    }

    fn tls(&self) -> Result<TlsParameters, String> {
        let mut builder = TlsParameters::builder(self.host.clone());
        if let Some(authorities) = &self.authorities {
            builder = builder.certificate_store(CertificateStore::None);
            for certificate in certificates(authorities) {
                let certificate = Certificate::from_pem(certificate.as_bytes());
                let certificate = certificate.map_err(|error| error.to_string())?;
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map_err(|error| error.to_string())
    }
}

/// The single certificates of a list (PEM).
fn certificates(pem: &[u8]) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    let all = text.split_inclusive(END);
    all.filter(|one| one.ends_with(END))
        .map(|one| format!("{one}\n"))
        .collect()
}

async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    composed: &Composed,
) -> Result<(), SendError> {
    let sent = connection.send(&composed.envelope, &composed.bytes).await;
    sent.map(drop).map_err(|error| {
        let told = error.to_string();
        if error.is_permanent() {
            SendError::Refused(told)
        } else {
            SendError::Failed(told)
        }
    })
}

fn parse_place(place: &str) -> Result<(String, Option<u16>), InvalidServer> {
    let (host, port) = match place
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, "")) => (host, None),
        Some((host, port)) => (
            host,
            Some(port.strip_prefix(':').ok_or(InvalidServer::Host)?),
        ),
        None => place
            .rsplit_once(':')
            .map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| match port.parse::<u16>() {
        Ok(0) | Err(_) => Err(InvalidServer::Host),
        Ok(port) => Ok(port),
    });
    if !is_host(host) && host.parse::<IpAddr>().is_err() {
        return Err(InvalidServer::Host);
    }
    Ok((host.to_owned(), port.transpose()?))
}

fn is_host(host: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !host.is_empty() && host.len() <= 253 && host.bytes().all(named)
}

fn is_here(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn parse_credentials(text: &str) -> Result<(String, String), InvalidServer> {
    let (name, password) = text.split_once(':').ok_or(InvalidServer::Credentials)?;
    let name = unescape(name).ok_or(InvalidServer::Credentials)?;
    let password = unescape(password).ok_or(InvalidServer::Credentials)?;
    if name.is_empty() || password.contains(char::is_control) || name.contains(char::is_control) {
        return Err(InvalidServer::Credentials);
    }
    Ok((name, password))
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let strict = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| strict)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    let free = !text.contains(['@', ':', '/', '?']);
    String::from_utf8(bytes).ok().filter(|_| free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: (&str, u16, Security)) {
        let server = SmtpServer::parse(url).unwrap();
        assert_eq!(
            (server.host.as_str(), server.port, server.security),
            expected,
            "{url}"
        );
    }

    #[test]
    fn tls_is_wanted_unless_the_server_is_here() {
        check("smtps://mx.example", ("mx.example", 465, Security::Wrapped));
        check("smtp://mx.example", ("mx.example", 587, Security::Required));
        check(
            "smtp://mx.example:2525?tls=opportunistic",
            ("mx.example", 2525, Security::Opportunistic),
        );
        check(
            "smtp://mx.example?tls=none",
            ("mx.example", 25, Security::None),
        );
        check("smtp://localhost:1025", ("localhost", 1025, Security::None));
        check("smtp://[::1]:1025", ("::1", 1025, Security::None));
        check(
            "smtp://127.0.0.1:1025?tls=required",
            ("127.0.0.1", 1025, Security::Required),
        );
    }

    #[test]
    fn a_name_and_a_password_are_unescaped_and_never_shown() {
        let server = SmtpServer::parse("smtps://ann%40x:p%3Ass@mx.example/me.example").unwrap();
        assert_eq!(
            server.credentials,
            Some(("ann@x".to_owned(), "p:ss".to_owned()))
        );
        assert_eq!(server.hello.as_deref(), Some("me.example"));
        assert!(!format!("{server:?}").contains("p:ss"));
    }

    #[test]
    fn what_names_no_server_is_refused() {
        let check = |url, expected| assert_eq!(SmtpServer::parse(url), Err(expected), "{url}");
        check("mx.example", InvalidServer::Scheme);
        check("http://mx.example", InvalidServer::Scheme);
        check("smtp://", InvalidServer::Host);
        check("smtp://mx.example:0", InvalidServer::Host);
        check("smtp://mx.example:99999", InvalidServer::Host);
        check("smtp://mx\r\n.example", InvalidServer::Host);
        check("smtp://mx.example/a%0d", InvalidServer::Host);
        check("smtps://ann@mx.example", InvalidServer::Credentials);
        check("smtps://ann:%zz@mx.example", InvalidServer::Credentials);
        check("smtps://ann:%0a@mx.example", InvalidServer::Credentials);
        check("smtps://a@b:c@mx.example", InvalidServer::Credentials);
        check("smtp://mx.example?tls=maybe", InvalidServer::Tls);
        check("smtps://mx.example?tls=none", InvalidServer::Tls);
        check("smtp://a:b@mx.example?tls=none", InvalidServer::Readable);
        check(
            "smtp://a:b@mx.example?tls=opportunistic",
            InvalidServer::Readable,
        );
        assert!(SmtpServer::parse("smtp://a:b@localhost").is_ok());
    }
}
