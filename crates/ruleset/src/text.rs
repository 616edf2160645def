//! Rules in words: registers and what becomes of them, one expression after the other.
//!
//! ```text
//! r0 = nfproto; r0 == 02; r7 = iif; r8 = network 12..16; r7 in legit4.1; accept
//! ```

use std::fmt;

use crate::{CmpOp, CtKey, Data, Expr, FibResult, MetaKey, NatKind, PayloadBase, Reg, Rule, Verdict};

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.index())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(bytes) => Hex(bytes).fmt(f),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, expr) in self.exprs.iter().enumerate() {
            let gap = if n == 0 { "" } else { "; " };
            write!(f, "{gap}{expr}")?;
        }
        if self.exprs.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

/// Bytes as they lie in the registers.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta { key, dreg } => write!(f, "{dreg} = {}", meta(*key)),
            Self::MetaSet { key, sreg } => write!(f, "{} = {sreg}", meta(*key)),
            Self::Ct { key, dreg } => write!(f, "{dreg} = {}", connection(*key)),
            Self::CtSet { key, sreg } => write!(f, "{} = {sreg}", connection(*key)),
            Self::Payload { base, offset, len, dreg } => {
                let base = match base {
                    PayloadBase::Link => "link",
                    PayloadBase::Network => "network",
                    PayloadBase::Transport => "transport",
                };
                write!(f, "{dreg} = {base} {offset}..{}", offset + len)
            }
            Self::Bitwise { sreg, dreg, mask, xor } => {
                write!(f, "{dreg} = {sreg} & {}", Hex(mask))?;
                if xor.iter().any(|byte| *byte != 0) { write!(f, " ^ {}", Hex(xor)) } else { Ok(()) }
            }
            Self::Cmp { sreg, op, data } => {
                let op = match op {
                    CmpOp::Eq => "==",
                    CmpOp::Neq => "!=",
                    CmpOp::Lt => "<",
                    CmpOp::Lte => "<=",
                    CmpOp::Gt => ">",
                    CmpOp::Gte => ">=",
                };
                write!(f, "{sreg} {op} {}", Hex(data))
            }
            Self::Immediate { dreg, data } => write!(f, "{dreg} = {}", Hex(data)),
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::Lookup { map, sreg, verdict: true, .. } => write!(f, "verdict {map}[{sreg}]"),
            Self::Lookup { map, sreg, dreg: Some(dreg), .. } => write!(f, "{dreg} = {map}[{sreg}]"),
            Self::Lookup { map, sreg, invert, .. } => {
                write!(f, "{sreg} {} {map}", if *invert { "not in" } else { "in" })
            }
            Self::Counter => f.write_str("counter"),
            Self::Log { group, prefix, .. } => write!(f, "log {prefix:?} to group {group}"),
            Self::Limit { rate, per_seconds, burst } => write!(f, "limit {rate} in {per_seconds} s, burst {burst}"),
            Self::Fib { result, dreg } => {
                let result = match result {
                    FibResult::Oif => "oif",
                    FibResult::AddrType => "address type",
                };
                write!(f, "{dreg} = route {result}")
            }
            Self::Nat { kind, addr, port, .. } => {
                let kind = match kind {
                    NatKind::Snat => "source",
                    NatKind::Dnat => "destination",
                };
                write!(f, "translate {kind} to {addr}")?;
                port.map_or(Ok(()), |port| write!(f, " port {port}"))
            }
            Self::Masquerade => f.write_str("masquerade"),
            Self::Redirect { port } => {
                f.write_str("redirect")?;
                port.map_or(Ok(()), |port| write!(f, " to port {port}"))
            }
            Self::Numgen { random, modulus, offset, dreg } => {
                let how = if *random { "random" } else { "next" };
                write!(f, "{dreg} = {how} of {modulus} + {offset}")
            }
            Self::Socket { dreg } => write!(f, "{dreg} = socket"),
            Self::Reject { tcp_reset } => {
                f.write_str(if *tcp_reset { "reject with a reset" } else { "reject with an ICMP error" })
            }
            Self::Unknown(name) => write!(f, "{name}, which tortie has no word for"),
        }
    }
}

const fn meta(key: MetaKey) -> &'static str {
    match key {
        MetaKey::NfProto => "nfproto",
        MetaKey::L4Proto => "l4proto",
        MetaKey::Mark => "mark",
        MetaKey::Iif => "iif",
        MetaKey::Oif => "oif",
        MetaKey::IifName => "iifname",
        MetaKey::OifName => "oifname",
    }
}

const fn connection(key: CtKey) -> &'static str {
    match key {
        CtKey::State => "ct state",
        CtKey::Direction => "ct direction",
        CtKey::Mark => "ct mark",
        CtKey::Status => "ct status",
        CtKey::Labels => "ct labels",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_from_left_to_right() {
        let r = Reg::new;
        let lookup = |dreg, verdict, invert| Expr::Lookup { map: "m.1".into(), sreg: r(4), dreg, verdict, invert };
        let exprs = vec![
            Expr::Meta { key: MetaKey::NfProto, dreg: r(0) },
            Expr::Cmp { sreg: r(0), op: CmpOp::Eq, data: vec![2] },
            Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, dreg: r(4) },
            Expr::Bitwise { sreg: r(4), dreg: r(5), mask: vec![255, 0, 0, 0], xor: vec![0; 4] },
            lookup(Some(r(6)), false, false),
            lookup(None, false, true),
            lookup(None, true, false),
            Expr::Verdict(Verdict::Goto("next.1".into())),
        ];
        let text = "r0 = nfproto; r0 == 02; r4 = network 12..16; r5 = r4 & ff000000; r6 = m.1[r4]; r4 not in m.1; \
                    verdict m.1[r4]; goto next.1";
        assert_eq!(Rule { exprs, comment: None }.to_string(), text);
        assert_eq!(Rule::default().to_string(), "nothing");
    }
}
