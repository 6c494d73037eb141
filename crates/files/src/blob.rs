//! What a finished upload is: its address, its lengths, its digests, and where its bytes are.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// The content address: SHA-256 of the bytes as they are stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The address whose bytes these are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw 32 bytes, as keys and documents hold them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The address written as 64 lower-case hexadecimal digits; nothing else is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        let (pairs, _) = digits.as_chunks::<2>();
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(bytes))
    }
}

/// The value of one lower-case hexadecimal digit.
const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// How the stored bytes relate to what a reader of the attachment sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// They are the same.
    Identity,
    /// They are its gzip form.
    Gzip,
}

/// Where the stored bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Here; they go into the store.
    Inline(Bytes),
    /// In the directory, under the digest.
    File,
}

/// All that a document needs to remember of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// The content address.
    pub digest: Digest,
    /// MD5 of the stored bytes, which is what `CouchDB` calls an attachment's digest.
    pub md5: [u8; 16],
    /// The length a reader sees; of a gzip upload kept as it came, the stored length, as
    /// `CouchDB` says it.
    pub length: u64,
    /// The length without any encoding, which differs from `length` where gzip is kept as it came.
    pub identity_length: u64,
    /// The length of the stored bytes.
    pub stored_length: u64,
    /// The relation of the two.
    pub encoding: Encoding,
    /// The bytes, or that they are a file.
    pub content: Content,
}

impl StoredBlob {
    /// The digest as `CouchDB` writes it: `md5-` and the base64 of the MD5.
    #[must_use]
    pub fn couch_digest(&self) -> String {
        let mut text = "md5-".to_owned();
        STANDARD.encode_string(self.md5, &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_what_it_writes() {
        let digest = Digest::from_bytes(std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        let text = digest.to_string();
        assert_eq!(text.len(), 64);
        assert!(text.starts_with("00070e15"), "{text}");
        assert_eq!(Digest::parse(&text), Some(digest));
    }

    #[test]
    fn only_64_lower_case_digits_are_a_digest() {
        let good = "0f".repeat(32);
        assert!(Digest::parse(&good).is_some());
        for bad in [
            good.to_uppercase(),
            good[1..].to_owned(),
            format!("{good}0"),
            "zz".repeat(32),
            "é".repeat(32),
        ] {
            assert_eq!(Digest::parse(&bad), None, "{bad}");
        }
    }
}
