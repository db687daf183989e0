//! From nothing to a running daemon, and back.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use adit_conf::StrongswanConf;
use adit_conf::strongswan::DataplaneKind;
use adit_crypto::SystemRandom;
use adit_dataplane::{Dataplane, Kernel, Null, userspace};
use adit_ike::{Config, Endpoint, Group, Path};
use adit_ipsec::XfrmInterfaces;
use adit_linux::route::{Netlink, Watch};
use adit_linux::xfrm::{Threshold, Xfrm};
use adit_vici::Server;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::control::Control;
use crate::daemon::Handle;
use crate::driver::{Clock, Driver, Parts};
use crate::environment::{Environment, vici_socket};
use crate::keylog::KeyLog;
use crate::log::Logger;
use crate::mailbox::{Mail, Mailbox};
use crate::reload::Files;
use crate::resolv::ResolvConf;
use crate::roam::Roam;
use crate::settings;
use crate::sockets::{Ports, Sockets};
use crate::store::Store;

/// Runs the daemon in the foreground until SIGTERM or SIGINT.
///
/// # Errors
/// A sentence that says why it could not start, and what to do.
pub fn run(environment: Environment) -> Result<(), String> {
    let logger = Arc::new(Logger::default());
    let (conf, diagnostics) = environment.settings();
    let mut problems = logger.configure(&settings::sinks(&conf));
    problems.extend(diagnostics.iter().filter(|d| !d.is_error()).map(adit_conf::Diagnostic::at));
    if let Some(error) = diagnostics.iter().find(|d| d.is_error()) {
        return Err(format!("{}\n`adit check` shows all of them in place", error.at()));
    }
    logger.line(Group::Dmn, 1, format!("Starting aditd {} IKEv2 daemon", env!("CARGO_PKG_VERSION")));
    for problem in problems {
        logger.line(Group::Cfg, 1, problem);
    }
    // Before any thread is started, so that none but the signal thread is interrupted.
    let signals =
        Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(|e| format!("watching for signals: {e}"))?;
    let signal_handle = signals.handle();
    let (mailbox, mail) = Mailbox::new().map_err(|e| format!("making the mailbox: {e}"))?;
    let (events, broadcaster) = Control::events();
    let clock = Clock::start();
    let sockets =
        Sockets::bind(Ports { ike: conf.port, nat_t: conf.port_nat_t, mark: settings::socket_mark(&conf) })?;
    let dataplane = dataplane(&conf, &sockets, &mailbox, &logger)?;
    if dataplane.name() != "kernel" && conf.adit.xfrm_interfaces != XfrmInterfaces::No {
        let text = "there are no XFRM interfaces (adit.xfrm_interfaces): only the kernel data plane has them";
        logger.line(Group::Knl, 0, text);
    }
    let firewall = crate::firewall::start(&conf, dataplane.name(), &logger);
    let asker = firewall.as_ref().map(crate::firewall::Firewall::asker);
    let endpoint = Endpoint::new(
        settings::core(&conf, &logger)?,
        Arc::new(Config::default()),
        Box::new(SystemRandom),
        Driver::unix_epoch(),
    );
    let files = Arc::new(Files::new(environment.clone()));
    let mut driver = Driver::new(Parts {
        endpoint,
        clock,
        dataplane,
        sockets,
        store: Store::new(environment, conf.replay_window),
        logger: Arc::clone(&logger),
        events: events.clone(),
        netlink: Netlink::new()
            .map_err(|e| format!("opening netlink: {e}"))?
            .marked(settings::socket_mark(&conf)),
        resolv: conf.resolve_file.clone().filter(|_| !conf.updown_dns).map(ResolvConf::new),
        keylog: keylog(&conf, &logger)?,
        settings: conf.clone(),
        mailbox: mailbox.clone(),
        roam: Roam::new(watch_addresses(&logger), conf.network.clone()),
        firewall,
    });
    let log_events = events.clone();
    logger.subscribe(
        1,
        Box::new(move |line| {
            log_events.log(&crate::daemon::log_line(line));
            true
        }),
    );
    driver.hear_addresses();
    driver.load(files.read());
    let handle = Handle::new(mailbox.clone(), Arc::clone(&logger), clock, Arc::clone(&files), asker);
    let socket = vici_socket(&conf)?;
    let server =
        Server::bind_with(&socket, Arc::new(Control::new(Arc::new(handle))), broadcaster).map_err(|e| {
            format!("listening on {}: {e}; charon.plugins.vici.socket names another place", socket.display())
        })?;
    let watcher = watch(signals, mailbox, files, Arc::clone(&logger));
    notify("READY=1\nSTATUS=aditd is running\n");
    logger.line(Group::Dmn, 1, format!("ready, listening for VICI clients on {}", socket.display()));
    let result = driver.run(&mail).map_err(|e| format!("the protocol thread failed: {e}"));
    notify("STOPPING=1\n");
    // Nobody waits for an answer that will not come.
    drop(mail);
    driver.updown.finish(driver.settings.adit.updown_timeout);
    signal_handle.close();
    drop(server);
    // it ends with its handle closed; a panic in it is no reason to fail now
    let _ = watcher.join();
    logger.line(Group::Dmn, 1, "gone");
    result
}

