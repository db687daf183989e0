//! Numbers of the IANA registries, with the short names that log lines use.

/// Exchange type (RFC 7296 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeType(pub u8);

impl ExchangeType {
    /// IKE_SA_INIT.
    pub const IKE_SA_INIT: Self = Self(34);
    /// IKE_AUTH.
    pub const IKE_AUTH: Self = Self(35);
    /// CREATE_CHILD_SA.
    pub const CREATE_CHILD_SA: Self = Self(36);
    /// INFORMATIONAL.
    pub const INFORMATIONAL: Self = Self(37);
    /// IKE_SESSION_RESUME (RFC 5723).
    pub const IKE_SESSION_RESUME: Self = Self(38);
    /// IKE_INTERMEDIATE (RFC 9242).
    pub const IKE_INTERMEDIATE: Self = Self(43);
    /// IKE_FOLLOWUP_KE (RFC 9370).
    pub const IKE_FOLLOWUP_KE: Self = Self(44);

    /// Its name.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::IKE_SA_INIT => "IKE_SA_INIT",
            Self::IKE_AUTH => "IKE_AUTH",
            Self::CREATE_CHILD_SA => "CREATE_CHILD_SA",
            Self::INFORMATIONAL => "INFORMATIONAL",
            Self::IKE_SESSION_RESUME => "IKE_SESSION_RESUME",
            Self::IKE_INTERMEDIATE => "IKE_INTERMEDIATE",
            Self::IKE_FOLLOWUP_KE => "IKE_FOLLOWUP_KE",
            _ => return None,
        })
    }
}

/// Payload type (RFC 7296 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(pub u8);

impl PayloadType {
    /// No next payload.
    pub const NONE: Self = Self(0);
    /// SA.
    pub const SA: Self = Self(33);
    /// KE.
    pub const KE: Self = Self(34);
    /// IDi.
    pub const IDI: Self = Self(35);
    /// IDr.
    pub const IDR: Self = Self(36);
    /// CERT.
    pub const CERT: Self = Self(37);
    /// CERTREQ.
    pub const CERTREQ: Self = Self(38);
    /// AUTH.
    pub const AUTH: Self = Self(39);
    /// Ni, Nr.
    pub const NONCE: Self = Self(40);
    /// N.
    pub const NOTIFY: Self = Self(41);
    /// D.
    pub const DELETE: Self = Self(42);
    /// V.
    pub const VENDOR: Self = Self(43);
    /// TSi.
    pub const TSI: Self = Self(44);
    /// TSr.
    pub const TSR: Self = Self(45);
    /// SK.
    pub const SK: Self = Self(46);
    /// CP.
    pub const CP: Self = Self(47);
    /// EAP.
    pub const EAP: Self = Self(48);
    /// SKF (RFC 7383).
    pub const SKF: Self = Self(53);
}

/// Kind of a Configuration payload (RFC 7296 §3.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ConfigKind {
    /// CFG_REQUEST.
    Request = 1,
    /// CFG_REPLY.
    Reply = 2,
    /// CFG_SET.
    Set = 3,
    /// CFG_ACK.
    Ack = 4,
}

impl ConfigKind {
    pub(crate) const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Request),
            2 => Some(Self::Reply),
            3 => Some(Self::Set),
            4 => Some(Self::Ack),
            _ => None,
        }
    }
}

/// Configuration attributes (RFC 7296 §3.15.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigAttribute;

impl ConfigAttribute {
    /// INTERNAL_IP4_ADDRESS.
    pub const IP4_ADDRESS: u16 = 1;
    /// INTERNAL_IP4_NETMASK.
    pub const IP4_NETMASK: u16 = 2;
    /// INTERNAL_IP4_DNS.
    pub const IP4_DNS: u16 = 3;
    /// INTERNAL_IP4_NBNS.
    pub const IP4_NBNS: u16 = 4;
    /// INTERNAL_IP4_DHCP.
    pub const IP4_DHCP: u16 = 6;
    /// APPLICATION_VERSION.
    pub const APPLICATION_VERSION: u16 = 7;
    /// INTERNAL_IP6_ADDRESS.
    pub const IP6_ADDRESS: u16 = 8;
    /// INTERNAL_IP6_DNS.
    pub const IP6_DNS: u16 = 10;
    /// INTERNAL_IP6_DHCP.
    pub const IP6_DHCP: u16 = 12;
    /// INTERNAL_IP4_SUBNET.
    pub const IP4_SUBNET: u16 = 13;
    /// SUPPORTED_ATTRIBUTES.
    pub const SUPPORTED_ATTRIBUTES: u16 = 14;
    /// INTERNAL_IP6_SUBNET.
    pub const IP6_SUBNET: u16 = 15;

