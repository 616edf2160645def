//! Network namespaces as values.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    panic::resume_unwind,
    path::PathBuf,
    sync::Arc,
    thread,
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

/// What failed about a namespace.
#[derive(Debug, thiserror::Error)]
#[error("network namespace: {operation}: {errno}")]
pub struct NetnsError {
    /// What was tried.
    pub operation: &'static str,
    /// The kernel's answer.
    pub errno: Errno,
}

impl NetnsError {
    fn new(operation: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { operation, errno }
    }

    fn io(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |e| Self { operation, errno: Errno::from_io_error(&e).unwrap_or(Errno::IO) }
    }
}

/// A network namespace, held by a descriptor: it ends when the last clone is dropped and the last socket that was made
/// in it is closed.
#[derive(Clone, Debug)]
pub struct Netns {
    fd: Arc<OwnedFd>,
}

impl Netns {
    /// That of the calling thread.
    ///
    /// # Errors
    /// [`NetnsError`] when `/proc` is not there.
    pub fn current() -> Result<Self, NetnsError> {
        let file = File::open("/proc/thread-self/ns/net").map_err(NetnsError::io("open /proc/thread-self/ns/net"))?;
        Ok(Self { fd: Arc::new(file.into()) })
    }

    /// `count` new ones. `prepare` runs inside each, with its number, before it is returned; a failure ends the whole.
    ///
    /// # Errors
    /// [`NetnsError`], or what `prepare` returned.
    pub fn create<E: From<NetnsError> + Send>(
        count: usize,
        prepare: impl Fn(usize) -> Result<(), E> + Send,
    ) -> Result<Vec<Self>, E> {
        // One thread that moves on from namespace to namespace: a thread's creation costs as much as a namespace's.
        on_thread(move || {
            (0..count)
                .map(|n| {
                    unshare_network()?;
                    prepare(n)?;
                    Ok(Self::current()?)
                })
                .collect()
        })
    }

    /// Runs `f` on a thread inside the namespace. Sockets that it opens belong to the namespace and can be used from
    /// any thread afterwards. A panic is passed on.
    ///
    /// # Errors
    /// [`NetnsError`] when the namespace cannot be entered.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        on_thread(|| {
            self.enter()?;
            Ok(f())
        })
    }

    /// Runs `f` inside each of these, in order, on one thread.
    ///
    /// # Errors
    /// The first error ends it.
    pub fn visit<'a, K: Send, T: Send, E: From<NetnsError> + Send>(
        visits: impl IntoIterator<Item = (&'a Self, K), IntoIter: Send>,
        f: impl Fn(K) -> Result<T, E> + Send,
    ) -> Result<Vec<T>, E> {
        let visits = visits.into_iter();
        on_thread(move || {
            visits
                .map(|(namespace, what)| {
                    namespace.enter()?;
                    f(what)
                })
                .collect()
        })
    }

    /// Moves the calling thread into the namespace, for good.
    fn enter(&self) -> Result<(), NetnsError> {
        move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network)).map_err(NetnsError::new("setns"))
    }

    /// The path by which a process outside, of the same user, can open it as long as this process lives.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd()).into()
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Netns {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Sets `net.NAME` of the calling thread's namespace. Settings that the kernel does not know are skipped: those of IPv6
/// where it is turned off.
pub(crate) fn sysctl(name: &str, value: &str) -> io::Result<()> {
    match fs::write(format!("/proc/sys/net/{name}"), value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Runs `f` on a thread of its own, which may change namespaces and then ends.
fn on_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(f).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

#[allow(unsafe_code)]
fn unshare_network() -> Result<(), NetnsError> {
    // SAFETY: only the network namespace of this thread changes, which no Rust type relies on.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(NetnsError::new("unshare"))
}
