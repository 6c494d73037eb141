//! `_approx_count_distinct`: about how many different keys there are, in bounded room.
//!
//! A `HyperLogLog` sketch (Flajolet et al. 2007): the hash of a key chooses one of 4,096 registers,
//! which keeps the longest run of zeros seen. The estimate is Ertl's (2017), which needs no
//! tables and is as good for few keys as for many: 1.6 % off in the mean.
//!
//! A sketch is stored as a JSON string, base64 over a form byte and either the registers that are
//! not empty, one after the other, or all of them, six bits each; whichever is shorter.

use adea_store::value::{Reader, put_varint};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use xxhash_rust::xxh3::xxh3_64;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 12;
const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of a hash in which zeros are counted.
const COUNTED_BITS: u32 = 64 - INDEX_BITS;
/// The greatest value of a register: no bit was set.
const VALUE_MAX: u8 = 53;

const SPARSE: u8 = 1;
const DENSE: u8 = 2;

struct Sketch {
    registers: Vec<u8>,
}

/// The sketch of keys.
pub(super) fn sketch<'k>(keys: impl Iterator<Item = &'k [u8]>) -> String {
    let mut sketch = Sketch::new();
    keys.for_each(|key| sketch.insert(xxh3_64(key)));
    sketch.encode()
}

/// The sketch of all keys that went into any of `sketches`.
pub(super) fn union<'s>(sketches: impl Iterator<Item = &'s str>) -> String {
    let mut all = Sketch::new();
    for stored in sketches {
        all.read(stored);
    }
    all.encode()
}

/// About how many keys went into a sketch.
pub(super) fn estimate(stored: &str) -> u64 {
    let mut sketch = Sketch::new();
    sketch.read(stored);
    sketch.estimate()
}

impl Sketch {
    fn new() -> Self {
        Self {
            registers: vec![0; REGISTERS],
        }
    }

    fn insert(&mut self, hash: u64) {
        let index = usize::try_from(hash >> COUNTED_BITS).unwrap_or_default();
        let zeros = (hash << INDEX_BITS).leading_zeros().min(COUNTED_BITS);
        self.raise(index, u8::try_from(zeros + 1).unwrap_or(VALUE_MAX));
    }

    fn raise(&mut self, index: usize, value: u8) {
        if let Some(register) = self.registers.get_mut(index) {
            *register = value.min(VALUE_MAX).max(*register);
        }
    }

    fn encode(&self) -> String {
        let mut bytes = vec![SPARSE];
        let mut last = 0;
        for (index, value) in self.registers.iter().enumerate() {
            if *value > 0 {
                let step = index - last;
                last = index;
                put_varint(&mut bytes, (step as u64) << 6 | u64::from(*value));
            }
        }
        if bytes.len() > REGISTERS * 6 / 8 {
            bytes = vec![DENSE];
            for four in self.registers.as_chunks::<4>().0 {
                let bits = four
                    .iter()
                    .fold(0u32, |bits, value| bits << 6 | u32::from(*value));
                bytes.extend(bits.to_be_bytes().into_iter().skip(1));
            }
        }
        let mut out = String::from("\"");
        STANDARD_NO_PAD.encode_string(bytes, &mut out);
        out.push('"');
        out
    }

    /// Adds a stored sketch; what is none adds nothing.
    fn read(&mut self, stored: &str) {
        let text = stored.trim_matches('"');
        let bytes = STANDARD_NO_PAD.decode(text).unwrap_or_default();
        match bytes.split_first() {
            Some((&SPARSE, entries)) => self.read_sparse(entries),
            Some((&DENSE, registers)) => {
                for (n, [a, b, c]) in registers.as_chunks::<3>().0.iter().enumerate() {
                    let bits = u32::from_be_bytes([0, *a, *b, *c]);
                    for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                        let value = bits >> shift & 63;
                        self.raise(4 * n + place, u8::try_from(value).unwrap_or_default());
                    }
                }
            }
            Some(_) | None => {}
        }
    }

    fn read_sparse(&mut self, entries: &[u8]) {
        let mut reader = Reader::new(entries);
        let mut index = 0usize;
        while let Some(entry) = reader.varint() {
            let step = usize::try_from(entry >> 6).unwrap_or(REGISTERS);
            index = index.saturating_add(step);
            self.raise(index, u8::try_from(entry & 63).unwrap_or_default());
        }
    }

    fn estimate(&self) -> u64 {
        let mut histogram = [0u32; VALUE_MAX as usize + 1];
        for value in &self.registers {
            if let Some(count) = histogram.get_mut(usize::from(*value)) {
                *count += 1;
            }
        }
        let all = 4096.0;
        let (empty, full) = (histogram.first(), histogram.last());
        let share = |count: Option<&u32>| f64::from(count.copied().unwrap_or_default()) / all;
        let mut z = all * tau(1.0 - share(full));
        for count in histogram.iter().skip(1).rev().skip(1) {
            z = 0.5 * (z + f64::from(*count));
        }
        z += all * sigma(share(empty));
        let estimate = all * all / (2.0 * std::f64::consts::LN_2 * z);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the estimate is not negative, and the cast saturates"
        )]
        let rounded = estimate.round() as u64;
        rounded
    }
}

/// What the registers that are still empty say.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// What the registers that are full say.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}
