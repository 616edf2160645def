//! Expressions of rules: every [`Expr`] to attributes and back.

use tortie_ruleset::{CmpOp, CtKey, Data, Expr, Family, FibResult, MetaKey, NatKind, PayloadBase, Reg, Verdict};

use super::{Counter, number::data};
use crate::{
    EncodeError, Error,
    wire::{Attr, Attrs, Writer},
};

/// `NFTA_EXPR_NAME`.
pub(crate) const NAME: u16 = 1;
/// `NFTA_EXPR_DATA`.
const BODY: u16 = 2;
/// `NFT_REG32_00`.
const REG32_00: u32 = 8;
/// `NFT_REG_VERDICT`.
const REG_VERDICT: u32 = 0;
/// Longest log prefix: `NF_LOG_PREFIXLEN` less the zero byte.
const PREFIX_MAX: usize = 127;

const REJECT_ICMP_UNREACH: u32 = 0;
const SOCKET_TRANSPARENT: u32 = 0;
const REJECT_TCP_RST: u32 = 1;
const REJECT_ICMPX_UNREACH: u32 = 2;
const ICMPX_ADMIN_PROHIBITED: u8 = 3;
/// ICMP type 3 code 13 (RFC 1812, 5.2.7.1).
const ICMP_ADMIN_PROHIBITED: u8 = 13;
/// ICMPv6 type 1 code 1 (RFC 4443, 3.1).
const ICMP6_ADMIN_PROHIBITED: u8 = 1;
/// `NFTA_FIB_F_DADDR`.
const FIB_DADDR: u32 = 2;
const FIB_OIF: u32 = 1;
const FIB_ADDRTYPE: u32 = 3;

fn wire_register(reg: Reg) -> u32 {
    REG32_00 + u32::from(reg.index())
}

/// The kernel reports registers 0, 4, 8 and 12 by their 16-byte names, `NFT_REG_1` to `NFT_REG_4`.
fn register(number: u32) -> Option<Reg> {
    match number {
        1..=4 => u8::try_from((number - 1) * 4).ok().map(Reg::new),
        8..=23 => u8::try_from(number - REG32_00).ok().map(Reg::new),
        _ => None,
    }
}

fn meta_key(key: MetaKey) -> u32 {
    match key {
        MetaKey::Mark => 3,
        MetaKey::Iif => 4,
        MetaKey::Oif => 5,
        MetaKey::IifName => 6,
        MetaKey::OifName => 7,
        MetaKey::NfProto => 15,
        MetaKey::L4Proto => 16,
    }
}

fn read_meta_key(number: u32) -> Option<MetaKey> {
    use MetaKey::{Iif, IifName, L4Proto, Mark, NfProto, Oif, OifName};
    [Mark, Iif, Oif, IifName, OifName, NfProto, L4Proto].into_iter().find(|&k| meta_key(k) == number)
}

fn ct_key(key: CtKey) -> u32 {
    match key {
        CtKey::State => 0,
        CtKey::Direction => 1,
        CtKey::Status => 2,
        CtKey::Mark => 3,
        CtKey::Labels => 13,
    }
}

fn read_ct_key(number: u32) -> Option<CtKey> {
    use CtKey::{Direction, Labels, Mark, State, Status};
    [State, Direction, Status, Mark, Labels].into_iter().find(|&k| ct_key(k) == number)
}

const CMP_OPS: [CmpOp; 6] = [CmpOp::Eq, CmpOp::Neq, CmpOp::Lt, CmpOp::Lte, CmpOp::Gt, CmpOp::Gte];
const PAYLOAD_BASES: [PayloadBase; 3] = [PayloadBase::Link, PayloadBase::Network, PayloadBase::Transport];

fn position<T: PartialEq>(all: &[T], one: &T) -> u32 {
    all.iter().position(|x| x == one).map_or(u32::MAX, |i| u32::try_from(i).unwrap_or(u32::MAX))
}

fn at<T: Copy>(all: &[T], number: u32) -> Option<T> {
    all.get(usize::try_from(number).ok()?).copied()
}

/// Writes bytes as `NFTA_DATA_VALUE` inside the attribute `kind`.
pub(crate) fn write_value(w: &mut Writer, kind: u16, value: &[u8]) {
    w.nest(kind, |w| w.bytes(data::VALUE, value));
}

/// Writes a map's data, or an immediate's.
pub(crate) fn write_data(w: &mut Writer, kind: u16, value: &Data) {
    match value {
        Data::Value(bytes) => write_value(w, kind, bytes),
        Data::Verdict(verdict) => w.nest(kind, |w| write_verdict(w, verdict)),
    }
}

