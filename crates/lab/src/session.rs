//! A lab to play with: objects come and go by request, and probes are sent by request.

mod archive;
mod dryrun;
mod flows;
mod verify;

use std::time::Instant;

use tortie_analysis::question::{Question, QuestionError, question};
use tortie_analysis::rehearsal::ground;
use tortie_analysis::staging::{Stager, StagingError};
use tortie_manifest::case::{Cell, ClusterSpec, Endpoint, Pattern, Probe, Verdict, Via};
use tortie_manifest::{LoadOptions, Loaded, Memory, Place, Severity, SourceFile as Text, Store, load};
use tortie_model::ObjectRef;
use tortie_node::{Cause, Denial};

pub use tortie_node::NodeOptions;

use self::archive::Archive;
use self::dryrun::DryRun;
use self::flows::Names;
use crate::cluster::{Cluster, ClusterError, Lost};
use crate::control::{
    DryRunStatus, FlowReport, Input, LostLine, NodeStatus, NodeVerified, PodStatus, Probed, Reply, Request,
    ServiceStatus, Status,
};
use crate::exec::EnterSpec;
use crate::pod::Place as LabPlace;
use crate::resolver;
use crate::sandbox::Sandbox;
use crate::written::written;

/// Why a request could not be met.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Staging(#[from] StagingError),
    #[error(transparent)]
    Question(#[from] QuestionError),
    #[error("{0}")]
    Input(String),
}

/// A running lab with the objects that were applied to it.
#[derive(Debug)]
pub struct Session {
    name: String,
    spec: ClusterSpec,
    store: Store,
    stager: Stager,
    cluster: Cluster,
    archive: Archive,
    /// A change that is tried out.
    dry_run: DryRun,
    /// Where what was tried out is written.
    tried: Archive,
    /// Why what is staged is not tried out.
    untried: Option<String>,
}

impl Session {
    /// A lab of this name with these objects.
    ///
    /// # Errors
    /// When the objects cannot be placed or the lab cannot be made, in words.
    pub fn start(sandbox: &Sandbox, name: &str, spec: ClusterSpec, store: Store) -> Result<Self, String> {
        Self::start_with(sandbox, name, spec, store, NodeOptions::default())
    }

    /// As [`Session::start`], with nodes that enforce with these options.
    ///
    /// # Errors
    /// As [`Session::start`].
    pub fn start_with(
        sandbox: &Sandbox,
        name: &str,
        spec: ClusterSpec,
        store: Store,
        options: NodeOptions,
    ) -> Result<Self, String> {
        let ground = ground(&spec);
        let cluster = Cluster::boot_recording(sandbox, &ground, options).map_err(|e| e.to_string())?;
        let mut session = Self {
            name: name.to_owned(),
            spec,
            store,
            stager: Stager::new(ground),
            cluster,
            archive: Archive::default(),
            dry_run: DryRun::default(),
            tried: Archive::default(),
            untried: None,
        };
        session.sync().map_err(|e| e.to_string())?;
        session.try_out_what_is_staged();
        Ok(session)
    }

