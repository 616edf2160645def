//! Why a table judges a packet wrongly: what in it is otherwise than it should be, in words that somebody can act on.

use std::fmt;
use std::sync::Arc;

use tortie_plan::nft::{meaning, question};
use tortie_plan::{Path, Plan};
use tortie_policy::{Index, Verdict};
use tortie_ruleset::machine::Packet;
use tortie_ruleset::parting::{Parted, Parting, Partings, Placed};
use tortie_ruleset::{BaseChain, Element, Expr, Hook, Policy, Rule, Table};

use crate::witness::hook_name;
use crate::words::Words;

/// One thing that is otherwise than it should be, and because of which a packet has another fate.
#[derive(Clone, Debug)]
pub struct Blame {
    /// What.
    pub parting: Parting,
    /// The same in words, one line.
    pub text: String,
    /// What policy says of the packet from there on; `None` where policy is not asked.
    pub decides: Option<Arc<Path>>,
    /// Where that is written, `file:line`, when somebody who knows has added it.
    pub place: Option<String>,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match (&self.decides, &self.place) {
            (Some(path), Some(place)) => write!(f, " ({path}, {place})"),
            // Where the words do not name it already.
            (Some(path), None) if !self.text.contains(&path.to_string()) => write!(f, " ({path})"),
            _ => Ok(()),
        }
    }
}

/// A table that should be there and the one that is, to be asked why they judge packets otherwise.
#[derive(Debug)]
pub struct Blamer<'a> {
    partings: Partings<'a>,
    words: Words<'a>,
}

impl<'a> Blamer<'a> {
    /// `expected` is what `plan` was lowered to.
    #[must_use]
    pub fn new(expected: &'a Table, actual: &'a Table, plan: &'a Plan, index: &'a Index) -> Self {
        Self { partings: Partings::new(expected, actual), words: Words { plan, index } }
    }

    /// What is to blame for a packet's fate, in the order in which the packet meets it: one thing, unless it takes
    /// several to change its fate. Nothing when the table that should be there judges it no otherwise.
    #[must_use]
    pub fn blame(&self, hook: Hook, packet: &Packet) -> Vec<Blame> {
        self.partings.of(hook, packet).into_iter().map(|parted| self.one(parted)).collect()
    }

    fn one(&self, parted: Parted) -> Blame {
        // A packet is denied by the last decision on its way, and let pass by all of them: the first is the one that
        // was missed.
        let paths: Vec<Arc<Path>> = parted.expected.iter().filter_map(|chain| self.words.path(chain)).collect();
        let denies = paths.last().filter(|path| path.verdict == Verdict::Deny);
        let decides = denies.or_else(|| paths.first()).cloned();
        Blame { text: self.text(&parted.parting), parting: parted.parting, decides, place: None }
    }

    fn text(&self, parting: &Parting) -> String {
        match parting {
            Parting::Element { map, key, expected, actual } => {
                format!("{}: {}", map_name(map), self.element(map, key, [expected.as_ref(), actual.as_ref()]))
            }
            Parting::MapMissing(map) => format!("{} is gone", map_name(map)),
            Parting::MapEmptied(map) => format!("{} is empty", map_name(map)),
            Parting::MapDeclared(map) => format!("{} has keys or data of another type", map_name(map)),
            Parting::ChainMissing(chain) => format!("{} is gone", self.words.chain(chain)),
            Parting::ChainEmptied(chain) => format!("{} is empty", self.words.chain(chain)),
            Parting::Attached { chain, expected, actual } => {
                let chain = self.words.chain(chain);
                match (expected, actual) {
                    (Some(base), None) => format!("{chain} is not at its hook, must be {}", attached(base)),
                    (Some(base), Some(other)) => format!("{chain} is {}, must be {}", attached(other), attached(base)),
                    (None, Some(other)) => format!("{chain} does not belong there: it is {}", attached(other)),
                    (None, None) => format!("{chain} is as it should be"),
                }
            }
            Parting::Rule { chain, expected, actual } => {
                format!("{}, {}", self.words.chain(chain), rule(expected.as_ref(), actual.as_ref()))
            }
        }
    }