fn dataplane(
    conf: &StrongswanConf,
    sockets: &Sockets,
    mailbox: &Mailbox,
    logger: &Logger,
) -> Result<Box<dyn Dataplane>, String> {
    match conf.adit.dataplane {
        DataplaneKind::Null => {
            logger.line(Group::Knl, 0, "data plane: null, by configuration; no packets will be carried");
            return Ok(Box::new(Null::default()));
        }
        DataplaneKind::Userspace => {}
        DataplaneKind::Auto | DataplaneKind::Kernel => match kernel(conf, sockets, mailbox) {
            Ok(plane) => {
                logger.line(Group::Knl, 1, "data plane: kernel");
                hash_policies(conf, logger);
                return Ok(Box::new(plane));
            }
            Err(error) if conf.adit.dataplane == DataplaneKind::Kernel => {
                return Err(format!("starting the kernel data plane: {error}"));
            }
            Err(error) => {
                logger.line(
                    Group::Knl,
                    1,
                    format!("data plane: userspace, since the kernel cannot: {error}"),
                );
            }
        },
    }
    let (sink, events) = (mailbox.clone(), mailbox.clone());
    let plane = userspace::new(
        settings::userspace(conf),
        sockets.nat_t(),
        Box::new(move |d| {
            sink.offer(Mail::Datagram(Path { local: d.local, remote: d.remote }, d.bytes));
        }),
        Arc::new(move |event| events.offer(Mail::Dataplane(event))),
    )
    .map_err(|e| format!("starting the userspace data plane: {e}"))?;
    Ok(Box::new(plane))
}

/// The kernel's data plane, if it has one, and sockets that go with it.
fn kernel(conf: &StrongswanConf, sockets: &Sockets, mailbox: &Mailbox) -> std::io::Result<Kernel> {
    let events = mailbox.clone();
    let plane =
        Kernel::new(settings::routes(conf), Arc::new(move |event| events.offer(Mail::Dataplane(event))))?;
    sockets.beside_the_kernel()?;
    Ok(plane)
}

/// Has the kernel find policies by a hash from other prefixes on, if it is to. Without that they are found all the same.
fn hash_policies(conf: &StrongswanConf, logger: &Logger) {
    let threshold = |(local, remote)| Threshold { local, remote };
    let (v4, v6) = (conf.spd_hash_v4.map(threshold), conf.spd_hash_v6.map(threshold));
    if v4.is_none() && v6.is_none() {
        return;
    }
    if let Err(error) = Xfrm::new().and_then(|mut xfrm| Ok(xfrm.set_spd_thresholds(v4, v6)?)) {
        logger.line(Group::Knl, 0, error.to_string());
    }
}

/// Without it tunnels come up all the same, and do not notice when addresses change.
fn watch_addresses(logger: &Logger) -> Option<Watch> {
    Watch::new().map_err(|e| logger.line(Group::Knl, 0, e.to_string())).ok()
}

fn keylog(conf: &StrongswanConf, logger: &Logger) -> Result<Option<KeyLog>, String> {
    let keys = &conf.save_keys;
    let Some(folder) = keys.wireshark_keys.as_ref().filter(|_| keys.exports_ike() || keys.exports_esp())
    else {
        return Ok(None);
    };
    let text = format!("keys are written to {}: whoever reads them reads the traffic", folder.display());
    logger.line(Group::Dmn, 0, text);
    KeyLog::open(folder, keys.exports_ike(), keys.exports_esp())
        .map(Some)
        .map_err(|e| format!("opening the key log in {}: {e}", folder.display()))
}

fn watch(
    mut signals: Signals,
    mailbox: Mailbox,
    files: Arc<Files>,
    logger: Arc<Logger>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                logger.line(Group::Dmn, 0, "SIGHUP received, reloading configuration");
                // what is wrong stands in the log
                let _ = files.reload(&mailbox);
            } else {
                mailbox.send(Mail::Shutdown);
            }
        }
    })
}

/// Tells the service manager, if there is one (sd_notify's protocol).
fn notify(state: &str) {
    let Some(path) =
        std::env::var_os("NOTIFY_SOCKET").filter(|p| p.as_encoded_bytes().first() == Some(&b'/'))
    else {
        return;
    };
    if let Ok(socket) = UnixDatagram::unbound() {
        // a service manager that does not listen loses nothing but this
        let _ = socket.send_to(state.as_bytes(), path);
    }
}
