//! Every lint: its name, how grave it is unless somebody says otherwise, and its page.

use tortie_manifest::Severity;

/// How grave a lint's findings are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Not told.
    Allow,
    /// Good to know.
    Note,
    /// Probably not what was meant.
    Warning,
    /// Keeps a change from passing.
    Error,
}

impl Level {
    /// What they are called; the options of `check` for the last two are names, too.
    pub(crate) const NAMES: [(&str, Self); 6] = [
        ("allow", Self::Allow),
        ("note", Self::Note),
        ("warning", Self::Warning),
        ("error", Self::Error),
        ("warn", Self::Warning),
        ("deny", Self::Error),
    ];

    /// The level of this name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::NAMES.into_iter().find_map(|(name, level)| (name == text).then_some(level))
    }

    /// `allow`, `note`, `warning` or `error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// As findings have it; `None` for those that are not told.
    #[must_use]
    pub const fn severity(self) -> Option<Severity> {
        match self {
            Self::Allow => None,
            Self::Note => Some(Severity::Note),
            Self::Warning => Some(Severity::Warning),
            Self::Error => Some(Severity::Error),
        }
    }
}

/// One lint.
#[derive(Debug, PartialEq, Eq)]
pub struct Lint {
    /// Its stable name.
    pub id: &'static str,
    /// How grave its findings are by default.
    pub level: Level,
    /// What it finds, in a line.
    pub summary: &'static str,
    /// Its page: why, a bad and a good example.
    pub page: &'static str,
}

macro_rules! lints {
    ($($id:literal $level:ident $summary:literal)*) => {
        /// All lints, by the family that they are of.
        pub static LINTS: &[Lint] = &[$(Lint {
            id: $id,
            level: Level::$level,
            summary: $summary,
            page: include_str!(concat!("../../../docs/lints/", $id, ".md")),
        },)*];
    };
}

lints! {
    // Says something else than it looks.
    "peers-apart" Warning "two peers where one with both selectors was meant"
    "metrics-with-dns" Warning "the metrics port of DNS is opened with DNS"
    "rule-without-peers" Note "a rule without peers means everybody, outside the cluster too"
    "policy-allows-all-ingress" Note "a policy lets everything in"
    "policy-allows-all-egress" Note "a policy lets everything out"
    "denies-everything" Allow "a direction without rules denies everything in it"
    "every-namespace" Warning "an empty namespaceSelector means every namespace"
    "rules-without-policytype-ingress" Warning "ingress rules that policyTypes leaves out are dead"
    "rules-without-policytype-egress" Warning "egress rules that policyTypes leaves out are dead"
    "empty-egress-isolates-nothing" Warning "`egress: []` without policyTypes isolates nothing"
    "egress-denied-by-type" Warning "policyTypes names Egress, and no egress rule is written"
    "selector-contradiction" Warning "no object can match a selector"
    "volatile-label" Warning "a selector uses a label that changes with every rollout"
    "reply-ports" Warning "ports of replies are opened, though replies always pass"
    // Matches nothing, or something else.
    "policy-selects-no-pod" Warning "a policy selects no pod"
    "peer-selects-no-pod" Warning "a peer means no pod"
    "peer-in-own-namespace" Warning "a podSelector whose pods are in other namespaces"
    "unknown-namespace-label" Warning "no namespace has the label that a namespaceSelector asks for"
    "near-miss-label" Warning "a label's value is nearly one that pods have"
    "negative-matches-unlabelled" Note "a negative requirement is met by objects without the label"
    "selects-finished-pods" Warning "all pods that a policy selects have finished"
    "selects-host-network" Warning "pods in their node's network are not governed by policies"
    "host-network-peer" Warning "all pods that a peer's labels are on share their node's network"
    "siblings-differ" Warning "a policy selects some pods of a workload and not others"
    "policy-in-empty-namespace" Note "a policy's namespace has no pods"
    // Ports and protocols.
    "dns-without-udp" Warning "port 53 is opened for TCP and not for UDP"
    "named-port-missing" Warning "no destination has a port of that name"
    "named-port-protocol" Warning "the port of that name is of another protocol"
    "named-port-to-address" Warning "a port's name means nothing at an address"
    "named-port-ambiguous" Note "a port's name means several numbers"
    "service-port" Warning "the port of a Service where its pods' port was meant"
    "port-not-declared" Allow "no destination declares the port"
    "wide-port-range" Note "a range of a thousand ports or more"
    "dangerous-port-open" Warning "a port of administration or of a database is open to the outside"
    "overlapping-ports" Note "a port is listed twice"
    // Addresses.
    "block-excepted-whole" Warning "exceptions take away the whole block"
    "except-cancelled" Warning "an exception is allowed by another rule"
    "block-inside-block" Note "a block lies in another block of the same rule"
    "block-covers-pods" Note "a block has pods in it, which networks treat differently"
    "block-covers-services" Warning "a block names addresses of Services, which policies never see"
    "world-open" Note "a rule reaches the whole world"
    "metadata-reachable" Warning "the cloud's metadata service can be reached"
    "one-family" Note "blocks of one address family in a cluster of both"
    "private-range-typo" Note "a block that looks like a private range and is not one"
    // Coverage.
    "pod-not-isolated-ingress" Note "everybody reaches a workload"
    "pod-not-isolated-egress" Note "a workload reaches everybody"
    "namespace-without-default-deny-ingress" Note "new pods of a namespace are open to everybody"
    "namespace-without-default-deny-egress" Note "new pods of a namespace reach everybody"
    "default-deny-defeated" Warning "a policy that denies everything beside one that allows everything"
    "egress-without-dns" Warning "pods that may reach others cannot resolve names"
    "ingress-cut-off" Warning "an entry from outside leads to pods that let nobody in"
    "entry-leads-nowhere" Warning "an entry from outside names what is not there"
    // Asked in an order.
    "unknown-tier" Warning "a policy is in a tier that nobody defines"
    "order-tie" Warning "two policies at the same place in a tier, of which the name decides"
    "pass-to-nowhere" Warning "a rule passes packets on, and no later tier has a policy for them"
    "tier-end-drop" Warning "the end of a tier drops what later tiers allow"
    "rule-after-catch-all" Warning "a rule behind one that decides everything"
    "log-only" Warning "a policy that only logs denies all the same"
    "unreachable-rule" Warning "rules before it decide all that it matches"
    // Redundant or one-sided.
    "duplicate-policy" Warning "two policies say the same"
    "policy-without-effect" Warning "without the policy the same packets pass"
    "redundant-rule" Note "without the rule the same packets pass"
    "peer-subsumed" Note "a peer is part of another peer of the same rule"
    "only-itself" Note "a rule lets a pod speak only to itself"
    "same-pods" Allow "several policies select the same pods in the same way"
    "one-sided" Warning "what one end allows the other end denies"
    // Staged.
    "staged-deletes-nothing" Warning "a staged deletion of a policy that is not there"
    "staged-already-enforced" Note "a staged policy says what is enforced already"
}

/// The lint of this name.
#[must_use]
pub fn lint(id: &str) -> Option<&'static Lint> {
    LINTS.iter().find(|l| l.id == id)
}

/// The lint whose name is nearest to a misspelt one.
#[must_use]
pub fn nearest(id: &str) -> Option<&'static str> {
    let distance = |l: &&Lint| strsim::damerau_levenshtein(l.id, id);
    LINTS.iter().min_by_key(distance).filter(|l| distance(l) <= id.len() / 3 + 1).map(|l| l.id)
}
