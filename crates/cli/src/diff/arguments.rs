//! Arguments of `tortie diff`.

use clap::{Args, ValueEnum};

/// Say which connections a change of the manifests opens and closes, and which policies do it
///
/// OLD and NEW are files or folders. What is neither is a revision of the git repository around the paths of -f: a branch,
/// a tag, a commit, `HEAD~2`; `A..B` names two at once, and `A...B` begins where B left A. With a revision alone, NEW is the
/// working tree. Exits with 1 when anything is opened or closed (see --fail-on).
///
/// Ways into the cluster by an Ingress, a Gateway with its routes, or a Service of type LoadBalancer or NodePort count as
/// pairs, too.
///
/// With --staged, NEW is taken with all staged policies of Calico enforced, which replace and delete others as they say.
/// Without OLD, that is compared with the same manifests as they are.
///
/// With --flows, recorded connections are put to both instead: which of them would be newly denied, or newly allowed,
/// and why. Without OLD, what the record says of a connection counts as before.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tortie diff before/ after/
  tortie diff main HEAD -f k8s/
  tortie diff HEAD -f k8s/                             what is not committed yet
  tortie diff origin/main...HEAD -f k8s/ -o markdown   for a comment at a pull request
  tortie diff main -f k8s/ --fail-on opened
  tortie diff --staged -f k8s/                         what enforcing staged policies would change
  tortie diff -f k8s/ --flows recorded.jsonl           what breaks

Markdown begins with `<!-- tortie diff -->` (`<!-- tortie diff flows -->` with --flows), by which a comment can be found \
again and replaced. JSON is a line a pair:
{\"src\",\"dst\",\"opened\":{\"TCP\":[[80,80]]},\"closed\":{},\"before\":{},\"after\":{},\"opened_by\":[{\"kind\",\"namespace\",\"name\",\
\"fate\":\"added|removed|changed\",\"direction\",\"rule\",\"revision\",\"file\",\"line\"}],\"closed_by\":[]}; a cause that is no policy \
but an Ingress, a Service and so on has no `direction` and `rule`; one that is no object has `what` and `who` instead, and \
one that is staged has `staged`, the object that stages it. A pair that is a way into the cluster has its `way`: Ingress, \
Gateway, LoadBalancer, NodePort, ExternalIP. With --flows it is a line a connection: {\"from\",\"to\",\"traffic\",\"count\",\"change\":\"denied|allowed\",\
\"before\":{},\"after\":{}}.")]
pub(crate) struct Diff {
    /// What was: a file or folder, or a revision
    #[arg(value_name = "OLD")]
    pub(crate) old: Option<String>,
    /// What is to be
    #[arg(value_name = "NEW")]
    pub(crate) new: Option<String>,
    /// File or folder with manifests, in each of the revisions; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub(crate) files: Vec<String>,
    /// Namespace of objects that say none
    #[arg(short = 'n', long, value_name = "NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// Take NEW with all that is staged in it enforced
    #[arg(long)]
    pub(crate) staged: bool,
    /// Recorded connections, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) flows: Option<String>,
    /// How connections were recorded; it is seen from each line unless it is said
    #[arg(long, value_enum, value_name = "FORMAT", requires = "flows")]
    pub(crate) format: Option<crate::recorded::Format>,
    /// What makes the exit code 1
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub(crate) fail_on: FailOn,
    /// How the answer is written
    #[arg(short = 'o', long, value_enum, value_name = "FORMAT", default_value_t, hide_default_value = true)]
    pub(crate) output: Format,
}

/// Which changes make the exit code 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Anything that is opened, or newly allowed.
    Opened,
    /// Anything that is closed, or newly denied.
    Closed,
    /// Both.
    #[default]
    Any,
    /// Nothing.
    None,
}

impl FailOn {
    /// Whether what was found makes the exit code 1.
    pub(crate) const fn fails(self, opens: bool, closes: bool) -> bool {
        match self {
            Self::Opened => opens,
            Self::Closed => closes,
            Self::Any => opens || closes,
            Self::None => false,
        }
    }
}

/// How a difference is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: JSON, one line a pair or connection.
    Json,
    /// For a comment at a pull request.
    Markdown,
}
