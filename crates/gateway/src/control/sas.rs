//! `list-sas` and `list-policies`: what is up, field for field in the order that clients know.

use adit_ipsec::{Mark, Pair};
use adit_vici::{EventSink, Message};

use super::{Algorithm, ChildSaSnapshot, Daemon, IkeSaSnapshot, SaFilter, each_sa};

pub(super) fn list_sas(daemon: &dyn Daemon, message: &Message, stream: &mut dyn EventSink) -> Message {
    let filter =
        SaFilter { ike: message.get_str("ike").map(str::to_owned), ike_id: message.get_number("ike-id") };
    let child = message.get_str("child");
    let child_id: Option<u32> = message.get_number("child-id");
    each_sa(daemon, &filter, |sa| {
        let children = sa
            .children
            .iter()
            .filter(|c| child.is_none_or(|name| &*c.name == name) && child_id.is_none_or(|id| c.id == id))
            .fold(Message::new(), |m, c| m.section(&child_section(c), child_fields(c)));
        // Who asks for a child is not shown IKE_SAs that have no such child.
        if children.is_empty() && (child.is_some() || child_id.is_some()) {
            return true;
        }
        let fields = ike_fields(&sa).section("child-sas", children);
        stream.event("list-sa", &Message::new().section(&sa.name, fields)).is_ok()
    });
    Message::new()
}

pub(super) fn list_policies(daemon: &dyn Daemon, message: &Message, stream: &mut dyn EventSink) -> Message {
    let (child, ike) = (message.get_str("child"), message.get_str("ike"));
    for policy in daemon.policies() {
        // Which kinds are wanted is told by the presence of a key, whatever its value.
        let wanted = match policy.mode {
            "PASS" => message.has("pass"),
            "DROP" => message.has("drop"),
            _ => message.has("trap"),
        };
        if !wanted || child.is_some_and(|c| c != policy.child) || ike.is_some_and(|i| i != policy.ike) {
            continue;
        }
        let trap = !matches!(policy.mode, "PASS" | "DROP");
        let fields = Message::new()
            .kv("child", &policy.child)
            .opt("reqid", trap.then_some(policy.reqid))
            .kv("ike", &policy.ike)
            .kv("mode", policy.mode)
            .list("local-ts", &policy.local_ts)
            .list("remote-ts", &policy.remote_ts);
        let name = format!("{}/{}", policy.ike, policy.child);
        if stream.event("list-policy", &Message::new().section(&name, fields)).is_err() {
            break;
        }
    }
    Message::new()
}

/// The name of a CHILD_SA's section.
pub(super) fn child_section(child: &ChildSaSnapshot) -> String {
    format!("{}-{}", child.name, child.id)
}

/// The IKE fields, without `child-sas`.
pub(super) fn ike_fields(sa: &IkeSaSnapshot) -> Message {
    let mut m = Message::new()
        .text("uniqueid", sa.id)
        .kv("version", "2")
        .kv("state", sa.state)
        .text("local-host", sa.local.ip())
        .text("local-port", sa.local.port())
        .kv("local-id", &sa.local_id)
        .text("remote-host", sa.remote.ip())
        .text("remote-port", sa.remote.port())
        .kv("remote-id", &sa.remote_id)
        .opt("remote-eap-id", sa.remote_eap_id.as_ref().filter(|id| **id != sa.remote_id))
        .flag("initiator", sa.initiator)
        .text("initiator-spi", format_args!("{:016x}", sa.initiator_spi))
        .text("responder-spi", format_args!("{:016x}", sa.responder_spi))
        .flag("nat-local", sa.nat_local)
        .flag("nat-remote", sa.nat_remote)
        .flag("nat-fake", sa.nat_fake)
        .flag("nat-any", sa.nat_local || sa.nat_remote || sa.nat_fake);
    push_if_ids(&mut m, sa.if_ids);
    push_algorithm(&mut m, "encr", sa.encryption.as_ref());
    push_algorithm(&mut m, "integ", sa.integrity.as_ref());
    let mut m = m.opt("prf-alg", sa.prf.as_ref()).opt("dh-group", sa.ke.as_ref());
    if sa.state == "ESTABLISHED" {
        m = m
            .opt("established", sa.established)
            .opt("rekey-time", sa.rekey_in)
            .opt("reauth-time", sa.reauth_in);
    }
    push_nonempty(&mut m, "local-vips", sa.local_vips.iter().map(ToString::to_string));
    push_nonempty(&mut m, "remote-vips", sa.remote_vips.iter().map(ToString::to_string));
    push_nonempty(&mut m, "tasks-queued", &sa.tasks_queued);
    push_nonempty(&mut m, "tasks-active", &sa.tasks_active);
    push_nonempty(&mut m, "tasks-passive", &sa.tasks_passive);
    m
}

