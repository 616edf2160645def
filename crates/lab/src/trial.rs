//! Policies that are tried out: a second cluster, of the same pods, whose policies every node asks about each packet
//! before it does what is enforced.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tortie_analysis::deltas::World;
use tortie_node::{NodeError, Verified};
use tortie_policy::Index;

use crate::cluster::{Cluster, ClusterError};
use crate::pod::Place;
use crate::witness::lock;

impl Cluster {
    /// Tries out what the policies of another world would do with the packets of this one, or nothing any more. Returns
    /// when every node says so. To be called again when the cluster has changed.
    ///
    /// # Errors
    /// What the kernel refused. Then nothing is tried out; what is enforced is not touched.
    pub fn try_out(&mut self, world: Option<&World>) -> Result<(), ClusterError> {
        if self.trial.is_none() && world.is_none() {
            return Ok(());
        }
        // What is between two trials is told of none.
        self.tell_flows(None);
        let Some(world) = world else { return self.end() };
        match self.begin(world) {
            Ok(index) => {
                self.tell_flows(Some((SystemTime::now(), index)));
                Ok(())
            }
            Err(error) => {
                // Whatever cannot be taken away ends no packet.
                let _ = self.end();
                Err(error)
            }
        }
    }

    fn begin(&mut self, world: &World) -> Result<Index, ClusterError> {
        let mut index = self.index.clone();
        for delta in world.deltas_since(&self.staged().world) {
            index.apply(delta);
        }
        self.trial = Some(world.clone());
        for (name, node) in &mut self.nodes {
            let netns = self.topology.endpoint(&Place::Node(name.to_string())).expect("a node of this cluster").netns;
            netns.run(|| node.try_out(&index, Instant::now()))?.map_err(ClusterError::node(name))?;
        }
        self.settle()?;
        self.trial_failure()?;
        Ok(index)
    }

    fn end(&mut self) -> Result<(), ClusterError> {
        self.trial = None;
        let mut failed = Ok(());
        for (name, node) in &mut self.nodes {
            let ended = node.end_trial().map_err(ClusterError::node(name));
            failed = failed.and(ended);
        }
        failed
    }

    /// Why a node tries nothing out any more although it should.
    fn trial_failure(&mut self) -> Result<(), ClusterError> {
        let failure = |(name, node): (&Arc<str>, &mut tortie_node::Node)| Some((name.clone(), node.trial_failure()?));
        let failed: Option<(Arc<str>, NodeError)> = self.nodes.iter_mut().find_map(failure);
        failed.map_or(Ok(()), |(name, error)| Err(ClusterError::node(&name)(error)))
    }

    fn tell_flows(&self, trial: Option<(SystemTime, Index)>) {
        if let Some(flows) = &self.flows {
            lock(flows).try_out(trial);
        }
    }

    /// What is tried out.
    #[must_use]
    pub const fn trial(&self) -> Option<&World> {
        self.trial.as_ref()
    }

    /// As [`Cluster::prove`], of what is tried out on a node; `None` when nothing is.
    ///
    /// # Errors
    /// When it cannot be read.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn prove_trial(&mut self, node: &Arc<str>) -> Result<Option<Verified>, ClusterError> {
        let running = self.nodes.get_mut(node).expect("a node of this cluster");
        running.prove_trial().map_err(ClusterError::node(node))
    }
}
