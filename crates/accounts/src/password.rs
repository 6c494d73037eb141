//! Turning a password into something that can be stored, and checking one against it.
//!
//! New passwords become argon2id in a PHC string (`$argon2id$v=19$m=19456,t=2,p=1$salt$hash`), or
//! PBKDF2 as `CouchDB` makes it where the server is told so. What `CouchDB` stored before (PBKDF2
//! of any kind, or one salted SHA-1) is still verified.
//!
//! Invariants: stored values come from documents that users write, so their cost is bounded when
//! they are read ([`StoredCredential`](crate::StoredCredential) cannot hold a dearer one); every
//! comparison of secrets takes constant time; a sign-in with a name that nobody has costs what a
//! wrong password costs, so that names cannot be guessed by the clock.

use std::hint::black_box;

use adea_base::Entropy;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha1::{Digest as _, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

use crate::credential::{Kind, StoredCredential};
use crate::password_rules::PasswordScheme;

/// Memory of one argon2id hash in KiB: 19 MiB, the least that OWASP advises for two passes.
const ARGON2_MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
const ARGON2_PASSES: u32 = 2;
/// Lanes; one, since lanes only help where each has a core of its own.
const ARGON2_LANES: u32 = 1;
/// Bytes of a new salt.
const ARGON2_SALT_BYTES: usize = 16;
/// Bytes of a new hash.
const ARGON2_HASH_BYTES: usize = 32;

/// The most memory that a stored hash may ask for: 64 MiB, as RFC 9106 advises for small machines.
const ARGON2_MEMORY_KIB_MAX: u32 = 64 * 1024;
/// The most memory times passes that a stored hash may ask for, in KiB: about seven of our own.
const ARGON2_WORK_KIB_MAX: u32 = 256 * 1024;
/// The most lanes that a stored hash may ask for.
const ARGON2_LANES_MAX: u32 = 16;
/// The most that bcrypt may ask for: 2 to this power rounds, about a second.
const BCRYPT_COST_MAX: u32 = 14;
/// bcrypt below this is cheaper than our own hash.
const BCRYPT_COST_CHEAP: u32 = 10;
/// The longest PHC string that is looked at.
const PHC_BYTES_MAX: usize = 256;

/// The most PBKDF2 rounds that one verification may run; more would burn seconds of a core.
pub const PBKDF2_ITERATIONS_MAX: u32 = 10_000_000;
/// PBKDF2 below this many rounds is cheaper than our own hash (measured: 0.1 microseconds a round).
const PBKDF2_ITERATIONS_CHEAP: u32 = 150_000;
/// The most bytes of a derived key: the output of SHA-512.
const DERIVED_KEY_BYTES_MAX: usize = 64;

/// The pseudo-random function under PBKDF2, by `CouchDB`'s names (`pbkdf2_prf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prf {
    /// `sha`: HMAC-SHA1, and the only one that documents before `CouchDB` 3.4 know.
    Sha1,
    /// `sha224`.
    Sha224,
    /// `sha256`, which `CouchDB` uses for new passwords.
    Sha256,
    /// `sha384`.
    Sha384,
    /// `sha512`.
    Sha512,
}

