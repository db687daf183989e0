//! Every committed seed of the fuzz targets, and every input that once was a finding, through the same bodies without
//! a sanitizer; and each of them bent at a few places.

use std::fs;
use std::path::Path;

use adit_tests::harness::TARGETS;

#[test]
fn every_target_survives_its_seeds() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (name, body) in TARGETS {
        let mut files: Vec<_> =
            fs::read_dir(seeds.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 3, "{name} has no seeds");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            // A panic's message does not know where it comes from.
            println!("{}", file.display());
            body(&bytes);
            for step in 0..16 {
                let at = step * bytes.len() / 16;
                body(&bytes[..at]);
                let mut bent = bytes.clone();
                if let Some(byte) = bent.get_mut(at) {
                    *byte ^= 1 << (step % 8);
                }
                body(&bent);
            }
        }
    }
}

#[test]
fn every_seed_folder_has_its_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for entry in fs::read_dir(seeds).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(TARGETS.iter().any(|(target, _)| name == *target), "{name:?}");
    }
}
