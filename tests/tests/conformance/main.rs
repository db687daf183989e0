//! What the RFCs demand of IKE, judged on the wire: a folder or file for each RFC, a file for each section.
//!
//! `requirements/rfcN.txt` holds the demands, sentence by sentence, each with an id. A test names those it judges right
//! above its `#[test]` (`//= rfc7296 2.1-3`); one that no message can show is excepted there, with the reason. Tests
//! that already stood elsewhere (`pair`, `hostile`, the crates) carry such lines in their places. `docs/conformance.md`
//! is made of both by `cargo xtask conformance`, and `cargo xtask test` keeps it true.
//!
//! Most tests play in the lab of the hostile tests: a gateway, a peer whose every message can be read and bent inside
//! the protection, and a bystander.

#[allow(dead_code, reason = "shared with the pair tests")]
#[path = "../pair/host.rs"]
mod host;
#[allow(dead_code, reason = "shared with the hostile tests")]
#[path = "../hostile/lab.rs"]
mod lab;
#[allow(dead_code, reason = "shared with the pair tests")]
#[path = "../pair/net.rs"]
mod net;
#[allow(dead_code, reason = "shared with the pair tests")]
#[path = "../pair/pair.rs"]
mod pair;
#[allow(dead_code, reason = "shared with the pair tests")]
#[path = "../pair/pki.rs"]
mod pki;
#[allow(dead_code, reason = "shared with the pair tests")]
#[path = "../pair/setup.rs"]
mod setup;
#[allow(dead_code, reason = "shared with the hostile tests")]
#[path = "../hostile/wire.rs"]
mod wire;

mod rfc4555;
mod rfc5723;
mod rfc6290;
mod rfc7296;
mod rfc7383;
