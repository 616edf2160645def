//! What policies leave open to pods that are not there, for people and for programs.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use tortie_connectivity::{Anybody, Connectivity, Member, Name, Opening, Selection, exposure, packets};
use tortie_model::Direction;
use tortie_policy::{EndpointSelector, NamespaceMatch};

use super::machine::{self, Party, by_protocol, field};
use super::names::{self, Names};
use super::table::{HEADER, few, sheet};
use crate::terminal::{FAINT, STRONG, styled, wrapped};

/// The openings of whom was chosen, less those of which a pod of the cluster tells already. Pods that are not there are
/// in every choice but that of a name.
pub(super) fn chosen(connectivity: &Connectivity, selection: &Selection) -> Vec<Opening> {
    let is_chosen = |opening: &Opening| {
        let (from, to) = ends(opening);
        let among = |list: &[tortie_connectivity::Pattern], end: &Anybody| {
            list.is_empty() || matches!(end, Anybody::Subject(name) if list.iter().any(|p| p.matches(name)))
        };
        let either = among(&selection.either, from) || among(&selection.either, to);
        among(&selection.from, from) && among(&selection.to, to) && either
    };
    exposure(connectivity).into_iter().filter(|opening| !opening.is_told && is_chosen(opening)).collect()
}

/// Sender and receiver.
const fn ends(opening: &Opening) -> (&Anybody, &Anybody) {
    match opening.direction {
        Direction::Egress => (&opening.who, &opening.whom),
        Direction::Ingress => (&opening.whom, &opening.who),
    }
}

/// A table below that of the pairs.
pub(super) fn draw(connectivity: &Connectivity, openings: &[Opening], width: usize) -> String {
    let title = "Open to pods that are not there";
    let mut out = format!("\n{}\n", styled(STRONG, title));
    if openings.is_empty() {
        out.push_str("Nothing.\n");
        return out;
    }
    let note = "By the policies of one end alone; those of a pod that may come are not known.";
    out.push_str(&format!("{}\n\n", styled(FAINT, wrapped(note, "", width))));
    let names = Names::of(connectivity);
    // Those that are open alike are told together.
    let mut groups: Vec<(&Opening, Vec<&Anybody>)> = Vec::new();
    for opening in openings {
        let alike = |(first, _): &(&Opening, Vec<&Anybody>)| {
            let same = first.direction == opening.direction && first.whom == opening.whom;
            same && first.named == opening.named && first.packets == opening.packets
        };
        match groups.iter_mut().find(|g| alike(g)) {
            Some((_, who)) => who.push(&opening.who),
            None => groups.push((opening, vec![&opening.who])),
        }
    }
    groups.sort_by(|(a, _), (b, _)| (a.direction, &a.whom).cmp(&(b.direction, &b.whom)));
    let told = |all: &[&Anybody]| {
        let member = |name: &Name| Member { name: name.clone(), pods: (0, 0) };
        let (mut here, mut away) = (Vec::new(), Vec::new());
        for one in all {
            match one {
                Anybody::Subject(name) => here.push(member(name)),
                Anybody::Pods(selector) => away.push(names::pods(selector)),
            }
        }
        few(names.members(&here).into_iter().chain(away).collect())
    };
    let rows: Vec<[Vec<String>; 3]> = groups
        .iter()
        .map(|(opening, who)| {
            let (who, whom) = (told(who), told(&[&opening.whom]));
            let words = vec![words(opening)];
            match opening.direction {
                Direction::Egress => [who, whom, words],
                Direction::Ingress => [whom, who, words],
            }
        })
        .collect();
    out + &sheet(HEADER, &rows, width)
}

/// What passes: ports by number, and by name where only the pod that comes could tell their numbers.
fn words(opening: &Opening) -> String {
    let named = opening.named.iter().map(|(protocol, name)| format!("{protocol} `{name}`"));
    let numbers = packets::any(&opening.packets).then(|| packets::words(&opening.packets));
    numbers.into_iter().chain(named).collect::<Vec<_>>().join("; ")
}

fn name(end: &Anybody) -> String {
    match end {
        Anybody::Subject(name) => name.to_string(),
        Anybody::Pods(selector) => names::pods(selector),
    }
}

/// Whose policies were asked, and which pods are meant.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Exposure")]
pub(crate) struct Line {
    /// Whether those of the sender (`egress`) or of the receiver (`ingress`) were asked.
    direction: &'static str,
    /// The senders, where they are pods that are not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<Pods>,
    /// The receivers, where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<Pods>,
    /// Ports that pass by name, whatever their numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    named: Vec<NamedPort>,
}

/// Pods by selectors, as they are written in short; null for all.
#[derive(Serialize, JsonSchema)]
struct Pods {
    /// Their namespace by name.
    namespace: Option<String>,
    /// Labels of their namespaces.
    namespaces: Option<String>,
    /// Their labels.
    pods: Option<String>,
    /// What else is asked of them, as Calico's selectors write it.
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<String>,
}

/// A port by its name.
#[derive(Serialize, JsonSchema)]
struct NamedPort {
    /// `TCP`, `UDP` or `SCTP`.
    protocol: String,
    /// Its name.
    name: String,
}

fn pods(end: &Anybody) -> Option<Pods> {
    let Anybody::Pods(EndpointSelector { namespaces, pods, expression }) = end else { return None };
    let labels = |labels: &tortie_model::LabelSelector| (!labels.is_everything()).then(|| labels.to_string());
    let (namespace, namespaces) = match namespaces {
        NamespaceMatch::Named(name) => (Some(name.to_string()), None),
        NamespaceMatch::Matching(selector) => (None, labels(selector)),
    };
    let selector = expression.as_ref().map(ToString::to_string);
    Some(Pods { namespace, namespaces, pods: labels(pods), selector })
}

/// A line an opening: as a pair, with `exposure`.
pub(super) fn json(openings: &[Opening], out: &mut impl Write) -> io::Result<()> {
    for opening in openings {
        let (from, to) = ends(opening);
        let named = |(protocol, name): &(_, std::sync::Arc<str>)| {
            let protocol: &tortie_model::IpProtocol = protocol;
            NamedPort { protocol: protocol.to_string(), name: name.to_string() }
        };
        let exposure = Line {
            direction: opening.direction.as_str(),
            src: pods(from),
            dst: pods(to),
            named: opening.named.iter().map(named).collect(),
        };
        let (from, to) = (Party::One(name(from)), Party::One(name(to)));
        let pair = machine::Line::of(&from, &to, &opening.packets);
        serde_json::to_writer(&mut *out, &machine::Line { exposure: Some(exposure), ..pair })?;
        writeln!(out)?;
    }
    Ok(())
}

pub(super) fn csv(openings: &[Opening], out: &mut impl Write) -> io::Result<()> {
    for opening in openings {
        let (from, to) = ends(opening);
        let named = opening.named.iter().map(|(protocol, name)| (protocol.to_string(), name.to_string()));
        for (protocol, ports) in by_protocol(&opening.packets).into_iter().chain(named) {
            writeln!(out, "{},{},{protocol},{}", field(&name(from)), field(&name(to)), field(&ports))?;
        }
    }
    Ok(())
}
