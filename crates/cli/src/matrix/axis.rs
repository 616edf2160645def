//! Rows and columns: who they are, how they are grouped, and how their names are cut to fit.

use std::collections::{BTreeMap, BTreeSet};

/// How endpoints are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Every endpoint by itself.
    Single,
    /// Pods of one workload together.
    Workload,
    /// Pods of one namespace together.
    Namespace,
}

/// A name in two parts, of which the first stands over several.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Label {
    /// Outside the cluster, or a name to be resolved: these come last.
    beyond: bool,
    /// Namespace; empty for what lives in none.
    pub(super) namespace: String,
    pub(super) name: String,
    /// How many endpoints it stands for.
    pub(super) members: usize,
}

impl Label {
    /// The name; groups say how many they are.
    pub(super) fn counted(&self) -> String {
        if self.members > 1 { format!("{} ({})", self.name, self.members) } else { self.name.clone() }
    }
}

/// Workloads by endpoint: `prod/web-1` to `prod/Deployment/web`.
pub(crate) type Workloads = BTreeMap<String, String>;

/// The label of an endpoint at a level, before members are counted.
fn key(endpoint: &str, level: Level, workloads: &Workloads) -> Label {
    let (namespace, name) = match endpoint.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => ("", endpoint.strip_prefix("dns:").unwrap_or(endpoint)),
    };
    let beyond = namespace.is_empty();
    if level == Level::Namespace && !beyond && namespace != "node" {
        return Label { beyond, namespace: String::new(), name: namespace.to_owned(), members: 0 };
    }
    let name = match (level, workloads.get(endpoint)) {
        (Level::Workload, Some(workload)) => workload.rsplit('/').next().unwrap_or(workload),
        _ => name,
    };
    Label { beyond, namespace: namespace.to_owned(), name: name.to_owned(), members: 0 }
}

/// Labels of endpoints at a level, sorted, and the place of each endpoint among them.
pub(super) fn labels<'e>(
    endpoints: impl IntoIterator<Item = &'e str>,
    level: Level,
    workloads: &Workloads,
) -> (Vec<Label>, BTreeMap<&'e str, usize>) {
    let mut members: BTreeMap<Label, BTreeSet<&str>> = BTreeMap::new();
    for endpoint in endpoints {
        members.entry(key(endpoint, level, workloads)).or_default().insert(endpoint);
    }
    let mut places = BTreeMap::new();
    let mut labels = Vec::with_capacity(members.len());
    for (i, (label, members)) in members.into_iter().enumerate() {
        places.extend(members.iter().map(|m| (*m, i)));
        labels.push(Label { members: members.len(), ..label });
    }
    (labels, places)
}

/// Characters of a text.
pub(super) fn length(text: &str) -> usize {
    text.chars().count()
}

/// A name cut to a width in the middle, so that the number at its end stays.
pub(super) fn clip(name: &str, width: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= width {
        return name.to_owned();
    }
    let room = width.saturating_sub(1);
    let head = (room * 2).div_ceil(3);
    let tail = room - head;
    letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect()
}

/// Narrower than this, a name means nothing.
const NARROWEST: usize = 4;

/// Widths of columns that fit into `room`, one space between them: as wide as can be, and names that are cut still
/// differ within their namespace. `least` is what the cells of each column need.
pub(super) fn widths(labels: &[Label], least: &[usize], room: usize) -> Option<Vec<usize>> {
    let natural: Vec<usize> = labels.iter().zip(least).map(|(l, n)| length(&l.name).max(*n)).collect();
    let widest = natural.iter().copied().max().unwrap_or(0);
    let mut found: Vec<usize> = (NARROWEST.min(widest)..=widest).rev().find_map(|cap| {
        let widths: Vec<usize> = natural.iter().zip(least).map(|(n, least)| (*n).min(cap).max(*least)).collect();
        let fits = widths.iter().map(|w| w + 1).sum::<usize>() <= room + 1;
        let mut seen = BTreeSet::new();
        let distinct = labels.iter().zip(&widths).all(|(l, w)| seen.insert((&l.namespace, clip(&l.name, *w))));
        (fits && distinct).then_some(widths)
    })?;
    // What is left over goes to the names that were cut.
    let mut left = (room + 1).saturating_sub(found.iter().map(|w| w + 1).sum());
    while left > 0 {
        let Some(cut) = (0..found.len()).filter(|i| found[*i] < natural[*i]).min_by_key(|i| found[*i]) else { break };
        found[cut] += 1;
        left -= 1;
    }
    // And then to namespaces that are longer than their columns.
    let mut i = 0;
    while i < labels.len() {
        let same = labels[i..].iter().take_while(|l| l.namespace == labels[i].namespace).count();
        let span = found[i..i + same].iter().map(|w| w + 1).sum::<usize>() - 1;
        let more = length(&labels[i].namespace).saturating_sub(span).min(left);
        found[i + same - 1] += more;
        left -= more;
        i += same;
    }
    Some(found)
}

/// A name cut at its end.
pub(super) fn head(name: &str, width: usize) -> String {
    if length(name) <= width {
        return name.to_owned();
    }
    name.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_name_keeps_its_end() {
        assert_eq!(clip("trouble1", 4), "tr…1");
        assert_eq!(clip("coredns-2", 6), "core…2");
        assert_eq!(clip("web", 4), "web");
    }

    #[test]
    fn groups_say_how_many_they_are() {
        let workloads: Workloads =
            [("a/web-1", "a/Deployment/web"), ("a/web-2", "a/Deployment/web"), ("b/db-0", "b/StatefulSet/db")]
                .map(|(e, w)| (e.to_owned(), w.to_owned()))
                .into();
        let all = ["a/web-1", "a/web-2", "a/tool", "b/db-0", "internet", "node/n1"];
        let shown = |level| {
            let (labels, _) = labels(all, level, &workloads);
            labels.into_iter().map(|l| format!("{}/{}", l.namespace, l.counted())).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(Level::Single), "a/tool a/web-1 a/web-2 b/db-0 node/n1 /internet");
        assert_eq!(shown(Level::Workload), "a/tool a/web (2) b/db node/n1 /internet");
        assert_eq!(shown(Level::Namespace), "/a (3) /b node/n1 /internet");
    }
}
