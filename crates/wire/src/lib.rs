//! IKE messages and payloads as values.
