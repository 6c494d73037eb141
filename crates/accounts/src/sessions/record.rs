//! What is stored for a session, so small that it is read with every request.
//!
//! It is no JSON: a byte for the format, numbers, then texts. A field that is added later makes a
//! new format, and whoever reads then knows both.

use adea_store::EngineError;
use adea_store::value::{Reader, put_bytes, put_varint};

/// The first byte of a stored record.
const FORMAT: u8 = 1;

/// How a session proves itself with each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Face {
    /// An access token in a header, and a refresh token for the next one.
    #[default]
    Bearer,
    /// A cookie, and a token against requests of other sites.
    Cookie,
    /// A temporary name and password.
    Basic,
}

/// A session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id, which the key has and the value has not.
    pub id: String,
    /// The account, or `admin:<name>` for an administrator of the configuration.
    pub account: String,
    /// The app that it is for; empty for none.
    pub app: String,
    /// How it proves itself.
    pub face: Face,
    /// How its user proved to be who he is: `password`, `passkey`, `oidc:google` and so on.
    pub method: String,
    /// What the device calls itself.
    pub device: String,
    /// Where it was begun from.
    pub address: String,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub begun_ms: u64,
    /// When it was last used, in milliseconds since the Unix epoch; at most an hour behind.
    pub used_ms: u64,
    /// When it ends in any case, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// What the account's epoch was; another one ends it.
    pub epoch: u64,
    /// How often its refresh token was changed.
    pub generation: u64,
    /// When that was last, in milliseconds since the Unix epoch.
    pub rotated_ms: u64,
    /// SHA-256 of the refresh token that is due, or of the temporary password.
    pub secret: [u8; 32],
}

impl Face {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
            Self::Basic => "basic",
        }
    }

    /// The face that is called `word`.
    #[must_use]
    pub fn called(word: &str) -> Option<Self> {
        [Self::Bearer, Self::Cookie, Self::Basic]
            .into_iter()
            .find(|face| face.word() == word)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Bearer => 1,
            Self::Cookie => 2,
            Self::Basic => 3,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        [Self::Bearer, Self::Cookie, Self::Basic]
            .into_iter()
            .find(|face| face.code() == code)
    }
}

impl SessionRecord {
    /// When it ends if it is not used again, where an unused one lasts for `idle_ms`.
    #[must_use]
    pub fn ends_ms(&self, idle_ms: u64) -> u64 {
        self.expires_ms.min(self.used_ms.saturating_add(idle_ms))
    }

    /// Whether it is over at `now_ms`.
    #[must_use]
    pub fn is_over(&self, now_ms: u64, idle_ms: u64) -> bool {
        self.ends_ms(idle_ms) <= now_ms
    }

    /// Whether a use at `now_ms` is to be noted: not each is, since each note is a write.
    #[must_use]
    pub fn is_renewal_due(&self, now_ms: u64, idle_ms: u64) -> bool {
        const STEP_MAX_MS: u64 = 3_600_000;
        let step_ms = (idle_ms / 10).min(STEP_MAX_MS);
        now_ms.saturating_sub(self.used_ms) >= step_ms
    }

    /// What is stored for it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        out.extend_from_slice(&[FORMAT, self.face.code()]);
        for number in [
            self.begun_ms,
            self.used_ms,
            self.expires_ms,
            self.epoch,
            self.generation,
            self.rotated_ms,
        ] {
            put_varint(&mut out, number);
        }
        out.extend_from_slice(&self.secret);
        for text in [
            &self.account,
            &self.app,
            &self.method,
            &self.device,
            &self.address,
        ] {
            put_bytes(&mut out, text.as_bytes());
        }
        out
    }

    /// The session with this id that is stored as `bytes`.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] if it is none.
    pub fn decode(id: &str, bytes: &[u8]) -> Result<Self, EngineError> {
        let damaged = || EngineError::Corrupt(format!("the session {id}"));
        Self::read(id, bytes).ok_or_else(damaged)
    }

    fn read(id: &str, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.byte()? == FORMAT).then_some(())?;
        let record = Self {
            id: id.to_owned(),
            face: Face::of_code(reader.byte()?)?,
            begun_ms: reader.varint()?,
            used_ms: reader.varint()?,
            expires_ms: reader.varint()?,
            epoch: reader.varint()?,
            generation: reader.varint()?,
            rotated_ms: reader.varint()?,
            secret: reader.array()?,
            account: reader.text()?.to_owned(),
            app: reader.text()?.to_owned(),
            method: reader.text()?.to_owned(),
            device: reader.text()?.to_owned(),
            address: reader.text()?.to_owned(),
        };
        reader.is_empty().then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> SessionRecord {
        SessionRecord {
            id: "a".repeat(26),
            account: "b".repeat(26),
            app: "notes".to_owned(),
            face: Face::Cookie,
            method: "password".to_owned(),
            device: "Ein Gerät".to_owned(),
            address: "2001:db8::1".to_owned(),
            begun_ms: 1_000_000,
            used_ms: 1_000_000,
            expires_ms: 9_000_000,
            epoch: 3,
            generation: u64::MAX,
            rotated_ms: 0,
            secret: [7; 32],
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_stored() {
        for face in [Face::Bearer, Face::Cookie, Face::Basic] {
            let record = SessionRecord { face, ..record() };
            let read = SessionRecord::decode(&record.id, &record.encode());
            assert_eq!(read.unwrap(), record);
            assert_eq!(Face::called(face.word()), Some(face));
        }
    }

    #[test]
    fn damage_is_noticed_and_does_not_panic() {
        let stored = record().encode();
        for end in 0..stored.len() {
            assert!(SessionRecord::decode("x", &stored[..end]).is_err(), "{end}");
        }
        assert!(SessionRecord::decode("x", &[stored.as_slice(), &[0]].concat()).is_err());
        for at in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 0xff;
            drop(SessionRecord::decode("x", &damaged));
        }
    }

    #[test]
    fn a_session_ends_unused_and_in_any_case() {
        let (record, idle_ms) = (record(), 100_000);
        assert!(!record.is_over(1_099_999, idle_ms));
        assert!(record.is_over(1_100_000, idle_ms));
        let used = SessionRecord {
            used_ms: 8_999_999,
            ..record
        };
        assert!(!used.is_over(8_999_999, idle_ms));
        assert!(used.is_over(9_000_000, idle_ms));
        assert_eq!(used.ends_ms(idle_ms), 9_000_000);
    }

    #[test]
    fn a_use_is_noted_ten_times_in_an_idle_span_and_each_hour() {
        let record = record();
        assert!(!record.is_renewal_due(1_009_999, 100_000));
        assert!(record.is_renewal_due(1_010_000, 100_000));
        assert!(!record.is_renewal_due(1_000_000 + 3_599_999, u64::MAX));
        assert!(record.is_renewal_due(1_000_000 + 3_600_000, u64::MAX));
        // A clock that was turned back makes no write of every request.
        assert!(!record.is_renewal_due(5, 100_000));
    }
}