fn write_verdict(w: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Accept => (data::ACCEPT, None),
        Verdict::Drop => (data::DROP, None),
        Verdict::Continue => (data::CONTINUE, None),
        Verdict::Return => (data::RETURN, None),
        Verdict::Jump(chain) => (data::JUMP, Some(chain)),
        Verdict::Goto(chain) => (data::GOTO, Some(chain)),
    };
    w.nest(data::VERDICT, |w| {
        w.be32(data::VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            w.text(data::VERDICT_CHAIN, chain);
        }
    });
}

/// Reads what [`write_data`] writes; `None` for verdicts without a word here (queue, break).
pub(crate) fn read_data(attrs: Attrs<'_>) -> Result<Option<Data>, Error> {
    if let Some(value) = attrs.get(data::VALUE) {
        return Ok(Some(Data::Value(value.value.to_vec())));
    }
    let verdict = attrs.need(data::VERDICT, "data")?.nested();
    let code = verdict.need(data::VERDICT_CODE, "verdict code")?.be32()?.cast_signed();
    let chain = || verdict.need(data::VERDICT_CHAIN, "chain of a verdict").map(Attr::text);
    Ok(Some(Data::Verdict(match code {
        data::ACCEPT => Verdict::Accept,
        data::DROP => Verdict::Drop,
        data::CONTINUE => Verdict::Continue,
        data::RETURN => Verdict::Return,
        data::JUMP => Verdict::Jump(chain()?),
        data::GOTO => Verdict::Goto(chain()?),
        _ => return Ok(None),
    })))
}

/// The kernel's name of an expression.
pub(crate) fn name(expr: &Expr) -> &str {
    match expr {
        Expr::Meta { .. } | Expr::MetaSet { .. } => "meta",
        Expr::Ct { .. } | Expr::CtSet { .. } => "ct",
        Expr::Payload { .. } => "payload",
        Expr::Bitwise { .. } => "bitwise",
        Expr::Cmp { .. } => "cmp",
        Expr::Immediate { .. } | Expr::Verdict(_) => "immediate",
        Expr::Lookup { .. } => "lookup",
        Expr::Counter => "counter",
        Expr::Log { .. } => "log",
        Expr::Limit { .. } => "limit",
        Expr::Fib { .. } => "fib",
        Expr::Nat { .. } => "nat",
        Expr::Masquerade => "masq",
        Expr::Redirect { .. } => "redir",
        Expr::Numgen { .. } => "numgen",
        Expr::Socket { .. } => "socket",
        Expr::Reject { .. } => "reject",
        Expr::Unknown(name) => name,
    }
}

/// Writes `expr` as an attribute of this type (`NFTA_LIST_ELEM` in rules, `NFTA_SET_EXPR` in sets).
pub(crate) fn write(w: &mut Writer, kind: u16, family: Family, expr: &Expr) {
    w.nest(kind, |w| {
        w.text(NAME, name(expr));
        w.nest(BODY, |w| write_body(w, family, expr));
    });
}