    /// How many nodes and pods there are.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.cluster.staged().nodes.len(), self.cluster.staged().world.pods.len())
    }

    /// The cluster, for faults.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Meets a request.
    pub fn answer(&mut self, request: Request) -> Reply {
        let done = match request {
            Request::Status => Ok(Reply::Status(self.status())),
            Request::Apply(input) => self.change(&input, |store, loaded| {
                store.apply(&loaded.objects);
                Ok(())
            }),
            Request::Delete(input) => self.change(&input, delete),
            Request::TryApply(input) => {
                self.dry_run(&input, |_, loaded| Ok(DryRun { apply: loaded.objects.clone(), delete: Vec::new() }))
            }
            Request::TryDelete(input) => self.dry_run(&input, |mut store, loaded| {
                delete(&mut store, loaded)?;
                let gone = loaded.objects.iter().map(|o| o.object.reference());
                Ok(DryRun { apply: Vec::new(), delete: gone.collect() })
            }),
            Request::EndDryRun => self.end_dry_run(),
            Request::Probe { from, to, probe } => self.probe(&from, &to, &probe),
            Request::Flows { since } => Ok(self.flows(since)),
            Request::Verify => self.verify(),
            Request::Enter { place } => self.enter(&place),
            // The listener ends the lab before anybody asks here.
            Request::Down => Ok(Reply::Done),
        };
        done.unwrap_or_else(|e| Reply::Failed(e.to_string()))
    }

    fn sync(&mut self) -> Result<(), SessionError> {
        let mut objects = self.store.state();
        objects.add_cluster_dns();
        let staged = self.stager.stage(&objects)?;
        self.archive.file(&self.store, staged.world.policies.keys().cloned());
        Ok(self.cluster.sync(staged)?)
    }

    /// Tries out what is to be tried out, now that the cluster is what it is.
    fn try_out(&mut self) -> Result<(), SessionError> {
        self.untried = None;
        let world = self.dry_run.world(&self.store, &self.stager, self.cluster.staged(), &mut self.tried);
        let world = world.inspect_err(|_| drop(self.cluster.try_out(None)))?;
        Ok(self.cluster.try_out(world.as_ref())?)
    }

    /// Tries out again what was tried out before. A dry run that cannot be any more is over; says why.
    fn renew(&mut self) -> Option<String> {
        let error = self.try_out().err()?;
        let ended = std::mem::take(&mut self.dry_run);
        self.try_out_what_is_staged();
        (!ended.is_empty()).then(|| format!("the dry run has ended: {error}"))
    }

    /// What is enforced goes on where that fails.
    fn try_out_what_is_staged(&mut self) {
        self.untried = self.try_out().err().map(|e| format!("what is staged cannot be tried out: {e}"));
    }

    /// Tries out another change, in place of the one before.
    fn dry_run(
        &mut self,
        input: &Input,
        change: impl FnOnce(Store, &Loaded) -> Result<DryRun, SessionError>,
    ) -> Result<Reply, SessionError> {
        let loaded = read(input)?;
        let before = std::mem::replace(&mut self.dry_run, change(self.store.clone(), &loaded)?);
        if let Err(e) = self.try_out() {
            self.dry_run = before;
            drop(self.renew());
            return Err(e);
        }
        let lines = self.dry_run.lines(&self.store);
        Ok(Reply::Changed { lines, notes: notes(&loaded).collect(), dry_run: self.tried_out(), ended: None })
    }

    fn end_dry_run(&mut self) -> Result<Reply, SessionError> {
        self.dry_run = DryRun::default();
        self.try_out()?;
        Ok(Reply::Changed { lines: Vec::new(), notes: Vec::new(), dry_run: self.tried_out(), ended: None })
    }

    /// What is tried out, if anything is or should be.
    #[must_use]
    pub fn tried_out(&self) -> Option<DryRunStatus> {
        let Some(trial) = self.cluster.trial() else {
            let problems = vec![self.untried.clone()?];
            return Some(DryRunStatus { changes: Vec::new(), problems });
        };
        let of_node = |(name, node): (&std::sync::Arc<str>, &tortie_node::Node)| {
            let problems = node.tried_out().into_iter().flat_map(|plan| &plan.problems);
            problems.map(|problem| format!("node {name}: {problem}")).collect::<Vec<_>>()
        };
        let changes = dryrun::changes(&self.cluster.staged().world, trial);
        Some(DryRunStatus { changes, problems: self.cluster.nodes().flat_map(of_node).collect() })
    }

    fn flows(&self, since: u64) -> Reply {
        let archives = [&self.archive, &self.tried];
        let report = |flows: &crate::flows::Flows| flows::report(flows, since, self.cluster.staged(), archives);
        let lost = self.cluster.lost();
        let lost = lost.iter().map(|(node, lost)| lost_line(node, *lost)).collect();
        Reply::Flows(FlowReport { lost, ..self.cluster.flows(report).unwrap_or_default() })
    }

    fn verify(&mut self) -> Result<Reply, SessionError> {
        let names = Names::of(self.cluster.staged());
        let mut reports = Vec::new();
        for name in self.cluster.node_names() {
            let began = Instant::now();
            let (verified, mended) = self.cluster.prove(&name)?;
            let took = began.elapsed();
            let dry_run = self.cluster.prove_trial(&name)?.as_ref().map(verify::dry_run);
            let report = verify::report(&name, &verified, mended, took, &names, &self.archive);
            reports.push(NodeVerified { dry_run, ..report });
        }
        Ok(Reply::Verified(reports))
    }

    /// Changes the objects, all or nothing.
    fn change(
        &mut self,
        input: &Input,
        change: impl FnOnce(&mut Store, &Loaded) -> Result<(), SessionError>,
    ) -> Result<Reply, SessionError> {
        let loaded = read(input)?;
        let (store, stager) = (self.store.clone(), self.stager.clone());
        let applied = change(&mut self.store, &loaded).and_then(|()| self.sync());
        if let Err(e) = applied {
            (self.store, self.stager) = (store, stager);
            // Pods may have gone and come on the way there and back.
            drop(self.renew());
            return Err(e);
        }
        let lines = dryrun::lines(&store, &self.store, loaded.objects.iter().map(|o| o.object.reference()));
        let ended = self.renew();
        Ok(Reply::Changed { lines, notes: notes(&loaded).collect(), dry_run: self.tried_out(), ended })
    }

    fn status(&self) -> Status {
        let staged = self.cluster.staged();
        let text = |s: &str| s.to_owned();
        let lost = self.cluster.lost();
        let node = |n: &tortie_model::Node| {
            let running = self.cluster.nodes().find(|(name, _)| **name == n.meta.name).map(|(_, node)| node);
            NodeStatus {
                name: text(&n.meta.name),
                addresses: n.addresses.clone(),
                generation: running.map_or(0, |n| n.plan().generation),
                problems: running.map_or_else(Vec::new, |n| n.problems()),
                lost: lost_line(&n.meta.name, lost.get(&n.meta.name).copied().unwrap_or_default()),
            }
        };
        let pod = |p: &tortie_model::Pod| PodStatus {
            namespace: text(&p.meta.namespace),
            name: text(&p.meta.name),
            node: p.node.as_deref().unwrap_or_default().to_owned(),
            addresses: p.ips.clone(),
            labels: p.meta.labels.iter().map(|(k, v)| format!("{k}={v}")).collect(),
        };
        let services = staged.services.iter().map(|(key, s)| ServiceStatus {
            namespace: text(&key.namespace),
            name: text(&key.name),
            addresses: s.service.cluster_ips.clone(),
            backends: s.backends.iter().map(ToString::to_string).collect(),
        });
        Status {
            name: self.name.clone(),
            pid: std::process::id(),
            nodes: staged.nodes.iter().map(node).collect(),
            pods: staged.world.pods.values().map(pod).collect(),
            services: services.collect(),
            policies: staged.world.policies.keys().map(ToString::to_string).collect(),
            dry_run: self.tried_out(),
        }
    }

    /// Everybody whom a pattern means; Services only as destinations, and only where it means nobody else.
    fn meant(&self, text: &str, destination: bool) -> Result<Vec<Endpoint>, SessionError> {
        let pattern = Pattern::parse(text).map_err(|e| SessionError::Input(e.to_string()))?;
        let staged = self.cluster.staged();
        if let Pattern::Address(ip) = pattern {
            return Ok(vec![Endpoint::Address(ip)]);
        }
        let pods = staged.world.pods.iter().map(|(key, pod)| {
            let endpoint = Endpoint::Pod { namespace: key.namespace.clone(), name: key.name.clone() };
            (endpoint, pod.owner.clone())
        });
        let nodes = staged.nodes.iter().map(|n| (Endpoint::Node(n.meta.name.clone()), None));
        let outside = staged.outside.iter().map(|h| (Endpoint::Outside(h.name.as_str().into()), None));
        let everybody: Vec<(Endpoint, Option<ObjectRef>)> = pods.chain(nodes).chain(outside).collect();
        let meant: Vec<Endpoint> =
            everybody.into_iter().filter(|(e, owner)| pattern.matches(e, owner.as_ref())).map(|(e, _)| e).collect();
        if !meant.is_empty() {
            return Ok(meant);
        }
        let services = staged
            .services
            .keys()
            .map(|key| Endpoint::Service { namespace: key.namespace.clone(), name: key.name.clone() });
        let services: Vec<Endpoint> = services.filter(|e| destination && pattern.matches(e, None)).collect();
        if services.is_empty() {
            let known: Vec<_> = staged.world.pods.keys().map(ToString::to_string).collect();
            return Err(SessionError::Input(format!("nothing is called `{text}`; pods are {}", known.join(", "))));
        }
        Ok(services)
    }

    fn probe(&mut self, from: &str, to: &str, probe: &str) -> Result<Reply, SessionError> {
        let probes = Probe::parse(probe).map_err(|e| SessionError::Input(e.to_string()))?;
        let names = probes.iter().any(|p| matches!(p, Probe::Dns(_)));
        let senders = self.meant(from, false)?;
        let destinations: Vec<Option<Endpoint>> =
            if names { vec![None] } else { self.meant(to, true)?.into_iter().map(Some).collect() };
        let file = std::sync::Arc::new(Text::new("command line", format!("{from} {to} {probe}")));
        let mut questions: Vec<Question> = Vec::new();
        let mut refused = None;
        for from in &senders {
            for to in destinations.iter().filter(|to| to.as_ref() != Some(from) || senders.len() == 1) {
                for probe in &probes {
                    let via = if matches!(to, Some(Endpoint::Service { .. })) { Via::Service } else { Via::Pod };
                    let (from, to, probe) = (from.clone(), to.clone(), probe.clone());
                    let place = Place { file: file.clone(), span: 0..file.text().len() };
                    let cell = Cell { from, to, probe, via, expected: Verdict::Allow, why: None, place };
                    for family in &self.spec.families {
                        match question(self.cluster.staged(), self.cluster.index(), &cell, *family) {
                            Ok(question) => questions.push(question),
                            Err(e) => refused = Some(e),
                        }
                    }
                }
            }
        }
        if let (true, Some(e)) = (questions.is_empty(), refused) {
            return Err(e.into());
        }
        let sightings = self.cluster.observe(&questions.iter().collect::<Vec<_>>())?;
        let probed = questions.iter().zip(sightings).map(|(q, sighting)| {
            let passes = |a: &tortie_analysis::question::Answerer| q.verdict(self.cluster.index(), a).is_allowed();
            Probed {
                family: q.family.to_string(),
                from: q.from.to_string(),
                to: q.to.as_ref().map_or_else(String::new, ToString::to_string),
                probe: q.probe.to_string(),
                kernel: sighting.kernel.answer().map_or("lost", |a| a.as_str()).to_owned(),
                engine: if q.answerers.iter().all(passes) { "allow" } else { "deny" }.to_owned(),
                detail: self.placed(sighting.detail, sighting.denial.as_ref()),
                ms: sighting.ms,
            }
        });
        Ok(Reply::Probed(probed.collect()))
    }

    /// What dropped a packet, with the places of the rule or of the policies that isolate.
    fn placed(&self, detail: String, denial: Option<&Denial>) -> String {
        let Some(Cause::Policy { meaning: Some(meaning), .. }) = denial.map(|d| &d.cause) else { return detail };
        let places = written(&self.store, &meaning.path);
        if places.is_empty() { detail } else { format!("{detail}; {}", places.join(", ")) }
    }

    fn enter(&self, place: &str) -> Result<Reply, SessionError> {
        let meant = self.meant(place, false)?;
        let [endpoint] = meant.as_slice() else {
            let names: Vec<_> = meant.iter().map(ToString::to_string).collect();
            return Err(SessionError::Input(format!("`{place}` means {}: name one", names.join(", "))));
        };
        let (place, namespace) = match endpoint {
            Endpoint::Pod { namespace, name } => (LabPlace::pod(namespace, name), Some(namespace)),
            Endpoint::Node(name) => (LabPlace::Node(name.to_string()), None),
            Endpoint::Outside(name) => (LabPlace::Outside(name.to_string()), None),
            other => return Err(SessionError::Input(format!("{other} cannot be entered"))),
        };
        let missing = || SessionError::Input(format!("{place} is not there"));
        let netns = self.cluster.topology().endpoint(&place).ok_or_else(missing)?.netns;
        let servers = self.cluster.dns_addresses();
        let resolv_conf = namespace.map(|ns| resolver::resolv_conf(&servers, ns, "cluster.local"));
        Ok(Reply::Enter(EnterSpec::new(netns, resolv_conf)))
    }
}

