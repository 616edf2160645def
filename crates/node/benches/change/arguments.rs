//! What to measure.

/// Sizes.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) policies: usize,
    pub(crate) pods: usize,
    /// Pods of this node.
    pub(crate) local: usize,
    pub(crate) namespaces: usize,
    /// Kinds of pods in a namespace: so many policies do not select a given pod.
    pub(crate) apps: usize,
    /// Tracked connections.
    pub(crate) connections: usize,
    pub(crate) rounds: usize,
    /// Events with this word in their names only.
    pub(crate) only: Option<String>,
}

impl Arguments {
    /// Reads `name=value`.
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut out = Self {
            policies: 10_000,
            pods: 100_000,
            local: 100,
            namespaces: 100,
            apps: 20,
            connections: 1_000,
            rounds: 200,
            only: None,
        };
        for word in words.filter(|w| w != "--bench") {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("{word}: not of the form name=value"))?;
            let number = || value.parse::<usize>().map_err(|e| format!("{word}: {e}"));
            match name {
                "policies" => out.policies = number()?,
                "pods" => out.pods = number()?,
                "local" => out.local = number()?,
                "namespaces" => out.namespaces = number()?.max(1),
                "apps" => out.apps = number()?.max(1),
                "connections" => out.connections = number()?,
                "rounds" => out.rounds = number()?.max(1),
                "only" => out.only = Some(value.to_owned()),
                _ => return Err(format!("{name}: unknown")),
            }
        }
        Ok(out)
    }
}
