//! `tortie connectivity`: who can talk to whom, and on what.

pub(crate) mod arguments;
mod exposure;
mod graph;
pub(crate) mod machine;
mod matrix;
pub(crate) mod names;
mod svg;
pub(crate) mod table;

use std::io::{self, BufWriter, Write};

use tortie_connectivity::{By, Connectivity, Opening, Pattern, Selection, View, WayIn, ways_in};

use crate::failure::{Failure, Outcome};
use crate::progress::{Progress, during};
use crate::{input, terminal};
use arguments::Format;
use machine::Source;

/// What is told while all pairs are asked about.
pub(crate) const COMPARING: &str = "asking who reaches whom";

/// Pairs of more parties than this are for programs.
const MOST_PARTIES: usize = 3_000;

pub(crate) fn run(arguments: &arguments::Connectivity) -> Result<Outcome, Failure> {
    let selection = selection(arguments)?;
    // The pods of a workload are alike; two are enough to ask about one and another.
    let snapshot = input::cluster(&arguments.manifests, 2)?;
    let connectivity = during(COMPARING, || Connectivity::of(&snapshot.index));
    let chosen = || during("asking policies", || exposure::chosen(&connectivity, &selection));
    let openings = if arguments.exposure { chosen() } else { Vec::new() };
    if snapshot.objects.pods.is_empty() && openings.is_empty() {
        return Err(Failure::message(
            "nobody to talk: there are no pods and no workloads in the input (--exposure tells what policies would do)",
        ));
    }
    let mut ways = ways_in(&connectivity, &snapshot.objects);
    if let Some(idle) = selection.idle(&connectivity, &ways).next().filter(|_| !snapshot.objects.pods.is_empty()) {
        return Err(Failure::Message(unknown(idle, &connectivity)));
    }
    ways.retain(|way| selection.takes(&way.name(), &way.to));
    let by = match arguments.by {
        arguments::By::Workload => By::Workload,
        arguments::By::Class => By::Class,
    };
    if matches!(arguments.output, Format::Json | Format::Csv) && by == By::Workload {
        machine(arguments.output, &Source::Subjects(&connectivity, &selection, &ways), &openings)?;
        return Ok(Outcome::Fine);
    }
    let view = look(&connectivity, &selection, by, &ways)?;
    let width = terminal::width();
    let text = match arguments.output {
        Format::Table => {
            let exposed =
                if arguments.exposure { exposure::draw(&connectivity, &openings, width) } else { String::new() };
            let table = table::draw(&connectivity, &selection, &view, width);
            if snapshot.objects.pods.is_empty() { exposed.trim_start().to_owned() } else { table + &exposed }
        }
        _ if arguments.exposure && !matches!(arguments.output, Format::Json | Format::Csv) => {
            return Err(Failure::message("--exposure is written as a table, json or csv"));
        }
        Format::Matrix => matrix::draw(&connectivity, &view, width),
        Format::Dot => graph::Graph::of(&connectivity, &view).dot(),
        Format::Mermaid => graph::Graph::of(&connectivity, &view).mermaid(),
        Format::Svg => svg::draw(&connectivity, &view),
        Format::Json | Format::Csv => {
            machine(arguments.output, &Source::Classes(&view), &openings)?;
            return Ok(Outcome::Fine);
        }
    };
    terminal::print(&text)?;
    Ok(Outcome::Fine)
}

fn selection(arguments: &arguments::Connectivity) -> Result<Selection, Failure> {
    let read = |texts: &[String]| -> Result<Vec<Pattern>, Failure> {
        texts.iter().map(|text| text.parse().map_err(Failure::message)).collect()
    };
    Ok(Selection { from: read(&arguments.from)?, to: read(&arguments.to)?, either: read(&arguments.workload)? })
}

fn look(connectivity: &Connectivity, selection: &Selection, by: By, ways: &[WayIn]) -> Result<View, Failure> {
    let parties = View::size(connectivity, selection, by);
    if parties > MOST_PARTIES {
        return Err(Failure::Message(format!(
            "{parties} parties that all differ are too many for a picture: choose some with --from, --to or --workload, \
             or write all pairs with -o json"
        )));
    }
    let mut progress = Progress::new("senders");
    Ok(View::of(connectivity, selection, by, ways, |done, all| progress.tell(done, all)))
}

fn machine(format: Format, source: &Source<'_>, openings: &[Opening]) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut progress = Progress::new("senders");
    let tell = |done, all| progress.tell(done, all);
    match format {
        Format::Csv => {
            source.csv(&mut out, tell)?;
            exposure::csv(openings, &mut out)?;
        }
        _ => {
            source.json(&mut out, tell)?;
            exposure::json(openings, &mut out)?;
        }
    }
    out.flush()
}

/// A choice that chooses nobody: a typo must not look like silence.
fn unknown(pattern: &Pattern, connectivity: &Connectivity) -> String {
    let text = pattern.to_string();
    let near = |name: &String| strsim::jaro_winkler(&text, name);
    let names = connectivity.subjects().iter().map(|s| names::name(&s.name));
    let best = names.max_by(|a, b| near(a).total_cmp(&near(b))).filter(|name| near(name) > 0.8);
    let hint = best.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    format!("`{text}` chooses nobody in the input{hint}")
}
