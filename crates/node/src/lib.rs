//! One node's loop: deltas in, enforcement out.
