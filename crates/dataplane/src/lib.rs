//! Applies a lowered plan to the kernel and reads it back.
