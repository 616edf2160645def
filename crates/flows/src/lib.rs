//! Recorded connections: what a change would newly deny, and the least policies that allow them.
