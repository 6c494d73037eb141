//! The session cookie `AuthSession`: who signed in, when, and the server's seal on both.
//!
//! As in `CouchDB` it is `name:TIME:seal` in base64url without padding, where `TIME` is the Unix
//! time of issue in upper-case hexadecimal digits and the seal is the HMAC-SHA256 of `name:TIME`
//! under the server's secret followed by the user's own salt. Nothing is stored: a session is
//! valid as long as its seal fits and it is younger than the timeout. A changed password changes
//! the salt (see [`StoredCredential::fingerprint`](crate::StoredCredential::fingerprint)), which
//! ends all sessions of the user at once. A session in use is renewed before it runs out.
//!
//! The seal has a fixed length and may hold any byte, also a colon, so the cookie is read from the
//! right; that also lets names have colons.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use subtle::ConstantTimeEq as _;

use crate::mac::{TAG_BYTES, keyed};

/// The cookie's name.
pub const COOKIE_NAME: &str = "AuthSession";
/// How long a session lasts unused, in seconds, unless the server is told otherwise.
pub const SESSION_TIMEOUT_S: u64 = 600;
/// The longest cookie that is looked at.
const COOKIE_BYTES_MAX: usize = 4096;
/// 31 December 9999: no cookie can name a later date.
const UNIX_S_MAX: u64 = 253_402_300_799;

/// Issues and verifies the sessions of one server.
#[derive(Clone)]
pub struct Sessions {
    secret: Vec<u8>,
    /// Shared by clones, since it may change while they are in use.
    timeout_s: Arc<AtomicU64>,
}

/// A session whose seal fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who signed in.
    pub name: String,
    /// When the cookie was issued, in seconds since the Unix epoch.
    pub issued_s: u64,
}

/// Why a cookie is worth nothing. Only a malformed one is an error of the client (400); with the
/// others the request goes on as if it had brought none, as in `CouchDB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No cookie that any server of this kind makes.
    #[error("Malformed AuthSession cookie. Please clear your cookies.")]
    Malformed,
    /// Older than the timeout.
    #[error("the session has expired")]
    Expired,
    /// The seal does not fit: tampered with, from another server, or from before the password was
    /// changed or the account deleted.
    #[error("the session is not sealed by this server for this user")]
    Forged,
}

/// A cookie that was taken apart and not verified yet: what it claims.
pub struct PresentedCookie {
    name: String,
    issued_s: u64,
    sealed: Vec<u8>,
    seal: [u8; TAG_BYTES],
}

impl Sessions {
    /// Sessions under `secret`, at least 16 random bytes which every server that shall accept them
    /// shares, with a timeout in seconds.
    #[must_use]
    pub fn new(secret: &[u8], timeout_s: u64) -> Self {
        Self {
            secret: secret.to_vec(),
            timeout_s: Arc::new(AtomicU64::new(timeout_s.min(UNIX_S_MAX))),
        }
    }

    /// From now on sessions last this long, also those that were issued before.
    pub fn set_timeout(&self, timeout_s: u64) {
        let timeout_s = timeout_s.min(UNIX_S_MAX);
        self.timeout_s.store(timeout_s, Ordering::Relaxed);
    }

    /// How long a session lasts unused, in seconds.
    #[must_use]
    pub fn timeout_s(&self) -> u64 {
        self.timeout_s.load(Ordering::Relaxed)
    }

