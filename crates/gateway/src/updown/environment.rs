//! What a script is told: the PLUTO_* variables that charon's scripts know, one set for each pair of selectors.
//!
//! Much of it comes from peers, and scripts are careless: values unquoted in a command line, in `eval`, in a file name.
//! So every value is reduced to an alphabet in which nothing means anything to a shell (CVE-2023-28771).

use std::cmp::Reverse;
use std::net::IpAddr;

use adit_ike::{ChildSaView, IkeSaView};
use adit_ipsec::{Mark, Selector};

/// Longest value, in bytes.
const LONGEST: usize = 1000;

/// The variables of one call.
pub(crate) type Variables = Vec<(String, String)>;

/// What is not in the SAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The interface of our address when the child came up.
    pub interface: String,
    /// DNS servers that the peer assigned, where scripts are to handle them.
    pub dns: Vec<IpAddr>,
    /// The peer authenticated by EAP.
    pub eap: bool,
    /// `hostaccess`.
    pub host_access: bool,
}

/// The calls for a child, in charon's order: by our selectors, for each of them by the peer's.
pub(crate) fn calls(
    up: bool,
    ike: &IkeSaView<'_>,
    child: &ChildSaView<'_>,
    around: &Surroundings,
) -> Vec<Variables> {
    // The lower network first, of those that begin alike the larger one; then protocols and ports.
    let sorted = |list: &[Selector]| {
        let mut list = list.to_vec();
        list.sort_by_key(|it| {
            (it.start(), Reverse(it.end()), it.protocol(), it.start_port(), Reverse(it.end_port()))
        });
        list
    };
    let (ours, theirs) = (sorted(&child.local_ts), sorted(&child.remote_ts));
    let pairs = ours.iter().flat_map(|ours| theirs.iter().map(move |theirs| (ours, theirs)));
    pairs
        .filter(|(ours, theirs)| {
            let (a, b) = (ours.protocol(), theirs.protocol());
            ours.is_v4() == theirs.is_v4() && (a == b || a == 0 || b == 0)
        })
        .map(|pair| variables(up, ike, child, around, pair))
        .collect()
}

fn variables(
    up: bool,
    ike: &IkeSaView<'_>,
    child: &ChildSaView<'_>,
    around: &Surroundings,
    (ours, theirs): (&Selector, &Selector),
) -> Variables {
    let mut all = Variables::new();
    let mut put = |name: &str, value: String| all.push((format!("PLUTO_{name}"), safe(&value)));
    let me = ike.local.map(|it| it.ip());
    let direction = if up { "up" } else { "down" };
    let what = if me.is_some_and(|me| ours.is_host(me)) { "host" } else { "client" };
    let family = if ours.is_v4() { "" } else { "-v6" };
    put("VERSION", "1.1".into());
    put("VERB", format!("{direction}-{what}{family}"));
    put("CONNECTION", child.name.to_string());
    put("INTERFACE", around.interface.clone());
    put("REQID", child.reqid.to_string());
    put("PROTO", "esp".into());
    put("UNIQUEID", ike.id.to_string());
    let id = |id: &Option<std::borrow::Cow<'_, adit_ipsec::Identity>>| {
        id.as_deref().map_or_else(|| "%any".to_owned(), ToString::to_string)
    };
    let address = |it: Option<std::net::SocketAddr>| it.map_or_else(String::new, |it| it.ip().to_string());
    for (side, address, id, (it, other)) in [
        ("MY", address(ike.local), id(&ike.local_id), (ours, theirs)),
        ("PEER", address(ike.remote), id(&ike.remote_id), (theirs, ours)),
    ] {
        put(if side == "MY" { "ME" } else { "PEER" }, address);
        put(&format!("{side}_ID"), id);
        put(&format!("{side}_CLIENT"), client(it));
        put(&format!("{side}_PORT"), port(it, other, side == "MY"));
        put(&format!("{side}_PROTOCOL"), it.protocol().to_string());
    }
    if around.eap {
        put(
            "XAUTH_ID",
            if ike.remote_eap_id.is_some() { id(&ike.remote_eap_id) } else { id(&ike.remote_id) },
        );
    }
    for (side, vips) in [("MY", &ike.local_vips), ("PEER", &ike.remote_vips)] {
        if let Some(first) = vips.first() {
            put(&format!("{side}_SOURCEIP"), first.to_string());
        }
        numbered(vips, |family, n, it| put(&format!("{side}_SOURCEIP{family}_{n}"), it.to_string()));
    }
    let mark = |mark: Mark| (mark.value != 0).then(|| format!("{}/{:#010x}", mark.value, mark.mask));
    let (_, if_ids) = child.options.numbers();
    let some = |id: u32| (id != 0).then(|| id.to_string());
    let encapsulated = child.udp_encap.then(|| ike.remote.map(|it| it.port().to_string())).flatten();
    for (name, value) in [
        ("MARK_IN", mark(child.options.mark_in)),
        ("MARK_OUT", mark(child.options.mark_out)),
        ("IF_ID_IN", some(if_ids.inbound)),
        ("IF_ID_OUT", some(if_ids.outbound)),
        ("UDP_ENC", encapsulated),
        ("HOST_ACCESS", around.host_access.then(|| "1".to_owned())),
    ] {
        if let Some(value) = value {
            put(name, value);
        }
    }
    numbered(&around.dns, |family, n, it| put(&format!("DNS{family}_{n}"), it.to_string()));
    all
}

