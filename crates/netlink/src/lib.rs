//! nftables, conntrack, NFLOG and routes on the wire.