/// What a request brings; refused when anything in it cannot be trusted.
fn read(input: &Input) -> Result<Loaded, SessionError> {
    let files = &input.files;
    let memory = Memory::new(files.iter().map(|f| (f.path.clone(), f.text.clone())));
    let paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
    let loaded = load(&memory, &paths, &LoadOptions { namespace: input.namespace.as_str().into() });
    let errors = loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error).map(|d| d.render(false));
    let errors: Vec<String> = errors.collect();
    if errors.is_empty() {
        Ok(loaded)
    } else {
        Err(SessionError::Input(format!("{}\nnothing was changed", errors.join("\n\n"))))
    }
}

/// What should be said of it.
fn notes(loaded: &Loaded) -> impl Iterator<Item = String> {
    loaded.diagnostics.iter().chain(&loaded.notes).map(|d| d.render(false))
}

/// Deletes what was given.
fn delete(store: &mut Store, loaded: &Loaded) -> Result<(), SessionError> {
    let delete = |o: &tortie_manifest::LoadedObject| store.delete(&o.object.reference());
    loaded.objects.iter().try_for_each(delete).map_err(|e| SessionError::Input(e.to_string()))
}

fn lost_line(node: &str, lost: Lost) -> LostLine {
    LostLine { node: node.to_owned(), records: lost.records, connections: lost.connections }
}
