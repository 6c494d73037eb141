//! Ceremonies against a device made of a key pair and a few bytes of CBOR.

#![cfg(feature = "passkeys")]

use super::*;
use adea_base::Entropy;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

const ORIGIN: &str = "https://app.example";
const PRESENT: u8 = 1;
const VERIFIED: u8 = 4;
const ATTESTED: u8 = 0x40;

/// Makes a device lie.
type Spoil = fn(&mut Device);

/// A device with one passkey, whose every answer can be spoilt.
struct Device {
    pair: EcdsaKeyPair,
    id: Vec<u8>,
    counter: u32,
    flags: u8,
    rp: String,
    origin: String,
}

impl Device {
    fn new(id: &[u8]) -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            id: id.to_vec(),
            counter: 1,
            flags: PRESENT | VERIFIED,
            rp: "app.example".to_owned(),
            origin: ORIGIN.to_owned(),
        }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = options.pointer("/publicKey/challenge").unwrap();
        let data = json!({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false});
        data.to_string().into_bytes()
    }

    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        let mut data = Sha256::digest(&self.rp).to_vec();
        data.push(self.flags | flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn create(&self, options: &Value) -> Value {
        let point = self.pair.public_key().as_ref();
        let mut auth = self.authenticator_data(ATTESTED);
        auth.extend([0; 16]);
        auth.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        auth.extend(&self.id);
        auth.extend([0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32]);
        auth.extend(&point[1..33]);
        auth.extend([0x22, 0x58, 32]);
        auth.extend(&point[33..]);
        let mut attestation = vec![0xa3];
        attestation.extend(b"\x63fmt\x64none\x67attStmt\xa0\x68authData\x59");
        attestation.extend(u16::try_from(auth.len()).unwrap().to_be_bytes());
        attestation.extend(auth);
        let id = URL_SAFE_NO_PAD.encode(&self.id);
        let client = self.client_data("webauthn.create", options);
        json!({"id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {},
            "authenticatorAttachment": "platform", "response": {
                "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
                "attestationObject": URL_SAFE_NO_PAD.encode(attestation),
                "transports": ["internal"]}})
    }

    fn get(&mut self, options: &Value, handle: u128) -> Value {
        self.counter += 1;
        let client = self.client_data("webauthn.get", options);
        let auth = self.authenticator_data(0);
        let signed = [auth.clone(), Sha256::digest(&client).to_vec()].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        let id = URL_SAFE_NO_PAD.encode(&self.id);
        json!({"id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {}, "response": {
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
            "authenticatorData": URL_SAFE_NO_PAD.encode(auth),
            "signature": URL_SAFE_NO_PAD.encode(signature),
            "userHandle": URL_SAFE_NO_PAD.encode(handle.to_be_bytes())}})
    }
}

fn party() -> RelyingParty {
    RelyingParty::new(Some(ORIGIN), "evil.example").unwrap()
}

fn account() -> String {
    crate::keys::new_id(&Entropy::System)
}

fn registered(device: &Device, account: &str) -> StoredPasskey {
    let started = party().start_registration(account, "ann", &[]).unwrap();
    let credential = device.create(&started.options);
    // As it is when it comes out of the store.
    let state = serde_json::from_str(&started.state.to_string()).unwrap();
    let made = party().finish_registration(&state, &credential).unwrap();
    serde_json::from_str(&serde_json::to_string(&made).unwrap()).unwrap()
}

#[test]
fn a_passkey_is_made_and_signs_in_without_a_name() {
    let (account, mut device) = (account(), Device::new(b"credential"));
    let mut stored = registered(&device, &account);
    assert_eq!(stored.credential, URL_SAFE_NO_PAD.encode("credential"));
    for _ in 0..3 {
        let started = party().start_sign_in().unwrap();
        assert_eq!(
            started.options.pointer("/publicKey/allowCredentials"),
            Some(&json!([]))
        );
        assert!(started.options.get("mediation").is_none());
        let credential = device.get(&started.options, handle_of(&account).unwrap());
        let who = claimed(&credential).unwrap();
        assert_eq!(
            (&who.account, &who.credential),
            (&account, &stored.credential)
        );
        let key = party().finish_sign_in(&started.state, &credential, &stored);
        stored.key = key.unwrap().unwrap();
    }
}

