//! Writes `seeds/<target>/`: small inputs that are well-formed, from which a fuzzer finds its way faster than from none.

use std::fs;
use std::path::Path;

use adit_conf::schema;
use adit_crypto::{Secret, SeededRandom};
use adit_eap::{ClientStep, EapClient, EapSecrets, EapServer, Method, ServerStep};
use adit_ipsec::{Proposal, Protocol, Selector};
use adit_pki::Certificate;
use adit_vici::message::Message;
use adit_wire::{
    ConfigKind, ExchangeType, Flags, Header, IdPayload, NotifyType, Payload, PayloadType, ProposalPayload,
    emit_clear, emit_encrypted_prefix, emit_payloads,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    wire()?;
    esp()?;
    vici()?;
    conf()?;
    pki()?;
    eap()
}

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

fn sa(proposals: Vec<Proposal>, spi: &[u8]) -> Payload {
    let number = |(proposal, num)| ProposalPayload { num, spi: spi.to_vec(), proposal, acceptable: true };
    Payload::Sa(proposals.into_iter().zip(1..).map(number).collect())
}

fn wire() -> Result<(), Box<dyn std::error::Error>> {
    let header = |exchange, message_id, response| Header {
        spi_i: 0x0102_0304_0506_0708,
        spi_r: if response { 0x1112_1314_1516_1718 } else { 0 },
        next: PayloadType::NONE,
        major: 2,
        minor: 0,
        exchange,
        flags: Flags { initiator: !response, response, version: false },
        message_id,
        length: 0,
    };
    let nat = |kind| Payload::notify(kind, vec![0x5a; 20]);
    let init = vec![
        sa(Proposal::default_ike(), &[]),
        Payload::KeyExchange { group: 31, data: vec![9; 32] },
        Payload::Nonce(vec![7; 32]),
        nat(NotifyType::NAT_DETECTION_SOURCE_IP),
        nat(NotifyType::NAT_DETECTION_DESTINATION_IP),
        Payload::notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, vec![]),
        Payload::notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, vec![0, 2, 0, 3, 0, 4, 0, 5]),
        Payload::Vendor(b"adit".to_vec()),
    ];
    write("wire", "init", emit_clear(&header(ExchangeType::IKE_SA_INIT, 0, false), &init)?)?;
    let answers = [
        ("cookie", Payload::notify(NotifyType::COOKIE, vec![3; 16])),
        ("invalid-ke", Payload::notify(NotifyType::INVALID_KE_PAYLOAD, vec![0, 19])),
    ];
    for (name, payload) in answers {
        write("wire", name, emit_clear(&header(ExchangeType::IKE_SA_INIT, 0, true), &[payload])?)?;
    }

    let auth = vec![
        Payload::IdI(IdPayload { kind: 9, data: adit_ipsec::dn::parse("C=CH, O=Lab, CN=rw")? }),
        Payload::IdR(IdPayload { kind: 2, data: b"gw.example.net".to_vec() }),
        Payload::Cert { encoding: 4, data: vec![0x30; 24] },
        Payload::CertRequest { encoding: 4, authorities: vec![[1; 20], [2; 20]] },
        Payload::Auth { method: 14, data: vec![4; 32] },
        Payload::Config {
            kind: ConfigKind::Request,
            attributes: vec![(1, vec![]), (8, vec![]), (3, vec![]), (10, vec![])],
        },
        sa(Proposal::default_esp(), &[1, 2, 3, 4]),
        Payload::TsI(vec![Selector::any_v4(), Selector::any_v6()]),
        Payload::TsR(vec![Selector::from_cidr("10.1.0.0".parse()?, 16).ok_or("prefix")?]),
        Payload::notify(NotifyType::EAP_ONLY_AUTHENTICATION, vec![]),
    ];
    let rekey = vec![
        Payload::Notify { protocol: 3, spi: vec![1, 2, 3, 4], kind: NotifyType::REKEY_SA, data: vec![] },
        sa(vec![Proposal::parse(Protocol::Esp, "aes128-sha256-ecp256-none-esn-noesn")?], &[5, 6, 7, 8]),
        Payload::Nonce(vec![8; 16]),
    ];
    let delete = vec![
        Payload::Delete { protocol: 3, spis: vec![vec![1, 2, 3, 4], vec![5, 6, 7, 8]] },
        Payload::Eap(vec![1, 7, 0, 5, 1]),
        Payload::Unknown { kind: 200, critical: false },
    ];
    for (name, inner) in [("auth", auth), ("rekey", rekey), ("delete", delete)] {
        // As the target reads the inside of an encrypted payload: the type of the first one, then the chain.
        let (first, body) = emit_payloads(&inner)?;
        write("wire", &format!("inner-{name}"), [&[first.0], body.as_slice()].concat())?;
        let prefix = emit_encrypted_prefix(&header(ExchangeType::IKE_AUTH, 1, false), first, None, 48)?;
        write("wire", &format!("sk-{name}"), [prefix, vec![0xee; 48]].concat())?;
    }
    let fragment =
        emit_encrypted_prefix(&header(ExchangeType::IKE_AUTH, 1, false), PayloadType::IDI, Some((1, 2)), 48)?;
    write("wire", "skf", [fragment, vec![0xee; 48]].concat())?;
    Ok(())
}

