//! Graphs for Graphviz and Mermaid: parties in their namespaces, an arrow for what passes.

use std::fmt::Write as _;

use tortie_connectivity::{Connectivity, Name, View, packets};

use super::names::Names;

/// Parties that are drawn as one, and what passes between them.
pub(super) struct Graph {
    /// Namespaces, nodes and the world, with the numbers of their parties.
    pub(super) places: Vec<(Option<String>, Vec<usize>)>,
    /// Names of the members of each party.
    pub(super) labels: Vec<Vec<String>>,
    /// From, to, what; and whether the same passes the other way.
    edges: Vec<(usize, usize, String, bool)>,
}

/// Where a subject is drawn: in its namespace, or outside of all.
fn place(name: &Name) -> (u8, Option<String>) {
    match name {
        Name::Workload(object) => (0, Some(object.namespace_str().to_owned())),
        Name::Node(_) => (1, None),
        Name::Outside(_) => (2, None),
    }
}

/// The view in which parties stay in their namespaces.
pub(super) fn in_place(view: &View) -> View {
    let first = |party: &tortie_connectivity::Party| place(&party.members[0].name);
    view.apart(place).merged(|a, b| first(a) == first(b))
}

impl Graph {
    pub(super) fn of(connectivity: &Connectivity, view: &View) -> Self {
        let names = Names::of(connectivity);
        let view = in_place(view);
        let mut places: Vec<(Option<String>, Vec<usize>)> = Vec::new();
        for (i, party) in view.parties.iter().enumerate() {
            let (_, namespace) = place(&party.members[0].name);
            match places.last_mut().filter(|(n, _)| *n == namespace && n.is_some()) {
                Some((_, parties)) => parties.push(i),
                None => places.push((namespace, vec![i])),
            }
        }
        let labels = (0..view.parties.len()).map(|i| names.parties(&view, &[i])).collect();
        let mut edges = Vec::new();
        for i in 0..view.parties.len() {
            for j in 0..view.parties.len() {
                let Some((set, partly)) = view.passing(i, j) else { continue };
                let both = i != j && view.passing(j, i) == Some((set, partly));
                if both && j < i {
                    continue;
                }
                let star = if partly { " (some pods)" } else { "" };
                edges.push((i, j, packets::words(&view.packets()[set as usize]) + star, both));
            }
        }
        Self { places, labels, edges }
    }

    /// A name within its namespace: the namespace is written around it.
    fn short(&self, party: usize, namespace: Option<&String>) -> Vec<String> {
        let within = |label: &String| match namespace.and_then(|n| label.strip_prefix(&format!("{n}/"))) {
            Some("*") => "all workloads".to_owned(),
            Some(name) => name.to_owned(),
            None => label.clone(),
        };
        self.labels[party].iter().map(within).collect()
    }

    pub(super) fn dot(&self) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut out =
            "digraph connectivity {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, \
                       fontname=\"Helvetica\"];\n  edge [fontname=\"Helvetica\", fontsize=10];\n"
                .to_owned();
        for (i, (namespace, parties)) in self.places.iter().enumerate() {
            if let Some(namespace) = namespace {
                let _ = writeln!(
                    out,
                    "  subgraph cluster_{i} {{\n    label=\"{}\"; style=filled; color=gray93;",
                    quoted(namespace)
                );
            }
            for party in parties {
                let label = quoted(&self.short(*party, namespace.as_ref()).join("\n")).replace('\n', "\\n");
                let style = if namespace.is_none() { ", fillcolor=gray97, style=\"filled,dashed\"" } else { "" };
                let _ = writeln!(out, "    p{party} [label=\"{label}\"{style}];");
            }
            if namespace.is_some() {
                out.push_str("  }\n");
            }
        }
        for (from, to, what, both) in &self.edges {
            let both = if *both { ", dir=both" } else { "" };
            let _ = writeln!(out, "  p{from} -> p{to} [label=\"{}\"{both}];", quoted(what));
        }
        out.push_str("}\n");
        out
    }

    pub(super) fn mermaid(&self) -> String {
        let quoted = |text: &str| text.replace('"', "#quot;");
        let mut out = "flowchart LR\n".to_owned();
        for (i, (namespace, parties)) in self.places.iter().enumerate() {
            if let Some(namespace) = namespace {
                let _ = writeln!(out, "  subgraph n{i}[\"{}\"]", quoted(namespace));
            }
            for party in parties {
                let label = quoted(&self.short(*party, namespace.as_ref()).join("<br>"));
                let _ = writeln!(out, "    p{party}[\"{label}\"]");
            }
            if namespace.is_some() {
                out.push_str("  end\n");
            }
        }
        for (from, to, what, both) in &self.edges {
            let arrow = if *both { "<-->" } else { "-->" };
            let _ = writeln!(out, "  p{from} {arrow}|\"{}\"| p{to}", quoted(what));
        }
        out
    }
}
