//! A picture for documents: senders down, receivers across, a colour for what passes.
//!
//! A matrix and not a drawing of arrows: it stays legible however many arrows there were, and no label can lie on
//! another.

use std::fmt::Write as _;

use tortie_connectivity::{Cell, Connectivity, View, packets};

use super::graph::{Graph, in_place};
use super::names::Names;

const CELL: f64 = 26.0;
/// Between namespaces.
const GAP: f64 = 10.0;
const EDGE: f64 = 24.0;
const LINE: f64 = 22.0;
/// Width of a letter of a label, at most on average.
const LETTER: f64 = 6.8;
/// Names longer than this are cut; pointing at them shows all.
const LONGEST: usize = 36;

const NOTHING: &str = "#eef1f4";
const EVERYTHING: &str = "#2e7d4f";
/// For sets of packets, in the order of their first use; the last is for all that are left.
const COLOURS: [&str; 8] = ["#3d6fa5", "#d9822b", "#7d5ba6", "#1798a6", "#c2557f", "#8a6d3b", "#5c6f2b", "#5b6b7a"];

const STYLE: &str = "\
    text { font-family: Helvetica, Arial, sans-serif; font-size: 12px; fill: #1f2933; }
    .title { font-size: 16px; font-weight: bold; }
    .note { fill: #616e7c; }
    .place { font-weight: bold; }
    .sign { fill: #ffffff; font-weight: bold; text-anchor: middle; }
    .none { fill: #9aa5b1; text-anchor: middle; }";

/// The parties along a side of the matrix.
struct Axis {
    /// Parties, and where each begins.
    places: Vec<(usize, f64)>,
    /// Where a line separates namespaces.
    lines: Vec<f64>,
    length: f64,
}

impl Axis {
    fn of(parties: &[usize], graph: &Graph) -> Self {
        let mut axis = Self { places: Vec::new(), lines: Vec::new(), length: 0.0 };
        for (_, members) in &graph.places {
            let here: Vec<usize> = members.iter().copied().filter(|p| parties.contains(p)).collect();
            if here.is_empty() {
                continue;
            }
            if axis.length > 0.0 {
                axis.lines.push(axis.length + GAP / 2.0);
                axis.length += GAP;
            }
            for party in here {
                axis.places.push((party, axis.length));
                axis.length += CELL;
            }
        }
        axis
    }

    /// The longest label.
    fn room(&self, labels: &[(String, String)]) -> f64 {
        let longest = self.places.iter().map(|(party, _)| labels[*party].0.chars().count()).max();
        LETTER * longest.unwrap_or(0) as f64
    }
}

/// A set of packets in the picture.
struct Look {
    fill: &'static str,
    sign: String,
    words: String,
}

/// Draws what passes between parties; those of a namespace that differ in nothing are one.
pub(super) fn draw(connectivity: &Connectivity, view: &View) -> String {
    let graph = Graph::of(connectivity, view);
    let view = in_place(view);
    Picture::new(&graph, &view, &Names::of(connectivity)).draw()
}

struct Picture<'p> {
    view: &'p View,
    labels: Vec<(String, String)>,
    rows: Axis,
    columns: Axis,
    looks: Vec<Look>,
    partly: bool,
}

impl<'p> Picture<'p> {
    fn new(graph: &Graph, view: &'p View, names: &Names) -> Self {
        let n = view.parties.len();
        let (senders, receivers) = view.axes();
        let [rows, columns] = [senders, receivers].map(|parties| Axis::of(&parties, graph));
        let label = |i: usize| {
            let names = names.parties(view, &[i]);
            let more = if names.len() > 1 { format!(" +{}", names.len() - 1) } else { String::new() };
            let first = clip(names.first().map_or("", String::as_str), LONGEST - more.len());
            (first + &more, names.join(", "))
        };
        let (looks, partly) = looks(view);
        Self { view, labels: (0..n).map(label).collect(), rows, columns, looks, partly }
    }

    fn draw(&self) -> String {
        let left = EDGE + self.rows.room(&self.labels) + 10.0;
        // Names of columns lean to the right by half a right angle.
        let lean = self.columns.room(&self.labels) * std::f64::consts::FRAC_1_SQRT_2;
        let top = EDGE + LINE * 2.0 + lean + 12.0;
        let mut legend: Vec<&Look> = self.looks.iter().filter(|l| !l.sign.is_empty()).collect();
        legend.sort_by_key(|look| (look.fill != EVERYTHING, look.sign.len(), look.sign.clone()));
        let rows = legend.len() + 2 + usize::from(self.partly);
        let widest = legend.iter().map(|l| l.words.chars().count()).max().unwrap_or(0).max(48);
        let width = (left + self.columns.length + lean).max(EDGE + 40.0 + LETTER * widest as f64) + EDGE;
        let height = top + self.rows.length + LINE * (rows as f64 + 0.5) + EDGE;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} \
             {height:.0}\" role=\"img\">\n  <title>Who can talk to whom</title>\n  <style>\n{STYLE}\n  </style>\n  \
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        let _ = writeln!(out, "  <text class=\"title\" x=\"{EDGE}\" y=\"{}\">Who can talk to whom</text>", EDGE + 12.0);
        let _ = writeln!(
            out,
            "  <text class=\"note\" x=\"{EDGE}\" y=\"{}\">Rows send, columns are reached.</text>",
            EDGE + 12.0 + LINE
        );
        self.lines(&mut out, left, top);
        for (i, offset) in &self.rows.places {
            let (label, all) = self.label(*i);
            let _ = writeln!(
                out,
                "  <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}<title>{all}</title></text>",
                left - 10.0,
                top + offset + CELL / 2.0 + 4.0
            );
        }
        for (j, offset) in &self.columns.places {
            let (label, all) = self.label(*j);
            let (x, y) = (left + offset + CELL / 2.0 + 4.0, top - 8.0);
            let _ = writeln!(
                out,
                "  <text transform=\"translate({x:.1} {y:.1}) rotate(-45)\">{label}<title>{all}</title></text>"
            );
        }
        for (i, y) in &self.rows.places {
            for (j, x) in &self.columns.places {
                self.cell(&mut out, (*i, *j), left + x, top + y);
            }
        }
        self.legend(&mut out, &legend, top + self.rows.length + LINE);
        out.push_str("</svg>\n");
        out
    }

    fn label(&self, party: usize) -> (String, String) {
        let (label, all) = &self.labels[party];
        (escaped(label), escaped(all))
    }

    /// Faint lines between namespaces.
    fn lines(&self, out: &mut String, left: f64, top: f64) {
        let (right, bottom) = (left + self.columns.length, top + self.rows.length);
        let mut line = |x1: f64, y1: f64, x2: f64, y2: f64| {
            let _ = writeln!(
                out,
                "  <line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#cbd2d9\"/>"
            );
        };
        self.rows.lines.iter().for_each(|at| line(left - 6.0, top + at, right, top + at));
        self.columns.lines.iter().for_each(|at| line(left + at, top - 6.0, left + at, bottom));
    }

    fn cell(&self, out: &mut String, (i, j): (usize, usize), x: f64, y: f64) {
        let (centre, base) = (x + CELL / 2.0, y + CELL / 2.0 + 4.0);
        let (set, partly) = match self.view.cell(i, j) {
            Cell::Passes { set, partly } => (set, partly),
            Cell::Itself | Cell::Unasked => {
                let _ = writeln!(out, "  <text class=\"none\" x=\"{centre:.1}\" y=\"{base:.1}\">–</text>");
                return;
            }
        };
        let look = &self.looks[set as usize];
        let title = format!("{} → {}: {}", self.labels[i].1, self.labels[j].1, look.words);
        let _ = writeln!(
            out,
            "  <rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\" fill=\"{}\"><title>{}</title></rect>",
            x + 1.5,
            y + 1.5,
            CELL - 3.0,
            CELL - 3.0,
            look.fill,
            escaped(&title)
        );
        if !look.sign.is_empty() {
            let star = if partly { "*" } else { "" };
            let _ =
                writeln!(out, "  <text class=\"sign\" x=\"{centre:.1}\" y=\"{base:.1}\">{}{star}</text>", look.sign);
        }
    }

    fn legend(&self, out: &mut String, looks: &[&Look], top: f64) {
        let nothing = Look { fill: NOTHING, sign: String::new(), words: "nothing".to_owned() };
        for (i, look) in looks.iter().copied().chain([&nothing]).enumerate() {
            let y = top + LINE * i as f64;
            let _ = writeln!(
                out,
                "  <rect x=\"{EDGE}\" y=\"{y:.1}\" width=\"18\" height=\"18\" rx=\"3\" fill=\"{}\"/>",
                look.fill
            );
            let _ = writeln!(
                out,
                "  <text class=\"sign\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                EDGE + 9.0,
                y + 13.0,
                look.sign
            );
            let _ =
                writeln!(out, "  <text x=\"{:.1}\" y=\"{:.1}\">{}</text>", EDGE + 28.0, y + 13.0, escaped(&look.words));
        }
        let mut y = top + LINE * (looks.len() as f64 + 1.0) + 13.0;
        let _ = writeln!(
            out,
            "  <text class=\"none\" x=\"{:.1}\" y=\"{y:.1}\">–</text>\n  <text x=\"{:.1}\" y=\"{y:.1}\">not asked: a pod \
             with itself, the world with itself</text>",
            EDGE + 9.0,
            EDGE + 28.0
        );
        if self.partly {
            y += LINE;
            let _ = writeln!(
                out,
                "  <text x=\"{:.1}\" y=\"{y:.1}\">*</text>\n  <text x=\"{:.1}\" y=\"{y:.1}\">for some of its pods or \
                 addresses only</text>",
                EDGE + 6.0,
                EDGE + 28.0
            );
        }
    }
}

/// How each set of a view looks, in the order of their first use; and whether anything holds partly.
fn looks(view: &View) -> (Vec<Look>, bool) {
    let mut looks: Vec<Look> = view
        .packets()
        .iter()
        .map(|set| Look { fill: NOTHING, sign: String::new(), words: packets::words(set) })
        .collect();
    let mut used = 0;
    let mut partly = false;
    let n = view.parties.len();
    for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let Some((set, some)) = view.passing(i, j) else { continue };
        partly |= some;
        let look = &mut looks[set as usize];
        if !look.sign.is_empty() {
            continue;
        }
        if look.words == "everything" {
            (look.fill, look.sign) = (EVERYTHING, "✓".to_owned());
            continue;
        }
        look.fill = COLOURS[used.min(COLOURS.len() - 1)];
        look.sign = letter(used);
        used += 1;
    }
    (looks, partly)
}

/// `a`, `b`, … `z`, `a1`, `b1`, …
fn letter(n: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(n % 26).expect("below 26"));
    if n < 26 { letter.to_string() } else { format!("{letter}{}", n / 26) }
}

fn clip(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