#[test]
fn what_is_asked_of_a_device_is_a_passkey_of_this_user_that_it_has_not() {
    let account = account();
    let stored = registered(&Device::new(b"credential"), &account);
    let started = party()
        .start_registration(&account, "ann", &[stored])
        .unwrap();
    let told = |path: &str| started.options.pointer(path).unwrap().clone();
    let selection = told("/publicKey/authenticatorSelection");
    assert_eq!(selection["residentKey"], "required");
    assert_eq!(selection["requireResidentKey"], true);
    assert_eq!(selection["userVerification"], "required");
    assert_eq!(told("/publicKey/rp/id"), "app.example");
    assert_eq!(told("/publicKey/user/name"), "ann");
    let handle = handle_of(&account).unwrap().to_be_bytes();
    assert_eq!(told("/publicKey/user/id"), URL_SAFE_NO_PAD.encode(handle));
    let known = URL_SAFE_NO_PAD.encode("credential");
    assert_eq!(told("/publicKey/excludeCredentials/0/id"), known);
    // Nor does a device that does not listen get its passkey in twice.
    let again = Device::new(b"credential").create(&started.options);
    let made = party().finish_registration(&started.state, &again);
    assert_eq!(made, Err(PasskeyError::Refused));
}

#[test]
fn a_passkey_of_another_host_origin_or_challenge_is_not_made() {
    let spoils: [Spoil; 5] = [
        |device| device.rp = "evil.example".to_owned(),
        |device| device.origin = "https://evil.example".to_owned(),
        |device| device.origin = "https://app.example.evil.example".to_owned(),
        |device| device.origin = "http://app.example".to_owned(),
        |device| device.flags = PRESENT,
    ];
    for (n, spoil) in spoils.iter().enumerate() {
        let mut device = Device::new(b"credential");
        spoil(&mut device);
        let started = party().start_registration(&account(), "ann", &[]).unwrap();
        let credential = device.create(&started.options);
        let made = party().finish_registration(&started.state, &credential);
        assert_eq!(made, Err(PasskeyError::Refused), "{n}");
    }
    let [one, other] =
        [(); 2].map(|()| party().start_registration(&account(), "ann", &[]).unwrap());
    let credential = Device::new(b"credential").create(&one.options);
    let made = party().finish_registration(&other.state, &credential);
    assert_eq!(made, Err(PasskeyError::Refused));
}

#[test]
fn an_answer_for_another_host_origin_or_challenge_does_not_sign_in() {
    let account = account();
    let handle = handle_of(&account).unwrap();
    let spoils: [(Spoil, PasskeyError); 6] = [
        (
            |device| device.rp = "evil.example".to_owned(),
            PasskeyError::Refused,
        ),
        (
            |device| device.origin = "https://evil.example".to_owned(),
            PasskeyError::Refused,
        ),
        (
            |device| device.origin = "https://app.example:8443".to_owned(),
            PasskeyError::Refused,
        ),
        (|device| device.flags = PRESENT, PasskeyError::Refused),
        (
            |device| device.pair = Device::new(b"").pair,
            PasskeyError::Refused,
        ),
        (|device| device.counter = 0, PasskeyError::Cloned),
    ];
    for (n, (spoil, error)) in spoils.iter().enumerate() {
        let mut device = Device::new(b"credential");
        let stored = registered(&device, &account);
        spoil(&mut device);
        let started = party().start_sign_in().unwrap();
        let credential = device.get(&started.options, handle);
        let done = party().finish_sign_in(&started.state, &credential, &stored);
        assert_eq!(done, Err(*error), "{n}");
    }
    let mut device = Device::new(b"credential");
    let stored = registered(&device, &account);
    let [one, other] = [(); 2].map(|()| party().start_sign_in().unwrap());
    let credential = device.get(&one.options, handle);
    let done = party().finish_sign_in(&other.state, &credential, &stored);
    assert_eq!(done, Err(PasskeyError::Refused));
    // A registration's state is none of a sign-in.
    let started = party().start_registration(&account, "ann", &[]).unwrap();
    let done = party().finish_sign_in(&started.state, &credential, &stored);
    assert_eq!(done, Err(PasskeyError::Refused));
    let other = StoredPasskey {
        credential: "other".to_owned(),
        ..registered(&Device::new(b"other"), &account)
    };
    assert_eq!(
        party().finish_sign_in(&one.state, &credential, &other),
        Err(PasskeyError::Refused)
    );
}

