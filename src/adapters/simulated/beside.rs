//! What stands beside tasks: health checks, which a process passes as soon as it runs; commands and logs, of
//! which there are none.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::adapters::simulated::SimulatedCluster;
use crate::domain::observation::{Health, ProcessState};
use crate::domain::task::TaskId;
use crate::ports::cluster::{ClusterError, ClusterObserver};
use crate::ports::exec::{ExecLimits, ExecOutput, ExecTarget, TaskExec};
use crate::ports::health::{HealthSource, ProbeResult, ProbeTarget};
use crate::ports::logs::{LogChunk, LogPosition, LogSource, LogStream};

#[async_trait]
impl HealthSource for SimulatedCluster {
    fn watch(&self, targets: Vec<ProbeTarget>) {
        self.now().watched = targets.into_iter().map(|target| target.task).collect();
    }

    fn health(&self) -> BTreeMap<TaskId, Health> {
        let state = self.now();
        let tasks = &state.cluster.observed().tasks;
        let of = |id: &TaskId| {
            let runs = |process: &ProcessState| matches!(process, ProcessState::Running { .. });
            if tasks.get(id).is_some_and(|seen| runs(&seen.process)) {
                Health::Ready
            } else {
                Health::Starting
            }
        };
        state.watched.iter().map(|id| (id.clone(), of(id))).collect()
    }

    fn results(&self, _: &TaskId) -> Vec<ProbeResult> {
        Vec::new()
    }

    async fn changed(&self) {
        ClusterObserver::changed(self).await;
    }
}

#[async_trait]
impl TaskExec for SimulatedCluster {
    async fn exec(&self, _: &ExecTarget, _: &[String], _: ExecLimits) -> Result<ExecOutput, ClusterError> {
        Err(ClusterError::Refused(
            "the cluster is simulated: there is no process to run it beside".to_owned(),
        ))
    }
}

#[async_trait]
impl LogSource for SimulatedCluster {
    async fn read(
        &self,
        task: &TaskId,
        _: LogStream,
        _: LogPosition,
        _: usize,
    ) -> Result<LogChunk, ClusterError> {
        if !self.now().cluster.observed().tasks.contains_key(task) {
            return Err(ClusterError::NoSuchTask(task.clone()));
        }
        Ok(LogChunk { text: String::new(), next: String::new(), places: Vec::new() })
    }
}