    /// The cookie's value for somebody who has just signed in, or whose session is renewed.
    #[must_use]
    pub fn issue(&self, name: &str, user_salt: &[u8], now_s: u64) -> String {
        let mut sealed = format!("{name}:{now_s:X}").into_bytes();
        let seal = self.seal(&sealed, user_salt);
        sealed.push(b':');
        sealed.extend_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// Verifies a cookie; `lookup_salt` gives the salt of a user, or `None` if there is no such user.
    ///
    /// # Errors
    /// [`SessionError`], which says how much the cookie is worth.
    pub fn verify<S: AsRef<[u8]>>(
        &self,
        cookie: &str,
        now_s: u64,
        lookup_salt: impl FnOnce(&str) -> Option<S>,
    ) -> Result<Session, SessionError> {
        let presented = PresentedCookie::parse(cookie)?;
        self.check_age(presented.issued_s, now_s)?;
        let salt = lookup_salt(&presented.name);
        self.verify_presented(presented, salt.as_ref().map(AsRef::as_ref), now_s)
    }

    /// Verifies a cookie whose claimed user was looked up in between, which may have to wait.
    ///
    /// # Errors
    /// [`SessionError`], which says how much the cookie is worth.
    pub fn verify_presented(
        &self,
        presented: PresentedCookie,
        user_salt: Option<&[u8]>,
        now_s: u64,
    ) -> Result<Session, SessionError> {
        self.check_age(presented.issued_s, now_s)?;
        let expected = self.seal(&presented.sealed, user_salt.unwrap_or_default());
        let fits = bool::from(expected.as_slice().ct_eq(&presented.seal));
        if fits && user_salt.is_some() {
            Ok(Session {
                name: presented.name,
                issued_s: presented.issued_s,
            })
        } else {
            Err(SessionError::Forged)
        }
    }

    /// Whether less than nine tenths of the timeout are left, so that the answer should bring a
    /// fresh cookie: whoever keeps asking stays signed in.
    #[must_use]
    pub fn needs_renewal(&self, session: &Session, now_s: u64) -> bool {
        let timeout_s = self.timeout_s();
        let left = timeout_s.saturating_sub(now_s.saturating_sub(session.issued_s));
        left.saturating_mul(10) < timeout_s.saturating_mul(9)
    }

    /// Too old; or from so far in the future that a clock must have been wrong, which must not make
    /// a session last.
    fn check_age(&self, issued_s: u64, now_s: u64) -> Result<(), SessionError> {
        let timeout_s = self.timeout_s();
        let old = now_s.saturating_sub(issued_s) >= timeout_s;
        let early = issued_s.saturating_sub(now_s) >= timeout_s;
        if old || early {
            Err(SessionError::Expired)
        } else {
            Ok(())
        }
    }

    fn seal(&self, sealed: &[u8], user_salt: &[u8]) -> [u8; TAG_BYTES] {
        let mut key = Vec::with_capacity(self.secret.len() + user_salt.len());
        key.extend_from_slice(&self.secret);
        key.extend_from_slice(user_salt);
        keyed(&key)
            .chain_update(sealed)
            .finalize()
            .into_bytes()
            .into()
    }
}

/// The secret stays out of logs.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("timeout_s", &self.timeout_s())
            .finish_non_exhaustive()
    }
}

impl PresentedCookie {
    /// Takes a cookie apart.
    ///
    /// # Errors
    /// [`SessionError::Malformed`] if it has not the form of one.
    pub fn parse(cookie: &str) -> Result<Self, SessionError> {
        Self::read(cookie).ok_or(SessionError::Malformed)
    }

    /// Who it says that signed in. It proves nothing until it is verified.
    #[must_use]
    pub fn claimed_name(&self) -> &str {
        &self.name
    }

    fn read(cookie: &str) -> Option<Self> {
        if cookie.len() > COOKIE_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let (rest, seal) = bytes.split_last_chunk::<TAG_BYTES>()?;
        let sealed = rest.strip_suffix(b":")?;
        let (name, time) = std::str::from_utf8(sealed).ok()?.rsplit_once(':')?;
        let digits = !time.is_empty() && time.bytes().all(|b| b.is_ascii_hexdigit());
        let issued_s = u64::from_str_radix(time, 16).ok().filter(|_| digits)?;
        (!name.is_empty()).then(|| Self {
            name: name.to_owned(),
            issued_s,
            sealed: sealed.to_vec(),
            seal: *seal,
        })
    }
}

/// The session cookie in the text of a `Cookie` header; an empty one counts as none.
#[must_use]
pub fn from_cookie_header(header: &str) -> Option<&str> {
    header
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim() == COOKIE_NAME)
        .map(|(_, value)| value.trim().trim_matches('"'))
        .filter(|value| !value.is_empty())
}

/// To whom a browser may send the cookie along with requests that other sites cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// To everybody; browsers want `Secure` with it.
    None,
    /// When the user follows a link.
    Lax,
    /// Never.
    Strict,
}

impl SameSite {
    /// Reads `none`, `lax` or `strict`, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Some(Self::None),
            "lax" => Some(Self::Lax),
            "strict" => Some(Self::Strict),
            _ => None,
        }
    }

    /// As it stands in a cookie.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Lax => "Lax",
            Self::Strict => "Strict",
        }
    }
}

