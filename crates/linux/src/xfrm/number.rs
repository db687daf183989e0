//! The numbers of `linux/xfrm.h`, which are stable interface.

pub(super) const MSG_NEWSA: u16 = 0x10;
pub(super) const MSG_DELSA: u16 = 0x11;
pub(super) const MSG_GETSA: u16 = 0x12;
pub(super) const MSG_NEWPOLICY: u16 = 0x13;
pub(super) const MSG_DELPOLICY: u16 = 0x14;
pub(super) const MSG_GETPOLICY: u16 = 0x15;
pub(super) const MSG_ALLOCSPI: u16 = 0x16;
pub(super) const MSG_ACQUIRE: u16 = 0x17;
pub(super) const MSG_EXPIRE: u16 = 0x18;
pub(super) const MSG_UPDPOLICY: u16 = 0x19;
pub(super) const MSG_UPDSA: u16 = 0x1a;
pub(super) const MSG_FLUSHSA: u16 = 0x1c;
pub(super) const MSG_FLUSHPOLICY: u16 = 0x1d;
pub(super) const MSG_MIGRATE: u16 = 0x21;
pub(super) const MSG_NEWSADINFO: u16 = 0x22;
pub(super) const MSG_GETSADINFO: u16 = 0x23;
pub(super) const MSG_NEWSPDINFO: u16 = 0x24;
pub(super) const MSG_GETSPDINFO: u16 = 0x25;
pub(super) const MSG_MAPPING: u16 = 0x26;

pub(super) const ALG_CRYPT: u16 = 2;
pub(super) const ENCAP: u16 = 4;
pub(super) const TMPL: u16 = 5;
pub(super) const POLICY: u16 = 7;
pub(super) const REPLAY_VAL: u16 = 10;
pub(super) const LASTUSED: u16 = 15;
pub(super) const MIGRATE: u16 = 17;
pub(super) const ALG_AEAD: u16 = 18;
pub(super) const ALG_AUTH_TRUNC: u16 = 20;
pub(super) const MARK: u16 = 21;
pub(super) const TFCPAD: u16 = 22;
pub(super) const REPLAY_ESN_VAL: u16 = 23;
pub(super) const SA_EXTRA_FLAGS: u16 = 24;
pub(super) const OFFLOAD_DEV: u16 = 28;
pub(super) const SET_MARK: u16 = 29;
pub(super) const SET_MARK_MASK: u16 = 30;
pub(super) const IF_ID: u16 = 31;
/// Since Linux 6.10.
pub(super) const SA_DIR: u16 = 33;
/// Since Linux 6.11.
pub(super) const NAT_KEEPALIVE_INTERVAL: u16 = 34;
/// Since Linux 6.13.
pub(super) const SA_PCPU: u16 = 35;

pub(super) const STATE_NOECN: u8 = 1;
pub(super) const STATE_DECAP_DSCP: u8 = 2;
pub(super) const STATE_NOPMTUDISC: u8 = 4;
pub(super) const STATE_ICMP: u8 = 16;
pub(super) const STATE_AF_UNSPEC: u8 = 32;
pub(super) const STATE_ESN: u8 = 128;
pub(super) const XFLAG_DONT_ENCAP_DSCP: u8 = 1;
pub(super) const XFLAG_OSEQ_MAY_WRAP: u8 = 2;

pub(super) const OFFLOAD_INBOUND: u8 = 2;
pub(super) const OFFLOAD_PACKET: u8 = 4;

pub(super) const POLICY_LOCALOK: u8 = 1;
pub(super) const POLICY_ICMP: u8 = 2;

/// `UDP_ENCAP_ESPINUDP`.
pub(super) const ESP_IN_UDP: u16 = 2;

/// Groups to listen to.
pub(super) const GROUP_ACQUIRE: u32 = 1;
pub(super) const GROUP_EXPIRE: u32 = 2;
pub(super) const GROUP_SA: u32 = 3;
pub(super) const GROUP_POLICY: u32 = 4;
pub(super) const GROUP_MIGRATE: u32 = 7;
pub(super) const GROUP_MAPPING: u32 = 8;
