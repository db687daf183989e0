//! Data planes: userspace over TUN, and null.
