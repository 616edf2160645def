//! `tortie convert`: policies of one API as policies of another.

pub(crate) mod arguments;

use std::collections::BTreeSet;

use tortie_analysis::snapshot::Snapshot;
use tortie_convert::{Api, Converted, Difference, Gap, Refusal, Source, convert};
use tortie_model::{ObjectRef, Pod};
use tortie_policy::PodKey;

use crate::failure::{Failure, Outcome};
use crate::progress::during;
use crate::{input, terminal};
use arguments::Convert;

pub(crate) fn run(arguments: &Convert) -> Result<Outcome, Failure> {
    // The pods of a workload are alike; two are enough to ask about one and another.
    let snapshot = input::cluster(&arguments.manifests, 2)?;
    let to = Api::from(arguments.to);
    let source = Source::of(&snapshot.objects, &snapshot.index);
    if source.policies().iter().all(|policy| to.has(policy.object.kind)) {
        let what = if source.policies().is_empty() { "no policies".to_owned() } else { format!("only {}", of(to)) };
        return Err(Failure::Message(format!("nothing to convert: there are {what} in the manifests")));
    }
    match during("converting and proving", || convert(&source, to)) {
        Ok(converted) => {
            let place =
                |object: &ObjectRef| snapshot.place_of(object).map(|p| format!("{}:{}", p.file.name(), p.line()));
            let documents = converted.policies.iter().map(|p| p.document(place(&p.from).as_deref()));
            terminal::print(&documents.collect::<Vec<_>>().join("---\n"))?;
            say(&snapshot, &converted, to);
            Ok(Outcome::Fine)
        }
        Err(Refusal::Differs(difference)) => {
            refuse(&snapshot, &difference, to);
            Ok(Outcome::Findings)
        }
        Err(Refusal::Unjudged(unjudged)) => {
            let place = match &unjudged.rule {
                Some(rule) => snapshot.place_of_rule(rule),
                None => snapshot.place_of(&unjudged.policy),
            };
            let place = place.map_or_else(String::new, |p| format!(" ({}:{})", p.file.name(), p.line()));
            Err(Failure::Message(format!("{unjudged}{place}")))
        }
        Err(Refusal::Unreadable(why)) => {
            Err(Failure::Message(format!("nothing is written, since {} would be refused: {why}", of(to))))
        }
        Err(unproven @ Refusal::Unwitnessed(_)) => {
            Err(Failure::Message(format!("nothing is written, since it is not proven: {unproven}")))
        }
    }
}

/// Policies of an API.
pub(crate) const fn of(api: Api) -> &'static str {
    match api {
        Api::Calico => "policies of Calico",
        Api::NetworkPolicy => "NetworkPolicies",
        Api::ClusterNetworkPolicy => "ClusterNetworkPolicies",
    }
}

fn note(text: &str) {
    terminal::say(terminal::wrapped(text, "  ", terminal::width()).trim_start());
}

fn indented(text: &str) {
    terminal::say(terminal::wrapped(text, "  ", terminal::width()));
}

/// What is to be known besides the policies.
fn say(snapshot: &Snapshot, converted: &Converted, to: Api) {
    for gap in &converted.gaps {
        note(&format!("note: left out, since it decides nothing here: {}", place(snapshot, gap)));
    }
    if !converted.kept.is_empty() {
        note(&format!("note: {} of the manifests stay as they are: {}", of(to), list(&converted.kept)));
    }
    if let Some(pods) = behind_their_services(snapshot, &converted.to_themselves) {
        note(&format!(
            "note: a NetworkPolicy never blocks what a pod sends to itself by way of a Service, and no other policy makes \
             that exception; it is decided otherwise for {pods}"
        ));
    }
    let before = count(converted.replaced.len());
    let after = count(converted.policies.len());
    note(&format!("{before} as {after}; proven: every flow between two ends is decided as before"));
}

/// Those of some pods that are behind a Service, by which they could reach themselves, in a list.
pub(crate) fn behind_their_services(snapshot: &Snapshot, pods: &[PodKey]) -> Option<String> {
    let backends = snapshot.backends();
    let behind = snapshot.objects.services.iter().flat_map(|service| backends.pods(service));
    let themselves: BTreeSet<String> = behind.filter(|pod| pods.contains(&PodKey::of(pod))).map(Pod::key).collect();
    (!themselves.is_empty()).then(|| first(&themselves.into_iter().collect::<Vec<_>>()))
}

fn refuse(snapshot: &Snapshot, difference: &Difference, to: Api) {
    let witness = &difference.witness;
    note(&format!("refused: {} cannot say all that these policies say.", of(to)));
    indented(&witness.to_string());
    let half = witness.before.half(witness.direction());
    let decided = match half.decided_by() {
        Some(rule) => {
            let place = snapshot
                .place_of_rule(&rule)
                .map_or_else(String::new, |p| format!(" at {}:{}", p.file.name(), p.line()));
            format!("{}[{}] of {}{place}", rule.direction, rule.index, rule.policy)
        }
        None if half.isolating().is_empty() => format!("no policy governs {}", witness.direction()),
        None => format!("no rule of {}", list(&half.isolating())),
    };
    indented(&format!("now decided by: {decided}"));
    if witness.is_of_strangers() {
        indented("Such a pod is not in the manifests, but could come.");
    }
    if !difference.gaps.is_empty() {
        terminal::say("What cannot be said:");
        difference.gaps.iter().for_each(|gap| indented(&place(snapshot, gap)));
    }
}

/// A gap, and where it is written.
fn place(snapshot: &Snapshot, gap: &Gap) -> String {
    let place = match &gap.rule {
        Some(rule) => snapshot.place_of_rule(rule),
        None => snapshot.place_of(&gap.policy),
    };
    let place = place.map_or_else(String::new, |p| format!(" ({}:{})", p.file.name(), p.line()));
    format!("{gap}{place}")
}

fn count(policies: usize) -> String {
    if policies == 1 { "1 policy".to_owned() } else { format!("{policies} policies") }
}

fn list(objects: &[ObjectRef]) -> String {
    first(&objects.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// The first of some names.
fn first(names: &[String]) -> String {
    const MOST: usize = 4;
    let more = names.len().saturating_sub(MOST);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
