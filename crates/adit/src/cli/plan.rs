//! `adit check --against-running` and `adit reload`: what the files as they are now would do to what runs.

use adit_vici::Message;
use serde_json::{Value, json};

use super::show;
use super::{Failure, Outcome, daemon};

/// The groups in the order of their importance, with what stands above each.
const GROUPS: [(&str, &str); 3] = [("cut", "cut"), ("changed", "changed"), ("alone", "left alone")];

/// Rows of one kind that are told one by one; of what is left alone there may be thousands.
const MAX_ALONE: usize = 50;

/// Asks for the plan.
pub(super) fn against_running(uri: Option<&str>, json: bool) -> Outcome {
    let (rows, answer) = ask(uri, "adit-plan", json)?;
    if json {
        show::print(&format!("{:#}\n", as_json(&rows, &answer)));
    } else {
        show::print(&as_text(&rows, "would be "));
    }
    match (number(&answer, "cut"), number(&answer, "changed")) {
        (0, 0) => Ok(()),
        (0, _) => Err(Failure::WouldChange),
        _ => Err(Failure::WouldCut),
    }
}

/// Has it carried out.
pub(super) fn reload(uri: Option<&str>, json: bool) -> Outcome {
    let (mut rows, answer) = ask(uri, "adit-reload", json)?;
    if json {
        show::print(&format!("{:#}\n", as_json(&rows, &answer)));
    } else {
        rows.retain(|row| row.get_str("group") != Some("alone") || row.get_str("kind") == Some("setting"));
        show::print(&as_text(&rows, ""));
    }
    Ok(())
}

fn ask(uri: Option<&str>, command: &str, json: bool) -> Result<(Vec<Message>, Message), Failure> {
    let mut client = daemon::ask(uri)?;
    let mut rows = Vec::new();
    let answer = client.stream(command, "adit-plan", &Message::new(), |event| rows.push(event.clone()))?;
    if answer.get_bool("success") == Some(true) { Ok((rows, answer)) } else { Err(refused(&answer, json)) }
}

/// Everything that is wrong, at once.
fn refused(answer: &Message, json: bool) -> Failure {
    let errors = answer.get_strings("errors");
    if json {
        show::print(&format!("{:#}\n", json!({ "errors": errors })));
        return Failure::No(String::new());
    }
    let lines: Vec<String> = errors.iter().map(|line| show::plain(line)).collect();
    show::print(&format!("{}\n", lines.join("\n")));
    Failure::No("the files have errors: a reload would change nothing".into())
}

fn number(answer: &Message, key: &str) -> u64 {
    answer.get_number(key).unwrap_or(0)
}

fn as_text(rows: &[Message], would: &str) -> String {
    if rows.iter().all(|row| row.get_str("group") == Some("alone")) {
        let nothing = if would.is_empty() { "nothing changed" } else { "nothing would be touched" };
        // the one kind that is left alone although it was changed
        let waiting = rows.iter().filter(|row| row.get_str("kind") == Some("setting")).map(line);
        return format!("{nothing}\n{}", waiting.collect::<String>());
    }
    let mut text = String::new();
    for (group, title) in GROUPS {
        let of: Vec<&Message> = rows.iter().filter(|row| row.get_str("group") == Some(group)).collect();
        if of.is_empty() {
            continue;
        }
        text.push_str(&format!("{would}{title}:\n"));
        let limit = if group == "alone" { MAX_ALONE } else { usize::MAX };
        for row in of.iter().take(limit) {
            text.push_str(&line(row));
        }
        if of.len() > limit {
            text.push_str(&format!("  … and {} more (--json lists all)\n", of.len() - limit));
        }
    }
    text
}

fn line(row: &Message) -> String {
    let get = |key| show::plain(row.get_str(key).unwrap_or_default());
    let id = row.get_str("id").map_or_else(String::new, |id| format!(" #{}", show::plain(id)));
    format!("  {} {}{id}: {}\n", get("kind"), get("name"), get("text"))
}

fn as_json(rows: &[Message], answer: &Message) -> Value {
    let list: Vec<Value> = rows
        .iter()
        .map(|row| {
            let get = |key| row.get_str(key).unwrap_or_default();
            json!({
                "group": get("group"),
                "kind": get("kind"),
                "name": get("name"),
                "id": row.get_number::<u64>("id"),
                "text": get("text"),
            })
        })
        .collect();
    let count = |key| number(answer, key);
    json!({ "cut": count("cut"), "changed": count("changed"), "alone": count("alone"), "plan": list })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(group: &str, kind: &str, name: &str, text: &str) -> Message {
        Message::new().kv("group", group).kv("kind", kind).kv("name", name).kv("text", text)
    }

    fn rows() -> Vec<Message> {
        vec![
            row("alone", "connection", "b", "unchanged"),
            row("cut", "CHILD_SA", "a/net", "closed and initiated anew: remote_ts changed").text("id", 12),
            row("changed", "setting", "charon.keep_alive", "takes effect at once"),
        ]
    }

    #[test]
    fn what_people_read() {
        assert_eq!(
            as_text(&rows(), "would be "),
            "would be cut:\n  CHILD_SA a/net #12: closed and initiated anew: remote_ts changed\n\
             would be changed:\n  setting charon.keep_alive: takes effect at once\n\
             would be left alone:\n  connection b: unchanged\n"
        );
        assert_eq!(as_text(&rows()[..1], "would be "), "nothing would be touched\n");
        assert_eq!(as_text(&[], ""), "nothing changed\n");
        let waiting = row("alone", "setting", "charon.port", "has changed; needs a restart of aditd");
        assert_eq!(
            as_text(&[waiting], "would be "),
            "nothing would be touched\n  setting charon.port: has changed; needs a restart of aditd\n"
        );
        let many: Vec<Message> = (0..60).map(|n| row("alone", "pool", &n.to_string(), "unchanged")).collect();
        let text = as_text(&[rows(), many].concat(), "would be ");
        assert!(text.ends_with("… and 11 more (--json lists all)\n"), "{text}");
    }

    #[test]
    fn what_programs_read() {
        let value = as_json(&rows(), &Message::new().text("cut", 1).text("changed", 1).text("alone", 1));
        assert_eq!((value["cut"].as_u64(), value["plan"][1]["id"].as_u64()), (Some(1), Some(12)));
        assert!(value["plan"][0]["id"].is_null());
    }
}
