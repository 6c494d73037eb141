//! MD5, written down from RFC 1321: a digest is checked by other code than that which made it.

/// The digest of `bytes`.
pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((bytes.len() as u64 * 8).to_le_bytes());
    let table: Vec<u32> = (1..=64_u32)
        .map(|n| {
            format!(
                "{:.0}",
                (f64::from(n).sin().abs() * 4_294_967_296.0).floor()
            )
        })
        .map(|text| text.parse().unwrap())
        .collect();
    let shifts = [
        [7, 12, 17, 22],
        [5, 9, 14, 20],
        [4, 11, 16, 23],
        [6, 10, 15, 21],
    ];
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.as_chunks::<64>().0 {
        let words: Vec<u32> = block
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        let [mut a, mut b, mut c, mut d] = state;
        for n in 0..64 {
            let (mixed, word) = match n / 16 {
                0 => ((b & c) | (!b & d), n),
                1 => ((d & b) | (!d & c), (5 * n + 1) % 16),
                2 => (b ^ c ^ d, (3 * n + 5) % 16),
                _ => (c ^ (b | !d), 7 * n % 16),
            };
            let sum = a
                .wrapping_add(mixed)
                .wrapping_add(table[n])
                .wrapping_add(words[word]);
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(shifts[n / 16][n % 4]));
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 16];
    for (place, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *place = word.to_le_bytes();
    }
    digest
}

#[test]
fn the_digests_of_the_rfc() {
    let hex = |text: &str| -> String {
        md5(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    };
    assert_eq!(hex(""), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(hex("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    assert_eq!(
        hex(&"1234567890".repeat(8)),
        "57edf4a22be3c955ac49da2e2107b67a"
    );
}
