//! What the numbers in a table stand for, for people.

use std::net::IpAddr;
use std::sync::Arc;

use tortie_model::{IpProtocol, Traffic};
use tortie_plan::nft::{ChainMeaning, Term, chain_meaning};
use tortie_plan::{IdentityId, OutsideClass, Path, Plan, PortClassId, SetSource};
use tortie_policy::{Index, PodKey, Scope, Verdict as Decision};
use tortie_ruleset::Verdict;

/// The plan that gave the numbers out, and the cluster that it is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) index: &'a Index,
}

/// The first of some things, and how many more there are.
fn first_of(things: impl IntoIterator<Item = String>) -> Option<String> {
    let mut things = things.into_iter();
    let first = things.next()?;
    Some(match things.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    })
}

/// `what (details)`, or what is not known any more.
fn with(what: String, details: Option<String>) -> String {
    format!("{what} ({})", details.as_deref().unwrap_or("of no plan in force"))
}

impl Words<'_> {
    /// The terms of a key.
    pub(crate) fn key(&self, terms: &[Term]) -> String {
        terms.iter().map(|term| self.term(term)).collect::<Vec<_>>().join(" . ")
    }

    pub(crate) fn term(&self, term: &Term) -> String {
        match term {
            Term::Link(index) => self.link(*index),
            Term::Address(ip) => self.address(*ip),
            Term::Addresses(from, to) => format!("{from} to {to}"),
            Term::Protocol(protocol) => protocol.to_string(),
            Term::Ports(protocol, from, to) => ports(*protocol, *from, *to),
            Term::Identity(IdentityId(0)) => "identity 0 (addresses of no pod)".to_owned(),
            Term::Identity(id) => with(format!("identity {id}"), self.identity(*id)),
            Term::NoBlock => "addresses in no block that a policy names".to_owned(),
            Term::Profile(id) => {
                let policies = self.plan.profiles.get(id).map(|p| p.stack.policies().map(|p| p.object.to_string()));
                with(format!("profile {id}"), policies.and_then(first_of))
            }
            Term::Class(id) if id.0 == 0 => "class 0 (whom the profile does not list)".to_owned(),
            Term::Class(id) => {
                let classes = self.plan.profiles.values().flat_map(|p| &p.classes).filter(|(_, class)| *class == id);
                let outside = self.plan.profiles.values().any(|p| p.outside == OutsideClass::One(*id));
                let outside = outside.then(|| "addresses of no pod".to_owned());
                let members = classes.filter_map(|(identity, _)| self.identity(*identity));
                with(format!("class {id}"), first_of(members.chain(outside)))
            }
            Term::ByBlock => "class by block (addresses of no pod)".to_owned(),
            Term::PortClass(PortClassId(0)) => "port class 0 (what the profile does not list)".to_owned(),
            Term::PortClass(id) => {
                let regions = self.plan.profiles.values().flat_map(|p| p.ports.iter());
                let scopes = regions.filter(|(_, class)| *class == id).map(|(scope, _)| match scope {
                    Scope::Range(protocol, range) => ports(protocol, *range.start(), *range.end()),
                    Scope::Rest => "all other packets".to_owned(),
                });
                with(format!("port class {id}"), first_of(scopes))
            }
            Term::Path(id) => with(format!("path {id}"), self.plan.paths.get(id).map(|p| said(p))),
            Term::Default => "no path (the profile's default)".to_owned(),
            Term::SecondLook => "a second look (by block)".to_owned(),
            Term::Verdict(Verdict::Goto(chain)) => self.chain(chain),
            Term::Verdict(verdict) => verdict.to_string(),
        }
    }

    /// A chain, with what it is for.
    pub(crate) fn chain(&self, name: &str) -> String {
        match (chain_meaning(name), self.path(name)) {
            (_, Some(path)) => format!("chain {name} ({})", said(&path)),
            (Some(ChainMeaning::Fixed(_)), _) => format!("chain {name} (drops)"),
            _ => format!("chain {name}"),
        }
    }

    /// The path that a chain carries out.
    pub(crate) fn path(&self, chain: &str) -> Option<Arc<Path>> {
        let Some(ChainMeaning::Path(direction, id)) = chain_meaning(chain) else { return None };
        self.plan.paths.get(&id).filter(|path| path.direction == direction).cloned()
    }

    pub(crate) fn address(&self, ip: IpAddr) -> String {
        let side = self.index.address_side(ip);
        match (side.pod(), side.node()) {
            (Some(pod), _) => format!("{ip} (pod {})", PodKey::of(pod)),
            (None, Some(node)) => format!("{ip} (node {})", node.meta.name),
            (None, None) => ip.to_string(),
        }
    }

    fn link(&self, index: u32) -> String {
        let pod = self.plan.endpoints.iter().find(|(_, endpoint)| endpoint.interface.index == index);
        with(format!("link {index}"), pod.map(|(key, endpoint)| format!("{}, pod {key}", endpoint.interface.name)))
    }

    fn identity(&self, id: IdentityId) -> Option<String> {
        let pods = |terms: &[Arc<str>]| {
            // Every namespace has its name as a label, too, and most pods have this account.
            let said = |t: &str| t != "account=default" && !t.starts_with("namespace.kubernetes.io/metadata.name=");
            let terms = terms.iter().filter(|t| said(t));
            format!("pods of {}", terms.map(|t| &**t).collect::<Vec<_>>().join(" "))
        };
        let within = |nets: &[ipnet::IpNet]| first_of(nets.iter().map(ToString::to_string)).unwrap_or_default();
        if id.0 == 0 {
            return Some("addresses of no pod".to_owned());
        }
        Some(match &self.plan.identities.get(&id)?.source {
            SetSource::Selector(terms) => pods(terms),
            SetSource::Cidr(nets) => format!("addresses in {}", within(nets)),
            SetSource::SelectorInCidr(terms, nets) => format!("{} in {}", pods(terms), within(nets)),
            SetSource::Changing(..) => "pods that are changing".to_owned(),
        })
    }
}

/// What a path does, and what decided it.
fn said(path: &Path) -> String {
    let verdict = if path.verdict == Decision::Allow { "allows" } else { "denies" };
    format!("{verdict} {}: {path}", path.direction)
}

fn ports(protocol: IpProtocol, from: u16, to: u16) -> String {
    let one = Traffic { protocol, detail: from };
    match (from, to) {
        _ if from == to => one.to_string(),
        (0, u16::MAX) => format!("all {protocol}"),
        _ if protocol.is_icmp() => format!("{one} to {}", Traffic { protocol, detail: to }),
        _ => format!("{one}-{to}"),
    }
}