#[test]
fn what_is_no_credential_is_told_to_be_none() {
    let state = party().start_sign_in().unwrap().state;
    let stored = registered(&Device::new(b"credential"), &account());
    for credential in [
        json!(null),
        json!({}),
        json!([1]),
        json!("x"),
        json!({"id": "a", "rawId": "a"}),
    ] {
        assert_eq!(claimed(&credential), Err(PasskeyError::Malformed));
        let done = party().finish_sign_in(&state, &credential, &stored);
        assert_eq!(done, Err(PasskeyError::Malformed), "{credential}");
        let made = party().finish_registration(&state, &credential);
        assert_eq!(made, Err(PasskeyError::Malformed), "{credential}");
    }
    let started = party().start_sign_in().unwrap();
    let mut credential = Device::new(b"credential").get(&started.options, 7);
    for handle in ["", "AA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        credential["response"]["userHandle"] = json!(handle);
        assert_eq!(claimed(&credential), Err(PasskeyError::Malformed));
    }
    credential["response"]["clientDataJSON"] = json!(URL_SAFE_NO_PAD.encode("{"));
    let done = party().finish_sign_in(&started.state, &credential, &stored);
    assert!(matches!(
        done,
        Err(PasskeyError::Malformed | PasskeyError::Refused)
    ));
    // Arrays within arrays, deeper than anything that a device makes.
    let mut credential = Device::new(b"credential").create(&started.options);
    credential["response"]["attestationObject"] = json!(URL_SAFE_NO_PAD.encode([0x81; 40_000]));
    let started = party().start_registration(&account(), "ann", &[]).unwrap();
    let made = party().finish_registration(&started.state, &credential);
    assert_eq!(made, Err(PasskeyError::Malformed));
}

#[test]
fn a_host_is_believed_only_if_it_is_this_machine() {
    let party = |url: Option<&str>, host: &str| {
        RelyingParty::new(url, host).map(|party| (party.id, party.origins))
    };
    let localhost = |port: &str| {
        let origins = ["http", "https"].map(|scheme| format!("{scheme}://localhost{port}"));
        Ok(("localhost".to_owned(), origins.to_vec()))
    };
    assert_eq!(party(None, "localhost"), localhost(""));
    assert_eq!(party(None, "LocalHost:5984"), localhost(":5984"));
    for host in [
        "",
        "127.0.0.1",
        "[::1]:80",
        "app.example",
        "localhost.",
        "a.localhost",
        "localhost:x",
        "localhost@evil",
        "localhost:1:2",
    ] {
        assert_eq!(party(None, host), Err(PasskeyError::NoHost), "{host}");
    }
    let of = |id: &str, origin: &str| Ok((id.to_owned(), vec![origin.to_owned()]));
    for (url, expected) in [
        (
            "https://App.example/",
            of("app.example", "https://app.example"),
        ),
        (
            "https://app.example:8443/x?y",
            of("app.example", "https://app.example:8443"),
        ),
        (
            "http://localhost:5984",
            of("localhost", "http://localhost:5984"),
        ),
        ("http://app.example", Err(PasskeyError::NoHost)),
        ("https://10.0.0.1", Err(PasskeyError::NoHost)),
        ("https://[::1]", Err(PasskeyError::NoHost)),
        ("https://u:p@app.example", Err(PasskeyError::NoHost)),
        ("ftp://app.example", Err(PasskeyError::NoHost)),
        ("https://", Err(PasskeyError::NoHost)),
        ("app.example", Err(PasskeyError::NoHost)),
    ] {
        assert_eq!(party(Some(url), "localhost"), expected, "{url}");
    }
}

#[test]
fn a_user_handle_is_an_account() {
    for _ in 0..100 {
        let account = account();
        assert_eq!(account_of(handle_of(&account).unwrap()), account);
    }
    for none in [
        "",
        "short",
        "777777777777777777777777777",
        "77777777777777777777777777",
        "admin:root",
    ] {
        assert_eq!(handle_of(none), None, "{none}");
        let started = party().start_registration(none, "ann", &[]);
        assert_eq!(started, Err(PasskeyError::Refused));
    }
}
