//! How far long work is: told on a terminal to who waits, and to nobody else.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
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
            let _ = write!(std::io::stderr(), "\r{done} of {all} {} …{CLEAR}", self.what);
            self.next = Some(next.max(Instant::now()) + PACE);
            self.shown = true;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{CLEAR}");
        }
    }
}

/// What is left of the line.
const CLEAR: &str = "\x1b[K";

/// Work that does not say how far it is: what it is, and since when, while it goes on. It must say nothing itself.
///
/// A thread tells it, so it is not for those who enter namespaces afterwards: that takes a process without any.
pub(crate) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    std::thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        scope.spawn(move || tell(what, &is_done, PATIENCE, &mut std::io::stderr()));
        let result = work();
        drop(done);
        result
    })
}

/// Tells of work until the other end of the channel is gone.
fn tell(what: &str, is_done: &Receiver<()>, patience: Duration, out: &mut impl Write) {
    let started = Instant::now();
    let mut wait = patience;
    let mut shown = false;
    while is_done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        let seconds = started.elapsed().as_secs();
        let since = if seconds > 0 { format!(" {seconds} s") } else { String::new() };
        let _ = write!(out, "\r{what} …{since}{CLEAR}");
        shown = true;
        wait = PACE;
    }
    if shown {
        let _ = write!(out, "\r{CLEAR}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Sender;

    /// Passes on what is written.
    struct Told(Sender<String>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_waits_is_told_until_it_is_done_and_nothing_is_left() {
        let (told, heard) = channel();
        let (done, is_done) = channel();
        let teller = std::thread::spawn(move || tell("reading", &is_done, Duration::ZERO, &mut Told(told)));
        let mut text = String::new();
        while text.matches("\rreading …").count() < 2 {
            text += &heard.recv().expect("something");
        }
        drop(done);
        teller.join().expect("it ends");
        text.extend(heard.iter());
        assert!(text.ends_with("\x1b[K\r\x1b[K"), "{text:?}");
    }

    #[test]
    fn short_work_is_not_talked_about() {
        let (told, heard) = channel();
        let (done, is_done) = channel();
        drop(done);
        tell("reading", &is_done, PATIENCE, &mut Told(told));
        assert_eq!(heard.iter().next(), None);
    }
}
