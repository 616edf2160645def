//! `tortie diff`: what a change opens and closes, and who did it.

pub(crate) mod arguments;
pub(crate) mod breaks;
mod cause;
mod group;
pub(crate) mod json;
mod markdown;
mod sides;
mod text;

use std::io::BufWriter;

use tortie_connectivity::{Change, Connectivity, Difference};
use tortie_flows::{Turn, judge};

use crate::connectivity::COMPARING;
use crate::connectivity::names::Names;
use crate::failure::{Failure, Outcome};
use crate::progress::during;
use crate::{recorded, terminal};
use arguments::{Diff, Format};
use cause::Sides;

pub(crate) fn run(arguments: &Diff) -> Result<Outcome, Failure> {
    let (old, new) = sides::read(arguments)?;
    if let Some(path) = &arguments.flows {
        return breaks(arguments, path, breaks::Clusters { old: old.as_ref(), new: &new });
    }
    let Some(old) = old else { return Err(Failure::message("nothing to compare with")) };
    let clusters = during(COMPARING, || [&old, &new].map(|side| Connectivity::of(&side.snapshot.index)));
    let [before, after] = [(&clusters[0], &old.snapshot.objects), (&clusters[1], &new.snapshot.objects)];
    let difference = during("comparing", || Difference::between(before.0, after.0).with_ways(before, after));
    let sides = Sides { old: &old, new: &new };
    let names = Names::of_all(&clusters);
    match arguments.output {
        Format::Json => json::write(sides, &difference, &mut BufWriter::new(std::io::stdout().lock()))?,
        Format::Text => terminal::print(&text::draw(sides, &group::groups(&difference), &names, terminal::width()))?,
        Format::Markdown => terminal::print(&markdown::draw(sides, &group::groups(&difference), &names))?,
    }
    let opens = difference.changes.iter().any(Change::opens);
    let closes = difference.changes.iter().any(Change::closes);
    Ok(Outcome::findings_if(arguments.fail_on.fails(opens, closes)))
}

/// Puts recorded connections to both clusters.
fn breaks(arguments: &Diff, path: &str, clusters: breaks::Clusters<'_>) -> Result<Outcome, Failure> {
    let recording = recorded::recording(path, arguments.format)?;
    let old = clusters.old.map(|side| recorded::population(&side.snapshot));
    let new = recorded::population(&clusters.new.snapshot);
    let judged = during("judging flows", || judge(&recording, old.as_ref(), &new));
    recorded::unanswered(judged.unresolved.iter().map(|(_, why)| why));
    if judged.at_odds > 0 {
        let flows = recorded::count(judged.at_odds as u64, "recorded flow");
        let (old, is) = if arguments.old.is_some() { ("OLD", "is") } else { ("the manifests", "are") };
        terminal::say(format_args!(
            "note: of {flows}, the record and {old} say opposite things; {old} {is} not what was enforced, or not all of it"
        ));
    }
    if judged.turned.is_empty() && judged.same == 0 {
        return Err(Failure::message("no recorded flow is between ends that the manifests have"));
    }
    match arguments.output {
        Format::Json => breaks::json(clusters, &judged, &mut BufWriter::new(std::io::stdout().lock()))?,
        Format::Text => terminal::print(&breaks::text(clusters, &judged, terminal::width()))?,
        Format::Markdown => terminal::print(&breaks::markdown(clusters, &judged))?,
    }
    let any = |turn| judged.turned.iter().any(|turned| turned.turn == turn);
    Ok(Outcome::findings_if(arguments.fail_on.fails(any(Turn::Allowed), any(Turn::Denied))))
}
