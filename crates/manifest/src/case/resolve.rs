//! From lines to single probes with what each must show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tortie_model::ObjectRef;

use super::{ClusterSpec, Endpoint, Expectation, Line, Pattern, Probe, Unnamed, Verdict, Via};
use crate::diagnostic::Diagnostic;
use crate::objectset::ObjectSet;
use crate::source::Place;
use crate::store::distance;

/// Everybody who can be named.
#[derive(Debug, Clone, Default)]
pub struct Endpoints {
    /// Pods, with their workload and whether they share their node's addresses.
    pods: Vec<(Endpoint, Option<ObjectRef>, bool)>,
    services: Vec<Endpoint>,
    nodes: Vec<Endpoint>,
    outside: Vec<Endpoint>,
}

impl Endpoints {
    /// The endpoints of a cluster: its pods and Services, its nodes (objects, or by the case), and the hosts beyond it.
    #[must_use]
    pub fn of(objects: &ObjectSet, cluster: &ClusterSpec) -> Self {
        let pod = |p: &tortie_model::Pod| {
            let (namespace, name) = (Arc::clone(&p.meta.namespace), Arc::clone(&p.meta.name));
            (Endpoint::Pod { namespace, name }, p.owner.clone(), p.host_network)
        };
        let service = |s: &tortie_model::Service| Endpoint::Service {
            namespace: Arc::clone(&s.meta.namespace),
            name: Arc::clone(&s.meta.name),
        };
        let nodes = if objects.nodes.is_empty() {
            cluster.node_names()
        } else {
            objects.nodes.iter().map(|n| Arc::clone(&n.meta.name)).collect()
        };
        Self {
            pods: objects.pods.iter().map(pod).collect(),
            services: objects.services.iter().filter(|s| !s.headless).map(service).collect(),
            nodes: nodes.into_iter().map(Endpoint::Node).collect(),
            outside: cluster.outside.iter().map(|h| Endpoint::Outside(Arc::clone(&h.name))).collect(),
        }
    }

    /// Who a pattern means. A pod that shares its node's addresses is meant only by its name.
    fn named(&self, pattern: &Pattern, as_service: bool) -> Vec<Endpoint> {
        let of = |list: &[Endpoint]| -> Vec<Endpoint> {
            list.iter().filter(|e| pattern.matches(e, None)).cloned().collect()
        };
        match pattern {
            Pattern::Pods { .. } if as_service => of(&self.services),
            Pattern::Pods { .. } | Pattern::Workload(_) => {
                let meant = |(e, owner, host): &&(Endpoint, Option<ObjectRef>, bool)| {
                    (!host || pattern.is_exact()) && pattern.matches(e, owner.as_ref())
                };
                self.pods.iter().filter(meant).map(|(e, ..)| e.clone()).collect()
            }
            Pattern::Node(_) => of(&self.nodes),
            Pattern::Outside(_) => of(&self.outside),
            Pattern::Address(ip) => vec![Endpoint::Address(*ip)],
        }
    }

    /// The one whose name is nearest to what was written.
    fn nearest(&self, pattern: &Pattern) -> Option<String> {
        let text = match pattern {
            Pattern::Pods { namespace, name } => format!("{namespace}/{name}"),
            Pattern::Workload(r) => format!("{}/{}/{}", r.namespace_str(), r.kind, r.name),
            Pattern::Node(name) => format!("node/{name}"),
            Pattern::Outside(name) => name.clone(),
            Pattern::Address(_) => return None,
        };
        let workloads = self.pods.iter().filter_map(|(_, o, _)| o.as_ref());
        let workloads = workloads.map(|r| format!("{}/{}/{}", r.namespace_str(), r.kind, r.name));
        let all = self.pods.iter().map(|(e, ..)| e).chain(&self.services).chain(&self.nodes).chain(&self.outside);
        let near = all.map(ToString::to_string).chain(workloads).map(|n| (distance(&n, &text), n)).min();
        near.filter(|(d, n)| *d > 0 && *d <= n.len() / 3 + 1).map(|(_, n)| n)
    }
}

/// One probe of an expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Who sends.
    pub from: Endpoint,
    /// Who is reached; `None` for a name to be resolved.
    pub to: Option<Endpoint>,
    /// What is tried.
    pub probe: Probe,
    /// How the destination is addressed.
    pub via: Via,
    /// What must be seen.
    pub expected: Verdict,
    /// What the author of the line says about it.
    pub why: Option<Arc<str>>,
    /// The line, or the expectation where no line names the pair.
    pub place: Place,
}

type Pair = (Endpoint, Option<Endpoint>);

/// What lines say of a pair; a later line of the same list takes the place of an earlier one.
#[derive(Default, Clone, Copy)]
struct Said<'a> {
    allow: Option<&'a Line>,
    deny: Option<&'a Line>,
}

