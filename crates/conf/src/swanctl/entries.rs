//! What a child says of its entries in SPD and SAD: marks, XFRM interfaces, priority and the like.

use adit_ipsec::{Choice, EntryOptions, HwOffload, IfIds, Mark, Numbering, PerCpu, SetMark};

use super::fields::Fields;
use crate::diag::{Diagnostic, Subject};
use crate::value;

const MARK: &str = "a mark `value[/mask]`, `%unique` or `%unique-dir`";
const SET_MARK: &str = "a mark `value[/mask]`, or `%same`";
const IF_ID: &str = "the number of an XFRM interface, `%unique` or `%unique-dir`";

/// The options of a child, and which of its numbers are chosen for each of its CHILD_SAs.
pub(super) fn read(fields: &mut Fields<'_>) -> (EntryOptions, Numbering) {
    let (mark_in, choice_in) = fields.parsed("mark_in", MARK, mark).unwrap_or_default();
    let (mark_out, choice_out) = fields.parsed("mark_out", MARK, mark).unwrap_or_default();
    let ids = if_ids(fields);
    let options = EntryOptions {
        mark_in,
        mark_out,
        mark_in_sa: fields.bool("mark_in_sa", false),
        set_mark_in: fields.parsed("set_mark_in", SET_MARK, set_mark).unwrap_or_default(),
        set_mark_out: fields.parsed("set_mark_out", SET_MARK, set_mark).unwrap_or_default(),
        if_id_in: ids.given.inbound,
        if_id_out: ids.given.outbound,
        priority: fields.number("priority", "a number, 0 = from the size of the selectors").unwrap_or(0),
        interface: fields
            .parsed("interface", "the name of a network interface, at most 15 bytes", value::interface)
            .map(Into::into),
        policies: fields.bool("policies", true),
        policies_fwd_out: fields.bool("policies_fwd_out", false),
        hw_offload: hw_offload(fields),
        per_cpu: per_cpu(fields),
        icmp: fields.bool("icmp", false),
    };
    let numbering = Numbering {
        mark_in: choice_in,
        mark_out: choice_out,
        if_id_in: ids.choice_in,
        if_id_out: ids.choice_out,
    };
    (options, numbering)
}

/// `if_id_in` and `if_id_out`, of a connection or a child.
pub(super) fn if_ids(fields: &mut Fields<'_>) -> IfIds {
    let mut ids = IfIds::default();
    (ids.given.inbound, ids.choice_in) = fields.parsed("if_id_in", IF_ID, if_id).unwrap_or_default();
    (ids.given.outbound, ids.choice_out) = fields.parsed("if_id_out", IF_ID, if_id).unwrap_or_default();
    ids
}

/// A child without SAs has none that a number could belong to.
pub(super) fn without_sas(fields: &mut Fields<'_>, numbering: Numbering) {
    for (key, choice) in [
        ("mark_in", numbering.mark_in),
        ("mark_out", numbering.mark_out),
        ("if_id_in", numbering.if_id_in),
        ("if_id_out", numbering.if_id_out),
    ] {
        if choice != Choice::Given {
            let span = fields.section.value(key).and_then(|value| value.span());
            let message =
                format!("`{key}` cannot be unique: the child never has an SA whose number it could be");
            let about = Subject::BadValue(key.to_owned());
            fields.diagnostics.push(Diagnostic::error(span, message).about(about));
        }
    }
}

fn number(text: &str) -> Option<u32> {
    value::integer(text).and_then(|n| u32::try_from(n).ok())
}

/// `%unique` and `%unique-dir`.
fn unique(text: &str) -> Option<Choice> {
    [("%unique", Choice::Unique), ("%unique-dir", Choice::UniqueDir)]
        .into_iter()
        .find_map(|(word, choice)| word.eq_ignore_ascii_case(text.trim()).then_some(choice))
}

/// What stands before and behind the slash; all bits count if nothing does.
fn masked(text: &str) -> Option<(&str, u32)> {
    match text.split_once('/') {
        Some((value, mask)) => Some((value, number(mask)?)),
        None => Some((text, u32::MAX)),
    }
}

fn mark(text: &str) -> Option<(Mark, Choice)> {
    let (text, mask) = masked(text)?;
    match unique(text) {
        Some(choice) => Some((Mark { value: 0, mask }, choice)),
        // A packet's other bits are not looked at: set here, they would keep the mark from ever matching.
        None => Some((Mark { value: number(text)? & mask, mask }, Choice::Given)),
    }
}

fn set_mark(text: &str) -> Option<SetMark> {
    let (text, mask) = masked(text)?;
    if text.trim().eq_ignore_ascii_case("%same") {
        return Some(SetMark::Same { mask });
    }
    let value = number(text)? & mask;
    // The default is spelt `0/0`; `0` clears a mark that packets have.
    Some(if mask == 0 { SetMark::Unset } else { SetMark::Fixed(Mark { value, mask }) })
}

fn if_id(text: &str) -> Option<(u32, Choice)> {
    match unique(text) {
        Some(choice) => Some((0, choice)),
        None => Some((number(text)?, Choice::Given)),
    }
}

fn hw_offload(fields: &mut Fields<'_>) -> HwOffload {
    let read = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
        "crypto" => Some(HwOffload::Crypto),
        "packet" => Some(HwOffload::Packet),
        "auto" => Some(HwOffload::Auto),
        text => value::boolean(text).map(|yes| if yes { HwOffload::Crypto } else { HwOffload::No }),
    };
    fields.parsed("hw_offload", "no, crypto (or yes), packet or auto", read).unwrap_or_default()
}

fn per_cpu(fields: &mut Fields<'_>) -> PerCpu {
    let read = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
        "encap" => Some(PerCpu::Encap),
        text => value::boolean(text).map(|yes| if yes { PerCpu::Yes } else { PerCpu::No }),
    };
    fields.parsed("per_cpu_sas", "yes, no or encap", read).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_in_every_form() {
        let fixed = |value, mask| Some((Mark { value, mask }, Choice::Given));
        for (text, expected) in [
            ("7", fixed(7, u32::MAX)),
            ("0x42/0xff", fixed(0x42, 0xff)),
            ("0x142/0xff", fixed(0x42, 0xff)),
            ("0", fixed(0, u32::MAX)),
            ("0/0", fixed(0, 0)),
            ("%unique", Some((Mark { value: 0, mask: u32::MAX }, Choice::Unique))),
            ("%unique-dir/0xffff", Some((Mark { value: 0, mask: 0xffff }, Choice::UniqueDir))),
            ("%same", None),
            ("7/", None),
            ("4294967296", None),
            ("-1", None),
            ("%uniqueness", None),
        ] {
            assert_eq!(mark(text), expected, "{text}");
        }
        for (text, expected) in [
            ("0/0x0", Some(SetMark::Unset)),
            ("0/0xff", Some(SetMark::Fixed(Mark { value: 0, mask: 0xff }))),
            ("%same", Some(SetMark::Same { mask: u32::MAX })),
            ("%same/0xff", Some(SetMark::Same { mask: 0xff })),
            ("%unique", None),
        ] {
            assert_eq!(set_mark(text), expected, "{text}");
        }
        assert_eq!(if_id("%unique-dir"), Some((0, Choice::UniqueDir)));
        assert_eq!((if_id("42"), if_id("eth0")), (Some((42, Choice::Given)), None));
    }
}
