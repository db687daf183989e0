//! Protocol and service names, for reading and printing selectors. A small table of what people select by, equal to
//! Debian's databases where it has an entry.

use std::fmt;

const PROTOCOLS: &[(u8, &str)] = &[
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (88, "eigrp"),
    (89, "ospf"),
    (103, "pim"),
    (108, "ipcomp"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
    (135, "mobility-header"),
    (136, "udplite"),
];

const ALIASES: &[(u8, &str)] = &[(58, "icmpv6"), (58, "icmp6"), (4, "ipip"), (4, "ipv4"), (0, "any"), (0, "%any")];

/// Port, name, and whether TCP and UDP have it by this name.
const SERVICES: &[(u16, &str, bool, bool)] = &[
    (7, "echo", true, true),
    (20, "ftp-data", true, false),
    (21, "ftp", true, false),
    (22, "ssh", true, false),
    (23, "telnet", true, false),
    (25, "smtp", true, false),
    (49, "tacacs", true, true),
    (53, "domain", true, true),
    (67, "bootps", false, true),
    (68, "bootpc", false, true),
    (69, "tftp", false, true),
    (80, "http", true, false),
    (88, "kerberos", true, true),
    (110, "pop3", true, false),
    (111, "sunrpc", true, true),
    (123, "ntp", false, true),
    (135, "epmap", true, false),
    (137, "netbios-ns", false, true),
    (138, "netbios-dgm", false, true),
    (139, "netbios-ssn", true, false),
    (143, "imap2", true, false),
    (161, "snmp", true, true),
    (162, "snmp-trap", true, true),
    (179, "bgp", true, false),
    (389, "ldap", true, true),
    (443, "https", true, true),
    (445, "microsoft-ds", true, true),
    (465, "submissions", true, false),
    (500, "isakmp", false, true),
    (514, "syslog", false, true),
    (546, "dhcpv6-client", false, true),
    (547, "dhcpv6-server", false, true),
    (587, "submission", true, false),
    (636, "ldaps", true, true),
    (853, "domain-s", true, true),
    (873, "rsync", true, false),
    (989, "ftps-data", true, false),
    (990, "ftps", true, false),
    (993, "imaps", true, false),
    (995, "pop3s", true, false),
    (1194, "openvpn", true, true),
    (1433, "ms-sql-s", true, false),
    (1701, "l2f", false, true),
    (1812, "radius", true, true),
    (1813, "radius-acct", true, true),
    (2049, "nfs", true, true),
    (2379, "etcd-client", true, false),
    (2380, "etcd-server", true, false),
    (3260, "iscsi-target", true, false),
    (3306, "mysql", true, false),
    (3389, "ms-wbt-server", true, false),
    (4500, "ipsec-nat-t", false, true),
    (5060, "sip", true, true),
    (5061, "sip-tls", true, true),
    (5432, "postgresql", true, false),
    (5672, "amqp", true, false),
    (6379, "redis", true, false),
    (8080, "http-alt", true, true),
    (11211, "memcached", true, true),
];

const TCP: u8 = 6;
const UDP: u8 = 17;

/// ICMP and ICMPv6, whose type and code take the place of ports.
pub(crate) fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, 1 | 58)
}

/// The protocol of this name or number.
pub(crate) fn protocol(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().chain(ALIASES).find(|(_, name)| name.eq_ignore_ascii_case(text));
    named.map(|(number, _)| *number).or_else(|| text.parse().ok())
}

/// The port of this service name or number.
pub(crate) fn port(text: &str) -> Option<u16> {
    let named = SERVICES.iter().find(|(_, name, _, _)| name.eq_ignore_ascii_case(text));
    named.map(|(port, ..)| *port).or_else(|| text.parse().ok())
}

fn service(protocol: u8, port: u16) -> Option<&'static str> {
    let has = |(p, _, tcp, udp): &&(u16, &str, bool, bool)| {
        *p == port && ((protocol == TCP && *tcp) || (protocol == UDP && *udp))
    };
    SERVICES.iter().find(has).map(|(_, name, ..)| *name)
}

/// Writes `[tcp/https]` and its kin; nothing for any protocol and port.
pub(crate) fn write_ports(f: &mut fmt::Formatter<'_>, protocol: u8, start: u16, end: u16) -> fmt::Result {
    let any_port = start == 0 && end == u16::MAX;
    if protocol == 0 && any_port {
        return Ok(());
    }
    f.write_str("[")?;
    match PROTOCOLS.iter().find(|(number, _)| *number == protocol) {
        Some((_, name)) => f.write_str(name)?,
        None => write!(f, "{protocol}")?,
    }
    if !any_port {
        f.write_str("/")?;
        if start > end {
            f.write_str("OPAQUE")?;
        } else if is_icmp(protocol) {
            write_icmp(f, start, end)?;
        } else if start == end {
            match service(protocol, start) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "{start}")?,
            }
        } else {
            write!(f, "{start}-{end}")?;
        }
    }
    f.write_str("]")
}

/// `8`, `3(1)`, `3-4`, `3(0)-4(1)`: a type stands alone where all its codes are meant.
fn write_icmp(f: &mut fmt::Formatter<'_>, start: u16, end: u16) -> fmt::Result {
    let ([kind, code], [last_kind, last_code]) = (start.to_be_bytes(), end.to_be_bytes());
    let all_codes = code == 0 && last_code == u8::MAX;
    match (kind == last_kind, all_codes) {
        (true, true) => write!(f, "{kind}"),
        (true, false) if code == last_code => write!(f, "{kind}({code})"),
        (false, true) => write!(f, "{kind}-{last_kind}"),
        _ => write!(f, "{kind}({code})-{last_kind}({last_code})"),
    }
}