/// What stands behind the value in `Set-Cookie`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieAttributes {
    /// `Max-Age`, from which `Expires` follows; without it the browser forgets the cookie when it is
    /// closed.
    pub max_age_s: Option<u64>,
    /// `Domain`, unless the cookie is for this server only.
    pub domain: Option<String>,
    /// Whether the browser may send it over TLS only.
    pub secure: bool,
    /// `SameSite`, unless the browser shall decide.
    pub same_site: Option<SameSite>,
}

/// The text of the `Set-Cookie` header that hands over the session `value`.
#[must_use]
pub fn set_cookie(value: &str, now_s: u64, attributes: &CookieAttributes) -> String {
    let lasting = attributes.max_age_s.map(|max_age_s| {
        let expires = cookie_date(now_s.saturating_add(max_age_s));
        format!("; Expires={expires}; Max-Age={max_age_s}")
    });
    let lasting = lasting.unwrap_or_default();
    let domain = attributes.domain.as_ref();
    let domain = domain.map_or_else(String::new, |domain| format!("; Domain={domain}"));
    let secure = if attributes.secure { "; Secure" } else { "" };
    let (same_site, policy) = attributes
        .same_site
        .map_or(("", ""), |policy| ("; SameSite=", policy.as_str()));
    format!(
        "{COOKIE_NAME}={value}; Version=1{lasting}{secure}{domain}; Path=/; HttpOnly{same_site}{policy}"
    )
}

/// The text of the `Set-Cookie` header that ends a session. As in `CouchDB` the cookie becomes
/// empty, which counts as none, rather than expired.
#[must_use]
pub fn clear_cookie(now_s: u64, attributes: &CookieAttributes) -> String {
    set_cookie("", now_s, attributes)
}