fn write_body(w: &mut Writer, family: Family, expr: &Expr) {
    let reg = wire_register;
    match expr {
        Expr::Meta { key, dreg } => {
            w.be32(1, reg(*dreg));
            w.be32(2, meta_key(*key));
        }
        Expr::MetaSet { key, sreg } => {
            w.be32(2, meta_key(*key));
            w.be32(3, reg(*sreg));
        }
        Expr::Ct { key, dreg } => {
            w.be32(1, reg(*dreg));
            w.be32(2, ct_key(*key));
        }
        Expr::CtSet { key, sreg } => {
            w.be32(2, ct_key(*key));
            w.be32(4, reg(*sreg));
        }
        Expr::Payload { base, offset, len, dreg } => {
            w.be32(1, reg(*dreg));
            w.be32(2, position(&PAYLOAD_BASES, base));
            w.be32(3, *offset);
            w.be32(4, *len);
        }
        Expr::Bitwise { sreg, dreg, mask, xor } => {
            w.be32(1, reg(*sreg));
            w.be32(2, reg(*dreg));
            w.be32(3, u32::try_from(mask.len()).unwrap_or(u32::MAX));
            write_value(w, 4, mask);
            write_value(w, 5, xor);
        }
        Expr::Cmp { sreg, op, data } => {
            w.be32(1, reg(*sreg));
            w.be32(2, position(&CMP_OPS, op));
            write_value(w, 3, data);
        }
        Expr::Immediate { dreg, data } => {
            w.be32(1, reg(*dreg));
            write_value(w, 2, data);
        }
        Expr::Verdict(verdict) => {
            w.be32(1, REG_VERDICT);
            w.nest(2, |w| write_verdict(w, verdict));
        }
        Expr::Lookup { map, sreg, dreg, verdict, invert } => {
            w.text(1, map);
            w.be32(2, reg(*sreg));
            if *verdict {
                w.be32(3, REG_VERDICT);
            } else if let Some(dreg) = dreg {
                w.be32(3, reg(*dreg));
            }
            if *invert {
                w.be32(5, 1);
            }
        }
        Expr::Counter | Expr::Masquerade => {}
        Expr::Log { group, prefix, snaplen, threshold } => {
            if prefix.len() > PREFIX_MAX {
                let (what, text) = ("log prefix", prefix.clone());
                w.fail(EncodeError::TextTooLong { what, text, limit: PREFIX_MAX });
            }
            w.be16(1, *group);
            w.text(2, prefix);
            w.be32(3, *snaplen);
            w.be16(4, *threshold);
        }
        Expr::Limit { rate, per_seconds, burst } => {
            w.be64(1, *rate);
            w.be64(2, *per_seconds);
            w.be32(3, *burst);
            w.be32(4, 0);
            w.be32(5, 0);
        }
        Expr::Fib { result, dreg } => {
            w.be32(1, reg(*dreg));
            w.be32(2, if *result == FibResult::Oif { FIB_OIF } else { FIB_ADDRTYPE });
            w.be32(3, FIB_DADDR);
        }
        Expr::Nat { kind, family, addr, port } => {
            w.be32(1, if *kind == NatKind::Snat { 0 } else { 1 });
            w.be32(2, u32::from(*family));
            w.be32(3, reg(*addr));
            if let Some(port) = port {
                w.be32(5, reg(*port));
            }
        }
        Expr::Redirect { port } => {
            if let Some(port) = port {
                w.be32(1, reg(*port));
            }
        }
        Expr::Numgen { random, modulus, offset, dreg } => {
            w.be32(1, reg(*dreg));
            w.be32(2, *modulus);
            w.be32(3, u32::from(*random));
            w.be32(4, *offset);
        }
        Expr::Socket { dreg } => {
            w.be32(1, SOCKET_TRANSPARENT);
            w.be32(2, reg(*dreg));
        }
        Expr::Reject { tcp_reset: true } => w.be32(1, REJECT_TCP_RST),
        Expr::Reject { tcp_reset: false } => {
            // The family-independent codes exist in inet tables only.
            let (kind, code) = match family {
                Family::Inet => (REJECT_ICMPX_UNREACH, ICMPX_ADMIN_PROHIBITED),
                Family::Ip => (REJECT_ICMP_UNREACH, ICMP_ADMIN_PROHIBITED),
                Family::Ip6 => (REJECT_ICMP_UNREACH, ICMP6_ADMIN_PROHIBITED),
            };
            w.be32(1, kind);
            w.u8(2, code);
        }
        Expr::Unknown(name) => w.fail(EncodeError::UnknownExpression { name: name.clone() }),
    }
}

/// Reads one expression, and the values of a counter.
///
/// What this crate has no word for becomes [`Expr::Unknown`]: the kernel's name and, where only a parameter is
/// unknown, that it is.
pub(crate) fn read(attrs: Attrs<'_>, family: Family) -> Result<(Expr, Option<Counter>), Error> {
    let name = attrs.need(NAME, "name of an expression")?.text();
    let body = attrs.get(BODY).map(Attr::nested).unwrap_or(Attrs::new(&[]));
    if name == "counter" {
        return Ok((Expr::Counter, Some(read_counter(body)?)));
    }
    let known = read_body(&name, body, family)?;
    Ok((known.unwrap_or(Expr::Unknown(name)), None))
}

/// Reads a counter's values (`NFTA_COUNTER_*`).
pub(crate) fn read_counter(body: Attrs<'_>) -> Result<Counter, Error> {
    let number = |kind| body.get(kind).map_or(Ok(0), Attr::be64);
    Ok(Counter { bytes: number(1)?, packets: number(2)? })
}

