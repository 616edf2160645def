//! Who can talk to whom, on what: all pairs of workloads, outside ranges and ingress points at once, and how two clusters differ in it.
