//! A cluster that is told what to be in YAML, and asked with packets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tortie_analysis::question::{Question, question};
use tortie_analysis::staging::{Ground, OutsideHost, Staged, Stager};
use tortie_lab::netns::Netns;
use tortie_lab::{Cluster, Place, Sandbox, Sighting};
use tortie_manifest::case::{Cell, Endpoint, Probe, Verdict as Expected, Via};
use tortie_manifest::{Expansion, LoadOptions, Memory, Place as Spot, SourceFile, Store, load};
use tortie_model::{Direction, Family};
use tortie_node::{Cause, Denial, Node, NodeOptions};
use tortie_plan::PathId;
use tortie_plan::nft::{ChainMeaning, prefix::DropKind};
use tortie_policy::{PodKey, Policy, RuleRef, Verdict};

use crate::Result;
use crate::raw::{Body, Sink, send};

/// How long anything is waited for that is going to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster with what was applied to it.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    store: Store,
    stager: Stager,
}

impl Stage {
    /// Two nodes, both families, a host `internet`, and these objects.
    pub(crate) fn new(sandbox: &Sandbox, yaml: &str) -> Result<Self> {
        Self::with(sandbox, yaml, NodeOptions::default())
    }

    pub(crate) fn with(sandbox: &Sandbox, yaml: &str, options: NodeOptions) -> Result<Self> {
        Self::on(yaml, |ground| Ok(Cluster::boot_with(sandbox, ground, options)?))
    }

    /// With every connection recorded.
    pub(crate) fn recording(sandbox: &Sandbox, yaml: &str) -> Result<Self> {
        Self::on(yaml, |ground| Ok(Cluster::boot_recording(sandbox, ground, NodeOptions::default())?))
    }

    fn on(yaml: &str, boot: impl FnOnce(&Ground) -> Result<Cluster>) -> Result<Self> {
        let internet = OutsideHost {
            name: "internet".to_owned(),
            addresses: vec!["198.51.100.7".parse()?, "2001:db8:7::7".parse()?],
            dns: Vec::new(),
        };
        let ground = Ground { outside: vec![internet], ..Ground::default() };
        let cluster = boot(&ground)?;
        let mut stage = Self { cluster, store: Store::new(Expansion::default()), stager: Stager::new(ground) };
        stage.apply(yaml)?;
        Ok(stage)
    }

    /// Applies objects, and waits until they are in force.
    pub(crate) fn apply(&mut self, yaml: &str) -> Result {
        self.change(&[], yaml)
    }

    /// Deletes objects: `Kind/namespace/name`.
    pub(crate) fn delete(&mut self, objects: &[&str]) -> Result {
        self.change(objects, "")
    }

    /// Deletes and applies at once.
    pub(crate) fn change(&mut self, delete: &[&str], yaml: &str) -> Result {
        let staged = self.staged(delete, yaml)?;
        self.cluster.sync(staged)?;
        match self.cluster.verify()?.as_slice() {
            [] => Ok(()),
            differences => Err(format!("the kernel holds something else: {differences:?}").into()),
        }
    }

    /// Tries out what deleting and applying objects would do; a trial before is over.
    pub(crate) fn try_out(&mut self, delete: &[&str], yaml: &str) -> Result {
        let before = (self.store.clone(), self.stager.clone());
        let staged = self.staged(delete, yaml);
        (self.store, self.stager) = before;
        self.cluster.try_out(Some(&staged?.world))?;
        match self.cluster.verify()?.as_slice() {
            [] => Ok(()),
            differences => Err(format!("the kernel holds something else: {differences:?}").into()),
        }
    }

    /// Tries nothing out any more.
    pub(crate) fn end_trial(&mut self) -> Result {
        Ok(self.cluster.try_out(None)?)
    }

    fn staged(&mut self, delete: &[&str], yaml: &str) -> Result<Staged> {
        for object in delete {
            self.store.delete(&object.parse()?)?;
        }
        // Input that holds nothing is an error, and a change that only deletes has none.
        if !yaml.trim().is_empty() {
            let loaded = load(&Memory::new([("test.yaml", yaml)]), &["test.yaml"], &LoadOptions::default());
            if loaded.has_untrusted_object() {
                return Err(loaded.diagnostics.iter().map(|d| d.render(false)).collect::<String>().into());
            }
            self.store.apply(&loaded.objects);
        }
        Ok(self.stager.stage(&self.store.state())?)
    }

