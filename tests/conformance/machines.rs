//! What holds for every provider of machines. Runs on: `exec` (the shipped script), the external gRPC protocol
//! from our client to our server and through it to `exec`, and EC2 Auto Scaling groups (against moto).

use std::any::Any;
use std::sync::Arc;

use loadline::adapters::exec_provider::ExecProvider;
use loadline::ports::machines::{FailureKind, GroupState, MachineProvider, MachineState};

use crate::machine::PATIENCE;
use crate::providers::parts::{Served, python, shipped};

/// A provider with one empty group `workers` of at most 5.
struct Subject {
    name: &'static str,
    provider: Arc<dyn MachineProvider>,
    /// What keeps it alive, and cleans up after it.
    _owner: Box<dyn Any>,
}

const GROUP: &str = "workers";

async fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    if python() {
        let folder = tempfile::tempdir().expect("a folder");
        let provider: Arc<dyn MachineProvider> = Arc::new(ExecProvider::new(shipped(folder.path(), &[])));
        subjects.push(Subject { name: "exec", provider, _owner: Box::new(folder) });

        let folder = tempfile::tempdir().expect("a folder");
        let served = Served::new(Arc::new(ExecProvider::new(shipped(folder.path(), &[])))).await;
        let provider: Arc<dyn MachineProvider> = Arc::new(served.client());
        subjects.push(Subject { name: "external gRPC", provider, _owner: Box::new((folder, served)) });
    }
    #[cfg(feature = "aws")]
    if let Some(moto) = crate::providers::asg::Moto::start(GROUP, 5) {
        let provider: Arc<dyn MachineProvider> = Arc::new(moto.provider(GROUP).await);
        subjects.push(Subject { name: "EC2 Auto Scaling", provider, _owner: Box::new(moto) });
    }
    subjects
}

impl Subject {
    async fn look(&self) -> GroupState {
        self.provider.look(GROUP).await.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Waits until so many machines run and none is on its way or going.
    async fn until_settled(&self, running: usize) -> GroupState {
        let waiting = async {
            loop {
                let state = self.look().await;
                let runs = |state: MachineState| state == MachineState::Running;
                if state.machines.len() == running && state.machines.iter().all(|one| runs(one.state)) {
                    return state;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, waiting).await;
        settled.unwrap_or_else(|_| panic!("{}: not {running} machines", self.name))
    }

    async fn grow(&self, to: u32) {
        self.provider.grow(GROUP, to).await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    async fn terminate(&self, machine: &str) {
        let gone = self.provider.terminate(GROUP, machine).await;
        gone.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_are_absolute_and_every_call_may_be_repeated() {
    for subject in subjects().await {
        let groups = subject.provider.groups().await.expect("groups");
        let found = groups.iter().find(|group| group.id == GROUP).expect("the group");
        assert_eq!((found.min, found.max), (0, 5), "{}", subject.name);
        assert_eq!((subject.look().await.target, subject.look().await.machines.len()), (0, 0));

        subject.grow(3).await;
        subject.grow(3).await;
        subject.grow(1).await;
        let state = subject.until_settled(3).await;
        assert_eq!(state.target, 3, "{}", subject.name);

        let (gone, kept) = (state.machines[1].id.clone(), [&state.machines[0].id, &state.machines[2].id]);
        subject.terminate(&gone).await;
        subject.terminate(&gone).await;
        let state = subject.until_settled(2).await;
        let left: Vec<&String> = state.machines.iter().map(|machine| &machine.id).collect();
        assert!(
            kept.iter().all(|id| left.contains(id)),
            "{}: {gone} was to go, {left:?} are left",
            subject.name
        );
        assert_eq!(state.target, 2, "{}", subject.name);
        subject.terminate(&gone).await;
        subject.terminate("i-0123456789abcdef0").await;
        assert_eq!(
            subject.until_settled(2).await.target,
            2,
            "{}: what is gone changes nothing",
            subject.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_most_is_refused_as_a_quota_and_changes_nothing() {
    for subject in subjects().await {
        subject.grow(1).await;
        let error = subject.provider.grow(GROUP, 6).await.expect_err(subject.name);
        assert_eq!(error.kind, FailureKind::Quota, "{}: {error}", subject.name);
        assert!(error.message.contains('5') && error.message.contains('6'), "{}: {error}", subject.name);
        assert_eq!(subject.until_settled(1).await.target, 1, "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_requests_back_removes_no_machine() {
    for subject in subjects().await {
        subject.grow(2).await;
        let before = subject.until_settled(2).await;
        subject.provider.withdraw(GROUP, 0).await.unwrap_or_else(|error| panic!("{}: {error}", subject.name));
        assert_eq!(subject.until_settled(2).await.machines, before.machines, "{}", subject.name);
        assert_eq!(subject.look().await.target, 2, "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_not_there_is_refused() {
    for subject in subjects().await {
        let error = subject.provider.look("nobody").await.expect_err(subject.name);
        assert_eq!(error.kind, FailureKind::Refused, "{}: {error}", subject.name);
        assert!(error.message.contains("nobody"), "{}: {error}", subject.name);
        let error = subject.provider.grow("nobody", 1).await.expect_err(subject.name);
        assert_eq!(error.kind, FailureKind::Refused, "{}: {error}", subject.name);
    }
}
