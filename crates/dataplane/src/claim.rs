//! The claim to program a table.

use tortie_netlink::nflog::{LogListener, LogOptions};
use tortie_netlink::{Errno, Error};

use crate::DataplaneError;

/// Held by the one process of a network namespace that programs a table.
///
/// Two would mix their policies, and not every kernel lets a table have an owner. So the claim is the binding to a log
/// group that nothing logs to: the kernel gives it to one socket at a time, only to who may change rulesets as well,
/// and takes it back when that process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "held, not read")] LogListener);

impl Claim {
    pub(crate) fn new(table: &str) -> Result<Self, DataplaneError> {
        let options = LogOptions { receive_buffer: 4 << 10, ..LogOptions::default() };
        match LogListener::bind(group(table), options) {
            Ok(listener) => Ok(Self(listener)),
            Err(Error::Kernel { errno: Errno::PERM | Errno::BUSY, .. }) => {
                Err(DataplaneError::Owned { table: format!("inet {table}") })
            }
            Err(error) => Err(DataplaneError::Open(error)),
        }
    }
}

/// A group of the upper half, where nobody looks for groups, that differs for different tables (FNV-1a).
fn group(table: &str) -> u16 {
    let hash = table.bytes().fold(0x811c_9dc5_u32, |hash, b| (hash ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    0x8000 | u16::from_be_bytes([a ^ c, b ^ d])
}