    /// Adds a policy as a cluster may hold it, though its manifest would be refused.
    pub(crate) fn add_stored(&mut self, policy: Policy) -> Result {
        let mut staged = self.cluster.staged().clone();
        staged.world.policies.insert(policy.object.clone(), policy);
        Ok(self.cluster.sync(staged)?)
    }

    /// Deletes and applies what the kernel refuses; returns why. What the kernel holds must be as before.
    pub(crate) fn fails_to_change(&mut self, delete: &[&str], yaml: &str) -> Result<String> {
        let before = (self.store.clone(), self.stager.clone());
        let staged = self.staged(delete, yaml)?;
        (self.store, self.stager) = before;
        let Err(error) = self.cluster.sync(staged) else { return Err("the kernel took it".into()) };
        match self.cluster.verify()?.as_slice() {
            [] => Ok(error.to_string()),
            differences => Err(format!("after {error}, the kernel holds something else: {differences:?}").into()),
        }
    }

    /// The address of `ns/pod`, `node/NAME` or a host.
    pub(crate) fn address(&self, who: &str, family: Family) -> Result<IpAddr> {
        let endpoint = self.cluster.topology().endpoint(&place(who)).ok_or_else(|| format!("{who} is not there"))?;
        let address = endpoint.addresses.iter().find(|ip| Family::of(**ip) == family);
        Ok(*address.ok_or_else(|| format!("{who} has no such address"))?)
    }

    /// The network namespace of `ns/pod`, `node/NAME` or a host.
    pub(crate) fn netns(&self, who: &str) -> Result<&Netns> {
        let endpoint = self.cluster.topology().endpoint(&place(who)).ok_or_else(|| format!("{who} is not there"))?;
        Ok(endpoint.netns)
    }

    /// Sends a packet that was made by hand, with the sender's own address. It must arrive.
    pub(crate) fn arrives(&self, from: &str, to: &str, family: Family, body: &Body) -> Result {
        let (source, destination) = (self.address(from, family)?, self.address(to, family)?);
        let sink = Sink::open(self.netns(to)?, destination, body.protocol(family == Family::V4))?;
        send(self.netns(from)?, source, destination, body)?;
        until(&format!("{from} -> {to} {family} {body:?} arrives"), || Ok(sink.counts(body.data(), b"")?.0 > 0))
    }

    /// Sends a packet that was made by hand, whatever its source. It must be seen dropped.
    pub(crate) fn is_dropped(&self, from: &str, source: IpAddr, destination: IpAddr, body: &Body) -> Result<Denial> {
        let drops = self.cluster.watch_drops(body.flow(source, destination));
        send(self.netns(from)?, source, destination, body)?;
        let unseen = || format!("no drop was seen of {from}: {source} -> {destination} {body:?}");
        Ok(drops.next(PATIENCE).ok_or_else(unseen)?)
    }

    /// The same from the sender's own address to another place, by policy.
    pub(crate) fn is_denied(&self, from: &str, to: &str, family: Family, body: &Body) -> Result {
        let (source, destination) = (self.address(from, family)?, self.address(to, family)?);
        let denial = self.is_dropped(from, source, destination, body)?;
        match denial.cause {
            Cause::Policy { meaning: Some(_), .. } => Ok(()),
            other => Err(format!("{from} -> {to} {family} {body:?}: {other:?}").into()),
        }
    }

    /// The ClusterIP of `ns/service`.
    pub(crate) fn cluster_ip(&self, service: &str, family: Family) -> Result<IpAddr> {
        let (namespace, name) = service.split_once('/').ok_or("ns/service")?;
        let staged = self.cluster.staged().services.get(&PodKey::new(namespace, name)).ok_or("no such service")?;
        let address = staged.service.cluster_ips.iter().find(|ip| Family::of(**ip) == family);
        Ok(*address.ok_or("no such address")?)
    }

    /// Packets that the nodes have dropped for a fixed reason.
    pub(crate) fn dropped(&mut self, kind: DropKind) -> Result<u64> {
        self.counted(ChainMeaning::Fixed(kind))
    }

    /// Packets that a rule of the policies of a node has decided.
    pub(crate) fn decided_by(&mut self, node: &str, rule: &RuleRef) -> Result<u64> {
        let here = self.cluster.nodes().find(|(name, _)| &***name == node).ok_or("no such node")?.1;
        let paths = here.plan().paths.iter().filter(|(_, path)| path.rule() == Some(rule));
        let paths: Vec<PathId> = paths.map(|(id, _)| *id).collect();
        let counters = self.cluster.counters(node)?;
        let of = |id: &PathId| counters.get(&ChainMeaning::Path(rule.direction, *id)).map_or(0, |c| c.packets);
        Ok(paths.iter().map(of).sum())
    }

