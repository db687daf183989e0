//! ESP packets and the replay window.