    /// What should be hit, and what is.
    fn element(&self, map: &str, key: &[u8], [expected, actual]: [Option<&Element>; 2]) -> String {
        let is_rest = |e: &Element| matches!(e, Element::CatchAll { .. });
        // A key that is not listed is told as it was asked for.
        let asked = Element::key(key.to_vec());
        let subject = expected.filter(|e| !is_rest(e)).or(actual.filter(|e| !is_rest(e)));
        let subject = subject.unwrap_or(&asked);
        let element = format!("element <{}>", self.key(map, subject));
        let answer = |e: &Element| self.answer(map, e).unwrap_or_else(|| "there".to_owned());
        let must = |e: Option<&Element>| match e {
            Some(e) if self.answer(map, e).is_some() => format!("must be {}", answer(e)),
            Some(_) => "must be there".to_owned(),
            None => "must not be there".to_owned(),
        };
        let must = must(expected);
        match (expected.map(is_rest), actual.map(is_rest)) {
            // The rest decides where an element should.
            (Some(false), Some(true)) => {
                format!("{element} is gone, which makes it {}, {must}", answer(actual.unwrap_or(&asked)))
            }
            (Some(_), None) => format!("{element} is gone, {must}"),
            (_, Some(_)) => format!("{element} is {}, {must}", answer(actual.unwrap_or(&asked))),
            (None, None) => element,
        }
    }

    fn key(&self, map: &str, element: &Element) -> String {
        let raw = |from: &[u8], to: &[u8]| {
            let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
            if from == to { format!("0x{}", hex(from)) } else { format!("0x{} to 0x{}", hex(from), hex(to)) }
        };
        // Of a range that is asked for one key, the data are not needed to read the key.
        match (meaning(map, element).and_then(|m| m.key), element) {
            (Some(terms), _) => self.words.key(&terms),
            (None, Element::Range { from, to, .. }) => raw(from, to),
            (None, Element::CatchAll { .. }) => "all other keys".to_owned(),
        }
    }

    fn answer(&self, map: &str, element: &Element) -> Option<String> {
        let data = element.data()?;
        let term = meaning(map, element).and_then(|m| m.answer);
        Some(term.map_or_else(|| data.to_string(), |term| self.words.term(&term)))
    }
}

fn map_name(map: &str) -> String {
    question(map).map_or_else(|| format!("map {map}"), |question| format!("map {map} ({question})"))
}

fn attached(base: &BaseChain) -> String {
    let policy = match base.policy {
        Policy::Accept => "accept",
        Policy::Drop => "drop",
    };
    format!("at hook {} with priority {} and policy {policy}", hook_name(base.hook), base.priority)
}

fn rule(expected: Option<&Placed>, actual: Option<&Placed>) -> String {
    match (expected, actual) {
        (Some((at, expected)), Some((place, actual))) => {
            let differ = expected.exprs.iter().zip(&actual.exprs).take_while(|(a, b)| a == b).count();
            let rest = |rule: &Rule| brief(&rule.exprs[differ.min(rule.exprs.len())..]);
            let place = if at == place { format!("rule {at}") } else { format!("rule {at}, now {place},") };
            let behind = match differ {
                0 => String::new(),
                n => format!(" behind `{}`", expected.exprs[n - 1]),
            };
            format!("{place} is `{}`{behind}, must be `{}`", rest(actual), rest(expected))
        }
        (Some((at, expected)), None) => format!("rule {at} is gone: `{}`", brief(&expected.exprs)),
        (None, Some((place, actual))) => format!("rule {place} does not belong there: `{}`", brief(&actual.exprs)),
        (None, None) => "a rule".to_owned(),
    }
}

/// The first expressions and the last: what a rule asks for, and what it does.
fn brief(exprs: &[Expr]) -> String {
    const SHOWN: usize = 4;
    let text = |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    match exprs {
        [] => "nothing".to_owned(),
        [first @ .., last] if first.len() > SHOWN => format!("{}; ...; {last}", text(&first[..SHOWN])),
        all => text(all),
    }
}
