//! Namespaces and real peers for tests.
