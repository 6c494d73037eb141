//! How often something may be asked: counted for each address and each account, refused beyond.
//!
//! Each kind of limit is a generic cell rate algorithm (GCRA): one number says when the next request
//! would be due if they came evenly, and a request is refused that comes too long before. The
//! numbers stand in two tables of fixed size, in each at a place that a keyed hash of who asks
//! gives. A request passes if either table lets it pass. So memory is bounded whoever asks, there is
//! nothing to forget, and nobody can choose whom he shares a place with. The price: with as many who
//! ask too often as a tenth of a table's places, one in a hundred others shares both of his, and is
//! refused with them; and who shares one may be let pass up to twice as often as was set.
//!
//! Invariants: what a limit takes of memory never grows beyond a mebibyte and a bit; a request is judged
//! without a lock that is ever waited for, and before anything slow is done for it.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use adea_base::Entropy;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::error::PodError;
use crate::pod::Pod;
use crate::settings::{LimitRule, LimitSettings};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Attempts to sign in, of one address.
    SignIn,
    /// Attempts to sign in to one account.
    AccountSignIn,
    /// Requests of one address that cause a mail.
    Mail,
    /// Mails to one account or mail address.
    AccountMail,
    /// Accounts and the like made by one address.
    SignUp,
    /// Other requests of one address.
    Requests,
}

/// All kinds, in the order of their numbers.
const KINDS: [LimitKind; 6] = [
    LimitKind::SignIn,
    LimitKind::AccountSignIn,
    LimitKind::Mail,
    LimitKind::AccountMail,
    LimitKind::SignUp,
    LimitKind::Requests,
];
/// Tables that each kind has.
const TABLES: usize = 2;
/// Places of a table that are made together.
const CHUNK: usize = 256;
/// Such parts of a table.
const CHUNKS: usize = 256;

impl LimitKind {
    /// Its rule, if it has one.
    fn rule(self, settings: &LimitSettings) -> Option<LimitRule> {
        match self {
            Self::SignIn => settings.sign_in,
            Self::AccountSignIn => settings.account_sign_in,
            Self::Mail => settings.mail,
            Self::AccountMail => settings.account_mail,
            Self::SignUp => settings.sign_up,
            Self::Requests => settings.requests,
        }
    }
}

/// A part of a table, made when somebody comes to stand in it.
type Chunk = OnceLock<Box<[InMemoryState]>>;

struct Table(Vec<Chunk>);

/// A place of a table.
type Place = u16;

impl Table {
    fn new() -> Self {
        Self((0..CHUNKS).map(|_| OnceLock::new()).collect())
    }

    fn state(&self, place: Place) -> Option<&InMemoryState> {
        let place = usize::from(place);
        let made = self.0.get(place / CHUNK)?.get_or_init(|| {
            let all = (0..CHUNK).map(|_| InMemoryState::default());
            all.collect()
        });
        made.get(place % CHUNK)
    }
}

impl StateStore for Table {
    type Key = Place;

    fn measure_and_replace<T, F, E>(&self, place: &Place, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        match self.state(*place) {
            Some(state) => state.measure_and_replace(&NotKeyed::NonKey, decide),
            // Every number of two bytes has its place.
            None => decide(None).map(|(outcome, _)| outcome),
        }
    }
}

/// Time since the start, which is not turned back.
#[derive(Clone, Debug)]
struct SinceStart {
    began: Instant,
    /// By how many nanoseconds it is ahead; only tests let it be.
    ahead: Arc<AtomicU64>,
}

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let ahead = Duration::from_nanos(self.ahead.load(Ordering::Relaxed));
        self.began.elapsed().saturating_add(ahead)
    }
}

/// Judges who stands in one table.
type Judge = RateLimiter<Place, Table, SinceStart, NoOpMiddleware<Duration>>;

/// One kind with the rule that it follows.
struct Limiter {
    rule: LimitRule,
    tables: [Judge; TABLES],
}

impl Limiter {
    fn new(rule: LimitRule, clock: &SinceStart) -> Option<Self> {
        let burst = NonZeroU32::new(rule.burst())?;
        let quota = Quota::with_period(rule.period())?.allow_burst(burst);
        let table = || RateLimiter::new(quota, Table::new(), clock.clone());
        Some(Self {
            rule,
            tables: [table(), table()],
        })
    }

    /// Whether one more may pass; if not, after how long.
    fn check(&self, places: [Place; TABLES]) -> Result<(), Duration> {
        let mut passes = false;
        let mut wait = Duration::MAX;
        // Counted in both, also where the first lets it pass.
        for (table, place) in self.tables.iter().zip(places) {
            match table.check_key(&place) {
                Ok(()) => passes = true,
                Err(until) => wait = wait.min(until.wait_time_from(table.clock().now())),
            }
        }
        if passes { Ok(()) } else { Err(wait) }
    }
}

