//! Tests that cross crates. The library holds what they share with the fuzz targets: [`harness`].

pub mod harness;
