//! The seals of a server on what it gives out: cookies, tokens against requests of other sites, and
//! refresh tokens.
//!
//! Each is a keyed hash (HMAC-SHA256) under a key of its own, all made from the server's secret.
//! A cookie whose seal fits was given out here, whether its session is still there or not: so one
//! that has ended is told from one that was forged, and nothing has to be kept for that.
//!
//! A refresh token is a session, a generation, random bytes and a seal. The next one's random bytes
//! follow from the token before it and the server's key: whoever asks twice is told the same, and
//! yet neither the store (which has a hash) nor the key alone is enough to make one.

use adea_base::Entropy;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::keys::{ID_LENGTH, is_id};
use crate::mac::{TAG_BYTES, keyed};

/// What a refresh token begins with, so that one that leaks is found by those who look for secrets.
const REFRESH_PREFIX: &str = "adea_r1_";
/// Random bytes of a refresh token.
const RANDOM_BYTES: usize = 16;
/// Bytes of a cookie: session, time, seal.
const COOKIE_BYTES: usize = ID_LENGTH + 8 + TAG_BYTES;
/// Bytes of a refresh token: session, generation, chance, seal.
const REFRESH_BYTES: usize = ID_LENGTH + 8 + RANDOM_BYTES + TAG_BYTES;

/// Makes and checks seals.
#[derive(Clone)]
pub struct Seals {
    cookie: Hmac<Sha256>,
    csrf: Hmac<Sha256>,
    refresh: Hmac<Sha256>,
    chain: Hmac<Sha256>,
}

/// A cookie whose seal fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedCookie {
    /// The session that it is for.
    pub session: String,
    /// When it was given out, in milliseconds since the Unix epoch.
    pub issued_ms: u64,
}

/// A refresh token whose seal fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// The session that it is for.
    pub session: String,
    /// How many there were before it.
    pub generation: u64,
    /// What is stored of it.
    pub hash: [u8; 32],
}

/// A fresh temporary password of 256 bits.
#[must_use]
pub fn new_password(entropy: &Entropy) -> String {
    URL_SAFE_NO_PAD.encode(entropy.bytes::<32>())
}

