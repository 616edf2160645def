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
    /// Source port.
    SourcePort,
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

#[cfg(test)]
mod tests {
    use super::*;

    const R2: Reg = Reg::new(2);

    fn source(at: u8) -> Byte {
        Byte::of(Field::Source, at)
    }

    #[test]
    fn what_a_value_does_not_fill_of_its_last_word_is_zero() {
        let mut registers = Registers::new();
        registers.store(R2, &[source(0), source(1), source(2), source(3), source(0)]);
        let zero = Byte::Const(0);
        let loaded = registers.load(Reg::new(3), 4).map(<[_]>::to_vec);
        assert_eq!(loaded, Ok(vec![source(0), zero, zero, zero]));
        assert_eq!(registers.load(R2, 5).map(<[_]>::len), Ok(5));
    }

    #[test]
    fn the_register_that_is_not_set_is_named() {
        let mut registers = Registers::new();
        registers.store(R2, &[Byte::Const(1)]);
        assert_eq!(registers.load(Reg::new(1), 4), Err(1));
        assert_eq!(registers.load(R2, 6), Err(3));
        assert_eq!(registers.load(Reg::new(15), 8), Err(16), "there are sixteen");
    }

    #[test]
    fn a_mask_keeps_what_a_byte_depends_on_or_makes_it_the_same_for_all() {
        let masked = |byte: Byte, mask, xor| bitwise(&[byte], &[mask], &[xor])[0];
        assert_eq!(masked(source(1), 0xf0, 0), Byte::Of { field: Field::Source, at: 1, mask: 0xf0, xor: 0 });
        let twice = masked(masked(source(1), 0xf0, 0x0f), 0x3f, 0x01);
        assert_eq!(twice, Byte::Of { field: Field::Source, at: 1, mask: 0x30, xor: 0x0e });
        assert_eq!(masked(source(1), 0, 7), Byte::Const(7));
        assert_eq!(masked(masked(source(1), 0xf0, 3), 0x0f, 4), Byte::Const(3 ^ 4), "no bit of it is left");
        assert_eq!(masked(Byte::Const(6), 3, 1), Byte::Const(3));
        assert_eq!(masked(Byte::Unknown(6), 0, 1), Byte::Const(1));
        assert_eq!(masked(Byte::Unknown(6), 2, 1), Byte::Unknown(3));
        assert_eq!(masked(Byte::Unset, 2, 1), Byte::Unset);
    }

    #[test]
    fn only_the_start_of_one_field_is_followed() {
        let masked = |at, mask| Byte::Of { field: Field::Source, at, mask, xor: 0 };
        let start = |bits| Look::Start { field: Field::Source, bits };
        assert_eq!(Look::at(&[source(0), source(1)]), start(16));
        assert_eq!(Look::at(&[source(0), masked(1, 0xc0), Byte::Const(0)]), start(10));
        assert_eq!(Look::at(&[Byte::Const(1), Byte::Const(2)]), Look::Nothing);
        let odd: [&[Byte]; 7] = [
            &[source(1)],
            &[source(0), source(0)],
            &[masked(0, 0x0f)],
            &[masked(0, 0xf0), source(1)],
            &[source(0), Byte::Const(1)],
            &[source(0), Byte::of(Field::Destination, 1)],
            &[Byte::Of { field: Field::Source, at: 0, mask: 0xff, xor: 1 }],
        ];
        for bytes in odd {
            assert_eq!(Look::at(bytes), Look::Odd, "{bytes:?}");
        }
    }
}
