//! What a node must hold, neutral of any kernel, and its lowering to nftables.