    /// Packets that policies have denied in a direction.
    pub(crate) fn denied_packets(&mut self, direction: Direction) -> Result<u64> {
        let plan = |(name, node): (&Arc<str>, &Node)| (name.clone(), node.plan().paths.clone());
        let plans: Vec<_> = self.cluster.nodes().map(plan).collect();
        let mut sum = 0;
        for (node, paths) in plans {
            for (meaning, counter) in self.cluster.counters(&node)? {
                if let ChainMeaning::Path(at, id) = meaning
                    && at == direction
                    && paths.get(&id).is_some_and(|p| p.verdict == Verdict::Deny)
                {
                    sum += counter.packets;
                }
            }
        }
        Ok(sum)
    }

    /// Packets that all nodes together have counted.
    pub(crate) fn counted(&mut self, meaning: ChainMeaning) -> Result<u64> {
        let mut sum = 0;
        for node in ["node-1", "node-2"] {
            sum += self.cluster.counters(node)?.get(&meaning).map_or(0, |c| c.packets);
        }
        Ok(sum)
    }

    fn question(&self, from: &str, to: &str, probe: &str, family: Family) -> Result<Question> {
        let probe = Probe::parse(probe)?.into_iter().next().ok_or("no probe")?;
        let to = self.endpoint(to);
        let via = if matches!(to, Endpoint::Service { .. }) { Via::Service } else { Via::Pod };
        let place = Spot { file: Arc::new(SourceFile::new("test", String::new())), span: 0..0 };
        let (from, to) = (self.endpoint(from), Some(to));
        let cell = Cell { from, to, probe, via, expected: Expected::Allow, why: None, place };
        Ok(question(self.cluster.staged(), self.cluster.index(), &cell, family)?)
    }

    fn endpoint(&self, who: &str) -> Endpoint {
        if let Ok(ip) = who.parse() {
            return Endpoint::Address(ip);
        }
        match who.split_once('/') {
            Some(("node", name)) => Endpoint::Node(name.into()),
            Some((namespace, name)) => {
                let key = PodKey::new(namespace, name);
                let (namespace, name) = (key.namespace.clone(), key.name.clone());
                if self.cluster.staged().services.contains_key(&key) {
                    Endpoint::Service { namespace, name }
                } else {
                    Endpoint::Pod { namespace, name }
                }
            }
            None => Endpoint::Outside(who.into()),
        }
    }

    /// Sends probes in both families, one kind after a blank: `ping TCP/80 UDP/53`. All must arrive, and engine and plan
    /// agree.
    pub(crate) fn allowed(&mut self, from: &str, to: &str, probes: &str) -> Result {
        for (question, sighting) in self.sent(from, to, probes)? {
            let what = format!("{from} -> {to} {} {}: {}", question.probe, question.family, sighting.detail);
            if sighting.kernel.answer() != Some(true.into()) {
                return Err(format!("should be allowed: {what}").into());
            }
            self.agree(&question, true)?;
        }
        Ok(())
    }

    /// Sends probes in both families. All must be seen dropped by policy, by the very decision that the engine names;
    /// the drops are returned.
    pub(crate) fn denied(&mut self, from: &str, to: &str, probes: &str) -> Result<Vec<Denial>> {
        let mut denials = Vec::new();
        for (question, sighting) in self.sent(from, to, probes)? {
            let what = format!("{from} -> {to} {} {}: {}", question.probe, question.family, sighting.detail);
            if sighting.kernel.answer() != Some(false.into()) {
                return Err(format!("should be denied: {what}").into());
            }
            self.agree(&question, false)?;
            let denial = sighting.denial.ok_or_else(|| format!("no drop was seen: {what}"))?;
            self.attributed(&question, &denial).map_err(|e| format!("{what}: {e}"))?;
            denials.push(denial);
        }
        Ok(denials)
    }

    /// Sends probes in both families.
    pub(crate) fn sent(&mut self, from: &str, to: &str, probes: &str) -> Result<Vec<(Question, Sighting)>> {
        let questions = self.questions(from, to, probes)?;
        let sightings = self.cluster.observe(&questions.iter().collect::<Vec<_>>())?;
        Ok(questions.into_iter().zip(sightings).collect())
    }

