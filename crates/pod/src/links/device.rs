//! The notice of a new device: whoever gets into an account from somewhere new is told to its owner.
//!
//! A device is what it says of itself, without the numbers of versions, which change by themselves, and
//! the net that it is in, as wide as a provider's (/16 of IPv4, /32 of IPv6): a telephone changes its
//! address all day and would be new each time, and a notice that comes daily is not read. Only hashes
//! are kept, of the last twenty; what is never seen again makes room.

use std::net::IpAddr;

use adea_accounts::directory::AccountRecord;
use adea_accounts::sessions::SessionRecord;
use adea_mail::{Kind, Outgoing, enqueue};
use adea_store::Transaction;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::pod::Pod;

/// Devices of one account that are remembered.
const DEVICES_MAX: usize = 20;
/// The most characters of a device that a mail shows.
const SHOWN_CHARS_MAX: usize = 120;
/// Bytes of a hash that are kept: enough to tell twenty apart.
const HASH_BYTES: usize = 12;

impl Pod {
    /// Remembers the device that a session of `record` begins on, and tells the owner if it is a new one
    /// and not the first.
    pub(crate) fn notice_device(
        &self,
        tx: &mut Transaction<'_>,
        record: &mut AccountRecord,
        session: &SessionRecord,
    ) {
        let now_ms = session.begun_ms;
        let device = hash_of(&record.id, &session.device, &session.address);
        if let Some(place) = record.devices.iter().position(|known| *known == device) {
            // To the end, if it is not nearly there: the oldest goes first, and most sign-ins write nothing.
            if place + DEVICES_MAX / 2 < record.devices.len() {
                let known = record.devices.remove(place);
                record.devices.push(known);
            }
            return;
        }
        let first = record.devices.is_empty();
        if record.devices.len() >= DEVICES_MAX {
            record.devices.drain(..=record.devices.len() - DEVICES_MAX);
        }
        record.devices.push(device);
        if first || !self.auth().accounts.providers.new_device_notice {
            return;
        }
        let Some(to) = record.verified_address() else {
            return;
        };
        let mail = Outgoing {
            kind: Kind::NewDevice,
            to: to.address.clone(),
            language: record.language.clone().unwrap_or_default(),
            app: session.app.clone(),
            data: json!({
                "device": shown(&session.device),
                "address": session.address,
                "time": time_of(now_ms),
            }),
        };
        enqueue(tx, &self.inner.entropy, now_ms, &mail);
    }
}

/// What is kept of a device.
fn hash_of(account: &str, device: &str, address: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(account.as_bytes());
    hash.update([0]);
    hash.update(family_of(device).as_bytes());
    hash.update([0]);
    hash.update(net_of(address));
    let hash = hash.finalize();
    URL_SAFE_NO_PAD.encode(hash.get(..HASH_BYTES).unwrap_or_default())
}

/// What a device says of itself, without numbers.
fn family_of(device: &str) -> String {
    let letters = device
        .chars()
        .filter(|c| !c.is_ascii_digit() && !"._".contains(*c));
    letters.collect()
}

/// The net that an address is in.
fn net_of(address: &str) -> Vec<u8> {
    let address = address.parse::<IpAddr>().map(|one| one.to_canonical());
    match address {
        Ok(IpAddr::V4(four)) => four.octets().iter().take(2).copied().collect(),
        Ok(IpAddr::V6(six)) => six.octets().iter().take(4).copied().collect(),
        Err(_) => Vec::new(),
    }
}

/// What of a device is shown: it is whatever a stranger wrote.
fn shown(device: &str) -> String {
    let visible = device.chars().filter(|c| !c.is_control());
    visible.take(SHOWN_CHARS_MAX).collect()
}

/// A time as `2026-11-21 17:20 UTC`.
fn time_of(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    let (days, minute) = (minutes / 1_440, minutes % 1_440);
    // Days to a date of the Gregorian calendar, in eras of 400 years from 1 March of the year 0 on
    // (Hinnant, `civil_from_days`).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (minute / 60, minute % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        assert_eq!(time_of(0), "1970-01-01 00:00 UTC");
        assert_eq!(time_of(1_709_251_199_000), "2024-02-29 23:59 UTC");
        assert_eq!(time_of(1_709_251_200_000), "2024-03-01 00:00 UTC");
        assert_eq!(time_of(1_795_281_600_000), "2026-11-21 17:20 UTC");
    }

    #[test]
    fn a_device_is_the_same_after_an_update_and_in_the_same_net() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
        let newer = firefox.replace("128.0", "140.1");
        let known = hash_of("a", firefox, "192.0.2.1");
        assert_eq!(hash_of("a", &newer, "192.0.77.9"), known);
        assert_eq!(hash_of("a", firefox, "::ffff:192.0.2.1"), known);
        assert_ne!(hash_of("b", firefox, "192.0.2.1"), known);
        assert_ne!(hash_of("a", firefox, "198.51.100.1"), known);
        assert_ne!(hash_of("a", "curl/8.0", "192.0.2.1"), known);
        assert_eq!(
            hash_of("a", "x", "2001:db8:1::1"),
            hash_of("a", "x", "2001:db8:2::1")
        );
    }
}
