//! TUN, sockets, rtnetlink and namespaces.
