//! `tortie lab verify`.

use std::fmt::Write;

use tortie_lab::control::{BlameLine, NodeVerified, PolicyPlace, Reply, Request, WitnessLine};

use super::arguments::Verify;
use super::flows::place;
use super::remote::{ask_patiently, unexpected};
use crate::arguments::Format;
use crate::failure::{Failure, Outcome};
use crate::terminal::{self, ALLOW, DENY, FAINT, STRONG, styled, wrapped};

pub(crate) fn run(arguments: &Verify) -> Result<Outcome, Failure> {
    let reply = ask_patiently(&arguments.which, "proving", &Request::Verify)?;
    let Reply::Verified(nodes) = reply else { return Err(unexpected()) };
    for node in &nodes {
        terminal::print(&match arguments.output {
            Format::Json => format!("{}\n", serde_json::to_string(node).expect("a report is plain data")),
            Format::Text => text(node, terminal::width()),
        })?;
    }
    let tried = |node: &NodeVerified| node.dry_run.as_ref().is_none_or(|dry_run| dry_run.holds);
    Ok(Outcome::findings_if(!nodes.iter().all(|node| node.holds && tried(node))))
}

fn text(node: &NodeVerified, width: usize) -> String {
    let NodeVerified { node: name, endpoints, regions, ms, witnesses, .. } = node;
    let name = styled(STRONG, name);
    let pods = many(*endpoints, "pod");
    let mut out = if node.holds {
        let all = format!("all packets as the engine says ({pods}, {}, {ms:.1} ms)", many(*regions, "region"));
        format!("{} {name}: {all}\n", styled(ALLOW, "proven"))
    } else if !witnesses.is_empty() {
        format!("{} {name}: the kernel judges packets otherwise than the engine\n", styled(DENY, "wrong"))
    } else if !node.unfollowed.is_empty() {
        format!("{} {name}: rules look at what policy does not know, so nothing is proven\n", styled(DENY, "unknown"))
    } else {
        format!("{} {name}: somebody has changed its table\n", styled(DENY, "changed"))
    };
    let mut say = |indent: &str, text: &str| {
        let _ = writeln!(out, "{}", wrapped(text, indent, width));
    };
    for (blame, witnesses) in by_blame(witnesses) {
        if blame.is_empty() {
            say("  ", "the table is what was put there, which is a bug of tortie");
        }
        for one in blame {
            say("  ", &one.text);
            for policy in &one.policies {
                say("    ", &format!("policy: {}", rule(policy)));
            }
        }
        let first = witnesses[0];
        let count =
            if witnesses.len() == 1 { "a packet".to_owned() } else { format!("{} packets, one", witnesses.len()) };
        let WitnessLine { from, to, traffic, packet, family, .. } = first;
        say("    ", &format!("{count}: {from} -> {to} {traffic} ({family}), {packet}"));
        say("      ", &format!("engine: {}, {}", first.engine, first.why));
        let at = first.decided_at.as_deref().unwrap_or("the end of the chains");
        say("      ", &format!("kernel: {}, at {at}", first.kernel));
    }
    for rule in &node.unfollowed {
        say("  ", &format!("not followed: {rule}"));
    }
    for difference in &node.differences {
        say("  ", &format!("changed since it was put there: {difference}"));
    }
    match &node.dry_run {
        None => {}
        Some(dry_run) if dry_run.holds => {
            let regions = many(dry_run.regions, "region");
            say("  ", &format!("dry run: it says of all packets what the engine says ({regions})"));
        }
        Some(dry_run) => dry_run.findings.iter().for_each(|finding| say("  ", &format!("dry run: {finding}"))),
    }
    for mended in &node.mended {
        say("  ", &styled(FAINT, format_args!("was put right: {mended}")));
    }
    out
}

/// Packets that the same things are to blame for, together.
fn by_blame(witnesses: &[WitnessLine]) -> Vec<(&[BlameLine], Vec<&WitnessLine>)> {
    let mut found: Vec<(&[BlameLine], Vec<&WitnessLine>)> = Vec::new();
    let same = |a: &[BlameLine], b: &[BlameLine]| a.iter().map(|one| &one.text).eq(b.iter().map(|one| &one.text));
    for witness in witnesses {
        match found.iter_mut().find(|(blame, _)| same(blame, &witness.blame)) {
            Some((_, list)) => list.push(witness),
            None => found.push((&witness.blame, vec![witness])),
        }
    }
    found
}

/// A rule, or a policy of which no rule decides.
fn rule(policy: &PolicyPlace) -> String {
    match policy.rule {
        Some(index) => format!("rule {index} of {}", place(policy)),
        None => format!("no rule of {}", place(policy)),
    }
}

fn many(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
