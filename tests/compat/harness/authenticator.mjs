// A passkey device made of node's own cryptography: what it answers can be spoilt in every way that a browser would not
// let a page do. The real device of a real browser is in passkeys.test.mjs.

import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const b64 = (bytes) => Buffer.from(bytes).toString('base64url');
const uint = (bytes, value) => { const out = Buffer.alloc(bytes); out.writeUIntBE(value, 0, bytes); return out; };

export const PRESENT = 1;
export const VERIFIED = 4;
const ATTESTED = 0x40;

export class Authenticator {
  counter = 1;
  flags = PRESENT | VERIFIED;
  handle = null;

  constructor({ rp, origin, id = randomBytes(32) }) {
    Object.assign(this, { rp, origin, id, pair: generateKeyPairSync('ec', { namedCurve: 'P-256' }) });
  }

  #clientData(type, challenge) {
    return Buffer.from(JSON.stringify({ type, challenge, origin: this.origin, crossOrigin: false }));
  }

  #data(flags) {
    return Buffer.concat([sha256(this.rp), Buffer.from([this.flags | flags]), uint(4, this.counter)]);
  }

  /** What `navigator.credentials.create` would give. */
  create({ publicKey }) {
    this.handle = publicKey.user.id;
    const { x, y } = this.pair.publicKey.export({ format: 'jwk' });
    const key = Buffer.concat([
      Buffer.from([0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32]), Buffer.from(x, 'base64url'),
      Buffer.from([0x22, 0x58, 32]), Buffer.from(y, 'base64url'),
    ]);
    const data = Buffer.concat([this.#data(ATTESTED), Buffer.alloc(16), uint(2, this.id.length), this.id, key]);
    const attestation = Buffer.concat([Buffer.from([0xa3]), Buffer.from('\x63fmt\x64none\x67attStmt\xa0\x68authData\x59', 'latin1'), uint(2, data.length), data]);
    return {
      id: b64(this.id), rawId: b64(this.id), type: 'public-key', clientExtensionResults: {},
      response: { clientDataJSON: b64(this.#clientData('webauthn.create', publicKey.challenge)), attestationObject: b64(attestation), transports: ['internal'] },
    };
  }

  /** What `navigator.credentials.get` would give. */
  get({ publicKey }) {
    this.counter += 1;
    const client = this.#clientData('webauthn.get', publicKey.challenge);
    const data = this.#data(0);
    return {
      id: b64(this.id), rawId: b64(this.id), type: 'public-key', clientExtensionResults: {},
      response: {
        clientDataJSON: b64(client), authenticatorData: b64(data), userHandle: this.handle,
        signature: b64(sign('sha256', Buffer.concat([data, sha256(client)]), this.pair.privateKey)),
      },
    };
  }
}
