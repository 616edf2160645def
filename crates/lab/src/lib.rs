//! A cluster made of network namespaces.
