//! What swanctl.conf says, as plain data with every default filled in.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use adit_ipsec::{
    EntryOptions, HeaderRules, Identity, IfIds, Mode, Numbering, Proposal, SelectorSpec, Shunt,
};

pub use adit_ipsec::{ChildAction as Action, Childless, Fragmentation, SendCert, Unique};
use zeroize::Zeroizing;

/// A whole swanctl.conf.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SwanctlConf {
    /// `connections`, in the order of the file.
    pub connections: Vec<Connection>,
    /// `pools`.
    pub pools: Vec<Pool>,
    /// `secrets`.
    pub secrets: Vec<SecretEntry>,
    /// `authorities`.
    pub authorities: Vec<Authority>,
}

/// Where an item was written. Two origins always compare equal: moving a section in its file changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The file, or empty for items that a VICI client loaded.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.is_empty() { f.write_str("vici") } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

/// One `connections.<name>` section.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// The section's name.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// 0 or 2; both mean IKEv2 here.
    pub version: u8,
    /// Own addresses: addresses, CIDRs, ranges, DNS names or `%any`.
    pub local_addrs: Vec<String>,
    /// The peer's addresses, same forms.
    pub remote_addrs: Vec<String>,
    /// Own UDP port, default 500.
    pub local_port: u16,
    /// The peer's UDP port, default 500.
    pub remote_port: u16,
    /// IKE proposals, never empty.
    pub proposals: Vec<Proposal>,
    /// Virtual addresses to ask for; unspecified = any of that family.
    pub vips: Vec<IpAddr>,
    /// Names of the pools that serve the peer.
    pub pools: Vec<String>,
    /// Force UDP encapsulation.
    pub encap: bool,
    /// RFC 4555 is wanted.
    pub mobike: bool,
    /// Idle time before a liveness check; zero = never.
    pub dpd_delay: Duration,
    /// RFC 7383.
    pub fragmentation: Fragmentation,
    /// RFC 6023.
    pub childless: Childless,
    /// Send CERTREQ payloads.
    pub send_certreq: bool,
    /// When to send certificates.
    pub send_cert: SendCert,
    /// Attempts of the whole first retransmission sequence; 0 = for ever.
    pub keyingtries: u32,
    /// What happens to an older IKE_SA of the same identities.
    pub unique: Unique,
    /// Soft lifetime of the IKE_SA; zero = never rekeyed.
    pub rekey_time: Duration,
    /// Full reauthentication; zero = never.
    pub reauth_time: Duration,
    /// Added to the longer of both for the hard lifetime.
    pub over_time: Duration,
    /// Upper bound of the random time subtracted from the soft lifetime.
    pub rand_time: Duration,
    /// DSCP of our IKE packets (always 0 until it is served).
    pub dscp: u8,
    /// `if_id_in` and `if_id_out`: the XFRM interfaces of children that name none themselves.
    pub if_ids: IfIds,
    /// How we authenticate, in order of rounds.
    pub local: Vec<AuthRound>,
    /// How the peer authenticates, in order of rounds.
    pub remote: Vec<AuthRound>,
    /// The children.
    pub children: Vec<Child>,
}

/// One `local…` or `remote…` section.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthRound {
    /// The section's name, e.g. `local-1`.
    pub name: String,
    /// Explicit order; 0 if none.
    pub round: u32,
    /// The method.
    pub auth: AuthMethod,
    /// IKE identity; `None` = derived (certificate subject or address) for local, any for remote.
    pub id: Option<Identity>,
    /// EAP identity: what we answer (local), or what the peer must answer (remote). `Some` on the remote side means
    /// that an EAP-Identity request is sent.
    pub eap_id: Option<Identity>,
    /// Certificates: file names relative to `x509/`, absolute paths, or the object itself (see
    /// [`crate::value::inline_object`]).
    pub certs: Vec<String>,
    /// Acceptable CA certificates, relative to `x509ca/`, or the object itself.
    pub cacerts: Vec<String>,
    /// What an unavailable revocation status means.
    pub revocation: Revocation,
}

/// `revocation`. The stricter policies are refused until revocation is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Revocation {
    /// Fail only on "revoked".
    #[default]
    Relaxed,
}

/// `auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthMethod {
    /// Pre-shared key.
    Psk,
    /// Certificate or raw key, possibly constrained.
    Pubkey(PubkeyConstraints),
    /// EAP, with a method named or not.
    Eap(Option<EapMethod>),
}

/// Constraints written behind `auth = pubkey`, e.g. `rsa-2048-sha256`. Empty = none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PubkeyConstraints {
    /// Accepted key types with their least size in bits (0 = any).
    pub keys: Vec<(KeyFamily, u32)>,
    /// Accepted hashes.
    pub hashes: Vec<SignatureHash>,
    /// `rsa/pss` was written: PSS only.
    pub rsa_pss: bool,
}

/// A family of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyFamily {
    /// RSA.
    Rsa,
    /// ECDSA over the NIST curves.
    Ecdsa,
    /// Ed25519.
    Ed25519,
}

/// A hash named in a signature constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureHash {
    /// SHA-2, 256 bits.
    Sha256,
    /// SHA-2, 384 bits.
    Sha384,
    /// SHA-2, 512 bits.
    Sha512,
    /// The hash is part of the signature scheme (Ed25519).
    Identity,
}

