//! Policies of Calico and of the cluster as people write them, as far as other APIs make them.

pub(crate) mod calico;
pub(crate) mod cluster;