impl Seals {
    /// Seals under keys made from `secret`, the server's.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let key = |purpose: &[u8]| {
            let key = keyed(secret).chain_update(purpose).finalize();
            keyed(&key.into_bytes())
        };
        Self {
            cookie: key(b"adea session cookie 1"),
            csrf: key(b"adea session csrf 1"),
            refresh: key(b"adea session refresh 1"),
            chain: key(b"adea session refresh chain 1"),
        }
    }

    /// What is stored of a secret that is random enough to need no slow hash.
    #[must_use]
    pub fn hash(secret: &str) -> [u8; 32] {
        Sha256::digest(secret.as_bytes()).into()
    }

    /// Whether `secret` is the one that is stored as `hash`.
    #[must_use]
    pub fn is_hash_of(hash: &[u8; 32], secret: &str) -> bool {
        Self::hash(secret).ct_eq(hash).into()
    }

    /// The value of a cookie for a session.
    #[must_use]
    pub fn cookie(&self, session: &str, now_ms: u64) -> String {
        let mut bytes = Vec::with_capacity(COOKIE_BYTES);
        bytes.extend_from_slice(session.as_bytes());
        bytes.extend_from_slice(&now_ms.to_be_bytes());
        let seal = tag(&self.cookie, &[&bytes]);
        bytes.extend_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the value of a cookie; `None` if it was not given out here.
    #[must_use]
    pub fn read_cookie(&self, value: &str) -> Option<PresentedCookie> {
        let bytes: [u8; COOKIE_BYTES] = decoded(value)?;
        let (said, seal) = bytes.split_last_chunk::<TAG_BYTES>()?;
        fits(&self.cookie, &[said], seal).then_some(())?;
        let (session, issued) = said.split_at_checked(ID_LENGTH)?;
        Some(PresentedCookie {
            session: id(session)?,
            issued_ms: u64::from_be_bytes(issued.try_into().ok()?),
        })
    }

    /// The token that a page brings to show that it is not of another site, for a session.
    #[must_use]
    pub fn csrf(&self, session: &str) -> String {
        URL_SAFE_NO_PAD.encode(tag(&self.csrf, &[session.as_bytes()]))
    }

    /// Whether `token` is that of `session`.
    #[must_use]
    pub fn is_csrf(&self, session: &str, token: &str) -> bool {
        self.csrf(session).as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// The first refresh token of a session.
    #[must_use]
    pub fn first_refresh_token(&self, session: &str, entropy: &Entropy) -> String {
        self.refresh_token(session, 0, &entropy.bytes::<RANDOM_BYTES>())
    }

    /// The refresh token that follows `before`: always the same one.
    #[must_use]
    pub fn next_refresh_token(&self, before: &RefreshToken) -> String {
        let chain = tag(&self.chain, &[before.session.as_bytes(), &before.hash]);
        let random = chain.first_chunk::<RANDOM_BYTES>();
        let generation = before.generation.wrapping_add(1);
        self.refresh_token(&before.session, generation, random.unwrap_or(&[0; _]))
    }

    /// Reads a refresh token; `None` if it was not given out here.
    #[must_use]
    pub fn read_refresh_token(&self, token: &str) -> Option<RefreshToken> {
        let bytes: [u8; REFRESH_BYTES] = decoded(token.strip_prefix(REFRESH_PREFIX)?)?;
        let (said, seal) = bytes.split_last_chunk::<TAG_BYTES>()?;
        fits(&self.refresh, &[said], seal).then_some(())?;
        let (session, rest) = said.split_at_checked(ID_LENGTH)?;
        Some(RefreshToken {
            session: id(session)?,
            generation: u64::from_be_bytes(*rest.first_chunk()?),
            hash: Self::hash(token),
        })
    }

    fn refresh_token(&self, session: &str, generation: u64, random: &[u8; RANDOM_BYTES]) -> String {
        let mut bytes = Vec::with_capacity(REFRESH_BYTES);
        bytes.extend_from_slice(session.as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(random);
        let seal = tag(&self.refresh, &[&bytes]);
        bytes.extend_from_slice(&seal);
        format!("{REFRESH_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Exactly `N` bytes in base64url. The last letter's unused bits must be none, so that each value has
/// one form.
fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // The decoder wants room for whole groups of three.
    let most = N.div_ceil(3) * 4;
    if text.len() > most {
        return None;
    }
    let read = URL_SAFE_NO_PAD.decode(text).ok()?;
    (read.len() == N).then_some(())?;
    bytes.copy_from_slice(&read);
    Some(bytes)
}

fn id(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    is_id(text).then(|| text.to_owned())
}

fn tag(key: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
    let mut hasher = key.clone();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into_bytes().into()
}

fn fits(key: &Hmac<Sha256>, parts: &[&[u8]], seal: &[u8; TAG_BYTES]) -> bool {
    tag(key, parts).ct_eq(seal).into()
}

/// The keys stay out of logs.
impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seals").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::new_id;

    fn seals() -> Seals {
        Seals::new(b"a secret of this server")
    }

    #[test]
    fn a_cookie_says_which_session_it_is_of_and_nobody_else_can_make_one() {
        let (seals, id) = (seals(), new_id(&Entropy::System));
        let value = seals.cookie(&id, 1_795_246_129_000);
        let read = seals.read_cookie(&value).unwrap();
        assert_eq!(
            (read.session, read.issued_ms),
            (id.clone(), 1_795_246_129_000)
        );
        assert_eq!(Seals::new(b"another secret").read_cookie(&value), None);
        let bytes = URL_SAFE_NO_PAD.decode(&value).unwrap();
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert_eq!(seals.read_cookie(&URL_SAFE_NO_PAD.encode(forged)), None);
        }
        for end in 0..value.len() {
            assert_eq!(seals.read_cookie(&value[..end]), None);
        }
        for other in [format!("{value}A"), format!("{value}="), "ä".repeat(44)] {
            assert_eq!(seals.read_cookie(&other), None);
        }
        // A refresh token has another key.
        let token = seals.first_refresh_token(&id, &Entropy::System);
        assert_eq!(seals.read_cookie(&token), None);
        assert_eq!(seals.read_refresh_token(&value), None);
    }

    #[test]
    fn a_page_of_another_session_has_another_token() {
        let (seals, entropy) = (seals(), Entropy::System);
        let (one, other) = (new_id(&entropy), new_id(&entropy));
        assert!(seals.is_csrf(&one, &seals.csrf(&one)));
        assert!(!seals.is_csrf(&other, &seals.csrf(&one)));
        assert!(!seals.is_csrf(&one, ""));
    }

    #[test]
    fn refresh_tokens_follow_each_other_in_one_way() {
        let (seals, id) = (seals(), new_id(&Entropy::System));
        let first = seals.first_refresh_token(&id, &Entropy::System);
        let read = seals.read_refresh_token(&first).unwrap();
        assert_eq!((read.session.as_str(), read.generation), (id.as_str(), 0));
        let second = seals.next_refresh_token(&read);
        assert_eq!(second, seals.next_refresh_token(&read));
        let again = seals.read_refresh_token(&second).unwrap();
        assert_eq!((again.session.as_str(), again.generation), (id.as_str(), 1));
        let elsewhere = Seals::new(b"another secret");
        assert_eq!(elsewhere.read_refresh_token(&first), None);
        let other = seals.first_refresh_token(&id, &Entropy::System);
        let other = seals.read_refresh_token(&other).unwrap();
        assert_ne!(second, seals.next_refresh_token(&other));
    }
}
