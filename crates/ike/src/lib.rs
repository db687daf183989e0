//! IKE_SA and CHILD_SA state machines without I/O.
