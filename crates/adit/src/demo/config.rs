//! The demo's addresses and both ends' configuration.

use std::net::{IpAddr, Ipv4Addr};

/// The node behind the gateway.
pub(super) const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 2));
/// The first address of the gateway's pool.
pub(super) const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 3, 0, 1));

/// What is built.
pub(super) const PICTURE: &str = "
  rw 10.1.0.2 ── 10.1.0.1 [nat] 192.168.0.1 ── 192.168.0.2 [gw] 10.2.0.1 ── 10.2.0.2 node
  10.3.0.1 ══════════════ ESP in UDP 4500 ═══════════════╝
";

/// The gateway: leases addresses, offers the network behind it.
pub(super) const GATEWAY: &str = r#"
connections {
  rw {
    version = 2
    local_addrs = 192.168.0.2
    pools = home
    local { 
      auth = psk
      id = gw.demo
    }
    remote { 
      auth = psk
      id = rw@demo
    }
    children { net { local_ts = 10.2.0.0/24 } }
  }
}
pools { home { addrs = 10.3.0.0/24 } }
secrets { ike-demo { 
  id-1 = gw.demo
  id-2 = rw@demo
  secret = "DEMO-PSK" 
} }
"#;

/// The road-warrior: asks for an address, tunnels only what lies behind the gateway.
pub(super) const ROAD_WARRIOR: &str = r#"
connections {
  home {
    version = 2
    remote_addrs = 192.168.0.2
    vips = 0.0.0.0
    local { 
      auth = psk
      id = rw@demo
    }
    remote { 
      auth = psk
      id = gw.demo
    }
    children { net { remote_ts = 10.2.0.0/24 } }
  }
}
secrets { ike-demo { 
  id-1 = gw.demo
  id-2 = rw@demo
  secret = "DEMO-PSK" 
} }
"#;