    /// Short name of log lines.
    pub const fn short_name(number: u16) -> Option<&'static str> {
        Some(match number {
            1 => "ADDR",
            2 => "MASK",
            3 => "DNS",
            4 => "NBNS",
            5 => "EXP",
            6 => "DHCP",
            7 => "VER",
            8 => "ADDR6",
            9 => "MASK6",
            10 => "DNS6",
            11 => "NBNS6",
            12 => "DHCP6",
            13 => "SUBNET",
            14 => "SUP",
            15 => "SUBNET6",
            16 => "MIP6HPFX",
            17 => "LINK6",
            18 => "PFX6",
            19 => "HOA",
            20 => "PCSCF4",
            21 => "PCSCF6",
            25 => "DOMAIN",
            26 => "DNSSEC_TA",
            23456 => "SRV",
            23457 => "SRV6",
            _ => return None,
        })
    }
}

/// Notify message type (RFC 7296 §3.10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotifyType(pub u16);

macro_rules! notifies {
    ($($name:ident = $value:literal $short:literal;)*) => {
        impl NotifyType {
            $(#[doc = stringify!($name)] pub const $name: Self = Self($value);)*

            /// The registry's name.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($value => Some(stringify!($name)),)* _ => None }
            }

            /// Short name of log lines.
            pub const fn short_name(self) -> Option<&'static str> {
                match self.0 { $($value => Some($short),)* _ => None }
            }
        }
    };
}