/// All limits of a server.
pub(crate) struct Limits {
    /// Makes hashes that nobody outside can foresee.
    secret: [u8; 32],
    clock: SinceStart,
    /// By the number of the kind.
    kinds: [RwLock<Option<Arc<Limiter>>>; KINDS.len()],
    refused: AtomicU64,
}

impl Limits {
    pub(crate) fn new(entropy: &Entropy) -> Self {
        Self {
            secret: entropy.bytes(),
            clock: SinceStart {
                began: Instant::now(),
                ahead: Arc::default(),
            },
            kinds: std::array::from_fn(|_| RwLock::new(None)),
            refused: AtomicU64::new(0),
        }
    }

    /// Counts a request of `key`.
    fn check(&self, kind: LimitKind, settings: &LimitSettings, key: &[u8]) -> Result<(), PodError> {
        let Some(limiter) = self.limiter(kind, settings) else {
            return Ok(());
        };
        let places = self.places(kind, key);
        limiter.check(places).map_err(|wait| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            // Rounded up: who comes then, passes.
            let retry_after_s = wait.as_secs().saturating_add(1);
            PodError::Limited { retry_after_s }
        })
    }

    /// What judges a kind now. A rule that was changed begins anew.
    fn limiter(&self, kind: LimitKind, settings: &LimitSettings) -> Option<Arc<Limiter>> {
        let slot = self.kinds.get(kind as usize)?;
        let rule = kind.rule(settings)?;
        if let Some(limiter) = slot.read().as_ref().filter(|known| known.rule == rule) {
            return Some(Arc::clone(limiter));
        }
        let mut slot = slot.write();
        if slot.as_ref().is_none_or(|known| known.rule != rule) {
            *slot = Limiter::new(rule, &self.clock).map(Arc::new);
        }
        slot.clone()
    }

    fn places(&self, kind: LimitKind, key: &[u8]) -> [Place; TABLES] {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.secret)
            .chain_update([kind as u8])
            .chain_update(key)
            .finalize()
            .into();
        let [a, b, c, d, ..] = hash;
        [Place::from_be_bytes([a, b]), Place::from_be_bytes([c, d])]
    }
}