    /// Probes in both families, not sent yet.
    pub(crate) fn questions(&self, from: &str, to: &str, probes: &str) -> Result<Vec<Question>> {
        let families: &[Family] = match to.parse::<IpAddr>() {
            Ok(ip) if ip.is_ipv4() => &[Family::V4],
            Ok(_) => &[Family::V6],
            Err(_) => &Family::ALL,
        };
        let mut questions = Vec::new();
        for probe in probes.split_whitespace() {
            for family in families {
                questions.push(self.question(from, to, probe, *family)?);
            }
        }
        Ok(questions)
    }

    fn agree(&self, question: &Question, allowed: bool) -> Result {
        let index = self.cluster.index();
        let from = index.address_side(question.source);
        for answerer in &question.answerers {
            let engine = index.verdict(&from, &answerer.side, answerer.traffic).is_allowed();
            let plan = self.cluster.plan_passes(&from, &answerer.side, answerer.traffic);
            if (engine, plan) != (allowed, allowed) {
                return Err(format!("{question:?}: engine {engine}, plan {plan}, packets {allowed}").into());
            }
        }
        Ok(())
    }

    /// Whether a drop is what the engine says: the end, the rule or the policies that isolate, and the generation.
    fn attributed(&self, question: &Question, denial: &Denial) -> Result {
        let index = self.cluster.index();
        let from = index.address_side(question.source);
        let answerer = question.answerers.first().ok_or("nobody answers")?;
        let verdict = index.verdict(&from, &answerer.side, answerer.traffic);
        let expected = if verdict.egress.is_allowed() { Direction::Ingress } else { Direction::Egress };
        let half = verdict.half(expected);
        let Cause::Policy { direction, meaning: Some(meaning), path } = &denial.cause else {
            return Err(format!("dropped for another reason: {:?}", denial.cause).into());
        };
        let said = (*direction, meaning.path.rule(), meaning.path.isolating.to_vec());
        // A path that a rule decides serves all who are governed by that rule, whoever else governs them.
        let isolating = if half.decided_by().is_some() { said.2.clone() } else { half.isolating() };
        let rule = half.decided_by();
        if said != (expected, rule.as_ref(), isolating) {
            return Err(format!("{said:?}, the engine says {expected} {half:?}").into());
        }
        let node = self.cluster.nodes().find(|(name, _)| **name == denial.node).ok_or("dropped by no node")?.1;
        let runs_here =
            |side: &tortie_policy::Side| side.pod().and_then(|p| p.node.clone()) == Some(denial.node.clone());
        let end = if expected == Direction::Egress { &from } else { &answerer.side };
        if !runs_here(end) {
            return Err(format!("dropped by {}, where that end does not run", denial.node).into());
        }
        if !node.plan().paths.contains_key(path) || meaning.generation > node.plan().generation {
            return Err(format!("path {path} of generation {} is not in the plan", meaning.generation).into());
        }
        Ok(())
    }
}

fn place(who: &str) -> Place {
    match who.split_once('/') {
        Some(("node", name)) => Place::Node(name.to_owned()),
        Some((namespace, name)) => Place::pod(namespace, name),
        None => Place::Outside(who.to_owned()),
    }
}

/// Asks again until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > deadline {
            return Err(format!("it never was so: {what}").into());
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Ok(())
}

/// A pod `namespace/name` on a node. Labels and container ports are in flow style, without the outer brackets; a pod
/// without ports answers on all.
pub(crate) fn pod(name: &str, node: &str, labels: &str, ports: &str) -> String {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{namespace: {namespace}, name: {name}, labels: {{{labels}}}}}
spec: {{nodeName: {node}, containers: [{{name: c, ports: [{ports}]}}]}}
"
    )
}

/// A NetworkPolicy `namespace/name`, its spec in flow style without the outer brackets.
pub(crate) fn policy(name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    format!(
        "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{namespace: {namespace}, name: {name}}}
spec: {{{spec}}}
"
    )
}

/// A Service `namespace/name`, its spec in flow style without the outer brackets.
pub(crate) fn service(name: &str, spec: &str) -> String {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{namespace: {namespace}, name: {name}}}
spec: {{{spec}}}
"
    )
}

/// Denies everything to and from the pods of a namespace.
pub(crate) fn closed(namespace: &str) -> String {
    policy(&format!("{namespace}/closed"), "podSelector: {}, policyTypes: [Ingress, Egress]")
}

pub(crate) const HERE: &str = "node-1";
pub(crate) const THERE: &str = "node-2";
