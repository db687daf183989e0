//! The modules that the virtual machine can load: those named here, and what they stand on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::packages::Parts;

/// What for, and by the names that modprobe takes; what a kernel has built in or never had is passed over. A `*` at the
/// end takes all that begin so.
const WANTED: [(&str, &str); 8] = [
    ("the machine", "virtio_pci virtio_blk virtio_rng"),
    (
        "IPsec",
        "xfrm_user xfrm_algo xfrm_interface esp4 esp6 esp4_offload esp6_offload ah4 ah6 ipcomp ipcomp6 xfrm4_tunnel \
         xfrm6_tunnel tunnel4 tunnel6 ip_vti ip6_vti af_key",
    ),
    // without a random generator, states with seqiv fail in 6.1
    (
        "its ciphers",
        "gcm ccm ghash_generic aesni_intel chacha20poly1305 chacha20_generic chacha_generic poly1305_generic chacha_x86_64 \
         poly1305_x86_64 libchacha* libpoly1305 echainiv seqiv authenc authencesn cbc ctr ecb cmac xcbc hmac sha1_generic \
         sha256_generic sha512_generic crypto_null md5 des_generic drbg jitterentropy_rng cryptomgr",
    ),
    // PF_KEY tries all that it knows each time it is opened, and starts a program for each that is missing
    (
        "ciphers that PF_KEY asks for",
        "blowfish_generic camellia_generic cast5_generic serpent_generic twofish_generic rmd160 deflate",
    ),
    (
        "links",
        "veth dummy vrf bridge macvlan ipvlan tun ifb ip_gre ip6_gre vxlan wireguard udp_tunnel ip6_udp_tunnel 8021q",
    ),
    (
        "the firewall",
        "nf_tables nft_* nf_conntrack nf_conntrack_netlink nf_nat nf_log_syslog nf_reject_ipv4 nf_reject_ipv6 nfnetlink \
         nfnetlink_log",
    ),
    (
        "queues",
        "sch_netem sch_tbf sch_htb sch_fq sch_fq_codel sch_ingress sch_prio cls_u32 cls_matchall act_mirred act_gact",
    ),
    ("what looks on", "af_packet_diag inet_diag tcp_diag udp_diag netlink_diag nlmon"),
];

/// Copies the wanted modules of `kernel`'s package into `target`, uncompressed, with an index: the kernel's release.
pub(super) fn collect(parts: &Parts, kernel: &str, target: &Path) -> io::Result<String> {
    let base = ["usr/lib/modules", "lib/modules"]
        .map(|folder| parts.kernel(kernel).join(folder))
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| io::Error::other(format!("the package of kernel {kernel} has no modules")))?;
    let first = fs::read_dir(&base)?.next().ok_or_else(|| io::Error::other("no modules"))??;
    let (source, release) = (first.path(), first.file_name().to_string_lossy().into_owned());
    index(parts, &parts.kernel(kernel), &release)?;
    let dependencies = dependencies(&fs::read_to_string(source.join("modules.dep"))?);
    let names: BTreeMap<String, &str> = dependencies.keys().map(|path| (name(path), path.as_str())).collect();
    let wanted = WANTED.iter().flat_map(|(_, names)| names.split_whitespace());
    let mut open: Vec<&str> = wanted.flat_map(|wanted| matching(&names, wanted)).collect();
    let mut closure = BTreeSet::new();
    while let Some(path) = open.pop() {
        if closure.insert(path) {
            open.extend(dependencies.get(path).into_iter().flatten().map(String::as_str));
        }
    }
    let folder = target.join("usr/lib/modules").join(&release);
    for path in closure {
        let to = folder.join(path);
        fs::create_dir_all(to.parent().unwrap_or(&folder))?;
        fs::copy(source.join(path), &to)?;
        if path.ends_with(".xz") {
            let held = parts.tool("xz").arg("--decompress").arg(&to).stdin(Stdio::null()).status()?.success();
            held.then_some(()).ok_or_else(|| io::Error::other(format!("{path} does not decompress")))?;
        }
    }
    for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(source.join(list), folder.join(list))?;
    }
    std::os::unix::fs::symlink("usr/lib", target.join("lib"))?;
    index(parts, target, &release)?;
    Ok(release)
}

/// Writes `modules.dep` and its like.
fn index(parts: &Parts, root: &Path, release: &str) -> io::Result<()> {
    let mut depmod = parts.tool("depmod");
    let held = depmod.arg("--basedir").arg(root).arg(release).status()?.success();
    held.then_some(()).ok_or_else(|| io::Error::other(format!("depmod failed in {}", root.display())))
}

/// What each module stands on, by paths.
fn dependencies(text: &str) -> BTreeMap<String, Vec<String>> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(path, needs)| (path.to_owned(), needs.split_whitespace().map(Into::into).collect())).collect()
}

/// A module's name by its path; `-` and `_` are the same.
fn name(path: &str) -> String {
    let file = PathBuf::from(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

fn matching<'a>(names: &BTreeMap<String, &'a str>, wanted: &str) -> Vec<&'a str> {
    match wanted.strip_suffix('*') {
        Some(start) => names.iter().filter(|(n, _)| n.starts_with(start)).map(|(_, path)| *path).collect(),
        None => names.get(wanted).copied().into_iter().collect(),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn finds_modules_by_either_spelling_and_by_their_beginning() {
        let text = "kernel/net/nft_ct.ko.xz: kernel/net/nf_tables.ko.xz\nkernel/x/aesni-intel.ko:\nkernel/net/nft_nat.ko:\n";
        let dependencies = dependencies(text);
        assert_eq!(dependencies["kernel/net/nft_ct.ko.xz"], ["kernel/net/nf_tables.ko.xz"]);
        let names = dependencies.keys().map(|path| (name(path), path.as_str())).collect();
        assert_eq!(matching(&names, "aesni_intel"), ["kernel/x/aesni-intel.ko"]);
        assert_eq!(matching(&names, "nft_*").len(), 2);
        assert!(matching(&names, "esp4").is_empty());
    }
}