/// A served EAP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EapMethod {
    /// EAP-MSCHAPv2.
    MsChapV2,
}

/// One `children.<name>` section.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// The section's name.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// ESP proposals, never empty.
    pub esp_proposals: Vec<Proposal>,
    /// Own side's selectors, never empty.
    pub local_ts: Vec<SelectorSpec>,
    /// The peer's selectors, never empty.
    pub remote_ts: Vec<SelectorSpec>,
    /// Tunnel or transport.
    pub mode: Mode,
    /// It never negotiates: `mode = pass` or `drop`.
    pub shunt: Option<Shunt>,
    /// What a tunnel does with DF, ECN and DSCP.
    pub headers: HeaderRules,
    /// Inner packets are padded to this many bytes; [`u16::MAX`] = `mtu`, 0 = not at all.
    pub tfc_padding: u16,
    /// Soft lifetime; zero = none.
    pub rekey_time: Duration,
    /// Hard lifetime; zero = none.
    pub life_time: Duration,
    /// Upper bound of the random time subtracted from the soft lifetime.
    pub rand_time: Duration,
    /// Soft volume limit; 0 = none.
    pub rekey_bytes: u64,
    /// Hard volume limit; 0 = none.
    pub life_bytes: u64,
    /// Upper bound of the random volume subtracted.
    pub rand_bytes: u64,
    /// Soft packet limit; 0 = none.
    pub rekey_packets: u64,
    /// Hard packet limit; 0 = none.
    pub life_packets: u64,
    /// Upper bound of the random packet count subtracted.
    pub rand_packets: u64,
    /// What loading the connection does.
    pub start_action: Action,
    /// What a dead peer does.
    pub dpd_action: Action,
    /// What the peer's closing does.
    pub close_action: Action,
    /// Packets; 0 = replay protection off. `None` = `charon.replay_window`.
    pub replay_window: Option<u32>,
    /// Close after so long without traffic; zero = never.
    pub inactivity: Duration,
    /// Fixed reqid; 0 = chosen.
    pub reqid: u32,
    /// How its policies and SAs are made.
    pub options: EntryOptions,
    /// Which numbers in there are `%unique` or `%unique-dir`.
    pub numbering: Numbering,
    /// Command run on up and down.
    pub updown: Option<String>,
    /// A flag for that command.
    pub hostaccess: bool,
}

/// One `pools.<name>` section.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// The section's name.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// The addresses, or `None` for a pool that hands out attributes only.
    pub addrs: Option<PoolRange>,
    /// `dns`; these are also in [`Pool::attributes`].
    pub dns: Vec<IpAddr>,
    /// Every attribute, as number and value of RFC 7296 §3.15.1, in the order written.
    pub attributes: Vec<(u16, Vec<u8>)>,
}

/// The addresses of a pool, all of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolRange {
    /// The first address handed out.
    pub first: IpAddr,
    /// The last one.
    pub last: IpAddr,
    /// What is shown as the pool's base: the address as written, which for a CIDR is not handed out when it is the
    /// network address.
    pub base: IpAddr,
    /// The prefix length, when written as CIDR.
    pub prefix: Option<u8>,
}

impl PoolRange {
    /// How many addresses it has, saturating.
    pub fn size(&self) -> u64 {
        let n = match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(u32::from(b).saturating_sub(u32::from(a))),
            (IpAddr::V6(a), IpAddr::V6(b)) => u128::from(b).saturating_sub(u128::from(a)),
            _ => return 0,
        };
        u64::try_from(n).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Do they share an address?
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4() && self.first <= other.last && other.first <= self.last
    }
}

/// One section of `secrets`.
#[derive(Clone, PartialEq)]
pub struct SecretEntry {
    /// The section's name, e.g. `ike-1`; unique, and the id under which VICI lists it.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// What it is for.
    pub kind: SecretKind,
    /// The secret, decoded from `0x`/`0s`; for private keys the passphrase, empty if none was given.
    pub secret: Zeroizing<Vec<u8>>,
    /// Whose it is; empty = anyone's.
    pub ids: Vec<Identity>,
}

impl fmt::Debug for SecretEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretEntry")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("secret", &format_args!("({} bytes)", self.secret.len()))
            .field("ids", &self.ids)
            .finish()
    }
}

/// What a secret is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretKind {
    /// IKE pre-shared key.
    Ike,
    /// EAP password (`eap` and its alias `xauth`).
    Eap,
    /// EAP-MSCHAPv2 password as NT hash.
    Ntlm,
    /// A private key file with its passphrase.
    Private {
        /// Its name in the folder, or an absolute path.
        file: String,
        /// The section's prefix, which is also the folder: `private`, `rsa`, `ecdsa` or `pkcs8`.
        folder: &'static str,
    },
}

/// One `authorities.<name>` section.
#[derive(Debug, Clone, PartialEq)]
pub struct Authority {
    /// The section's name.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// The CA certificate: a name in `x509ca/`, an absolute path, or the object itself.
    pub cacert: String,
    /// CRL addresses (not fetched yet).
    pub crl_uris: Vec<String>,
    /// OCSP responders (not asked yet).
    pub ocsp_uris: Vec<String>,
}
