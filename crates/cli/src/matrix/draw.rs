//! Matrices as text.

use tortie_model::Family;

use super::axis::{Label, clip, head, length, widths};
use super::grid::{Grid, Kind};
use crate::terminal::{FAINT, STRONG, styled};

impl Grid {
    fn title(&self) -> String {
        let probes = self.probes.join(", ");
        let what = match self.kind {
            Kind::Inside => probes,
            Kind::Service => format!("{probes} through the address of a Service"),
            Kind::Outside => format!("{probes} beyond the cluster"),
            Kind::Dns => "names that resolve".to_owned(),
        };
        let families: Vec<&str> = self.families.iter().map(|f| Family::as_str(*f)).collect();
        format!("{}  {}", styled(STRONG, what), styled(FAINT, families.join(" and ")))
    }

    /// What the cells of each column need.
    fn least(&self) -> Vec<usize> {
        let of = |column: usize| {
            let cells = self.cells.iter().filter(|((_, c), _)| *c == column);
            cells.map(|(_, cell)| length(&cell.text(false).0)).max().unwrap_or(1)
        };
        (0..self.columns.len()).map(of).collect()
    }

    /// Widths of namespace and name of the rows.
    fn margin(&self) -> (usize, usize) {
        let namespace = self.rows.iter().map(|l| length(&l.namespace)).max().unwrap_or(0);
        let name = self.rows.iter().map(|l| length(&l.counted())).max().unwrap_or(0);
        (namespace.min(22), name.clamp(7, 26))
    }

    fn room(&self, width: usize) -> usize {
        let (namespace, name) = self.margin();
        width.saturating_sub(namespace + 1 + name + 2)
    }

    /// Whether it fits into a width as it is.
    pub(super) fn fits(&self, width: usize) -> bool {
        widths(&self.columns, &self.least(), self.room(width)).is_some()
    }

    /// Draws it. Where it does not fit, its columns are drawn in several bands.
    pub(super) fn draw(&self, width: usize, news: bool) -> String {
        let mut out = format!("{}\n", self.title());
        let (least, room) = (self.least(), self.room(width));
        let mut start = 0;
        while start < self.columns.len() {
            let fitting = (start + 1..=self.columns.len())
                .rev()
                .find_map(|end| Some((end, widths(&self.columns[start..end], &least[start..end], room)?)));
            let (end, widths) = fitting.unwrap_or_else(|| (start + 1, vec![room.max(4)]));
            if start > 0 {
                out.push('\n');
            }
            out.push_str(&self.band(start, &widths, news));
            start = end;
        }
        out
    }

    fn band(&self, start: usize, widths: &[usize], news: bool) -> String {
        let columns = &self.columns[start..start + widths.len()];
        let (namespace, name) = self.margin();
        let indent = namespace + 1 + name + 2;
        let mut out = String::new();
        if columns.iter().any(|c| !c.namespace.is_empty()) {
            let line = format!("{:indent$}{}", "", namespaces(columns, widths));
            out.push_str(&styled(FAINT, line.trim_end()));
            out.push('\n');
        }
        let names: Vec<String> = columns.iter().zip(widths).map(|(c, w)| pad(&clip(&c.name, *w), *w)).collect();
        let corner = pad("from \\ to", indent);
        out.push_str(&format!("{}{}\n", styled(FAINT, corner), names.join(" ").trim_end()));
        let mut last = "";
        for (r, row) in self.rows.iter().enumerate() {
            // The namespace stands once over its rows.
            let place = if row.namespace == last { "" } else { &row.namespace };
            last = &row.namespace;
            let label =
                format!("{} {}  ", pad(&head(place, namespace), namespace), pad(&clip(&row.counted(), name), name));
            out.push_str(&label);
            let mut gap = 0;
            for (c, width) in widths.iter().enumerate() {
                let at = (r, start + c);
                let (text, style) = match self.cells.get(&at) {
                    Some(cell) => cell.text(news),
                    None if self.selves.contains(&at) => ("·".to_owned(), FAINT),
                    None => (String::new(), FAINT),
                };
                if text.is_empty() {
                    gap += width + 1;
                    continue;
                }
                out.push_str(&" ".repeat(gap));
                out.push_str(&styled(style, &text));
                gap = (width + 1).saturating_sub(length(&text));
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        out
    }
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(length(text))))
}

/// Each namespace over its columns.
fn namespaces(columns: &[Label], widths: &[usize]) -> String {
    let mut out = String::new();
    let mut i = 0;
    while i < columns.len() {
        let same = columns[i..].iter().take_while(|c| c.namespace == columns[i].namespace).count();
        let span = widths[i..i + same].iter().map(|w| w + 1).sum::<usize>() - 1;
        out.push_str(&pad(&head(&columns[i].namespace, span), span + 1));
        i += same;
    }
    out
}