impl Prf {
    /// The function called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "sha" => Some(Self::Sha1),
            "sha224" => Some(Self::Sha224),
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// `CouchDB`'s name for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes that one run of rounds gives; a longer key costs as many runs more.
    pub(crate) const fn output_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A stored argon2id hash whose cost is known to be bearable.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Argon2Hash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2Hash {
    /// Reads a PHC string; `None` if it is none of argon2id version 19, or asks for too much.
    ///
    /// The form is read strictly, field by field: a stored hash is either as we write it or refused.
    pub(crate) fn parse(phc: &str) -> Option<Self> {
        if phc.len() > PHC_BYTES_MAX {
            return None;
        }
        let fields = phc.strip_prefix("$argon2id$v=19$")?;
        let mut fields = fields.split('$');
        let (costs, salt, hash) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        let mut costs = costs.split(',');
        let memory_kib = decimal(costs.next()?.strip_prefix("m=")?)?;
        let passes = decimal(costs.next()?.strip_prefix("t=")?)?;
        let lanes = decimal(costs.next()?.strip_prefix("p=")?)?;
        if costs.next().is_some() {
            return None;
        }
        let salt = STANDARD_NO_PAD.decode(salt).ok()?;
        let hash = STANDARD_NO_PAD.decode(hash).ok()?;
        let bearable = (1..=ARGON2_LANES_MAX).contains(&lanes)
            && memory_kib <= ARGON2_MEMORY_KIB_MAX
            && memory_kib >= 8 * lanes
            && passes >= 1
            && memory_kib
                .checked_mul(passes)
                .is_some_and(|work| work <= ARGON2_WORK_KIB_MAX);
        let sized = (8..=64).contains(&salt.len()) && (16..=64).contains(&hash.len());
        (bearable && sized).then_some(Self {
            memory_kib,
            passes,
            lanes,
            salt,
            hash,
        })
    }

    /// The PHC string.
    pub(crate) fn to_phc(&self) -> String {
        format!(
            "$argon2id$v=19$m={},t={},p={}${}${}",
            self.memory_kib,
            self.passes,
            self.lanes,
            STANDARD_NO_PAD.encode(&self.salt),
            STANDARD_NO_PAD.encode(&self.hash),
        )
    }

    /// Whether it takes less memory or fewer passes than a new hash.
    pub(crate) const fn is_cheaper_than_ours(&self) -> bool {
        self.memory_kib < ARGON2_MEMORY_KIB || self.passes < ARGON2_PASSES
    }

    fn matches(&self, password: &[u8]) -> bool {
        let mut out = vec![0; self.hash.len()];
        argon2id(
            self.memory_kib,
            self.passes,
            self.lanes,
            password,
            &self.salt,
            &mut out,
        ) && bool::from(out.ct_eq(&self.hash))
    }
}

/// A stored bcrypt hash whose cost is known to be bearable.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BcryptHash {
    text: String,
    cost: u32,
}

impl BcryptHash {
    /// Reads `$2b$12$` and 53 characters; `None` if it is none or asks for too much.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = ["$2a$", "$2b$", "$2y$"]
            .iter()
            .find_map(|kind| text.strip_prefix(kind))?;
        let (digits, rest) = rest.split_once('$')?;
        // A number may be read from `+5`, too.
        let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        let cost = digits.parse().ok().filter(|_| two)?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
        let formed = rest.len() == 53 && rest.bytes().all(fits);
        (formed && (4..=BCRYPT_COST_MAX).contains(&cost)).then(|| Self {
            text: text.to_owned(),
            cost,
        })
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `password` is the one: as whoever made the hash did, by its first 72 bytes.
    fn matches(&self, password: &[u8]) -> bool {
        bcrypt::verify(password, &self.text).unwrap_or(false)
    }
}

/// Hashes a new password with a fresh salt, for a user document or the server's administrator.
/// It takes tens of milliseconds, or what the rounds of PBKDF2 take, and with argon2id 19 MiB:
/// call it where blocking is allowed.
///
/// # Panics
/// If argon2 refuses the costs above or a password of 4 GiB, which no request can carry.
#[must_use]
pub fn hash_password(
    password: &str,
    scheme: PasswordScheme,
    entropy: &Entropy,
) -> StoredCredential {
    match scheme {
        PasswordScheme::Argon2id => hash_argon2id(password, entropy),
        PasswordScheme::Pbkdf2 { prf, iterations } => {
            let salt = entropy.hex_id();
            let mut derived_key = vec![0; prf.output_bytes()];
            let (bytes, salt_bytes) = (password.as_bytes(), salt.as_bytes());
            pbkdf2(prf, bytes, salt_bytes, iterations, &mut derived_key);
            StoredCredential::made(Kind::Pbkdf2 {
                prf,
                derived_key,
                salt,
                iterations,
            })
        }
    }
}