/// Calls `with` the family and the number within it, from 1.
fn numbered(addresses: &[IpAddr], mut with: impl FnMut(u8, usize, IpAddr)) {
    for v4 in [true, false] {
        let of_family = addresses.iter().filter(|it| it.is_ipv4() == v4);
        of_family.enumerate().for_each(|(n, it)| with(if v4 { 4 } else { 6 }, n + 1, *it));
    }
}

/// `net/bits`: the smallest network that holds the whole range.
fn client(selector: &Selector) -> String {
    let number = |address: IpAddr| match address {
        IpAddr::V4(it) => u128::from(it.to_bits()) << 96,
        IpAddr::V6(it) => it.to_bits(),
    };
    let common = (number(selector.start()) ^ number(selector.end())).leading_zeros();
    let bits = u8::try_from(common.min(if selector.is_v4() { 32 } else { 128 })).unwrap_or(0);
    let net = Selector::from_cidr(selector.start(), bits).map_or(selector.start(), |net| net.start());
    format!("{net}/{bits}")
}

/// One port, `from:to`, or 0 for all of them; for ICMP the type on our side and the code on the peer's.
fn port(it: &Selector, other: &Selector, ours: bool) -> String {
    const ICMP: [u8; 2] = [1, 58];
    if ICMP.contains(&it.protocol().max(other.protocol())) {
        // RFC 7296 §3.13.1: type and code are the two octets of a port.
        let [kind, code] = it.start_port().max(other.start_port()).to_be_bytes();
        return if ours { kind } else { code }.to_string();
    }
    match (it.start_port(), it.end_port()) {
        (0, u16::MAX) => "0".to_owned(),
        (from, to) if from == to => from.to_string(),
        (from, to) => format!("{from}:{to}"),
    }
}

/// `text` without anything that a shell, a glob or an option parser takes for more than text.
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for (at, c) in text.char_indices().take(LONGEST) {
        let harmless = match c {
            '-' => !out.is_empty(),
            // Between the parts of a distinguished name: what follows is a word such as `CN=`, never an option.
            ' ' => out.ends_with(',') && text.get(at + 1..).is_some_and(begins_rdn),
            c => c.is_ascii_alphanumeric() || "._:@%+/=,".contains(c),
        };
        out.push(if harmless { c } else { '_' });
    }
    out
}

fn begins_rdn(text: &str) -> bool {
    let name = text.split('=').next().unwrap_or("");
    text.len() > name.len()
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_shell_understands_is_left() {
        for (text, expected) in [
            ("rw@lab", "rw@lab"),
            ("C=CH, O=strongSwan, CN=moon.example", "C=CH, O=strongSwan, CN=moon.example"),
            ("C=CH, O=A b, CN=x", "C=CH, O=A_b, CN=x"),
            ("CN=a, -j ACCEPT", "CN=a,_-j_ACCEPT"),
            ("CN=a, --jump=b", "CN=a,_--jump=b"),
            ("$(reboot)", "__reboot_"),
            ("a;`id`|b>c&d", "a__id__b_c_d"),
            ("-rf", "_rf"),
            ("*?[a]~{}", "___a____"),
            ("a\nPLUTO_ME=1\0\u{e9}'\"\\", "a_PLUTO_ME=1_____"),
            ("fd00::1/128", "fd00::1/128"),
        ] {
            assert_eq!(safe(text), expected, "{text}");
        }
        assert_eq!(safe(&"a".repeat(5000)).len(), LONGEST);
    }

    #[test]
    fn networks_and_ports_as_charon_writes_them() {
        let selector = |text: &str| match text.parse().unwrap() {
            adit_ipsec::SelectorSpec::Fixed(selector) => selector,
            other => panic!("{other:?}"),
        };
        for (text, net) in [
            ("10.2.0.0/24", "10.2.0.0/24"),
            ("10.2.0.7/32", "10.2.0.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.2.0.1..10.2.0.6", "10.2.0.0/29"),
            ("fd00:2::/64", "fd00:2::/64"),
            ("fd00::5/128", "fd00::5/128"),
        ] {
            assert_eq!(client(&selector(text)), net, "{text}");
        }
        let any = selector("10.0.0.0/8");
        for (text, ours, theirs) in [
            ("10.0.0.0/8[udp/53]", "53", "0"),
            ("10.0.0.0/8[tcp/1024-2047]", "1024:2047", "0"),
            ("10.0.0.0/8[icmp/8]", "8", "0"),
            ("10.0.0.0/8[tcp]", "0", "0"),
        ] {
            let it = selector(text);
            assert_eq!(
                (port(&it, &any, true), port(&any, &it, false)),
                (ours.into(), theirs.into()),
                "{text}"
            );
        }
    }
}
