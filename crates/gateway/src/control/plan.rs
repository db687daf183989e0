//! `adit-plan` and `adit-reload`: what a reload of the files would do, and doing it.
//!
//! One `adit-plan` event per thing concerned:
//!
//! ```text
//! group = cut | changed | alone
//! kind = setting | secret | key | certificate | authority | pool | connection | child | IKE_SA | CHILD_SA | trap
//! name, id (of an SA), text
//! ```
//! The answer carries `cut`, `changed` and `alone`, the numbers of each, or everything that is wrong: `errors = [ ]`.

use adit_vici::{EventSink, Message};

use super::{Daemon, PlanGroup, PlanRow};

pub(super) fn plan(daemon: &dyn Daemon, stream: &mut dyn EventSink) -> Message {
    tell(daemon.plan(), stream)
}

pub(super) fn reload(daemon: &dyn Daemon, stream: &mut dyn EventSink) -> Message {
    tell(daemon.reload(), stream)
}

fn tell(result: Result<Vec<PlanRow>, Vec<String>>, stream: &mut dyn EventSink) -> Message {
    let rows = match result {
        Ok(rows) => rows,
        Err(errors) => {
            let first = errors.first().cloned().unwrap_or_default();
            // A message has an end; the log has all of them.
            return Message::failure(first).list("errors", errors.iter().take(200));
        }
    };
    for row in &rows {
        let event = Message::new()
            .kv("group", row.group.name())
            .kv("kind", row.kind)
            .kv("name", &row.name)
            .opt("id", row.id)
            .kv("text", &row.text);
        if stream.event("adit-plan", &event).is_err() {
            break;
        }
    }
    let count = |group| rows.iter().filter(|row| row.group == group).count();
    Message::success()
        .text("cut", count(PlanGroup::Cut))
        .text("changed", count(PlanGroup::Changed))
        .text("alone", count(PlanGroup::Alone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Fake, Heard};

    #[test]
    fn rows_and_errors() {
        let mut heard = Heard::default();
        let answer = plan(&Fake::with_site(), &mut heard);
        assert_eq!(answer.to_string(), "success=yes cut=1 changed=0 alone=1");
        assert_eq!(
            heard.lines(),
            [
                "adit-plan group=cut kind=CHILD_SA name=site/net id=12 text=closed: remote_ts changed",
                "adit-plan group=alone kind=pool name=home text=unchanged"
            ]
        );
        let mut heard = Heard::default();
        let answer = reload(&Fake::default(), &mut heard);
        assert_eq!(
            answer.to_string(),
            "success=no errmsg=a:1:2: error: x errors=[a:1:2: error: x b: error: y]"
        );
        assert!(heard.lines().is_empty());
    }
}
