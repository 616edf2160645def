//! Faults on the way between a socket and the kernel.

use std::fmt;

use rustix::io::Errno;

/// Stands between a [`crate::Socket`] and the kernel: a test decides there what is spoiled, what is lost, and when the
/// process dies. Everything that a tap lets through is answered by the kernel itself.
pub trait Tap: fmt::Debug + Send + Sync {
    /// A datagram is about to be sent, as it stands after the tap's changes; with an error, it is not sent.
    ///
    /// # Errors
    /// What the sender shall see.
    fn send(&mut self, datagram: &mut Vec<u8>) -> Result<(), Errno> {
        let _ = datagram;
        Ok(())
    }

    /// A datagram has arrived; with an error, it is lost.
    ///
    /// # Errors
    /// What the receiver shall see; `ENOBUFS` is the kernel's word for a loss.
    fn receive(&mut self, datagram: &[u8]) -> Result<(), Errno> {
        let _ = datagram;
        Ok(())
    }
}