/// The fields of a CHILD_SA.
pub(super) fn child_fields(child: &ChildSaSnapshot) -> Message {
    let mut m = Message::new()
        .kv("name", &*child.name)
        .text("uniqueid", child.id)
        .text("reqid", child.reqid)
        .kv("state", child.state)
        .kv("mode", child.mode);
    if matches!(child.state, "INSTALLED" | "REKEYING" | "REKEYED" | "DELETING" | "DELETED") {
        m = m
            .kv("protocol", "ESP")
            .flag("encap", child.encap)
            .text("spi-in", format_args!("{:08x}", child.spi_in))
            .text("spi-out", format_args!("{:08x}", child.spi_out));
        push_mark(&mut m, "in", child.mark_in);
        push_mark(&mut m, "out", child.mark_out);
        push_if_ids(&mut m, child.if_ids);
        m = m.flag("per-cpu-sas", child.per_cpu);
        push_algorithm(&mut m, "encr", child.encryption.as_ref());
        push_algorithm(&mut m, "integ", child.integrity.as_ref());
        m = m
            .opt("dh-group", child.ke.as_ref())
            .opt("esn", child.esn.then_some(1))
            .text("bytes-in", child.bytes_in)
            .text("packets-in", child.packets_in)
            .opt("use-in", child.use_in)
            .text("bytes-out", child.bytes_out)
            .text("packets-out", child.packets_out)
            .opt("use-out", child.use_out)
            .opt("rekey-time", child.rekey_in)
            .opt("life-time", child.life_in)
            .text("install-time", child.installed);
    }
    m.list("local-ts", &child.local_ts).list("remote-ts", &child.remote_ts)
}

fn push_mark(m: &mut Message, direction: &str, mark: Mark) {
    if mark.is_none() {
        return;
    }
    m.push_text(&format!("mark-{direction}"), format_args!("{:08x}", mark.value));
    if mark.mask != u32::MAX {
        m.push_text(&format!("mark-mask-{direction}"), format_args!("{:08x}", mark.mask));
    }
}

fn push_if_ids(m: &mut Message, ids: Pair) {
    for (key, id) in [("if-id-in", ids.inbound), ("if-id-out", ids.outbound)] {
        if id != 0 {
            m.push_text(key, format_args!("{id:08x}"));
        }
    }
}

fn push_algorithm(m: &mut Message, prefix: &str, algorithm: Option<&Algorithm>) {
    if let Some(algorithm) = algorithm {
        m.push_kv(&format!("{prefix}-alg"), &algorithm.name);
        if algorithm.bits != 0 {
            m.push_text(&format!("{prefix}-keysize"), algorithm.bits);
        }
    }
}

