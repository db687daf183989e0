//! `load-pool`, `unload-pool`, `get-pools`.

use adit_conf::diag::{Diagnostic, Subject};
use adit_conf::swanctl;
use adit_vici::Message;

use super::conns::{first_error, section};
use super::{Daemon, PoolSnapshot, answer};

pub(super) fn load(daemon: &dyn Daemon, message: &Message) -> Message {
    for (name, given) in message.sections() {
        if !given.has("addrs") {
            return Message::failure(format_args!("missing addrs for pool '{name}'"));
        }
        let result = swanctl::pool(name, &section(given)).map_err(|all| complaint(&all, given));
        if let Err(errmsg) = result.and_then(|pool| daemon.load_pool(pool)) {
            return Message::failure(errmsg);
        }
    }
    Message::success()
}

pub(super) fn unload(daemon: &dyn Daemon, message: &Message) -> Message {
    match message.get_str("name") {
        Some(name) => answer(daemon.unload_pool(name)),
        None => Message::failure("missing pool name to unload"),
    }
}

pub(super) fn get(daemon: &dyn Daemon, message: &Message) -> Message {
    let leases = message.get_bool("leases") == Some(true);
    daemon
        .pools(message.get_str("name"), leases)
        .iter()
        .fold(Message::new(), |m, pool| m.section(&pool.name, fields(pool, leases)))
}

fn fields(pool: &PoolSnapshot, leases: bool) -> Message {
    let m = Message::new()
        .text("base", pool.base)
        .text("size", pool.size)
        .text("online", pool.online)
        .text("offline", pool.offline);
    if !leases {
        return m;
    }
    let list = pool.leases.iter().enumerate().fold(Message::new(), |m, (i, lease)| {
        let fields = Message::new()
            .text("address", lease.address)
            .kv("identity", &lease.identity)
            .kv("status", if lease.online { "online" } else { "offline" });
        m.section(&i.to_string(), fields)
    });
    m.section("leases", list)
}

/// The texts that clients know, with what is wrong behind them.
fn complaint(all: &[Diagnostic], given: &Message) -> String {
    let Some(error) = first_error(all) else { return "parsing request failed".to_owned() };
    match &error.subject {
        Some(Subject::BadValue(key)) if key == "addrs" => {
            format!("invalid addrs value: {} ({})", given.get_str(key).unwrap_or_default(), error.message)
        }
        Some(Subject::BadValue(key)) => format!("invalid attribute value for {key} ({})", error.message),
        Some(Subject::UnknownKey(key)) => format!("invalid attribute: {key}"),
        _ => error.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::Fake;

    #[test]
    fn pools_with_and_without_leases() {
        let fake = Fake::default();
        assert_eq!(
            get(&fake, &Message::new()).to_string(),
            "home {base=10.3.0.0 size=254 online=1 offline=1}"
        );
        assert_eq!(
            get(&fake, &Message::new().kv("leases", "yes")).to_string(),
            "home {base=10.3.0.0 size=254 online=1 offline=1 leases {0 {address=10.3.0.1 identity=rw status=online} \
             1 {address=10.3.0.2 identity=C=CH, CN=x status=offline}}}"
        );
        assert!(get(&fake, &Message::new().kv("name", "x")).is_empty());
    }

    #[test]
    fn refusals() {
        let fake = Fake::default();
        let load = |pool: Message| load(&fake, &Message::new().section("p", pool)).to_string();
        assert_eq!(load(Message::new()), "success=no errmsg=missing addrs for pool 'p'");
        assert!(load(Message::new().kv("addrs", "bogus")).contains("errmsg=invalid addrs value: bogus"));
        let good = || Message::new().kv("addrs", "10.9.0.0/24");
        assert!(load(good().list("foo", ["1"])).contains("errmsg=invalid attribute: foo"));
        assert!(load(good().list("dns", ["xx"])).contains("errmsg=invalid attribute value for dns"));
        assert_eq!(load(good().list("dns", ["10.2.0.2", "10.2.0.3"])), "success=yes");
        assert_eq!(fake.orders(), ["load-pool p"]);
        assert!(unload(&fake, &Message::new()).to_string().contains("missing pool name to unload"));
        assert!(unload(&fake, &Message::new().kv("name", "x")).to_string().contains("x not found"));
    }
}