fn hash_argon2id(password: &str, entropy: &Entropy) -> StoredCredential {
    let salt: [u8; ARGON2_SALT_BYTES] = entropy.bytes();
    let mut hash = vec![0; ARGON2_HASH_BYTES];
    let made = argon2id(
        ARGON2_MEMORY_KIB,
        ARGON2_PASSES,
        ARGON2_LANES,
        password.as_bytes(),
        &salt,
        &mut hash,
    );
    assert!(
        made,
        "argon2id accepts its own constants and every password below 4 GiB"
    );
    StoredCredential::argon2(Argon2Hash {
        memory_kib: ARGON2_MEMORY_KIB,
        passes: ARGON2_PASSES,
        lanes: ARGON2_LANES,
        salt: salt.to_vec(),
        hash,
    })
}

/// Whether `password` is the one that `credential` was made from.
///
/// Give `None` for a name that nobody has, or an account without a password: the answer is then
/// always no, and costs as much as a wrong password for an account of ours. It is slow on purpose
/// (see [`hash_password`]); [`VerifiedCredentials`](crate::VerifiedCredentials) remembers a yes.
#[must_use]
pub fn verify_password(credential: Option<&StoredCredential>, password: &str) -> bool {
    let password = password.as_bytes();
    match credential.map(StoredCredential::kind) {
        None => {
            spend_one_verification(password);
            false
        }
        Some(Kind::Argon2(stored)) => stored.matches(password),
        Some(Kind::Bcrypt(stored)) => {
            let right = stored.matches(password);
            refuse_slowly(right, stored.cost < BCRYPT_COST_CHEAP, password)
        }
        Some(Kind::Pbkdf2 {
            prf,
            derived_key,
            salt,
            iterations,
        }) => {
            let mut out = [0; DERIVED_KEY_BYTES_MAX];
            let right = out.get_mut(..derived_key.len()).is_some_and(|out| {
                pbkdf2(*prf, password, salt.as_bytes(), *iterations, out);
                bool::from(out.ct_eq(derived_key))
            });
            refuse_slowly(right, *iterations < PBKDF2_ITERATIONS_CHEAP, password)
        }
        Some(Kind::Simple { password_sha, salt }) => {
            let digest = Sha1::new()
                .chain_update(password)
                .chain_update(salt)
                .finalize();
            let right = bool::from(digest.as_slice().ct_eq(password_sha));
            refuse_slowly(right, true, password)
        }
    }
}

/// A wrong password for a cheap old scheme must not be told from an unknown name by its speed.
fn refuse_slowly(right: bool, cheap: bool, password: &[u8]) -> bool {
    if !right && cheap {
        spend_one_verification(password);
    }
    right
}

/// Does the work of a verification for nothing.
fn spend_one_verification(password: &[u8]) {
    let mut out = [0; ARGON2_HASH_BYTES];
    let salt = [0; ARGON2_SALT_BYTES];
    black_box(argon2id(
        ARGON2_MEMORY_KIB,
        ARGON2_PASSES,
        ARGON2_LANES,
        black_box(password),
        &salt,
        &mut out,
    ));
    black_box(out);
}

/// Fills `out`; whether the costs and lengths were such as argon2 accepts.
fn argon2id(
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
) -> bool {
    Params::new(memory_kib, passes, lanes, Some(out.len())).is_ok_and(|params| {
        // glibc gives a block back to the system when it is freed only if it is larger than any
        // it keeps at hand, 32 MiB. What is asked for beyond the need is never touched.
        let mut blocks = Vec::with_capacity(params.block_count().max(RETURNED_TO_SYSTEM_BLOCKS));
        blocks.resize(params.block_count(), Block::default());
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password, salt, out, blocks.as_mut_slice())
            .is_ok()
    })
}

/// Blocks of 1 KiB in an allocation that glibc always gives back to the system.
const RETURNED_TO_SYSTEM_BLOCKS: usize = 33 << 10;