notifies! {
    UNSUPPORTED_CRITICAL_PAYLOAD = 1 "CRIT";
    INVALID_IKE_SPI = 4 "INVAL_IKE_SPI";
    INVALID_MAJOR_VERSION = 5 "INVAL_MAJOR";
    INVALID_SYNTAX = 7 "INVAL_SYN";
    INVALID_MESSAGE_ID = 9 "INVAL_MID";
    INVALID_SPI = 11 "INVAL_SPI";
    NO_PROPOSAL_CHOSEN = 14 "NO_PROP";
    INVALID_KE_PAYLOAD = 17 "INVAL_KE";
    AUTHENTICATION_FAILED = 24 "AUTH_FAILED";
    SINGLE_PAIR_REQUIRED = 34 "SINGLE_PAIR";
    NO_ADDITIONAL_SAS = 35 "NO_ADD_SAS";
    INTERNAL_ADDRESS_FAILURE = 36 "INT_ADDR_FAIL";
    FAILED_CP_REQUIRED = 37 "FAIL_CP_REQ";
    TS_UNACCEPTABLE = 38 "TS_UNACCEPT";
    INVALID_SELECTORS = 39 "INVAL_SEL";
    UNACCEPTABLE_ADDRESSES = 40 "UNACCEPT_ADDR";
    UNEXPECTED_NAT_DETECTED = 41 "UNEXPECT_NAT";
    TEMPORARY_FAILURE = 43 "TEMP_FAIL";
    CHILD_SA_NOT_FOUND = 44 "NO_CHILD_SA";
    INVALID_GROUP_ID = 45 "INVAL_GROUP";
    AUTHORIZATION_FAILED = 46 "AUTHZ_FAILED";
    STATE_NOT_FOUND = 47 "NO_STATE";
    INITIAL_CONTACT = 16384 "INIT_CONTACT";
    SET_WINDOW_SIZE = 16385 "SET_WINSIZE";
    ADDITIONAL_TS_POSSIBLE = 16386 "ADD_TS_POSS";
    IPCOMP_SUPPORTED = 16387 "IPCOMP_SUP";
    NAT_DETECTION_SOURCE_IP = 16388 "NATD_S_IP";
    NAT_DETECTION_DESTINATION_IP = 16389 "NATD_D_IP";
    COOKIE = 16390 "COOKIE";
    USE_TRANSPORT_MODE = 16391 "USE_TRANSP";
    HTTP_CERT_LOOKUP_SUPPORTED = 16392 "HTTP_CERT_LOOK";
    REKEY_SA = 16393 "REKEY_SA";
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394 "ESP_TFC_PAD_N";
    NON_FIRST_FRAGMENTS_ALSO = 16395 "NON_FIRST_FRAG";
    MOBIKE_SUPPORTED = 16396 "MOBIKE_SUP";
    ADDITIONAL_IP4_ADDRESS = 16397 "ADD_4_ADDR";
    ADDITIONAL_IP6_ADDRESS = 16398 "ADD_6_ADDR";
    NO_ADDITIONAL_ADDRESSES = 16399 "NO_ADD_ADDR";
    UPDATE_SA_ADDRESSES = 16400 "UPD_SA_ADDR";
    COOKIE2 = 16401 "COOKIE2";
    NO_NATS_ALLOWED = 16402 "NO_NATS";
    AUTH_LIFETIME = 16403 "AUTH_LFT";
    MULTIPLE_AUTH_SUPPORTED = 16404 "MULT_AUTH";
    ANOTHER_AUTH_FOLLOWS = 16405 "AUTH_FOLLOWS";
    REDIRECT_SUPPORTED = 16406 "REDIR_SUP";
    REDIRECT = 16407 "REDIR";
    REDIRECTED_FROM = 16408 "REDIR_FROM";
    TICKET_LT_OPAQUE = 16409 "TKT_LT_OPAK";
    TICKET_REQUEST = 16410 "TKT_REQ";
    TICKET_ACK = 16411 "TKT_ACK";
    TICKET_NACK = 16412 "TKT_NACK";
    TICKET_OPAQUE = 16413 "TKT_OPAK";
    LINK_ID = 16414 "LINK_ID";
    EAP_ONLY_AUTHENTICATION = 16417 "EAP_ONLY";
    CHILDLESS_IKEV2_SUPPORTED = 16418 "CHDLESS_SUP";
    QUICK_CRASH_DETECTION = 16419 "CRASH_DET";
    IKEV2_MESSAGE_ID_SYNC_SUPPORTED = 16420 "MSG_ID_SYN_SUP";
    IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED = 16421 "RPL_CTR_SYN_SUP";
    IKEV2_MESSAGE_ID_SYNC = 16422 "MSG_ID_SYN";
    IPSEC_REPLAY_COUNTER_SYNC = 16423 "RPL_CTR_SYN";
    IKEV2_FRAGMENTATION_SUPPORTED = 16430 "FRAG_SUP";
    SIGNATURE_HASH_ALGORITHMS = 16431 "HASH_ALG";
    CLONE_IKE_SA_SUPPORTED = 16432 "CLONE_IKE_SUP";
    CLONE_IKE_SA = 16433 "CLONE_IKE";
    PUZZLE = 16434 "PUZZLE";
    USE_PPK = 16435 "USE_PPK";
    PPK_IDENTITY = 16436 "PPK_ID";
    NO_PPK_AUTH = 16437 "NO_PPK";
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438 "IKE_INT_SUP";
    IP4_ALLOWED = 16439 "IP4_ALLOWED";
    IP6_ALLOWED = 16440 "IP6_ALLOWED";
    ADDITIONAL_KEY_EXCHANGE = 16441 "ADD_KE";
    USE_AGGFRAG = 16442 "AGGFRAG";
    SA_RESOURCE_INFO = 16444 "RES_INFO";
}

impl NotifyType {
    /// Error types are those below 16384 (RFC 7296 §3.10.1).
    pub const fn is_error(self) -> bool {
        self.0 < 16384
    }
}