fn push_nonempty<I: AsRef<[u8]>>(m: &mut Message, name: &str, items: impl IntoIterator<Item = I>) {
    let mut items = items.into_iter().peekable();
    if items.peek().is_some() {
        m.push_list(name, items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Fake, Heard};

    const OFFICE: &str = "office {uniqueid=7 version=2 state=ESTABLISHED local-host=10.0.5.20 local-port=4500 \
        local-id=gw.example.net remote-host=198.51.100.44 remote-port=51022 remote-id=laptop-17 remote-eap-id=alice \
        initiator-spi=4f1c0a9be27d3358 responder-spi=b80e6c15d9a24f71 nat-remote=yes nat-any=yes encr-alg=AES_GCM_16 \
        encr-keysize=256 prf-alg=PRF_HMAC_SHA2_384 dh-group=CURVE_25519 established=312 rekey-time=12904 \
        remote-vips=[10.3.0.5] tasks-active=[CHILD_REKEY] child-sas {net-1-12 {name=net-1 uniqueid=12 reqid=3 \
        state=INSTALLED mode=TUNNEL protocol=ESP encap=yes spi-in=c3a9120f spi-out=0f77e2c4 encr-alg=AES_GCM_16 \
        encr-keysize=256 bytes-in=18432 packets-in=96 use-in=1 bytes-out=20116 packets-out=101 rekey-time=2874 \
        life-time=3648 install-time=312 local-ts=[10.0.4.0/24 10.233.0.0/18] remote-ts=[10.3.0.5/32]}}}";

    #[test]
    fn fields_in_their_order() {
        let mut heard = Heard::default();
        assert!(list_sas(&Fake::default(), &Message::new(), &mut heard).is_empty());
        assert_eq!(heard.lines(), [format!("list-sa {OFFICE}")]);
    }

    #[test]
    fn filters() {
        let ask = |key: &str, value: &str| {
            let mut heard = Heard::default();
            list_sas(&Fake::default(), &Message::new().kv(key, value), &mut heard);
            heard.lines().len()
        };
        assert_eq!(
            [ask("ike", "office"), ask("ike", "x"), ask("ike-id", "7"), ask("ike-id", "8")],
            [1, 0, 1, 0]
        );
        assert_eq!(
            [ask("child", "net-1"), ask("child", "x"), ask("child-id", "12"), ask("child-id", "7")],
            [1, 0, 1, 0]
        );
    }

    #[test]
    fn marks_and_interface_ids_are_shown_where_there_are_some() {
        let mut sa = Fake::sa();
        sa.if_ids = Pair { inbound: 0, outbound: 0x2a };
        let child = &mut sa.children[0];
        child.mark_in = Mark { value: 7, mask: u32::MAX };
        child.mark_out = Mark { value: 0x142, mask: 0xfff };
        (child.if_ids, child.per_cpu) = (Pair::both(0x2b), true);
        let text = child_fields(child).to_string();
        let marks = "spi-out=0f77e2c4 mark-in=00000007 mark-out=00000142 mark-mask-out=00000fff if-id-in=0000002b \
                     if-id-out=0000002b per-cpu-sas=yes encr-alg=AES_GCM_16";
        assert!(text.contains(marks), "{text}");
        assert!(ike_fields(&sa).to_string().contains("nat-any=yes if-id-out=0000002a encr-alg="));
    }

    #[test]
    fn half_open_sas_show_no_times_and_no_algorithms() {
        let mut sa = Fake::sa();
        sa.state = "CONNECTING";
        (sa.encryption, sa.prf, sa.ke) = (None, None, None);
        sa.children.clear();
        sa.tasks_active.clear();
        let text = ike_fields(&sa).to_string();
        assert!(
            !text.contains("established")
                && !text.contains("alg")
                && text.ends_with("remote-vips=[10.3.0.5]")
        );
    }

    #[test]
    fn children_without_sa_show_only_their_selectors() {
        let mut child = Fake::sa().children.remove(0);
        child.state = "CREATED";
        assert_eq!(
            child_fields(&child).to_string(),
            "name=net-1 uniqueid=12 reqid=3 state=CREATED mode=TUNNEL local-ts=[10.0.4.0/24 10.233.0.0/18] \
             remote-ts=[10.3.0.5/32]"
        );
    }

    #[test]
    fn policies_are_listed_by_presence_of_their_kind() {
        let ask = |message: Message| {
            let mut heard = Heard::default();
            list_policies(&Fake::default(), &message, &mut heard);
            heard.lines()
        };
        assert!(ask(Message::new()).is_empty());
        let line = "list-policy site/net {child=net reqid=4 ike=site mode=TUNNEL local-ts=[10.0.0.1/32] \
                    remote-ts=[10.2.0.0/24]}";
        assert_eq!(ask(Message::new().kv("drop", "no").kv("trap", "no")), [line]);
        assert!(ask(Message::new().kv("trap", "yes").kv("child", "x")).is_empty());
    }
}
