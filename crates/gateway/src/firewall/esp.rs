//! The table on a kernel that does ESP.

use std::process::Command;

use adit_linux::netns::Namespace;

use super::table::Table;
use super::tests::{child, style};

/// Both directions of a tunnel by hand; the gateway's end is 10.1.0.254, the client's inner address 10.3.0.1.
const TUNNEL: &str = "
K=0x0102030405060708090a0b0c0d0e0f1011121314
ip xfrm state add src 10.1.0.1 dst 10.1.0.254 proto esp spi 1 reqid 1 mode tunnel aead 'rfc4106(gcm(aes))' $K 128
ip xfrm state add src 10.1.0.254 dst 10.1.0.1 proto esp spi 2 reqid 1 mode tunnel aead 'rfc4106(gcm(aes))' $K 128
for dir in $IN; do
  ip xfrm policy add src $THERE dst $HERE dir $dir tmpl src $PEER dst $OWN proto esp reqid 1 mode tunnel
done
ip xfrm policy add src $HERE dst $THERE dir out tmpl src $OWN dst $PEER proto esp reqid 1 mode tunnel
";

fn sh(namespace: &Namespace, script: &str) -> String {
    let output = namespace.command("sh").unwrap().args(["-ec", script]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn link(a: (&Namespace, &str, &str), b: (&Namespace, &str, &str)) {
    let words = ["link", "add", a.1, "netns", a.0.name(), "type", "veth", "peer", b.1, "netns", b.0.name()];
    assert!(Command::new("ip").args(words).status().unwrap().success());
    for (namespace, device, address) in [a, b] {
        sh(
            namespace,
            &format!("ip address add {address}/24 dev {device}; ip link set {device} up; ip link set lo up"),
        );
    }
}

/// How many packets a counter has seen.
fn seen(namespace: &Namespace, counter: &str) -> u64 {
    let text = sh(namespace, &format!("nft list counter {counter}"));
    text.split("packets ").nth(1).and_then(|it| it.split(' ').next()).unwrap().parse().unwrap()
}

/// What the kernel decrypts passes and is counted, what it encrypts is counted, and the same in the clear is dropped.
#[test]
#[ignore = "needs the kernel of cargo xtask kernel"]
fn decrypted_or_not() {
    let named = |role: &str| Namespace::create(&format!("adit-esp-{role}-{}", std::process::id())).unwrap();
    let (client, gw, node) = (named("client"), named("gw"), named("node"));
    link((&client, "wan", "10.1.0.1"), (&gw, "wan", "10.1.0.254"));
    link((&gw, "lan", "10.2.0.254"), (&node, "lan", "10.2.0.1"));
    sh(&node, "ip route add default via 10.2.0.254");
    sh(&gw, "echo 1 > /proc/sys/net/ipv4/ip_forward; ip route add 10.3.0.0/24 via 10.1.0.1");
    sh(
        &client,
        "ip address add 10.3.0.1/32 dev lo; ip address add 10.3.0.9/32 dev lo; ip route add 10.2.0.0/24 via 10.1.0.254 src 10.3.0.1",
    );
    let ends = [
        (&client, "HERE=10.3.0.1/32 THERE=10.2.0.0/24 OWN=10.1.0.1 PEER=10.1.0.254 IN=in"),
        (&gw, "HERE=10.2.0.0/24 THERE=10.3.0.1/32 OWN=10.1.0.254 PEER=10.1.0.1 IN='in fwd'"),
    ];
    for (namespace, variables) in ends {
        sh(namespace, &format!("{variables}{TUNNEL}"));
    }
    // SYNs with a segment size that fits into the tunnel, as they arrive at both ends
    for end in [&client, &node] {
        sh(
            end,
            "nft 'table ip seen { counter syn { }; chain pre { type filter hook prerouting priority 0; \
             tcp flags syn / syn,ack tcp option maxseg size 1000-1410 counter name syn; }; }'",
        );
    }
    let mut table = Table::new(style("kernel"));
    table.set_pools(vec![("10.3.0.1".parse().unwrap(), "10.3.0.254".parse().unwrap())]);
    table.child_up(&child(1, "home/net", "10.3.0.1/32", "10.2.0.0/24"));
    let text = table.whole();
    gw.run(|| super::tests::apply(&text)).unwrap();

    let counted =
        || ["in-home/net", "out-home/net", "spoofed"].map(|name| seen(&gw, &format!("inet adit {name}")));
    sh(&client, "ping -q -c 5 -i 0.2 -W 10 10.2.0.1");
    assert_eq!(counted(), [5, 5, 0]);
    sh(&node, "ping -q -c 2 -i 0.2 -W 10 10.3.0.1");
    assert_eq!(counted(), [7, 7, 0]);
    // Nobody listens; what counts is the SYN, and its answer takes the same way.
    sh(&client, "! timeout 20 bash -c 'exec 3<>/dev/tcp/10.2.0.1/9' 2>/dev/null");
    sh(&node, "! timeout 20 bash -c 'exec 3<>/dev/tcp/10.3.0.1/9' 2>/dev/null");
    assert_eq!(counted(), [9, 9, 0]);
    assert_eq!(
        [&client, &node].map(|end| seen(end, "ip seen syn")),
        [1, 1],
        "segments larger than the tunnel"
    );

    // The client is now somebody who has no keys.
    sh(&client, "ip xfrm policy flush; ip xfrm state flush; ! ping -q -c 3 -i 0.2 -W 1 10.2.0.1");
    assert_eq!(counted(), [9, 9, 3]);
    sh(&client, "! ping -q -c 2 -i 0.2 -W 1 -I 10.3.0.9 10.2.0.1");
    assert_eq!(counted(), [9, 9, 5], "an address of the pool that nobody has");
    sh(&client, "ping -q -c 2 -i 0.2 -W 10 -I 10.1.0.1 10.1.0.254");
    assert_eq!(counted(), [9, 9, 5], "nothing of a tunnel");
}
