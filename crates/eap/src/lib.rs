//! EAP methods as state machines.