/// `Ok(None)`: there is no word for it.
fn read_body(name: &str, body: Attrs<'_>, family: Family) -> Result<Option<Expr>, Error> {
    let number = |kind| body.need(kind, "number in an expression").and_then(Attr::be32);
    let optional = |kind| body.get(kind).map(Attr::be32).transpose();
    let value = |kind| -> Result<Vec<u8>, Error> {
        Ok(body.need(kind, "data")?.nested().need(data::VALUE, "value")?.value.to_vec())
    };
    /// Unwraps what has a word, or leaves with `Ok(None)`.
    macro_rules! word {
        ($option:expr) => {
            match $option {
                Some(value) => value,
                None => return Ok(None),
            }
        };
    }
    Ok(Some(match name {
        "meta" => {
            let key = word!(read_meta_key(number(2)?));
            match optional(3)? {
                Some(sreg) => Expr::MetaSet { key, sreg: word!(register(sreg)) },
                None => Expr::Meta { key, dreg: word!(register(number(1)?)) },
            }
        }
        "ct" => {
            let key = word!(read_ct_key(number(2)?));
            match optional(4)? {
                Some(sreg) => Expr::CtSet { key, sreg: word!(register(sreg)) },
                None => Expr::Ct { key, dreg: word!(register(number(1)?)) },
            }
        }
        "payload" => {
            // Without a destination register it writes into the packet.
            let dreg = word!(optional(1)?);
            Expr::Payload {
                base: word!(at(&PAYLOAD_BASES, number(2)?)),
                offset: number(3)?,
                len: number(4)?,
                dreg: word!(register(dreg)),
            }
        }
        "bitwise" => {
            if optional(6)?.unwrap_or(0) != 0 {
                return Ok(None);
            }
            Expr::Bitwise {
                sreg: word!(register(number(1)?)),
                dreg: word!(register(number(2)?)),
                mask: value(4)?,
                xor: value(5)?,
            }
        }
        "cmp" => Expr::Cmp { sreg: word!(register(number(1)?)), op: word!(at(&CMP_OPS, number(2)?)), data: value(3)? },
        "immediate" => {
            let content = word!(read_data(body.need(2, "data of an immediate")?.nested())?);
            match (number(1)?, content) {
                (REG_VERDICT, Data::Verdict(verdict)) => Expr::Verdict(verdict),
                (dreg, Data::Value(data)) => Expr::Immediate { dreg: word!(register(dreg)), data },
                (_, Data::Verdict(_)) => return Ok(None),
            }
        }
        "lookup" => {
            let dreg = optional(3)?;
            let verdict = dreg == Some(REG_VERDICT);
            Expr::Lookup {
                map: body.need(1, "set of a lookup")?.text(),
                sreg: word!(register(number(2)?)),
                dreg: match dreg {
                    Some(number) if !verdict => Some(word!(register(number))),
                    _ => None,
                },
                verdict,
                invert: optional(5)?.unwrap_or(0) & 1 != 0,
            }
        }
        "log" => Expr::Log {
            group: word!(body.get(1)).be16()?,
            prefix: body.get(2).map(Attr::text).unwrap_or_default(),
            snaplen: optional(3)?.unwrap_or(0),
            threshold: body.get(4).map_or(Ok(0), Attr::be16)?,
        },
        "limit" => {
            let (kind, flags) = (optional(4)?.unwrap_or(0), optional(5)?.unwrap_or(0));
            if (kind, flags) != (0, 0) {
                return Ok(None);
            }
            Expr::Limit {
                rate: body.need(1, "rate")?.be64()?,
                per_seconds: body.need(2, "unit of a rate")?.be64()?,
                burst: optional(3)?.unwrap_or(0),
            }
        }
        "fib" => {
            if number(3)? != FIB_DADDR {
                return Ok(None);
            }
            let result = match number(2)? {
                FIB_OIF => FibResult::Oif,
                FIB_ADDRTYPE => FibResult::AddrType,
                _ => return Ok(None),
            };
            Expr::Fib { result, dreg: word!(register(number(1)?)) }
        }
        "nat" => {
            let port = match optional(5)? {
                Some(number) => Some(word!(register(number))),
                None => None,
            };
            Expr::Nat {
                kind: if number(1)? == 0 { NatKind::Snat } else { NatKind::Dnat },
                family: word!(u8::try_from(number(2)?).ok()),
                addr: word!(register(word!(optional(3)?))),
                port,
            }
        }
        "masq" => {
            if body.into_iter().next().is_some() {
                return Ok(None);
            }
            Expr::Masquerade
        }
        "redir" => {
            let port = match optional(1)? {
                Some(number) => Some(word!(register(number))),
                None => None,
            };
            Expr::Redirect { port }
        }
        "numgen" => Expr::Numgen {
            dreg: word!(register(number(1)?)),
            modulus: number(2)?,
            random: number(3)? == 1,
            offset: optional(4)?.unwrap_or(0),
        },
        "socket" if number(1)? == SOCKET_TRANSPARENT => Expr::Socket { dreg: word!(register(number(2)?)) },
        "reject" => {
            let code = body.get(2).map(Attr::u8).transpose()?;
            match (number(1)?, code, family) {
                (REJECT_TCP_RST, _, _) => Expr::Reject { tcp_reset: true },
                (REJECT_ICMPX_UNREACH, Some(ICMPX_ADMIN_PROHIBITED), _)
                | (REJECT_ICMP_UNREACH, Some(ICMP_ADMIN_PROHIBITED), Family::Ip)
                | (REJECT_ICMP_UNREACH, Some(ICMP6_ADMIN_PROHIBITED), Family::Ip6) => Expr::Reject { tcp_reset: false },
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    }))
}
