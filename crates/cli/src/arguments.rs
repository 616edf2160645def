//! The argument surface. Habits are kubectl's.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Kubernetes network policies made real: enforced in the Linux kernel, proven with packets, explained by rule and line.
#[derive(Debug, Parser)]
#[command(name = "tortie", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 fine; 1 findings, differences or failed expectations; 2 the command could not do its work."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Lab(crate::lab::arguments::Lab),
    Test(Test),
    Connectivity(crate::connectivity::arguments::Connectivity),
    Explain(Explain),
    Diff(crate::diff::arguments::Diff),
    Generate(crate::generate::arguments::Generate),
    Convert(crate::convert::arguments::Convert),
    Check(crate::check::arguments::Check),
    Examples(Examples),
    /// Say what this machine has for the lab, what each lack costs, and what mends it
    ///
    /// Exits with 1 when something is missing without which packets cannot be sent.
    #[command(after_help = "\
Example:
  tortie doctor")]
    Doctor,
    Completions(crate::completions::Completions),
    Man(crate::man::Man),
    Schema(crate::schema::Schema),
}

/// Manifests as input.
#[derive(Debug, Args)]
pub(crate) struct Manifests {
    /// File or folder with manifests, or `-` for standard input; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub(crate) files: Vec<String>,
    /// Namespace of objects and names that say none
    #[arg(short = 'n', long, value_name = "NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: JSON, one line an item.
    Json,
}

/// How the results of tests are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// For people: a line a case, and what failed.
    #[default]
    Text,
    /// For programs: JSON, one line a probe.
    Json,
    /// For CI servers: JUnit's XML, a test a step.
    Junit,
    /// For test harnesses: TAP version 14, a test a step.
    Tap,
}

/// Say whether cases hold: who must reach whom, and who must not, after each of their steps
///
/// PATH is a case file, or a folder: every `*.case.yaml` in it and below, or, when there is none, its manifests applied at
/// once. Engine and plan answer in memory; with --lab packets are sent, too. Exits with 1 when anything differs from what
/// is expected or predicted, with 2 when a case could not be played.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie test policies/                         every case in the folder, in memory
  tortie test --lab policies/shop.case.yaml     the same with packets
  tortie test policies/ -o junit > report.xml
  tortie test policies/ -o tap                  for test harnesses, such as prove")]
pub(crate) struct Test {
    /// Cases, or folders of cases or manifests
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<String>,
    /// Send packets, too
    #[arg(long)]
    pub(crate) lab: bool,
    /// Namespace of objects that say none
    #[arg(short = 'n', long, value_name = "NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// How results are written
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: TestFormat,
}

/// Say whether FROM reaches TO, and which policy, rule and line decides
///
/// FROM and TO are `namespace/name` of a pod, workload or Service, `namespace/Kind/name`, a name of the cluster's DNS
/// (`web.shop`, `web.shop.svc.cluster.local`), `node/NAME`, or an address. What is denied comes with the smallest change
/// that allows it, tried in the text and judged anew, and with what else that opens. Addresses are those that the files have: a pod without `status.podIPs` matches no ipBlock.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie explain -f examples/three-namespaces dev/dev1 prod/prod1 80
  tortie explain -f . web/Deployment/front postgres.db 5432
  tortie explain -f . shop/cart 203.0.113.9 53/UDP -o json
  tortie explain -f . shop/cart shop/db 5432 --staged   and once staged policies are enforced
  tortie explain -f . --batch - < flows.jsonl

--batch reads lines such as {\"from\":\"ns/pod\",\"to\":\"10.0.0.7\",\"proto\":\"TCP\",\"port\":80}, with \"sport\", \
\"icmp\":{\"type\":8,\"code\":0}, \"fromIP\" and \"toIP\" where wanted, and writes one line for each.")]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) manifests: Manifests,
    /// Who opens the connection
    #[arg(value_name = "FROM", required_unless_present = "batch")]
    pub(crate) from: Option<String>,
    /// Who is reached
    #[arg(value_name = "TO", required_unless_present = "batch")]
    pub(crate) to: Option<String>,
    /// `80`, `53/UDP`, `http` (a port's name on the destination) or `ping`; without it, everything
    #[arg(value_name = "PORT[/PROTO]")]
    pub(crate) port: Option<String>,
    /// Answer flows in bulk: JSON lines from a file, or `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "port"])]
    pub(crate) batch: Option<String>,
    /// Say also what would be if all that is staged were enforced
    #[arg(long, conflicts_with = "batch")]
    pub(crate) staged: bool,
    /// How the answer is written
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: Format,
    /// Most pods that one workload makes
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) replicas: u32,
}

/// Write the examples that are built in to a folder, to be changed
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tortie examples practicals")]
pub(crate) struct Examples {
    /// The folder; it is made when it is not there. Files that exist are not touched
    #[arg(value_name = "DIR")]
    pub(crate) directory: std::path::PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surface_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_an_example() {
        use clap::CommandFactory;
        fn look(command: &mut clap::Command) {
            for sub in command.get_subcommands_mut() {
                if sub.has_subcommands() {
                    look(sub);
                } else {
                    let help = sub.render_long_help().to_string();
                    assert!(help.contains("Example"), "{} has no example", sub.get_name());
                }
            }
        }
        look(&mut Arguments::command());
    }
}
