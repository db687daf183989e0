//! Debian's swanctl drives the handlers: what it prints is what operators and their scripts read.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use adit_vici::Server;

use super::Control;
use super::testing::{Fake, folder};

const CONF: &str = "
connections {
  psk {
    local_addrs = 10.0.0.1
    remote_addrs = 192.0.2.1
    vips = 0.0.0.0
    reauth_time = 3h
    dpd_delay = 30s
    unique = replace
    local {
      auth = psk
      id = rw
    }
    remote {
      auth = psk
      id = gw
    }
    children {
      net {
        remote_ts = 10.2.0.0/24, 10.4.0.0-10.4.0.9[udp/53]
        dpd_action = restart
        esp_proposals = aes128gcm16-x25519
      }
    }
  }
}
pools {
  home {
    addrs = 10.3.0.0/24
    dns = 10.2.0.2
  }
}
secrets {
  ike-1 {
    id-1 = rw
    secret = topsecret
  }
  eap-alice {
    id = alice
    secret = wonder
  }
}
";

#[test]
fn swanctl_loads_lists_initiates_and_terminates() {
    let Some(program) = ["/usr/sbin/swanctl", "/usr/bin/swanctl"].into_iter().find(|p| Path::new(p).exists())
    else {
        eprintln!("SKIPPED: swanctl is not installed (package strongswan-swanctl)");
        return;
    };
    let folder = folder("swanctl");
    let socket = folder.join("vici");
    for name in "x509 x509ca x509aa x509ac x509ocsp x509crl pubkey private rsa ecdsa pkcs8 pkcs12 bliss"
        .split_whitespace()
    {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("swanctl.conf"), CONF).unwrap();
    let tool = folder.join("tool.conf");
    std::fs::write(&tool, "swanctl { load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey }\n").unwrap();

    let fake = Arc::new(Fake::with_site());
    let daemon: Arc<Fake> = Arc::clone(&fake);
    let _server = Server::bind(&socket, Arc::new(Control::new(daemon))).unwrap();
    let run = |args: &str| {
        let output = Command::new(program)
            .args(args.split_whitespace())
            .args(["--uri", &format!("unix://{}", socket.display())])
            .env("SWANCTL_DIR", &folder)
            .env("STRONGSWAN_CONF", &tool)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let works = |args: &str| {
        let (success, text) = run(args);
        assert!(success, "{args}: {text}");
        text
    };

    let loaded = works("--load-all --noprompt");
    for line in [
        "loaded ike secret 'ike-1'",
        "loaded eap secret 'eap-alice'",
        "no authorities found, 0 unloaded",
        "successfully loaded 1 pools, 0 unloaded",
        // the connection that was there and is not in the file goes
        "successfully loaded 1 connections, 1 unloaded",
    ] {
        assert!(loaded.lines().any(|l| l == line), "{line}: {loaded}");
    }
    assert_eq!(
        works("--list-conns"),
        "psk: IKEv1/2, reauthentication every 10800s, no rekeying, dpd delay 30s\n  \
           local:  10.0.0.1\n  \
           remote: 192.0.2.1\n  \
           local pre-shared key authentication:\n    id: rw\n  \
           remote pre-shared key authentication:\n    id: gw\n  \
           net: TUNNEL, rekeying every 3600s, dpd action is start\n    \
             local:  dynamic\n    \
             remote: 10.2.0.0/24 10.4.0.0..10.4.0.9[udp/domain]\n"
    );
    assert_eq!(
        works("--list-sas"),
        "office: #7, ESTABLISHED, IKEv2, 4f1c0a9be27d3358_i b80e6c15d9a24f71_r*\n  \
           local  'gw.example.net' @ 10.0.5.20[4500]\n  \
           remote 'laptop-17' @ 198.51.100.44[51022] EAP: 'alice' [10.3.0.5]\n  \
           AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519\n  \
           established 312s ago, rekeying in 12904s\n  \
           active:  CHILD_REKEY\n  \
           net-1: #12, reqid 3, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-256\n    \
             installed 312s ago, rekeying in 2874s, expires in 3648s\n    \
             in  c3a9120f,  18432 bytes,    96 packets,     1s ago\n    \
             out 0f77e2c4,  20116 bytes,   101 packets\n    \
             local  10.0.4.0/24 10.233.0.0/18\n    \
             remote 10.3.0.5/32\n"
    );
    assert_eq!(
        works("--initiate --child net --loglevel 1"),
        "[IKE] initiating IKE_SA psk[7] to 192.0.2.1\ninitiate completed successfully\n"
    );
    assert_eq!(
        run("--initiate --child nope"),
        (false, "initiate failed: CHILD_SA config 'nope' not found\n".to_owned())
    );
    assert_eq!(works("--terminate --ike office"), "terminate completed successfully\n");
    assert_eq!(works("--rekey --child net-1"), "rekey completed successfully\n");
    assert_eq!(works("--install --child net"), "install completed successfully\n");
    assert!(works("--list-pols").starts_with("site/net, TUNNEL\n"));
    assert!(
        works("--list-pools --leases").contains("  10.3.0.2                       offline  'C=CH, CN=x'\n")
    );
    assert!(works("--stats").contains("uptime: 2 minutes, since Nov 23 21:09:38 2026\n"));
    assert_eq!(works("--version --daemon"), "strongSwan 0.1.0 aditd (Linux, 6.12, x86_64)\n");
    assert!(works("--counters").starts_with("global:\n  ike-rekey-init        : 1\n"));
    assert!(works("--list-algs").contains("aead:\n  AES_GCM_16[aws-lc]\n"));
    for quiet in ["--list-certs", "--list-authorities", "--flush-certs", "--reload-settings"] {
        assert_eq!(works(quiet), "", "{quiet}");
    }
    assert!(fake.orders().contains(&"load-shared ike-1 Ike [rw]".to_owned()));
    std::fs::remove_dir_all(folder).unwrap();
}
