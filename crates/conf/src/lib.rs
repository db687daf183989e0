//! swanctl.conf and strongswan.conf, typed, with diagnostics.