fn esp() -> Result<(), Box<dyn std::error::Error>> {
    // An IPv4 UDP packet behind the five bytes that choose suite, options, key, place and change.
    let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 3, 0, 1, 10, 1, 0, 2];
    packet.extend([0x30, 0x39, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]);
    for suite in 0..6_u8 {
        write("esp", &format!("suite-{suite}"), [&[suite, 0x41, 7, 9, 1], packet.as_slice()].concat())?;
    }
    let mut v6 = vec![0x60, 0, 0, 0, 0, 16, 0, 64];
    v6.extend([0x20; 32]);
    v6.extend([6, 0, 1, 4, 0, 0, 0, 0, 0, 80, 1, 187, 0, 0, 0, 0]);
    write("esp", "ipv6", [&[2, 0x81, 1, 0, 0], v6.as_slice()].concat())?;
    Ok(())
}

fn vici() -> Result<(), Box<dyn std::error::Error>> {
    let connection = Message::new()
        .kv("version", "2")
        .list("local_addrs", ["192.0.2.1", "192.0.2.2"])
        .section("local", Message::new().kv("auth", "psk").kv("id", "gw"))
        .section("children", Message::new().section("net", Message::new().list("local_ts", ["10.1.0.0/16"])));
    let load = Message::new().section("gw", connection);
    write("vici", "message", load.encode()?)?;
    write("vici", "empty", Message::new().encode()?)?;
    let body = load.encode()?;
    let mut request = vec![0, 9];
    request.extend(b"load-conn");
    request.extend(&body);
    write("vici", "request", &request)?;
    let mut stream = Vec::new();
    for packet in
        [request, vec![3, 6, b'l', b'i', b's', b't', b'-', b's'], vec![0, 5, b's', b't', b'a', b't', b's']]
    {
        stream.extend(u32::try_from(packet.len())?.to_be_bytes());
        stream.extend(packet);
    }
    write("vici", "stream", stream)?;
    Ok(())
}

