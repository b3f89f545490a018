//! Where nodes come from.

use async_trait::async_trait;

use crate::domain::node::{Node, NodeName};
use crate::ports::cluster::ClusterError;

/// Makes and removes nodes. Every call may be repeated.
#[async_trait]
pub trait NodeProvider: Send + Sync {
    /// Makes a node unless it is there. It shows in the cluster's observation once it has joined.
    async fn create(&self, node: &Node) -> Result<(), ClusterError>;

    /// Removes a node; one that still has tasks is refused, one that is not there is no error.
    async fn remove(&self, node: &NodeName) -> Result<(), ClusterError>;

    /// Fails a node as a machine would: everything on it dies at once and leaves no record.
    async fn fail(&self, node: &NodeName) -> Result<(), ClusterError>;
}
