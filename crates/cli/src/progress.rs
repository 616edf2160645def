//! How far long work is: told on a terminal to who waits, and to nobody else.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Work shorter than this is not talked about.
const PATIENCE: Duration = Duration::from_millis(700);
/// How often more is told.
const PACE: Duration = Duration::from_millis(100);

/// One line on the terminal, written over until the work is done.
pub(crate) struct Progress {
    what: &'static str,
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Work on something, said in the plural.
    pub(crate) fn new(what: &'static str) -> Self {
        let next = std::io::stderr().is_terminal().then(|| Instant::now() + PATIENCE);
        Self { what, next, shown: false }
    }

    /// So many of so many are done.
    pub(crate) fn tell(&mut self, done: usize, all: usize) {
        if let Some(next) = self.next.filter(|next| Instant::now() >= *next) {
            let _ = write!(std::io::stderr(), "\r{done} of {all} {} …\x1b[K", self.what);
            self.next = Some(next.max(Instant::now()) + PACE);
            self.shown = true;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
