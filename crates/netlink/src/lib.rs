//! nftables, conntrack, NFLOG and routes on the wire.
//!
//! The only crate that knows netlink's bytes. [`Socket`] carries messages; [`wire`] writes and reads attributes.
//! Everything is synchronous: a request is answered before the kernel returns from it.

pub mod conntrack;
#[cfg(test)]
mod damage;
mod error;
pub mod message;
pub mod nflog;
pub mod nft;
mod packet;
pub mod probe;
pub mod route;
mod socket;
mod tap;
pub mod wire;

pub use error::{EncodeError, Error};
pub use message::{Ack, Message};
pub use packet::{PacketTuple, Transport};
pub use rustix::io::Errno;
pub use socket::{Buffers, Protocol, Socket};
pub use tap::Tap;
