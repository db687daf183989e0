//! Messages as one line of a log: `IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) ]`.

use std::fmt::Write as _;

use crate::{ConfigAttribute, ConfigKind, ExchangeType, NotifyType, Payload};

/// One line about a message.
pub fn describe(exchange: ExchangeType, response: bool, message_id: u32, payloads: &[Payload]) -> String {
    let mut line = String::with_capacity(96);
    match exchange.name() {
        Some(name) => line.push_str(name),
        None => {
            let _ = write!(line, "exchange {}", exchange.0);
        }
    }
    let _ = write!(line, " {} {message_id} [", if response { "response" } else { "request" });
    for payload in payloads {
        line.push(' ');
        line.push_str(&name(payload));
    }
    line.push_str(" ]");
    line
}

/// One line about a fragment of a message: `IKE_AUTH request 1 [ EF(1/2) ]`.
pub fn describe_fragment(
    exchange: ExchangeType,
    response: bool,
    message_id: u32,
    number: u16,
    total: u16,
) -> String {
    let mut line = describe(exchange, response, message_id, &[]);
    line.truncate(line.len() - 1);
    let _ = write!(line, "EF({number}/{total}) ]");
    line
}

fn name(payload: &Payload) -> String {
    match payload {
        Payload::Sa(_) => "SA".into(),
        Payload::KeyExchange { .. } => "KE".into(),
        Payload::IdI(_) => "IDi".into(),
        Payload::IdR(_) => "IDr".into(),
        Payload::Cert { .. } => "CERT".into(),
        Payload::CertRequest { .. } => "CERTREQ".into(),
        Payload::Auth { .. } => "AUTH".into(),
        Payload::Nonce(_) => "No".into(),
        Payload::Notify { kind, .. } => notify(*kind),
        Payload::Delete { .. } => "D".into(),
        Payload::Vendor(_) => "V".into(),
        Payload::TsI(_) => "TSi".into(),
        Payload::TsR(_) => "TSr".into(),
        Payload::Config { kind, attributes } => config(*kind, attributes),
        Payload::Eap(packet) => eap(packet),
        Payload::Unknown { kind, .. } => format!("({kind})"),
    }
}

fn notify(kind: NotifyType) -> String {
    // an unknown one is doubly bracketed, as readers of such logs know it
    kind.short_name().map_or_else(|| format!("N(({}))", kind.0), |name| format!("N({name})"))
}

fn config(kind: ConfigKind, attributes: &[(u16, Vec<u8>)]) -> String {
    let kind = match kind {
        ConfigKind::Request => "CPRQ",
        ConfigKind::Reply => "CPRP",
        ConfigKind::Set => "CPS",
        ConfigKind::Ack => "CPA",
    };
    if attributes.is_empty() {
        return kind.to_owned();
    }
    let names: Vec<String> = attributes
        .iter()
        .map(|(n, _)| ConfigAttribute::short_name(*n).map_or_else(|| format!("({n})"), str::to_owned))
        .collect();
    format!("{kind}({})", names.join(" "))
}

fn eap(packet: &[u8]) -> String {
    let method = |kind: u8| match kind {
        1 => "ID".to_owned(),
        2 => "NTF".to_owned(),
        3 => "NAK".to_owned(),
        4 => "MD5".to_owned(),
        6 => "GTC".to_owned(),
        13 => "TLS".to_owned(),
        18 => "SIM".to_owned(),
        21 => "TTLS".to_owned(),
        23 => "AKA".to_owned(),
        25 => "PEAP".to_owned(),
        26 => "MSCHAPV2".to_owned(),
        other => format!("({other})"),
    };
    let code = match packet.first() {
        Some(1) => "REQ",
        Some(2) => "RES",
        Some(3) => return "EAP/SUCC".into(),
        Some(4) => return "EAP/FAIL".into(),
        _ => return "EAP".into(),
    };
    packet.get(4).map_or_else(|| format!("EAP/{code}"), |kind| format!("EAP/{code}/{}", method(*kind)))
}