impl Expectation {
    /// The single probes, sorted by sender, destination and probe.
    ///
    /// Lines that say the same as `default` are exceptions to the other lines. With `default`, all pairs of pods that no
    /// line names count (through Services: of pods with the Services that lines name; for names: all pods). A pair of a
    /// pod with itself counts only when it is named without `*`.
    ///
    /// # Errors
    /// A line that matches nothing; a pair that both lists name when nothing says which holds.
    pub fn resolve(&self, endpoints: &Endpoints) -> Result<Vec<Cell>, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let mut said: BTreeMap<Pair, Said<'_>> = BTreeMap::new();
        let lines = self.allow.iter().map(|l| (l, Verdict::Allow)).chain(self.deny.iter().map(|l| (l, Verdict::Deny)));
        for (line, verdict) in lines {
            match self.pairs(line, endpoints) {
                Ok(pairs) => {
                    for pair in pairs {
                        let entry = said.entry(pair).or_default();
                        match verdict {
                            Verdict::Allow => entry.allow = Some(line),
                            Verdict::Deny => entry.deny = Some(line),
                        }
                    }
                }
                Err(diagnostic) => errors.push(*diagnostic),
            }
        }
        if let Unnamed::Must(_) = self.default {
            for pair in self.universe(endpoints, &said) {
                said.entry(pair).or_default();
            }
        }
        let mut decided = Vec::new();
        for (pair, said) in said {
            match self.decide(&pair, said) {
                Ok(Some((verdict, line))) => decided.push((pair, verdict, line)),
                Ok(None) => {}
                Err(diagnostic) => errors.push(*diagnostic),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut cells = Vec::with_capacity(decided.len() * self.probes.len());
        for ((from, to), expected, line) in decided {
            for probe in &self.probes {
                cells.push(Cell {
                    from: from.clone(),
                    to: to.clone(),
                    probe: probe.clone(),
                    via: self.via,
                    expected,
                    why: line.and_then(|l| l.why.clone()),
                    place: line.map_or(&self.place, |l| &l.place).clone(),
                });
            }
        }
        Ok(cells)
    }

    fn decide<'a>(
        &self,
        (from, to): &Pair,
        said: Said<'a>,
    ) -> Result<Option<(Verdict, Option<&'a Line>)>, Box<Diagnostic>> {
        let (allow, deny) = (Verdict::Allow, Verdict::Deny);
        Ok(Some(match (self.default, said.allow, said.deny) {
            (Unnamed::Unchecked, Some(a), Some(d)) => {
                let pair = to.as_ref().map_or_else(|| from.to_string(), |to| format!("{from} -> {to}"));
                let error = Diagnostic::error("case-contradiction", format!("{pair} is under allow and under deny"))
                    .at(d.place.clone())
                    .label(a.place.clone(), "allowed here")
                    .help("with `default: allow` or `default: deny` one list is the exception to the other");
                return Err(Box::new(error));
            }
            (Unnamed::Must(Verdict::Allow), Some(line), _) => (allow, Some(line)),
            (Unnamed::Must(Verdict::Deny), _, Some(line)) => (deny, Some(line)),
            (_, Some(line), _) => (allow, Some(line)),
            (_, None, Some(line)) => (deny, Some(line)),
            (Unnamed::Must(verdict), None, None) => (verdict, None),
            (Unnamed::Unchecked, None, None) => return Ok(None),
        }))
    }

    /// The pairs that a line means.
    fn pairs(&self, line: &Line, endpoints: &Endpoints) -> Result<Vec<Pair>, Box<Diagnostic>> {
        let nobody = |pattern: &Pattern, side: &str| {
            let error = Diagnostic::error("case-matches-nothing", format!("nobody matches the {side} of this line"))
                .at(line.place.clone());
            Box::new(match endpoints.nearest(pattern) {
                Some(near) => error.help(format!("did you mean {near}?")),
                None => error.help("a line that matches nothing would make a test pass for no reason"),
            })
        };
        let from = endpoints.named(&line.from, false);
        if from.is_empty() {
            return Err(nobody(&line.from, "left side"));
        }
        let Some(pattern) = &line.to else { return Ok(from.into_iter().map(|f| (f, None)).collect()) };
        let to = endpoints.named(pattern, self.via == Via::Service);
        if to.is_empty() {
            return Err(nobody(pattern, "right side"));
        }
        let with_itself = line.from.is_exact() && pattern.is_exact();
        let mut pairs = Vec::new();
        for f in &from {
            pairs.extend(to.iter().filter(|t| with_itself || *t != f).map(|t| (f.clone(), Some(t.clone()))));
        }
        if pairs.is_empty() {
            let error = Diagnostic::error("case-matches-nothing", "this line means only a pod with itself")
                .at(line.place.clone())
                .help("a pair of a pod with itself counts only when it is named without `*`");
            return Err(Box::new(error));
        }
        Ok(pairs)
    }

    /// All pairs that `default` speaks of.
    fn universe(&self, endpoints: &Endpoints, said: &BTreeMap<Pair, Said<'_>>) -> Vec<Pair> {
        let pods: Vec<&Endpoint> = endpoints.pods.iter().filter(|(_, _, host)| !host).map(|(e, ..)| e).collect();
        if self.is_about_names() {
            return pods.into_iter().map(|p| (p.clone(), None)).collect();
        }
        let services: BTreeSet<&Endpoint> = said.keys().filter_map(|(_, to)| to.as_ref()).collect();
        let to: Vec<&Endpoint> = match self.via {
            Via::Pod => pods.clone(),
            Via::Service => services.into_iter().collect(),
        };
        let mut pairs = Vec::new();
        for from in pods {
            pairs.extend(to.iter().filter(|to| **to != from).map(|to| (from.clone(), Some((*to).clone()))));
        }
        pairs
    }

    /// Whether its probes resolve names.
    #[must_use]
    pub fn is_about_names(&self) -> bool {
        matches!(self.probes.first(), Some(Probe::Dns(_)))
    }
}
