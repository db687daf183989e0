//! What strongswan.conf means for logs, key export and the data plane.

use std::path::PathBuf;

use adit_conf::StrongswanConf;
use adit_conf::strongswan::{DataplaneKind, FwMark, LogLevels, NetworkConf};
use adit_dataplane::{RouteConfig, UserspaceConfig, userspace};
use adit_ike::Group;
use adit_linux::route::Interfaces;

use crate::environment::vici_socket;
use crate::log::{Logger, SinkConfig, Target};
use crate::{map, secret_file};

/// The sinks that are configured. The journal's levels hold for standard output, which a service manager collects.
pub(crate) fn sinks(conf: &StrongswanConf) -> Vec<SinkConfig> {
    let mut sinks = vec![SinkConfig {
        target: Target::Stdout,
        default: conf.journal.default,
        levels: levels(&conf.journal),
        time: None,
        precision: 0,
        ike_name: true,
    }];
    sinks.extend(conf.filelogs.iter().map(|log| SinkConfig {
        target: match log.path.as_str() {
            "stdout" => Target::Stdout,
            "stderr" => Target::Stderr,
            path => Target::File { path: PathBuf::from(path), append: log.append },
        },
        default: log.levels.default,
        levels: levels(&log.levels),
        time: log.time_format.clone(),
        precision: log.time_precision,
        ike_name: log.ike_name,
    }));
    sinks
}

fn levels(conf: &LogLevels) -> Vec<(Group, i8)> {
    conf.groups.iter().filter_map(|(name, level)| Some((Group::from_name(name)?, *level))).collect()
}

/// The levels up to which the core formats lines.
fn core_levels(logger: &Logger) -> adit_ike::LogLevels {
    let mut levels = adit_ike::LogLevels::all(1);
    for group in Group::ALL {
        levels.set(group, logger.level(group));
    }
    levels
}

/// The core's settings, with what does not stand in the file itself.
///
/// # Errors
/// A sentence, when secrets that are kept in files cannot be had.
pub(crate) fn core(conf: &StrongswanConf, logger: &Logger) -> Result<adit_ike::Settings, String> {
    let read = |key, file: &Option<PathBuf>| match file {
        Some(file) => secret_file::secrets(key, file),
        None => Ok(Vec::new()),
    };
    Ok(adit_ike::Settings {
        log_levels: core_levels(logger),
        quick_crash_secrets: read("quick_crash_file", &conf.adit.quick_crash_file)?,
        ticket_secrets: read("ticket_file", &conf.adit.ticket_file)?,
        ..map::settings(conf)
    })
}

/// The mark of what the daemon sends itself. Where the data plane may be userspace there always is one: a rule may have to
/// tell it from what goes into tunnels. With the kernel's, the sockets' own policies do.
pub(crate) fn socket_mark(conf: &StrongswanConf) -> Option<u32> {
    conf.socket_fwmark.map(|m| m.value).or_else(|| {
        let tells = matches!(conf.adit.dataplane, DataplaneKind::Auto | DataplaneKind::Userspace);
        let own = tells && conf.rule_fwmark.is_none();
        own.then_some(userspace::MARK)
    })
}

/// Routes, rules and virtual IPs.
pub(crate) fn routes(conf: &StrongswanConf) -> RouteConfig {
    let mark = |m: FwMark| userspace::Fwmark { mark: m.value, mask: m.mask, invert: m.inverted };
    RouteConfig {
        table: conf.routing_table,
        table_prio: conf.routing_table_prio,
        install_routes: conf.install_routes,
        install_virtual_ip: conf.install_virtual_ip,
        fwmark: conf.rule_fwmark.map(mark),
        socket_mark: socket_mark(conf),
        ignore_tables: conf.network.ignore_routing_tables.clone(),
        interfaces: interfaces(&conf.network),
        install_virtual_ip_on: conf.network.install_virtual_ip_on.clone(),
        install_routes_xfrmi: conf.network.install_routes_xfrmi,
        mtu: conf.network.route_mtu,
        mss: conf.network.route_mss,
        // It is as much this daemon's own as its socket, and in a place that is emptied by a restart of the host.
        journal: vici_socket(conf).ok().map(|socket| {
            let mut path = socket.into_os_string();
            path.push(".kept");
            path.into()
        }),
        xfrm_interfaces: conf.adit.xfrm_interfaces,
        interface_mtu: conf.adit.mtu,
    }
}

/// The interfaces that IKE may use.
pub(crate) fn interfaces(network: &NetworkConf) -> Interfaces {
    Interfaces { only: network.interfaces_use.clone(), not: network.interfaces_ignore.clone() }
}

/// The userspace data plane's part.
pub(crate) fn userspace(conf: &StrongswanConf) -> UserspaceConfig {
    UserspaceConfig {
        tun_name: conf.adit.tun.clone(),
        routes: routes(conf),
        mtu: conf.adit.mtu,
        ..UserspaceConfig::default()
    }
}