fn conf() -> Result<(), Box<dyn std::error::Error>> {
    write(
        "conf",
        "gateway",
        r#"# a gateway
connections {
    rw {
        version = 2
        local_addrs = 192.0.2.1, 2001:db8::1
        proposals = aes256gcm16-prfsha384-x25519, default
        pools = v4, v6
        send_cert = always
        rekey_time = 4h
        local-1 { auth = pubkey
            certs = gw.pem
            id = "C=CH, O=Lab, CN=gw" }
        remote-1 { auth = eap-mschapv2
            eap_id = %any }
        children {
            net {
                local_ts = 10.1.0.0/16, 10.2.0.0/16[tcp/443], dynamic[udp/53]
                esp_proposals = aes128gcm16-none-esn-noesn
                start_action = trap|start
                rekey_bytes = 500M
            }
        }
    }
    site : connections.rw {
        remote_addrs = peer.example.net
        children { net { remote_ts = 10.9.0.1-10.9.0.9 } }
    }
}
pools { v4 { addrs = 10.3.0.0/24
    dns = 10.1.0.53 }
  v6 { addrs = fd00:3::/112 } }
secrets { ike-1 { id = gw.example.net
    secret = 0sZm9v }
  eap-2 { id = alice
    secret = "p\"w\n" } }
authorities { ca { cacert = ca.pem } }
include conf.d/*.conf
"#,
    )?;
    write(
        "conf",
        "daemon",
        "charon {\n  retransmit_tries = 3\n  retransmit_timeout = 2.5\n  port_nat_t = 4500\n  plugins { vici { socket = unix:///run/x.vici } }\n  filelog { log { path = /dev/null\n default = 1\n ike = 2 } }\n  load = random nonce\n}\n",
    )?;
    write(
        "conf",
        "references",
        "a { x = 1\n b { y = 2 } }\nc : a { x =\n d : a.b { z = \"q\" } }\ne : a, c {}\n",
    )?;
    // Every key there is, some in each file, so that no time is spent on guessing their names.
    for (file, table) in [("swanctl", schema::SWANCTL), ("strongswan", schema::STRONGSWAN)] {
        for (number, keys) in table.chunks(20).enumerate() {
            let mut text = String::new();
            for (key, value) in keys.iter().zip(["1h", "yes", "10.0.0.0/8", "7", "trap"].into_iter().cycle())
            {
                let parts: Vec<_> =
                    key.path.split('.').map(|part| part.replace('*', "-x").replace('#', "3")).collect();
                text.push_str(&parts.join(" { "));
                text.push_str(&format!(" = {value}\n{}\n", "}".repeat(parts.len() - 1)));
            }
            write("conf", &format!("keys-{file}-{number:02}"), text)?;
        }
    }
    Ok(())
}

/// The certificates and keys of the pki crate's own tests.
fn pki() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/pki/tests/data");
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let (Some(stem), Some(kind)) =
            (path.file_stem().and_then(|s| s.to_str()), path.extension().and_then(|s| s.to_str()))
        else {
            continue;
        };
        let bytes = fs::read(&path)?;
        match kind {
            "pem" => {
                let [certificate, ..] = &Certificate::from_pem_or_der(&bytes)?[..] else { continue };
                write("pki", &format!("{stem}.der"), certificate.der())?;
                if stem.starts_with("ed25519") {
                    write("pki", &format!("{stem}.pem"), &bytes)?;
                }
            }
            "key" | "der" => write("pki", &format!("{stem}.{kind}"), &bytes)?,
            _ => {}
        }
    }
    write("pki", "name.der", adit_ipsec::dn::parse("C=CH, O=Lab, OU=x, CN=rw, E=a@b.example")?)?;
    write("pki", "name.txt", "C=CH, O=Lab, CN=*, E=a@b.example")?;
    write("pki", "keyid.txt", "keyid:#0102ab")?;
    Ok(())
}

struct Alice;

impl EapSecrets for Alice {
    fn password(&self, _: &[u8]) -> Option<Secret> {
        Some(Secret::from(b"secret".to_vec()))
    }
}

/// What both roles say in one conversation, and a few scripts of somebody between two honest ends.
fn eap() -> Result<(), Box<dyn std::error::Error>> {
    let mut rng = SeededRandom::new(1);
    let mut server = EapServer::new(true, None, Method::MsChapV2);
    let mut client = EapClient::new(b"alice".to_vec(), Secret::from(b"secret".to_vec()), None);
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    let mut step = server.start(&mut rng, &Alice);
    loop {
        let (ServerStep::Request(packet)
        | ServerStep::Success { packet, .. }
        | ServerStep::Failure { packet, .. }) = step;
        requests.push(packet.clone());
        let ClientStep::Response(answer) = client.receive(&packet, &mut rng) else { break };
        responses.push(answer.clone());
        step = server.receive(&answer, &mut rng, &Alice);
    }
    let join = |packets: &[Vec<u8>]| -> Vec<u8> {
        packets.iter().flat_map(|p| [&[p.len() as u8], p.as_slice()].concat()).collect()
    };
    for (name, packets) in [("requests", &requests), ("responses", &responses)] {
        write("eap", name, [vec![0x02], join(packets)].concat())?;
        write("eap", &format!("{name}-mended"), [vec![0x12], join(packets)].concat())?;
    }
    write("eap", "honest", [0x03, 0, 0, 0, 0])?;
    write("eap", "honest-known", [0x0d, 0, 0, 0, 0])?;
    write("eap", "flipped", [0x03, 0, 0, 0, 1, 20, 1, 0])?;
    write("eap", "cut", [0x03, 0, 0, 0, 0, 0x82, 30, 0])?;
    write("eap", "longer", [0x03, 0, 0, 0x83, 4, 1, 2, 3, 4, 0, 0])?;
    write("eap", "spliced", [0x03, 0, 0, 0, 0, 0x85, 12, 3, b'S', b'=', b'0'])?;
    Ok(())
}
