//! Socket options that rustix has no word for.
#![allow(unsafe_code)]

use std::ffi::c_int;

use rustix::{
    fd::{AsFd, AsRawFd},
    io::Errno,
};

/// Reports ICMP errors about what the socket sent as errors of the socket (`IP_RECVERR`, `IPV6_RECVERR`).
pub(crate) fn report_icmp_errors(socket: impl AsFd, v4: bool) -> Result<(), Errno> {
    let (level, option) =
        if v4 { (libc::IPPROTO_IP, libc::IP_RECVERR) } else { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) };
    let on: c_int = 1;
    let len = libc::socklen_t::try_from(size_of::<c_int>()).expect("four bytes");
    // SAFETY: the descriptor is open as long as it is borrowed; the value points to `len` readable bytes.
    let result = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, (&raw const on).cast(), len) };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}