/// The part of an address that is one customer's: under version 6 a network of 64 bits.
fn place_of(address: IpAddr) -> [u8; 17] {
    let (version, bits) = match address.to_canonical() {
        IpAddr::V4(v4) => (4, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (6, Ipv6Addr::to_bits(v6) >> 64),
    };
    let mut place = [version; 17];
    if let Some(rest) = place.get_mut(1..) {
        rest.copy_from_slice(&bits.to_be_bytes());
    }
    place
}

impl Pod {
    /// Counts that something is asked for an account or a mail address, `key`, and refuses what
    /// comes too often. To be called before anything slow, and for names that nobody has as well,
    /// so that a refusal tells nothing.
    ///
    /// # Errors
    /// [`PodError::Limited`].
    pub fn limit(&self, kind: LimitKind, key: &str) -> Result<(), PodError> {
        let auth = self.auth();
        let limits = &auth.accounts.limits;
        self.inner.limits.check(kind, limits, key.as_bytes())
    }

    /// Counts that something is asked from an address, and refuses what comes too often. Whoever
    /// sits at this machine is not counted, unless that is set.
    ///
    /// # Errors
    /// [`PodError::Limited`].
    pub fn limit_address(&self, kind: LimitKind, address: IpAddr) -> Result<(), PodError> {
        let auth = self.auth();
        let limits = &auth.accounts.limits;
        if !limits.counts(address) {
            return Ok(());
        }
        self.inner.limits.check(kind, limits, &place_of(address))
    }

    /// Counts an attempt to prove a password that has to be checked slowly. Whoever sits at this
    /// machine is not counted, so that nobody elsewhere shuts him out.
    ///
    /// # Errors
    /// [`PodError::Limited`].
    pub(crate) fn limit_attempt(&self, name: &str, peer: Option<IpAddr>) -> Result<(), PodError> {
        let Some(peer) = peer else {
            return Ok(());
        };
        self.limit_address(LimitKind::SignIn, peer)?;
        if self.auth().accounts.limits.counts(peer) {
            self.limit(LimitKind::AccountSignIn, name)?;
        }
        Ok(())
    }

    /// Requests refused since the start because they came too often.
    #[must_use]
    pub fn limited(&self) -> u64 {
        self.inner.limits.refused.load(Ordering::Relaxed)
    }
}

impl LimitSettings {
    /// Whether requests from `address` are counted.
    fn counts(&self, address: IpAddr) -> bool {
        self.loopback || !address.to_canonical().is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one kind takes of memory at the most: 1 MiB, and what leads there.
    const BYTES_MAX: usize =
        TABLES * CHUNKS * (CHUNK * size_of::<InMemoryState>() + size_of::<Chunk>());

    fn limits() -> Limits {
        Limits::new(&Entropy::System)
    }

    fn rules(sign_in: &str) -> LimitSettings {
        LimitSettings {
            sign_in: LimitRule::parse(sign_in).unwrap(),
            ..LimitSettings::default()
        }
    }

    /// After how many seconds to come again; 0 if it passes.
    fn ask(limits: &Limits, rules: &LimitSettings, address: &str) -> u64 {
        let place = place_of(address.parse().unwrap());
        match limits.check(LimitKind::SignIn, rules, &place) {
            Ok(()) => 0,
            Err(PodError::Limited { retry_after_s }) => retry_after_s,
            Err(error) => panic!("{error}"),
        }
    }

    fn later(limits: &Limits, span: Duration) {
        let span = u64::try_from(span.as_nanos()).unwrap();
        limits.clock.ahead.fetch_add(span, Ordering::Relaxed);
    }

    #[test]
    fn so_many_pass_at_once_and_then_evenly() {
        let (limits, rules) = (limits(), rules("6/1m 3"));
        for _ in 0..3 {
            assert_eq!(ask(&limits, &rules, "192.0.2.1"), 0);
        }
        let wait = ask(&limits, &rules, "192.0.2.1");
        assert!((9..=11).contains(&wait), "{wait}");
        assert_eq!(ask(&limits, &rules, "192.0.2.2"), 0, "another address");
        later(&limits, Duration::from_secs(wait));
        assert_eq!(ask(&limits, &rules, "192.0.2.1"), 0, "as was told");
        assert_ne!(ask(&limits, &rules, "192.0.2.1"), 0);
        later(&limits, Duration::from_secs(86_400));
        for n in 0..4 {
            assert_eq!(
                ask(&limits, &rules, "192.0.2.1") == 0,
                n < 3,
                "no more is saved up"
            );
        }
        assert_eq!(limits.refused.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_network_of_version_6_is_one_customer() {
        let (limits, rules) = (limits(), rules("1/1h"));
        assert_eq!(ask(&limits, &rules, "2001:db8::1"), 0);
        assert_ne!(ask(&limits, &rules, "2001:db8::ffff:1"), 0);
        assert_eq!(ask(&limits, &rules, "2001:db8:0:1::1"), 0);
        assert_eq!(ask(&limits, &rules, "::ffff:192.0.2.9"), 0);
        assert_ne!(ask(&limits, &rules, "192.0.2.9"), 0);
    }

    #[test]
    fn a_rule_that_is_changed_or_switched_off_holds_at_once() {
        let limits = limits();
        assert_eq!(ask(&limits, &rules("1/1h"), "192.0.2.1"), 0);
        assert_ne!(ask(&limits, &rules("1/1h"), "192.0.2.1"), 0);
        assert_eq!(ask(&limits, &rules("off"), "192.0.2.1"), 0);
        assert_eq!(ask(&limits, &rules("2/1h"), "192.0.2.1"), 0);
    }

    #[test]
    fn a_million_addresses_that_sign_in_take_no_more_memory_and_keep_nobody_from_asking() {
        let (limits, rules) = (limits(), rules("5/1h"));
        for n in 0..1_000_000_u32 {
            let place = place_of(IpAddr::V4(n.into()));
            limits.check(LimitKind::SignIn, &rules, &place).ok();
        }
        let limiter = limits.limiter(LimitKind::SignIn, &rules).unwrap();
        let Ok(limiter) = Arc::try_unwrap({
            limits.kinds[LimitKind::SignIn as usize].write().take();
            limiter
        }) else {
            panic!("nobody else holds it");
        };
        let tables = limiter.tables.map(RateLimiter::into_state_store);
        let made = tables.iter().flat_map(|table| &table.0);
        let bytes: usize = made
            .map(|part| size_of_val(part) + part.get().map_or(0, |states| size_of_val(&**states)))
            .sum();
        assert!(bytes > 1 << 19, "all of it was used: {bytes}");
        assert!(bytes <= BYTES_MAX && BYTES_MAX <= 2 << 20, "{bytes}");
        let other = place_of("2001:db8::1".parse().unwrap());
        let asked = limits.check(LimitKind::Requests, &rules, &other);
        assert!(asked.is_ok(), "what else is asked has its own tables");
    }

    #[test]
    fn a_thousand_who_ask_too_often_hardly_ever_take_others_with_them() {
        let (limits, rules) = (limits(), rules("5/1h"));
        for n in 0..1_000_u32 {
            for _ in 0..50 {
                let place = place_of(IpAddr::V4(n.into()));
                limits.check(LimitKind::SignIn, &rules, &place).ok();
            }
        }
        let others = (0..2_000_u32).map(|n| IpAddr::V4((0x0a00_0000 + n).into()));
        let refused = others
            .filter(|other| {
                let place = place_of(*other);
                limits.check(LimitKind::SignIn, &rules, &place).is_err()
            })
            .count();
        // (1000 / 65536)² is one in four thousand; some of the others come to share a place.
        assert!(refused < 20, "{refused}");
    }
}
