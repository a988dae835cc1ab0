// SHA-256 (FIPS 180-4), HMAC and PBKDF2 (RFC 8018): a browser offers its own only to pages that came over TLS.
"use strict";
const Proof = (() => {
  const K = new Uint32Array(64), BEGIN = new Uint32Array(8), W = new Uint32Array(64);
  const part = x => (x - Math.floor(x)) * 2 ** 32;
  for (let n = 0, p = 2; n < 64; p++) {
    let d = 2;
    while (p % d) d++;
    if (d < p) continue;
    if (n < 8) BEGIN[n] = part(Math.sqrt(p));
    K[n++] = part(Math.cbrt(p));
  }
  const turn = (x, n) => x >>> n | x << 32 - n;

  // One block, whose 16 words stand in W, onto `state`.
  function block(state) {
    for (let i = 16; i < 64; i++) {
      const x = W[i - 15], y = W[i - 2];
      W[i] = W[i - 16] + (turn(x, 7) ^ turn(x, 18) ^ x >>> 3) + W[i - 7] + (turn(y, 17) ^ turn(y, 19) ^ y >>> 10);
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const s = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + K[i] + W[i] | 0;
      const m = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c) | 0;
      h = g; g = f; f = e; e = d + s | 0; d = c; c = b; b = a; a = s + m | 0;
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d;
    state[4] += e; state[5] += f; state[6] += g; state[7] += h;
  }

  // The state's words behind all of `data`, of which `before` bytes are in `begin` already.
  function hash(data, begin = BEGIN, before = 0) {
    const state = begin.slice(), size = data.length + 9 + 63 & ~63, all = new Uint8Array(size);
    all.set(data);
    all[data.length] = 128;
    const view = new DataView(all.buffer);
    view.setUint32(size - 8, (data.length + before) / 2 ** 29);
    view.setUint32(size - 4, (data.length + before) * 8);
    for (let at = 0; at < size; at += 64) {
      for (let i = 0; i < 16; i++) W[i] = view.getUint32(at + 4 * i);
      block(state);
    }
    return state;
  }
  const bytes = words => {
    const out = new Uint8Array(32), view = new DataView(out.buffer);
    words.forEach((word, i) => view.setUint32(4 * i, word));
    return out;
  };
  const utf8 = text => typeof text === "string" ? new TextEncoder().encode(text) : text;
  const join = (...parts) => new Uint8Array(parts.flatMap(part => [...utf8(part)]));

  function keyed(key) {
    key = utf8(key);
    if (key.length > 64) key = bytes(hash(key));
    return [0x36, 0x5c].map(pad => {
      const view = new DataView(Uint8Array.from({length: 64}, (_, i) => (key[i] || 0) ^ pad).buffer);
      const state = BEGIN.slice();
      for (let i = 0; i < 16; i++) W[i] = view.getUint32(4 * i);
      block(state);
      return state;
    });
  }
  const sign = ([inner, outer], data) => bytes(hash(bytes(hash(data, inner, 64)), outer, 64));
  const hmac = (key, ...parts) => sign(keyed(key), join(...parts));

  // Of a word's hash alone: its block is always padded alike.
  function again(begin, words) {
    const state = begin.slice();
    W.set(words);
    W[8] = 2 ** 31;
    W.fill(0, 9, 15);
    W[15] = 768;
    block(state);
    return state;
  }
  function salted(password, salt, iterations) {
    const [inner, outer] = keyed(password.normalize("NFKC"));
    let last = again(outer, hash(join(salt, new Uint8Array([0, 0, 0, 1])), inner, 64));
    const sum = last.slice();
    for (let n = 1; n < iterations; n++) {
      last = again(outer, again(inner, last));
      for (let i = 0; i < 8; i++) sum[i] ^= last[i];
    }
    return bytes(sum);
  }
  const hex = data => Array.from(data, byte => byte.toString(16).padStart(2, "0")).join("");
  const unhex = text => Uint8Array.from(text.match(/../g) || [], pair => parseInt(pair, 16));
  const mask = (one, other) => one.map((byte, i) => byte ^ other[i]);
  const random = size => crypto.getRandomValues(new Uint8Array(size));
  const keys = secret => {
    const client = hmac(secret, "Client Key");
    return {client, stored: bytes(hash(client)), server: hmac(secret, "Server Key")};
  };

  // What the board keeps of a new password.
  function verifier(password, iterations) {
    const salt = random(16), {stored, server} = keys(salted(password, salt, iterations));
    return {salt: hex(salt), iterations, stored: hex(stored), server: hex(server)};
  }
  // The answer to a challenge; `done` takes the board's and gives the session.
  function login(password, challenge) {
    const {client, stored, server} = keys(salted(password, unhex(challenge.salt), challenge.iterations));
    const own = random(16), said = join(own, unhex(challenge.nonce));
    return {
      given: {nonce: challenge.nonce, client: hex(own), proof: hex(mask(client, hmac(stored, said)))},
      done: answer => answer.signature === hex(hmac(server, said))
        ? {name: answer.session, key: hex(hmac(client, "session", said)), number: 0} : null,
    };
  }
  const header = (session, method, address, body) => `${session.name} ${session.number} ` +
    hex(hmac(unhex(session.key), `${method} ${address} ${session.number}\n`, body));
  function seal(session, number, text) {
    const plain = utf8(text), key = keyed(unhex(session.key));
    for (let at = 0; at < plain.length; at += 32) {
      plain.set(mask(plain.slice(at, at + 32), sign(key, utf8(`secret ${number} ${at / 32}`))), at);
    }
    return hex(plain);
  }
  return {verifier, login, header, seal, salted, hex, unhex, hmac};
})();
