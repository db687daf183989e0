//! `adit up` and `adit down`.

use adit_vici::{Client, ClientError, Message};

use super::{Failure, How, Outcome, daemon, show};

/// A connection with the names of its children, as loaded.
type Loaded = (String, Vec<String>);

/// What a name on the command line means.
#[derive(Debug, PartialEq, Eq)]
struct Meant<'a> {
    conn: &'a str,
    /// The children; all of them if the connection was named.
    children: Vec<&'a str>,
    /// The connection itself was named.
    whole: bool,
}

pub(super) fn up(uri: Option<&str>, name: &str, ike_only: bool, how: &How) -> Outcome {
    let mut client = daemon::connect(uri)?;
    let loaded = loaded(&mut client)?;
    let meant = resolve(&loaded, name).map_err(Failure::No)?;
    if ike_only && !meant.whole {
        return Err(Failure::No(format!("'{name}' is a child; --ike-only wants a connection")));
    }
    if ike_only || meant.children.is_empty() {
        order(&mut client, "initiate", Message::new().kv("ike", meant.conn), how)?;
        show::print(&format!("{} is up\n", show::plain(meant.conn)));
        return Ok(());
    }
    for child in meant.children {
        let request = Message::new().kv("child", child).kv("ike", meant.conn);
        order(&mut client, "initiate", request, how)?;
        show::print(&format!("{}/{} is up\n", show::plain(meant.conn), show::plain(child)));
    }
    Ok(())
}

pub(super) fn down(uri: Option<&str>, name: &str, force: bool, how: &How) -> Outcome {
    let mut client = daemon::connect(uri)?;
    let loaded = loaded(&mut client)?;
    let meant = resolve(&loaded, name);
    let request = match &meant {
        Ok(Meant { conn, whole: true, .. }) => Message::new().kv("ike", conn),
        Ok(Meant { conn, children, .. }) => {
            children.iter().fold(Message::new().kv("ike", conn), |m, child| m.kv("child", child))
        }
        // What is configured no longer may still be up under its name.
        Err(_) if !name.contains('/') => Message::new().kv("ike", name),
        Err(sentence) => return Err(Failure::No(sentence.clone())),
    };
    let request = if force { request.kv("force", "yes") } else { request };
    match order(&mut client, "terminate", request, how) {
        Ok(answer) => {
            let count: usize = answer.get_number("terminated").unwrap_or(0);
            let many = if count > 1 { format!(" ({count} SAs closed)") } else { String::new() };
            show::print(&format!("{} is down{many}\n", show::plain(name)));
            Ok(())
        }
        Err(Failure::No(errmsg)) if errmsg.contains("no matching SAs") => match meant {
            Ok(_) => {
                show::print(&format!("{} was not up\n", show::plain(name)));
                Ok(())
            }
            Err(sentence) => Err(Failure::No(sentence)),
        },
        Err(failure) => Err(failure),
    }
}

fn loaded(client: &mut Client) -> Result<Vec<Loaded>, ClientError> {
    let mut loaded: Vec<Loaded> = Vec::new();
    client.stream("list-conns", "list-conn", &Message::new(), |event| {
        for (name, fields) in event.sections() {
            let children = fields.get_section("children").into_iter().flat_map(Message::sections);
            loaded.push((name.to_owned(), children.map(|(name, _)| name.to_owned()).collect()));
        }
    })?;
    Ok(loaded)
}

/// A child wins over a connection of the same name only if it is that connection's own.
fn resolve<'a>(loaded: &'a [Loaded], name: &str) -> Result<Meant<'a>, String> {
    if let Some((conn, children)) = loaded.iter().find(|(conn, _)| conn == name) {
        return Ok(Meant { conn, children: children.iter().map(String::as_str).collect(), whole: true });
    }
    let of = |conn: &str, child: &str| {
        name == child || name.strip_suffix(child).is_some_and(|c| c.strip_suffix('/') == Some(conn))
    };
    let found: Vec<(&str, &str)> = loaded
        .iter()
        .flat_map(|(conn, children)| children.iter().map(move |child| (conn.as_str(), child.as_str())))
        .filter(|(conn, child)| of(conn, child))
        .collect();
    match found.as_slice() {
        [(conn, child)] => Ok(Meant { conn, children: vec![child], whole: false }),
        [] => {
            let known = loaded.iter().flat_map(|(c, children)| std::iter::once(c).chain(children));
            let cure = match adit_conf::nearest(name, known.map(String::as_str)) {
                Some(near) => format!("did you mean '{near}'?"),
                None if loaded.is_empty() => "no connection is loaded".to_owned(),
                None => "`adit status` shows all".to_owned(),
            };
            Err(format!("no connection or child '{name}' is loaded; {cure}"))
        }
        several => {
            let all: Vec<String> = several.iter().map(|(conn, child)| format!("'{conn}/{child}'")).collect();
            Err(format!("'{name}' is a child of several connections; say one of {}", all.join(", ")))
        }
    }
}

fn order(client: &mut Client, command: &str, request: Message, how: &How) -> Result<Message, Failure> {
    let timeout = how.timeout.map_or(0, |t| t.as_millis());
    let request = request.text("timeout", timeout).kv("loglevel", "1");
    let answer = client.stream(command, "control-log", &request, |line| {
        if how.verbose {
            let get = |key| show::plain(line.get_str(key).unwrap_or_default());
            eprintln!("[{}] {}", get("group"), get("msg"));
        }
    })?;
    Ok(adit_vici::client::succeeded(answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let loaded: Vec<Loaded> = vec![
            ("home".into(), vec!["net".into(), "dns".into()]),
            ("office".into(), vec!["net".into()]),
            ("bare".into(), vec![]),
        ];
        let meant =
            |conn, children: &[&'static str], whole| Ok(Meant { conn, children: children.to_vec(), whole });
        assert_eq!(resolve(&loaded, "home"), meant("home", &["net", "dns"], true));
        assert_eq!(resolve(&loaded, "bare"), meant("bare", &[], true));
        assert_eq!(resolve(&loaded, "dns"), meant("home", &["dns"], false));
        assert_eq!(resolve(&loaded, "office/net"), meant("office", &["net"], false));
        assert_eq!(
            resolve(&loaded, "net").unwrap_err(),
            "'net' is a child of several connections; say one of 'home/net', 'office/net'"
        );
        assert_eq!(
            resolve(&loaded, "ofice").unwrap_err(),
            "no connection or child 'ofice' is loaded; did you mean 'office'?"
        );
        assert!(resolve(&[], "x").unwrap_err().ends_with("no connection is loaded"));
    }
}
