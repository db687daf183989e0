//! Key material to the key log, where the configuration asks for it.

use adit_ike::{ChildKeysExport, Group, IkeKeysExport};

use crate::driver::Driver;
use crate::keylog::{EspKeys, IkeKeys};

/// Writes the keys of an IKE_SA.
pub(crate) fn ike_keys(driver: &mut Driver, keys: &IkeKeysExport) {
    let row = IkeKeys {
        spis: (keys.spi_i, keys.spi_r),
        encryption: (keys.encr, keys.encr_key_bits),
        integrity: keys.integ,
        encr: (keys.sk_ei.as_bytes(), keys.sk_er.as_bytes()),
        integ: (keys.sk_ai.as_bytes(), keys.sk_ar.as_bytes()),
    };
    report(driver, |log| log.ike(&row));
}

/// Writes the keys of both directions of a CHILD_SA.
pub(crate) fn child_keys(driver: &mut Driver, keys: &ChildKeysExport) {
    let (local, remote) = (keys.local.ip(), keys.remote.ip());
    let inbound = EspKeys {
        path: (remote, local),
        spi: keys.spi_in,
        encryption: keys.encr,
        encr: keys.encr_in.as_bytes(),
        integrity: keys.integ,
        integ: keys.integ_in.as_bytes(),
    };
    let outbound = EspKeys {
        path: (local, remote),
        spi: keys.spi_out,
        encr: keys.encr_out.as_bytes(),
        integ: keys.integ_out.as_bytes(),
        ..inbound
    };
    report(driver, |log| log.esp(&inbound).and_then(|()| log.esp(&outbound)));
}

fn report(driver: &mut Driver, write: impl FnOnce(&mut crate::keylog::KeyLog) -> std::io::Result<()>) {
    if let Some(Err(error)) = driver.keylog.as_mut().map(write) {
        driver.logger.line(Group::Dmn, 1, format!("writing the key log failed: {error}"));
    }
}
