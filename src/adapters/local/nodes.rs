//! Nodes as slices of this machine: each is a group with the node's size, and a record on disk.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rustix::process::Signal;

use crate::adapters::local::cgroup::{Applied, Group, Limits};
use crate::adapters::local::observer::LostTask;
use crate::adapters::local::process::ProcessTable;
use crate::adapters::local::record::{self, NodeRecord, Survives};
use crate::adapters::local::{End, Inner, LocalCluster, NodeEntry, failed};
use crate::domain::node::{Node, NodeName};
use crate::ports::cluster::ClusterError;
use crate::ports::node_provider::NodeProvider;

/// How long supervisors of a failed node may take to die; longer only where they hang in the kernel.
const END_TIMEOUT: Duration = Duration::from_secs(5);
const END_POLL: Duration = Duration::from_millis(1);

#[async_trait]
impl NodeProvider for LocalCluster {
    async fn create(&self, node: &Node) -> Result<(), ClusterError> {
        let node = node.clone();
        self.blocking("create a node", move |inner| inner.create_node(&node)).await
    }

    async fn remove(&self, node: &NodeName) -> Result<(), ClusterError> {
        let node = node.clone();
        self.blocking("remove a node", move |inner| inner.remove_node(&node)).await
    }

    async fn fail(&self, node: &NodeName) -> Result<(), ClusterError> {
        let node = node.clone();
        self.blocking("fail a node", move |inner| inner.fail_node(&node)).await
    }
}

impl Inner {
    fn create_node(&self, node: &Node) -> Result<(), ClusterError> {
        let name = &node.name;
        let mut state = self.state();
        if let Some(entry) = state.nodes.get(name) {
            return if entry.record.failed {
                Err(ClusterError::Refused(format!("node {name} is lost; a new node needs a new name")))
            } else {
                Ok(())
            };
        }
        let failing = |error| failed(format!("create node {name}"), error);
        let group = self.root().map(|root| root.child(name.as_str()));
        let mut record = NodeRecord { name: name.clone(), size: node.size, group, failed: false };
        record.group = self.prepare_group(&record).map_err(failing)?;
        self.put_node(&record).map_err(failing)?;
        state.nodes.insert(name.clone(), NodeEntry { record, past_cpu_seconds: 0.0 });
        drop(state);
        self.changes.notify_one();
        Ok(())
    }

    /// Makes the group of a node where groups are used: where it was, if it had one before, since its
    /// tasks are still in there.
    pub(super) fn prepare_group(&self, node: &NodeRecord) -> io::Result<Option<Group>> {
        let Some(root) = self.root() else { return Ok(None) };
        let group = node.group.clone().filter(|group| !group.children().is_empty());
        let group = group.unwrap_or_else(|| root.child(node.name.as_str()));
        group.create()?;
        group.delegate()?;
        match group.limit(&Limits::of_node(node.size))? {
            Applied::Yes => {}
            Applied::Refused(reason) => tracing::warn!(node = %node.name, reason, "its size is not in force"),
        }
        Ok(Some(group))
    }

    fn put_node(&self, record: &NodeRecord) -> io::Result<()> {
        record::write(&record::node_file(self.data_dir(), &record.name), record, Survives::Machine)
    }

    fn remove_node(&self, name: &NodeName) -> Result<(), ClusterError> {
        let lost = self.refresh();
        self.clean_up(&lost);
        let mut state = self.state();
        let Some(entry) = state.nodes.get(name) else { return Ok(()) };
        let busy = state.tasks.values().filter(|task| task.record.node == *name && task.is_live()).count();
        if busy > 0 {
            return Err(ClusterError::Refused(format!("node {name} still has {busy} tasks")));
        }
        let failing = |error| failed(format!("remove node {name}"), error);
        if let Some(group) = &entry.record.group {
            group.destroy().map_err(failing)?;
        }
        record::absent_is_fine(fs::remove_file(record::node_file(self.data_dir(), name))).map_err(failing)?;
        state.nodes.remove(name);
        drop(state);
        self.changes.notify_one();
        Ok(())
    }

    /// An engine that was killed while it failed a node left part of it alive.
    pub(super) fn fail_again(&self) {
        let failed: Vec<NodeName> = {
            let state = self.state();
            state.nodes.values().filter(|n| n.record.failed).map(|n| n.record.name.clone()).collect()
        };
        for node in failed {
            if let Err(error) = self.fail_node(&node) {
                tracing::warn!(%node, %error, "what is left of a failed node does not go");
            }
        }
    }

    /// Supervisors die first, so that none records the end of its task: a machine that fails does not
    /// either. Folders stay, for the logs.
    fn fail_node(&self, name: &NodeName) -> Result<(), ClusterError> {
        let failing = |error| failed(format!("fail node {name}"), error);
        // What ended before the failure has its record and keeps it.
        let lost = self.refresh();
        self.clean_up(&lost);
        let mut state = self.state();
        let entry = state.nodes.get_mut(name).ok_or_else(|| ClusterError::NoSuchNode(name.clone()))?;
        let mut record = entry.record.clone();
        record.failed = true;
        self.put_node(&record).map_err(failing)?;
        entry.record = record;
        let group = entry.record.group.clone();

        let table = ProcessTable::read().map_err(failing)?;
        let mut lost = Vec::new();
        let mut rest = Vec::new();
        for (task, entry) in &mut state.tasks {
            if entry.record.node != *name || !entry.is_live() {
                continue;
            }
            if let Some(supervisor) = &entry.supervisor {
                supervisor.signal(Signal::KILL);
                rest.extend(
                    table.descendants(supervisor.pid).into_iter().filter_map(|pid| table.identity(pid)),
                );
            }
            entry.end = Some(End::Lost);
            entry.left_over = true;
            lost.push(LostTask::of(task, entry));
        }
        for process in rest {
            process.signal(Signal::KILL);
        }
        drop(state);
        await_end(&lost);
        self.clean_up(&lost);
        if let Some(group) = group {
            group.destroy().map_err(failing)?;
        }
        self.changes.notify_one();
        Ok(())
    }
}

/// Waits until supervisors that were killed are gone.
fn await_end(lost: &[LostTask]) {
    let deadline = Instant::now() + END_TIMEOUT;
    for supervisor in lost.iter().filter_map(|task| task.supervisor.as_ref()) {
        while supervisor.is_alive() && Instant::now() < deadline {
            thread::sleep(END_POLL);
        }
    }
}
