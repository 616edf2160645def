//! Registers whose bytes are known only as functions of the packet.

use crate::Reg;

/// What of a packet a byte may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Field {
    /// Source address.
    Source,
    /// Destination address.
    Destination,
    /// Protocol number.
    Protocol,
    /// Destination port, or ICMP type and code.
    Detail,
    /// Index of the incoming interface.
    Input,
    /// Name of the incoming interface.
    InputName,
    /// Mark of the connection.
    Mark,
}

/// One byte of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Byte {
    /// Not loaded.
    Unset,
    /// The same for all packets.
    Const(u8),
    /// `(byte at of the field & mask) ^ xor`.
    Of { field: Field, at: u8, mask: u8, xor: u8 },
    /// Of something that is not looked into; this is what it is taken for.
    Unknown(u8),
}

impl Byte {
    /// Byte `at` of a field.
    pub(super) const fn of(field: Field, at: u8) -> Self {
        Self::Of { field, at, mask: 0xff, xor: 0 }
    }

    /// All bytes of a field.
    pub(super) fn field(field: Field, len: u8) -> Vec<Self> {
        (0..len).map(|at| Self::of(field, at)).collect()
    }

    fn bitwise(self, by: u8, with: u8) -> Self {
        match self {
            Self::Unset => Self::Unset,
            Self::Const(value) => Self::Const(value & by ^ with),
            Self::Unknown(value) if by != 0 => Self::Unknown(value & by ^ with),
            Self::Of { field, at, mask, xor } if mask & by != 0 => {
                Self::Of { field, at, mask: mask & by, xor: xor & by ^ with }
            }
            Self::Of { xor, .. } => Self::Const(xor & by ^ with),
            Self::Unknown(_) => Self::Const(with),
        }
    }

    /// Its field, if it depends on one.
    pub(super) const fn depends_on(self) -> Option<Field> {
        match self {
            Self::Of { field, .. } => Some(field),
            _ => None,
        }
    }
}

/// `(value & mask) ^ xor`, byte by byte.
pub(super) fn bitwise(value: &[Byte], mask: &[u8], xor: &[u8]) -> Vec<Byte> {
    value.iter().zip(mask).zip(xor).map(|((byte, mask), xor)| byte.bitwise(*mask, *xor)).collect()
}

/// The sixteen registers of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Registers([Byte; 64]);

impl Registers {
    pub(super) const fn new() -> Self {
        Self([Byte::Unset; 64])
    }

    /// Stores a value; what it does not fill of its last word is zero.
    pub(super) fn store(&mut self, reg: Reg, value: &[Byte]) {
        let from = usize::from(reg.index()) * 4;
        let padded = value.len().next_multiple_of(4);
        for (at, slot) in self.0[from..].iter_mut().take(padded).enumerate() {
            *slot = value.get(at).copied().unwrap_or(Byte::Const(0));
        }
    }

    /// Loads a value, or names the register that is not set.
    pub(super) fn load(&self, reg: Reg, len: usize) -> Result<&[Byte], u8> {
        let from = usize::from(reg.index()) * 4;
        let to = from + len.next_multiple_of(4);
        let unset = |at: usize| u8::try_from(at / 4).unwrap_or(u8::MAX);
        let whole = self.0.get(from..to).ok_or_else(|| unset(self.0.len()))?;
        match whole.iter().position(|b| *b == Byte::Unset) {
            Some(at) => Err(unset(from + at)),
            None => Ok(&whole[..len]),
        }
    }
}

/// What a comparison or a field of a key looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing of the packet.
    Nothing,
    /// The first bits of a field; the rest of the bytes is zero.
    Start { field: Field, bits: u32 },
    /// Anything else: bits from the middle, mixtures, what is not looked into.
    Odd,
}

impl Look {
    pub(super) fn at(bytes: &[Byte]) -> Self {
        if bytes.iter().all(|b| matches!(b, Byte::Const(_))) {
            return Self::Nothing;
        }
        let Some(Byte::Of { field, .. }) = bytes.first().copied() else { return Self::Odd };
        let (mut bits, mut ended) = (0, false);
        for (place, byte) in bytes.iter().enumerate() {
            match *byte {
                Byte::Of { field: f, at, mask, xor: 0 }
                    if f == field && usize::from(at) == place && !ended && mask.leading_ones() == mask.count_ones() =>
                {
                    bits += mask.count_ones();
                    ended = mask != 0xff;
                }
                Byte::Const(0) => ended = true,
                _ => return Self::Odd,
            }
        }
        Self::Start { field, bits }
    }
}
