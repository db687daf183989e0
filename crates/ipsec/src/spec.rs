//! A selector as configured.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::{Selector, services};

/// A configured selector: fixed, or `dynamic`, which becomes the virtual addresses or the host's own address when it is
/// negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SelectorSpec {
    /// The addresses that the side turns out to have.
    Dynamic {
        /// IP protocol number, 0 = any.
        protocol: u8,
        /// First port.
        start_port: u16,
        /// Last port.
        end_port: u16,
    },
    /// These addresses.
    Fixed(Selector),
}

impl SelectorSpec {
    /// `dynamic` for every protocol and port: the default of local_ts and remote_ts.
    pub const DYNAMIC: Self = Self::Dynamic { protocol: 0, start_port: 0, end_port: u16::MAX };

    /// The selectors it stands for when the side's addresses are `hosts`.
    pub fn resolve(&self, hosts: &[IpAddr]) -> Vec<Selector> {
        match *self {
            Self::Fixed(selector) => vec![selector],
            Self::Dynamic { protocol, start_port, end_port } => hosts
                .iter()
                .filter_map(|host| Selector::new(protocol, start_port, end_port, *host, *host))
                .collect(),
        }
    }
}

impl FromStr for SelectorSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (addresses, ports) = match text.split_once('[') {
            Some((addresses, rest)) => match rest.strip_suffix(']') {
                Some(ports) => (addresses.trim_end(), parse_ports(ports.trim())?),
                None => return Err(format!("`{text}`: the `[` is never closed by a `]` at the end")),
            },
            None => (text, (0, 0, u16::MAX)),
        };
        let (protocol, start_port, end_port) = ports;
        if addresses == "dynamic" || addresses == "%dynamic" {
            return Ok(Self::Dynamic { protocol, start_port, end_port });
        }
        let wide = parse_addresses(addresses)?;
        let selector = wide.with_ports(protocol, start_port, end_port);
        selector.map(Self::Fixed).ok_or_else(|| format!("`{text}`: the first port lies behind the last"))
    }
}

fn parse_addresses(text: &str) -> Result<Selector, String> {
    let address = |part: &str| {
        part.trim().parse::<IpAddr>().map_err(|_| format!("`{}` is not an IP address", part.trim()))
    };
    if let Some((addr, prefix)) = text.split_once('/') {
        let addr = address(addr)?;
        let prefix: u8 = prefix.trim().parse().map_err(|_| format!("`{prefix}` is not a prefix length"))?;
        return Selector::from_cidr(addr, prefix)
            .ok_or_else(|| format!("`{text}`: the prefix is longer than the address"));
    }
    if let Some((start, end)) = text.split_once("..").or_else(|| text.split_once('-')) {
        return Selector::new(0, 0, u16::MAX, address(start)?, address(end)?)
            .ok_or_else(|| format!("`{text}`: a range needs two addresses of one family, the lower one first"));
    }
    match text.parse::<IpAddr>() {
        Ok(addr) => Ok(Selector::host(addr)),
        Err(_) => Err(format!(
            "`{text}` is not a traffic selector: expected `dynamic`, an address, a network such as 10.1.0.0/16 or a range such as 10.0.0.1-10.0.0.9"
        )),
    }
}

/// `tcp`, `tcp/80`, `tcp/http`, `udp/1024-2047`, `17`, `0/53`, `icmp/8`, `icmp/3(1)`, `tcp/opaque`.
fn parse_ports(text: &str) -> Result<(u8, u16, u16), String> {
    let (name, ports) = match text.split_once('/') {
        Some((name, ports)) => (name.trim(), Some(ports.trim())),
        None => (text, None),
    };
    let protocol = match name {
        "" => 0,
        name => services::protocol(name)
            .ok_or_else(|| format!("`{name}` is no IP protocol known by name; write its number"))?,
    };
    let (start, end) = match ports {
        None | Some("" | "%any" | "any") => (0, u16::MAX),
        Some(ports) if ports.eq_ignore_ascii_case("opaque") => (u16::MAX, 0),
        Some(ports) if services::is_icmp(protocol) => parse_icmp(ports)?,
        Some(ports) => parse_port_range(ports)?,
    };
    if start > end && !(start == u16::MAX && end == 0) {
        return Err(format!("`{text}`: the first port lies behind the last"));
    }
    Ok((protocol, start, end))
}

fn parse_port_range(text: &str) -> Result<(u16, u16), String> {
    let bad = |part: &str| format!("`{part}` is no port number or known service name");
    // A service name may contain a hyphen (`netbios-ns`), so the whole is tried first.
    if let Some(port) = services::port(text) {
        return Ok((port, port));
    }
    let (start, end) = text.split_once('-').ok_or_else(|| bad(text))?;
    let (start, end) = (start.trim(), end.trim());
    let range = (services::port(start).ok_or_else(|| bad(start))?, services::port(end).ok_or_else(|| bad(end))?);
    if range.0 > range.1 {
        return Err(format!("`{text}`: the first port lies behind the last"));
    }
    Ok(range)
}

/// `8`, `3(1)`, `3-4`, `3(0)-4(1)`.
fn parse_icmp(text: &str) -> Result<(u16, u16), String> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let part = |text: &str| -> Option<(u8, Option<u8>)> {
        match text.trim().split_once('(') {
            Some((kind, code)) => {
                Some((kind.trim().parse().ok()?, Some(code.strip_suffix(')')?.trim().parse().ok()?)))
            }
            None => Some((text.trim().parse().ok()?, None)),
        }
    };
    let bad = || format!("`{text}` is no ICMP type such as 8, or type and code such as 3(1)");
    let (kind, code) = part(start).ok_or_else(bad)?;
    let (last_kind, last_code) = part(end).ok_or_else(bad)?;
    let range = (
        u16::from_be_bytes([kind, code.unwrap_or(0)]),
        u16::from_be_bytes([last_kind, last_code.unwrap_or(u8::MAX)]),
    );
    if range.0 > range.1 {
        return Err(format!("`{text}`: the first ICMP type lies behind the last"));
    }
    Ok(range)
}

impl fmt::Display for SelectorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(selector) => selector.fmt(f),
            Self::Dynamic { protocol, start_port, end_port } => {
                f.write_str("dynamic")?;
                services::write_ports(f, *protocol, *start_port, *end_port)
            }
        }
    }
}
