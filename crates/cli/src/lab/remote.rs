//! Commands that speak with a lab in another process.

use std::fmt::Write;

use tortie_lab::control::{Connection, Probed, Reply, Request, Status as Report};
use tortie_lab::exec::enter_and_exec;

use super::arguments::{Down, Exec, Probe, Status, Which};
use super::lost;
use crate::arguments::Format;
use crate::failure::{Failure, Outcome};
use crate::progress::during;
use crate::terminal::{self, ALLOW, DENY, FAINT, STRONG, WARN, styled};

pub(crate) fn ask(which: &Which, request: &Request) -> Result<Reply, Failure> {
    let mut connection = Connection::open(&which.name).map_err(Failure::message)?;
    connection.ask(request).map_err(Failure::message)
}

/// The same of what can take long. Not for who enters namespaces afterwards.
pub(crate) fn ask_patiently(which: &Which, what: &str, request: &Request) -> Result<Reply, Failure> {
    during(what, || ask(which, request))
}

/// A lab of another version of tortie.
pub(crate) fn unexpected() -> Failure {
    Failure::Message("this lab is of another version of tortie: end it with `tortie lab down`".to_owned())
}

pub(crate) fn status(arguments: &Status) -> Result<Outcome, Failure> {
    let Reply::Status(report) = ask(&arguments.which, &Request::Status)? else { return Err(unexpected()) };
    match arguments.output {
        Format::Json => {
            let json = serde_json::to_string_pretty(&report).expect("a report is plain data");
            terminal::print(&format!("{json}\n"))?;
        }
        Format::Text => terminal::print(&table(&report))?,
    }
    Ok(Outcome::Fine)
}

fn table(report: &Report) -> String {
    let mut rows: Vec<[String; 4]> = Vec::new();
    let list = |addresses: &[std::net::IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let head = |name: &str, a: &str, b: &str| [name.to_owned(), a.to_owned(), b.to_owned(), String::new()];
    rows.push(head("NODE", "ADDRESSES", "PROBLEMS"));
    for node in &report.nodes {
        let problems = node.problems.iter().cloned().chain(lost::brief(&node.lost)).collect::<Vec<_>>();
        rows.push([node.name.clone(), list(&node.addresses), problems.join("; "), String::new()]);
    }
    rows.push(<[String; 4]>::default());
    rows.push(["POD".to_owned(), "ADDRESSES".to_owned(), "NODE".to_owned(), "LABELS".to_owned()]);
    for pod in &report.pods {
        let name = format!("{}/{}", pod.namespace, pod.name);
        rows.push([name, list(&pod.addresses), pod.node.clone(), pod.labels.join(",")]);
    }
    rows.push(<[String; 4]>::default());
    rows.push(head("SERVICE", "ADDRESSES", "PODS"));
    for service in &report.services {
        let name = format!("{}/{}", service.namespace, service.name);
        rows.push([name, list(&service.addresses), service.backends.join(" "), String::new()]);
    }
    let mut out = String::new();
    let mut begin = 0;
    while begin < rows.len() {
        let end = rows[begin..].iter().position(|r| r[0].is_empty()).map_or(rows.len(), |n| begin + n);
        let widths: [usize; 4] =
            std::array::from_fn(|c| rows[begin..end].iter().map(|r| r[c].chars().count()).max().unwrap_or(0));
        for row in &rows[begin..end] {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out.push('\n');
        begin = end + 1;
    }
    match report.policies.as_slice() {
        [] => out.push_str("no policies\n"),
        policies => {
            let _ = writeln!(out, "POLICIES\n{}", policies.join("\n"));
        }
    }
    if let Some(dry_run) = &report.dry_run {
        let lines: Vec<&str> = dry_run.changes.iter().chain(&dry_run.problems).map(String::as_str).collect();
        let _ = writeln!(out, "\nDRY RUN (not enforced)\n{}", lines.join("\n"));
    }
    out
}

pub(crate) fn probe(arguments: &Probe) -> Result<Outcome, Failure> {
    let (from, to, probe) = (arguments.from.clone(), arguments.to.clone(), arguments.probe.clone());
    let request = Request::Probe { from, to, probe };
    let Reply::Probed(probed) = ask_patiently(&arguments.which, "sending packets", &request)? else {
        return Err(unexpected());
    };
    for one in &probed {
        let line = match arguments.output {
            Format::Json => serde_json::to_string(one).expect("a probe is plain data"),
            Format::Text => sentence(one),
        };
        terminal::print(&format!("{line}\n"))?;
    }
    Ok(Outcome::findings_if(probed.iter().any(|p| p.kernel != p.engine)))
}

fn sentence(probed: &Probed) -> String {
    let Probed { family, from, to, probe, kernel, engine, detail, ms } = probed;
    let style = match kernel.as_str() {
        "allow" => ALLOW,
        "deny" => DENY,
        _ => WARN,
    };
    let arrow = if to.is_empty() { String::new() } else { format!(" -> {to}") };
    let time = ms.map_or_else(String::new, |ms| format!("; {ms} ms"));
    let disagrees =
        if kernel == engine { String::new() } else { format!("; the engine says {}", styled(STRONG, engine)) };
    let detail = styled(FAINT, format_args!("({detail}{time})"));
    format!("{} {family} {from}{arrow} {probe} {detail}{disagrees}", styled(style, format_args!("{kernel:5}")))
}

pub(crate) fn exec(arguments: &Exec) -> Result<Outcome, Failure> {
    let request = Request::Enter { place: arguments.place.clone() };
    let Reply::Enter(spec) = ask(&arguments.which, &request)? else { return Err(unexpected()) };
    Err(Failure::message(enter_and_exec(&spec, &arguments.command)))
}

pub(crate) fn down(arguments: &Down) -> Result<Outcome, Failure> {
    ask(&arguments.which, &Request::Down)?;
    terminal::say(format_args!("lab {} is down", arguments.which.name));
    Ok(Outcome::Fine)
}