/// A date as cookies had it first, with dashes: `Sat, 21-Nov-2026 07:38:49 GMT`.
fn cookie_date(unix_s: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let unix_s = unix_s.min(UNIX_S_MAX);
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Howard Hinnant's civil_from_days: years begin in March and come in eras of 400.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = 400 * era + year_of_era + u64::from(month < 2);
    let name_of = |names: &[&'static str], n: u64| -> &'static str {
        usize::try_from(n)
            .ok()
            .and_then(|n| names.get(n).copied())
            .unwrap_or_default()
    };
    format!(
        "{}, {day_of_month:02}-{}-{year:04} {:02}:{:02}:{:02} GMT",
        name_of(&DAYS, days % 7),
        name_of(&MONTHS, month),
        second / 3_600,
        second / 60 % 60,
        second % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use adea_base::Entropy;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const SALT: &[u8] = b"pepper";
    const NOW: u64 = 0x6A00_0000;

    fn sessions() -> Sessions {
        Sessions::new(SECRET, SESSION_TIMEOUT_S)
    }

    fn verify(cookie: &str, now_s: u64) -> Result<Session, SessionError> {
        sessions().verify(cookie, now_s, |_| Some(SALT))
    }

    #[test]
    fn the_cookie_has_couchdbs_form() {
        // Computed with Python's hmac and base64.
        let cookie = "amFuOjZBMDAwMDAwOlFZ4bADb-zhD1w-81MhuyiObY7m2I2zLnVlnDUZkb5C";
        assert_eq!(sessions().issue("jan", SALT, NOW), cookie);
        let expected = Session {
            name: "jan".to_owned(),
            issued_s: NOW,
        };
        assert_eq!(verify(cookie, NOW), Ok(expected));
        let asked = PresentedCookie::parse(cookie).unwrap();
        assert_eq!(asked.claimed_name(), "jan");
    }

    #[test]
    fn a_session_lasts_until_its_timeout() {
        let cookie = sessions().issue("jan", SALT, NOW);
        for (now, valid) in [
            (NOW, true),
            (NOW + 599, true),
            (NOW + 600, false),
            (NOW + 1_000_000, false),
            (u64::MAX, false),
            (NOW - 599, true),
            (NOW - 600, false),
            (0, false),
        ] {
            let expected = if valid {
                None
            } else {
                Some(SessionError::Expired)
            };
            assert_eq!(verify(&cookie, now).err(), expected, "{now}");
        }
    }

    #[test]
    fn a_session_is_renewed_when_a_tenth_is_used() {
        let session = Session {
            name: "jan".to_owned(),
            issued_s: NOW,
        };
        for (now, renew) in [
            (NOW - 5, false),
            (NOW, false),
            (NOW + 60, false),
            (NOW + 61, true),
            (NOW + 700, true),
        ] {
            assert_eq!(sessions().needs_renewal(&session, now), renew, "{now}");
        }
        let endless = Sessions::new(SECRET, u64::MAX);
        assert!(!endless.needs_renewal(&session, NOW));
    }

    #[test]
    fn another_secret_salt_or_user_does_not_fit() {
        let cookie = sessions().issue("jan", SALT, NOW);
        let forged = Err(SessionError::Forged);
        assert_eq!(sessions().verify(&cookie, NOW, |_| Some(b"salt")), forged);
        assert_eq!(sessions().verify(&cookie, NOW, |_| None::<&[u8]>), forged);
        let other = Sessions::new(b"another secret", SESSION_TIMEOUT_S);
        assert_eq!(other.verify(&cookie, NOW, |_| Some(SALT)), forged);
        // Nobody's cookie does not fit a missing user by means of an empty salt.
        let unsalted = sessions().issue("jan", b"", NOW);
        assert_eq!(sessions().verify(&unsalted, NOW, |_| None::<&[u8]>), forged);
    }

    #[test]
    fn the_salt_asked_for_is_the_claimed_users() {
        let cookie = sessions().issue("jan", b"jans", NOW);
        let lookup = |name: &str| (name == "jan").then_some(b"jans");
        assert!(sessions().verify(&cookie, NOW, lookup).is_ok());
    }

    #[test]
    fn every_change_of_a_cookie_is_refused() {
        const ALPHABET: &[u8] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \"";
        for name in ["jan", "ja", "j", "a:b", "ünï"] {
            let cookie = sessions().issue(name, SALT, NOW);
            for (place, &byte) in cookie.as_bytes().iter().enumerate() {
                for &other in ALPHABET.iter().filter(|&&other| other != byte) {
                    let mut bytes = cookie.clone().into_bytes();
                    bytes[place] = other;
                    let tampered = String::from_utf8(bytes).unwrap();
                    assert!(verify(&tampered, NOW).is_err(), "{tampered}");
                }
            }
            for cut in 0..cookie.len() {
                assert!(verify(&cookie[..cut], NOW).is_err());
                assert!(verify(&cookie[cut + 1..], NOW).is_err());
            }
            for longer in [
                format!("{cookie}A"),
                format!("{cookie}="),
                format!("A{cookie}"),
                format!("{cookie}{cookie}"),
            ] {
                assert!(verify(&longer, NOW).is_err());
            }
        }
    }

    #[test]
    fn malformed_cookies_are_told_apart() {
        let seal = [7; TAG_BYTES];
        let sealed = |text: &[u8]| URL_SAFE_NO_PAD.encode([text, seal.as_slice()].concat());
        for malformed in [
            String::new(),
            "x".to_owned(),
            "ä".to_owned(),
            "A".repeat(COOKIE_BYTES_MAX + 1),
            sealed(b""),
            sealed(b"jan"),
            sealed(b"jan:"),
            sealed(b"jan::"),
            sealed(b":6A000000:"),
            sealed(b"jan:6A000000"),
            sealed(b"jan:+6A000000:"),
            sealed(b"jan:-1:"),
            sealed(b"jan:6G:"),
            sealed(b"jan:11111111111111111:"),
            sealed(b"\xff:6A000000:"),
        ] {
            assert_eq!(
                verify(&malformed, NOW),
                Err(SessionError::Malformed),
                "{malformed}"
            );
        }
        assert_eq!(
            verify(&sealed(b"jan:6A000000:"), NOW),
            Err(SessionError::Forged)
        );
        assert_eq!(verify(&sealed(b"jan:1:"), NOW), Err(SessionError::Expired));
    }

    /// A name of 1 to 24 characters, colons and other scripts among them.
    fn some_name(entropy: &Entropy) -> String {
        const CHARACTERS: [char; 12] = [
            'a', 'B', '9', ':', '_', '@', '.', ' ', 'é', '名', '🦀', '\0',
        ];
        let [length, rest @ ..] = entropy.bytes::<25>();
        rest.iter()
            .take(1 + usize::from(length) % 24)
            .map(|&byte| CHARACTERS[usize::from(byte) % CHARACTERS.len()])
            .collect()
    }

    #[test]
    fn every_name_and_time_round_trips_and_a_flipped_bit_does_not() {
        let entropy = Entropy::Seeded(Arc::new(AtomicU64::new(2026)));
        for round in 0..2_000 {
            let name = some_name(&entropy);
            let (secret, salt) = (entropy.bytes::<32>(), entropy.bytes::<32>());
            let issued_s = u64::from_le_bytes(entropy.bytes()) >> (entropy.bytes::<1>()[0] % 64);
            let sessions = Sessions::new(&secret, SESSION_TIMEOUT_S);
            let cookie = sessions.issue(&name, &salt, issued_s);
            let expected = Session { name, issued_s };
            assert_eq!(
                sessions.verify(&cookie, issued_s, |_| Some(salt)),
                Ok(expected),
                "{round}"
            );

            let mut bytes = URL_SAFE_NO_PAD.decode(&cookie).unwrap();
            let [a, b] = entropy.bytes::<2>();
            let place = usize::from(u16::from_le_bytes([a, b])) % bytes.len();
            bytes[place] ^= 1 << (a % 8);
            let flipped = URL_SAFE_NO_PAD.encode(&bytes);
            assert!(
                sessions.verify(&flipped, issued_s, |_| Some(salt)).is_err(),
                "{round}"
            );
        }
    }

    #[test]
    fn any_bytes_at_all_are_answered() {
        let entropy = Entropy::Seeded(Arc::new(AtomicU64::new(7)));
        for _ in 0..5_000 {
            let bytes = entropy.bytes::<80>();
            let length = usize::from(bytes[0]) % 80;
            let cookie = URL_SAFE_NO_PAD.encode(&bytes[..length]);
            assert!(verify(&cookie, NOW).is_err());
            assert!(verify(&String::from_utf8_lossy(&bytes[..length]), NOW).is_err());
        }
    }

    #[test]
    fn the_header_is_the_recorded_one() {
        let plain = CookieAttributes {
            max_age_s: Some(600),
            domain: None,
            secure: false,
            same_site: None,
        };
        assert_eq!(
            set_cookie("..", 1_795_246_129, &plain),
            "AuthSession=..; Version=1; Expires=Sat, 21-Nov-2026 07:38:49 GMT; Max-Age=600; Path=/; HttpOnly"
        );
        assert_eq!(
            clear_cookie(1_795_246_129, &plain),
            "AuthSession=; Version=1; Expires=Sat, 21-Nov-2026 07:38:49 GMT; Max-Age=600; Path=/; HttpOnly"
        );
        let strict = CookieAttributes {
            secure: true,
            same_site: Some(SameSite::Strict),
            ..plain.clone()
        };
        assert_eq!(
            set_cookie("x", 1_795_246_129, &strict),
            "AuthSession=x; Version=1; Expires=Sat, 21-Nov-2026 07:38:49 GMT; Max-Age=600; Secure; Path=/; HttpOnly; SameSite=Strict"
        );
        let passing = CookieAttributes {
            max_age_s: None,
            domain: Some("example.com".to_owned()),
            ..plain
        };
        assert_eq!(
            set_cookie("x", 1_795_246_129, &passing),
            "AuthSession=x; Version=1; Domain=example.com; Path=/; HttpOnly"
        );
        for (text, policy) in [
            ("None", Some(SameSite::None)),
            ("lax", Some(SameSite::Lax)),
            ("STRICT", Some(SameSite::Strict)),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(SameSite::parse(text), policy);
        }
    }

    #[test]
    fn dates_are_right() {
        for (unix_s, date) in [
            (0, "Thu, 01-Jan-1970 00:00:00 GMT"),
            (68_169_600, "Tue, 29-Feb-1972 00:00:00 GMT"),
            (951_782_400, "Tue, 29-Feb-2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01-Mar-2000 00:00:00 GMT"),
            (1_795_246_729, "Sat, 21-Nov-2026 07:38:49 GMT"),
            (4_102_444_799, "Thu, 31-Dec-2099 23:59:59 GMT"),
            (UNIX_S_MAX, "Fri, 31-Dec-9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31-Dec-9999 23:59:59 GMT"),
        ] {
            assert_eq!(cookie_date(unix_s), date);
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        for (header, found) in [
            ("AuthSession=abc", Some("abc")),
            ("a=b; AuthSession=abc; c=d", Some("abc")),
            ("a=b;AuthSession=\"abc\"", Some("abc")),
            ("AuthSession=", None),
            ("AuthSession", None),
            ("XAuthSession=abc", None),
            ("authsession=abc", None),
            ("", None),
            (";;=;", None),
        ] {
            assert_eq!(from_cookie_header(header), found, "{header}");
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(
            format!("{:?}", sessions()),
            "Sessions { timeout_s: 600, .. }"
        );
    }
}
