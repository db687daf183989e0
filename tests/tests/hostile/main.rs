//! Past failures of other implementations, as negative tests: a peer that does what no honest peer does.
//!
//! A [`lab::Lab`] has three real endpoints: the gateway; mallory, whose every message a test may bend *inside* the
//! protection, with a good ICV, since the lab knows the keys; and a bystander, whose tunnel is up before and has to be
//! up, and rekeyable, after whatever mallory does. A test states an input and what is required. What is required of all
//! of them: no panic, no endless loop, a typed reason or a counter that moves, tables back to where they were once
//! mallory is gone, and the bystander unharmed.
//!
//! Each test is named after its row, the number in the house's list of past failures:
//!
//! | row | what | where |
//! |---|---|---|
//! | 1 | very many payloads outside and inside of an Encrypted (Fragment) payload | `messages` |
//! | 2, 3, 24, 31 | lax, short, empty and zero signatures; degenerate public keys | `proofs` |
//! | 4 | REKEY_SA with an invalid protocol | `requests` |
//! | 5 | traffic selectors | `requests` |
//! | 6 | the secret disappears in the middle of the handshake | `proofs` |
//! | 7, 28 | exchanges that the state does not allow | `messages` |
//! | 8, 9, 25, 27 | proposals that lack a transform, or name what is not served | `init` |
//! | 10, 30 | key exchange values | `init` |
//! | 11, 36 | every payload of every exchange left out, doubled, swapped | `permute` |
//! | 12, 33 | malformed first messages; control characters in what is logged | `init`, `proofs` |
//! | 13 | behind the delete of the IKE_SA nothing counts | `requests` |
//! | 14 | TLV parsers with lengths 0, 1, header − 1 | `requests` |
//! | 19, 21, 29 | EAP, at the client | `eap` |
//! | 23 | many different certificates | `proofs` |
//! | 26 | payload types of IKEv1 and private ones | `messages` |
//! | – | answers about one CHILD_SA that only another implementation gives | `selectors` |
//! | 32 | identities of 0, 1, 4095, 65,000 octets | `proofs` |
//! | 34 | fragment accounting | `messages` |
//! | 35 | the right kind of key, but a wrong one | `proofs` |
//! | 37 | ESP: oversized packets, exhausted numbers | `esp` |
//! | – | IKE_AUTH without a child, or with a part of one, where it must not be | `extensions` |
//! | – | redirects that are not proved, in the wrong answer, or by the wrong end | `extensions` |
//! | – | synchronizations of Message IDs: replayed, unauthenticated, backwards, in floods | `extensions` |
//! | – | seeded mutation of valid exchanges inside the protection | `mutate` |
//! | – | 20,000 spoofed first messages while an honest client connects | `flood` |
//!
//! Not applicable as long as the thing itself is not there: 15 (RADIUS), 16 (EAP-TTLS), 17 and 20 (TLS), 22 (no CRL,
//! OCSP or URL is ever fetched), 38 (kernel ESP; ours owns its buffers, see `esp`). Row 18 (name constraints) is tested
//! where paths are built, in `adit-pki`; row 33's shell, where scripts are run, in `adit-gateway` (`updown`).

#[allow(dead_code, reason = "shared with the pair tests")]
#[path = "../pair/host.rs"]
mod host;
#[allow(dead_code, reason = "shared with the pair tests")]
#[path = "../pair/net.rs"]
mod net;
#[allow(dead_code, reason = "shared with the pair tests")]
#[path = "../pair/pki.rs"]
mod pki;
#[allow(dead_code, reason = "shared with the pair tests")]
#[path = "../pair/setup.rs"]
mod setup;

mod lab;
mod wire;

mod eap;
mod esp;
mod extensions;
mod flood;
mod init;
mod messages;
mod mutate;
mod permute;
mod proofs;
mod requests;
mod scenes;
mod selectors;
