//! JSON and CSV.

use std::collections::BTreeMap;
use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use tortie_connectivity::{Connectivity, Name, Selection, View, WayIn, packets};
use tortie_model::{IpProtocol, Protocol};
use tortie_policy::Regions;

/// A pair between which something passes.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Line<'p> {
    /// Who sends.
    pub(super) src: &'p Party,
    /// Who is sent it.
    pub(super) dst: &'p Party,
    /// Ports that pass, by protocol.
    pub(super) allowed: Ports,
    /// Protocols without ports that pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) others: Option<Others>,
    /// Some pods or addresses of the pair only; left out where it holds for all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) partly: bool,
    /// An opening to pods that are not there, by the policies of one end alone (`--exposure`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exposure: Option<super::exposure::Line>,
}

/// An end: `ns/Kind/name`, `node/NAME`, a range of addresses `FIRST-LAST`, a way in, or, with `--by class`, all that
/// policies do not tell apart.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Party {
    /// One.
    One(String),
    /// All of a class.
    Class(Vec<String>),
}

impl Party {
    /// A field of CSV.
    fn field(&self) -> String {
        match self {
            Self::One(name) => field(name),
            Self::Class(names) => field(&names.join(" ")),
        }
    }
}

/// First and last port, or for ICMP first and last `type * 256 + code`.
type Range = [u16; 2];

/// Ranges of ports by protocol; a protocol of which nothing passes is left out.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct Ports {
    #[serde(rename = "TCP", skip_serializing_if = "Vec::is_empty")]
    tcp: Vec<Range>,
    #[serde(rename = "UDP", skip_serializing_if = "Vec::is_empty")]
    udp: Vec<Range>,
    #[serde(rename = "SCTP", skip_serializing_if = "Vec::is_empty")]
    sctp: Vec<Range>,
}

/// Protocols without ports by name or number; `*` stands for all that are not named.
pub(crate) type Others = BTreeMap<String, Other>;

/// What of a protocol without ports passes.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Other {
    /// All of it, or nothing.
    Whole(bool),
    /// Of ICMP, these ranges of `type * 256 + code`.
    Types(Vec<Range>),
}

/// A set of packets by itself.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Packets {
    /// Ports by protocol.
    #[serde(flatten)]
    ports: Ports,
    /// Protocols without ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<Others>,
}

/// What a pair is called, and what passes.
struct Pair<'p> {
    from: &'p Party,
    to: &'p Party,
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
        let (from, to) = (Party::One(way.name().to_string()), Party::One(way.to.to_string()));
        act(&Pair { from: &from, to: &to, packets: &way.packets, partly: false })?;
    }
    let subjects = connectivity.subjects();
    let called = |name: &Name| -> Vec<Party> { names(name).into_iter().map(Party::One).collect() };
    let all: Vec<Vec<Party>> = subjects.iter().map(|s| called(&s.name)).collect();
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
            for (from, to) in all[i].iter().flat_map(|a| all[j].iter().map(move |b| (a, b))) {
                act(&Pair { from, to, packets: &set, partly })?;
            }
        }
    }
    Ok(())
}

/// Calls back for each pair of classes between which something passes.
fn classes(view: &View, mut act: impl FnMut(&Pair<'_>) -> io::Result<()>) -> io::Result<()> {
    let called = |i: usize| {
        let members = &view.parties[i].members;
        Party::Class(members.iter().flat_map(|m| names(&m.name)).collect())
    };
    let all: Vec<Party> = (0..view.parties.len()).map(called).collect();
    for (i, from) in all.iter().enumerate() {
        for (j, to) in all.iter().enumerate() {
            if let Some((set, partly)) = view.passing(i, j) {
                let packets = &view.packets()[set as usize];
                act(&Pair { from, to, packets, partly })?;
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

    /// A line a pair.
    pub(super) fn json(&self, out: &mut impl Write, progress: impl FnMut(usize, usize)) -> io::Result<()> {
        self.each(progress, |pair| {
            let line = Line { partly: pair.partly, ..Line::of(pair.from, pair.to, pair.packets) };
            serde_json::to_writer(&mut *out, &line)?;
            writeln!(out)
        })
    }

    /// A line a pair and protocol.
    pub(super) fn csv(&self, out: &mut impl Write, progress: impl FnMut(usize, usize)) -> io::Result<()> {
        writeln!(out, "src,dst,protocol,ports")?;
        self.each(progress, |pair| {
            let (from, to) = (pair.from.field(), pair.to.field());
            for (protocol, ports) in by_protocol(pair.packets) {
                writeln!(out, "{from},{to},{protocol},{}", field(&ports))?;
            }
            Ok(())
        })
    }
}

impl<'p> Line<'p> {
    /// The whole pair.
    pub(super) fn of(src: &'p Party, dst: &'p Party, set: &Regions<bool>) -> Self {
        Self { src, dst, allowed: ports(set), others: others(set), partly: false, exposure: None }
    }
}

impl Packets {
    /// What is in a set.
    pub(crate) fn of(set: &Regions<bool>) -> Self {
        Self { ports: ports(set), others: others(set) }
    }
}

fn ranges(set: &Regions<bool>, protocol: IpProtocol) -> Vec<Range> {
    packets::ranges(set, protocol).iter().map(|r| [*r.start(), *r.end()]).collect()
}

fn ports(set: &Regions<bool>) -> Ports {
    let of = |protocol: Protocol| ranges(set, protocol.into());
    Ports { tcp: of(Protocol::Tcp), udp: of(Protocol::Udp), sctp: of(Protocol::Sctp) }
}

/// Nothing where nothing passes.
fn others(set: &Regions<bool>) -> Option<Others> {
    let mut out = Others::new();
    for (protocol, _) in set.protocols().filter(|(p, _)| p.transport().is_none()) {
        let ranges = ranges(set, protocol);
        let other = if protocol.is_icmp() { Other::Types(ranges) } else { Other::Whole(!ranges.is_empty()) };
        out.insert(protocol.to_string(), other);
    }
    if *set.rest() {
        out.insert("*".to_owned(), Other::Whole(true));
    }
    let passes = |other: &Other| match other {
        Other::Whole(whole) => *whole,
        Other::Types(ranges) => !ranges.is_empty(),
    };
    out.values().any(passes).then_some(out)
}

/// Protocols with their ports in words; one line where everything passes.
pub(super) fn by_protocol(set: &Regions<bool>) -> Vec<(String, String)> {
    if packets::words(set) == "everything" {
        return vec![("any".to_owned(), "all".to_owned())];
    }
    let mut out = Vec::new();
    let listed: Vec<_> = set.protocols().map(|(p, _)| p).collect();
    let transport = Protocol::ALL.map(IpProtocol::from).into_iter().filter(|p| !listed.contains(p));
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
pub(super) fn field(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
