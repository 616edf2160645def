//! JSON and CSV.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use tortie_connectivity::{Connectivity, Name, Selection, View, WayIn, packets};
use tortie_model::Protocol;
use tortie_policy::Regions;

/// What a pair is called, and what passes.
struct Pair<'p> {
    from: Value,
    to: Value,
    packets: &'p Regions<bool>,
    partly: bool,
}

/// The names of a subject: of the world, one for each range of addresses.
fn names(name: &Name) -> Vec<String> {
    match name {
        Name::Outside(addresses) => addresses.ranges().map(|(first, last)| format!("{first}-{last}")).collect(),
        Name::Workload(_) | Name::Node(_) => vec![name.to_string()],
    }
}

/// Calls back for each chosen pair of subjects between which something passes.
fn pairs(
    connectivity: &Connectivity,
    selection: &Selection,
    ways: &[WayIn],
    mut progress: impl FnMut(usize, usize),
    mut act: impl FnMut(&Pair<'_>) -> io::Result<()>,
) -> io::Result<()> {
    for way in ways {
        let (from, to) = (json!(way.name().to_string()), json!(way.to.to_string()));
        act(&Pair { from, to, packets: &way.packets, partly: false })?;
    }
    let subjects = connectivity.subjects();
    let all: Vec<Vec<String>> = subjects.iter().map(|s| names(&s.name)).collect();
    for (i, from) in subjects.iter().enumerate() {
        progress(i, subjects.len());
        if !subjects.iter().any(|to| selection.takes(&from.name, &to.name)) {
            continue;
        }
        for (j, (to, set)) in subjects.iter().zip(connectivity.row(i)).enumerate() {
            let itself = i == j && matches!(&from.name, Name::Workload(o) if o.kind == tortie_model::Kind::Pod);
            if itself || !packets::any(&set) || !selection.takes(&from.name, &to.name) {
                continue;
            }
            let partly = !(from.is_uniform() && to.is_uniform()) && connectivity.allowed_to_all(i, j) != set;
            for (a, b) in all[i].iter().flat_map(|a| all[j].iter().map(move |b| (a, b))) {
                act(&Pair { from: json!(a), to: json!(b), packets: &set, partly })?;
            }
        }
    }
    Ok(())
}

/// Calls back for each pair of classes between which something passes.
fn classes(view: &View, mut act: impl FnMut(&Pair<'_>) -> io::Result<()>) -> io::Result<()> {
    let called = |i: usize| -> Value {
        let members = &view.parties[i].members;
        members.iter().flat_map(|m| names(&m.name)).collect::<Vec<_>>().into()
    };
    let all: Vec<Value> = (0..view.parties.len()).map(called).collect();
    for (i, from) in all.iter().enumerate() {
        for (j, to) in all.iter().enumerate() {
            if let Some((set, partly)) = view.passing(i, j) {
                let packets = &view.packets()[set as usize];
                act(&Pair { from: from.clone(), to: to.clone(), packets, partly })?;
            }
        }
    }
    Ok(())
}

/// What is written, and in which form.
pub(super) enum Source<'s> {
    /// Pairs of subjects, and ways into the cluster.
    Subjects(&'s Connectivity, &'s Selection, &'s [WayIn]),
    /// Pairs of classes of equal pods.
    Classes(&'s View),
}

impl Source<'_> {
    fn each(&self, progress: impl FnMut(usize, usize), act: impl FnMut(&Pair<'_>) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Subjects(connectivity, selection, ways) => pairs(connectivity, selection, ways, progress, act),
            Self::Classes(view) => classes(view, act),
        }
    }

    /// A line a pair: `{"src","dst","allowed":{"TCP":[[80,80]]}}`, with `"others"` where protocols without ports pass,
    /// and `"partly":true` where that holds for some pods or addresses only.
    pub(super) fn json(&self, out: &mut impl Write, progress: impl FnMut(usize, usize)) -> io::Result<()> {
        self.each(progress, |pair| {
            let mut object = row(&pair.from, &pair.to, pair.packets);
            if pair.partly {
                object["partly"] = true.into();
            }
            writeln!(out, "{object}")
        })
    }

    /// A line a pair and protocol.
    pub(super) fn csv(&self, out: &mut impl Write, progress: impl FnMut(usize, usize)) -> io::Result<()> {
        writeln!(out, "src,dst,protocol,ports")?;
        self.each(progress, |pair| {
            let (from, to) = (field(&pair.from), field(&pair.to));
            for (protocol, ports) in by_protocol(pair.packets) {
                writeln!(out, "{from},{to},{protocol},{}", field(&Value::String(ports)))?;
            }
            Ok(())
        })
    }
}

/// A row of JSON.
pub(super) fn row(from: &Value, to: &Value, set: &Regions<bool>) -> Value {
    let mut object = json!({"src": from, "dst": to, "allowed": allowed(set)});
    if let Some(others) = others(set) {
        object["others"] = others;
    }
    object
}

/// A set by itself: ports by protocol, and the protocols without ports as `others`.
pub(crate) fn set(set: &Regions<bool>) -> Value {
    let mut object = allowed(set);
    if let Some(others) = others(set) {
        object["others"] = others;
    }
    object
}

/// Ports by protocol.
fn allowed(set: &Regions<bool>) -> Value {
    let mut out = Map::new();
    for protocol in Protocol::ALL {
        let ranges: Vec<Value> =
            packets::ranges(set, protocol.into()).iter().map(|r| json!([r.start(), r.end()])).collect();
        if !ranges.is_empty() {
            out.insert(protocol.to_string(), ranges.into());
        }
    }
    out.into()
}

/// Protocols without ports: ranges of `type << 8 | code` for ICMP, `true` for others, and `*` for all that no other
/// member names.
fn others(set: &Regions<bool>) -> Option<Value> {
    let mut out = Map::new();
    for (protocol, _) in set.protocols().filter(|(p, _)| p.transport().is_none()) {
        let ranges = packets::ranges(set, protocol);
        let value = if protocol.is_icmp() {
            ranges.iter().map(|r| json!([r.start(), r.end()])).collect()
        } else {
            Value::Bool(!ranges.is_empty())
        };
        out.insert(protocol.to_string(), value);
    }
    if *set.rest() {
        out.insert("*".to_owned(), true.into());
    }
    out.values().any(|v| *v != json!([]) && *v != json!(false)).then(|| out.into())
}

/// Protocols with their ports in words; one line where everything passes.
pub(super) fn by_protocol(set: &Regions<bool>) -> Vec<(String, String)> {
    if packets::words(set) == "everything" {
        return vec![("any".to_owned(), "all".to_owned())];
    }
    let mut out = Vec::new();
    let listed: Vec<_> = set.protocols().map(|(p, _)| p).collect();
    let transport = Protocol::ALL.map(tortie_model::IpProtocol::from).into_iter().filter(|p| !listed.contains(p));
    for protocol in listed.iter().copied().chain(transport.filter(|_| *set.rest())) {
        let ranges = packets::ranges(set, protocol);
        if ranges == [protocol.details()] {
            out.push((protocol.to_string(), "all".to_owned()));
        } else if !ranges.is_empty() {
            let text = |r: &std::ops::RangeInclusive<u16>| match (r.start(), r.end()) {
                (a, b) if a == b => a.to_string(),
                (a, b) => format!("{a}-{b}"),
            };
            out.push((protocol.to_string(), ranges.iter().map(text).collect::<Vec<_>>().join(",")));
        }
    }
    if *set.rest() {
        out.push(("others".to_owned(), "all".to_owned()));
    }
    out
}

/// A field of CSV, quoted where it must be.
pub(super) fn field(value: &Value) -> String {
    let text = match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