fn pbkdf2(prf: Prf, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8]) {
    match prf {
        Prf::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, out),
        Prf::Sha224 => pbkdf2::pbkdf2_hmac::<Sha224>(password, salt, iterations, out),
        Prf::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, out),
        Prf::Sha384 => pbkdf2::pbkdf2_hmac::<Sha384>(password, salt, iterations, out),
        Prf::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, out),
    }
}

/// A decimal number in its one canonical spelling.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    fn seeded() -> Entropy {
        Entropy::Seeded(Arc::new(AtomicU64::new(1)))
    }

    fn ini(text: &str) -> StoredCredential {
        StoredCredential::from_ini(text).expect(text)
    }

    /// The salt of the example in `CouchDB`'s documentation of user documents.
    const SALT: &str = "1112283cf988a34f124200a050d308a1";

    #[test]
    fn bcrypt_of_others_is_verified_at_a_bounded_cost() {
        // Vectors of crypt_blowfish, whose passwords are given beside them.
        for (hash, password) in [
            (
                "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                "U*U",
            ),
            (
                "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK",
                "U*U*",
            ),
            (
                "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a",
                "U*U*U",
            ),
        ] {
            let stored = StoredCredential::from_ini(hash).unwrap();
            assert!(verify_password(Some(&stored), password), "{password}");
            assert!(!verify_password(Some(&stored), "U*"), "{password}");
            assert_eq!(stored.to_text(), hash);
            assert!(PasswordScheme::Argon2id.is_better_than(&stored));
        }
        let tail = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        for head in [
            "$2a$15$", "$2a$31$", "$2a$03$", "$2a$5$", "$2x$05$", "$2$05$", "$2b$+5$",
        ] {
            assert!(
                StoredCredential::from_ini(&format!("{head}{tail}")).is_err(),
                "{head}"
            );
        }
        for tail in [
            "",
            "CCCC",
            &tail[1..],
            &format!("{tail}C"),
            &tail.replace('C', "é"),
        ] {
            assert!(StoredCredential::from_ini(&format!("$2b$05${tail}")).is_err());
        }
    }

    #[test]
    fn bcrypt_counts_the_first_72_bytes() {
        let long = "x".repeat(72);
        let hash = bcrypt::hash(&long, 4).unwrap();
        let stored = StoredCredential::from_ini(&hash).unwrap();
        assert!(verify_password(Some(&stored), &long));
        assert!(verify_password(Some(&stored), &format!("{long}y")));
        assert!(!verify_password(Some(&stored), &"x".repeat(71)));
    }

    #[test]
    fn couchdbs_hashes_are_verified() {
        let vectors = [
            // CouchDB's documentation: the document of "jan", whose password is "apple".
            format!("-pbkdf2-e579375db0e0c6a6fc79cd9e36a36859f71575c3,{SALT},10"),
            format!("-pbkdf2:sha-e579375db0e0c6a6fc79cd9e36a36859f71575c3,{SALT},10"),
            // Computed with Python's hashlib.
            format!(
                "-pbkdf2:sha224-04e1d5e57f06e5570f8cba87ce1fab33ad9114aae28855dc12cd72d2,{SALT},10"
            ),
            format!(
                "-pbkdf2:sha256-5857beb6881389fc190e4b62666efba8c0fb885f19e620839e1d351c601b6ced,{SALT},1000"
            ),
            format!(
                "-pbkdf2:sha384-bf5ff29fafa3f7e6dafad1a68cb01fa986399b7ba93482319867bd3217dabbe95ec776f8e4deed19642e7d4daab26609,{SALT},10"
            ),
            format!(
                "-pbkdf2:sha512-17f002134bae38df83c1b09202fb5e839a5429e165f69a33952ec05b14f90a1313a4cd89ecc42b72b037c672b4b66b938b362bf5b0aef8c7c719d15f30cb7dd6,{SALT},10"
            ),
            format!("-hashed-d4b5d8403f6c1d1c7975fb19cbbacf260cebecdf,{SALT}"),
        ];
        for vector in vectors {
            let stored = ini(&vector);
            assert!(verify_password(Some(&stored), "apple"), "{vector}");
            for wrong in ["", "Apple", "apple ", "apples", "appl"] {
                assert!(!verify_password(Some(&stored), wrong), "{vector} {wrong}");
            }
        }
    }

    #[test]
    fn rfc_6070_holds() {
        for (password, salt, iterations, expected) in [
            (
                "password",
                "salt",
                1,
                "0c60c80f961f0e71f3a9b524af6012062fe037a6",
            ),
            (
                "password",
                "salt",
                4096,
                "4b007901b765489abead49d926f721d065a429c1",
            ),
            (
                "passwordPASSWORDpassword",
                "saltSALTsaltSALTsaltSALTsaltSALTsalt",
                4096,
                "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038",
            ),
        ] {
            let stored = ini(&format!("-pbkdf2-{expected},{salt},{iterations}"));
            assert!(verify_password(Some(&stored), password));
        }
    }

    #[test]
    fn a_new_password_is_argon2id_and_verifies() {
        let stored = hash_password("corréct horse", PasswordScheme::Argon2id, &seeded());
        let text = stored.to_text();
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        assert!(verify_password(Some(&stored), "corréct horse"));
        assert!(!verify_password(Some(&stored), "correct horse"));
        let again = StoredCredential::from_ini(&text).unwrap();
        assert!(verify_password(Some(&again), "corréct horse"));
    }

    #[test]
    fn two_hashes_of_one_password_differ() {
        let entropy = Entropy::System;
        let (one, two) = (
            hash_password("x", PasswordScheme::Argon2id, &entropy),
            hash_password("x", PasswordScheme::Argon2id, &entropy),
        );
        assert_ne!(one.to_text(), two.to_text());
        assert_ne!(one.fingerprint(), two.fingerprint());
    }

    #[test]
    fn a_hash_made_elsewhere_verifies() {
        // The reference implementation: `echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32`.
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let stored = ini(phc);
        assert_eq!(stored.to_text(), phc);
        assert!(verify_password(Some(&stored), "password"));
        assert!(!verify_password(Some(&stored), "passwor"));
    }

    #[test]
    fn nobodys_password_is_always_wrong() {
        assert!(!verify_password(None, ""));
        assert!(!verify_password(None, "password"));
    }

    #[test]
    fn a_phc_string_that_costs_too_much_or_is_malformed_is_refused() {
        let salt = "c29tZXNhbHQ";
        let hash = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let good = format!("$argon2id$v=19$m=65536,t=3,p=4${salt}${hash}");
        assert!(Argon2Hash::parse(&good).is_some());
        let long = "A".repeat(300);
        for bad in [
            String::new(),
            "$".to_owned(),
            "$argon2id$v=19$".to_owned(),
            format!("$argon2i$v=19$m=65536,t=3,p=4${salt}${hash}"),
            format!("$argon2id$v=16$m=65536,t=3,p=4${salt}${hash}"),
            format!("$argon2id$v=19$m=65537,t=1,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=65536,t=5,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=4294967295,t=4294967295,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=4294967296,t=1,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=8,t=99999999,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=65536,t=1,p=17${salt}${hash}"),
            format!("$argon2id$v=19$m=7,t=1,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=65536,t=0,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=65536,t=1,p=0${salt}${hash}"),
            format!("$argon2id$v=19$m=+65536,t=1,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=065536,t=1,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=65536,t=1${salt}${hash}"),
            format!("$argon2id$v=19$m=65536,t=1,p=1,x=1${salt}${hash}"),
            format!("$argon2id$v=19$m=65536,t=1,p=1${salt}"),
            format!("$argon2id$v=19$m=65536,t=1,p=1${salt}${hash}$"),
            format!("$argon2id$v=19$m=65536,t=1,p=1$c29t${hash}"),
            format!("$argon2id$v=19$m=65536,t=1,p=1${salt}$CTFhFdXP"),
            format!("$argon2id$v=19$m=65536,t=1,p=1${salt}$ä"),
            format!("$argon2id$v=19$m=65536,t=1,p=1${salt}${long}"),
        ] {
            assert!(Argon2Hash::parse(&bad).is_none(), "{bad}");
        }
    }
}
