//! Puts hooks together: what the settings say of each, with what it takes to reach it.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::adapters::notice::command::CommandHook;
use crate::adapters::notice::webhook::Webhook;
use crate::config::EngineConfig;
use crate::controllers::autoscaler::Scaling;
use crate::controllers::notices::{Hook, HookHealth, Messenger, Sources};
use crate::controllers::scheduler::Pass;
use crate::domain::plan::Alarm;
use crate::ports::clock::Clock;

/// The loops of all hooks, and how they do.
pub(super) type Messengers = (Vec<Messenger>, Vec<watch::Receiver<HookHealth>>);

/// Everything that wants a person's eye: what the plans say, disasters, and what is wrong with metrics.
pub(super) fn alarms(
    passes: watch::Receiver<Pass>,
    disasters: watch::Receiver<Arc<Vec<Alarm>>>,
    scaling: watch::Receiver<Scaling>,
) -> Arc<dyn Fn() -> Vec<Alarm> + Send + Sync> {
    Arc::new(move || {
        let disasters = Arc::clone(&disasters.borrow());
        let metrics = Arc::clone(&scaling.borrow().alarms);
        passes.borrow().alarms.iter().chain(disasters.iter()).chain(metrics.iter()).cloned().collect()
    })
}

/// A loop for each hook. Commands start in `folder`.
pub(super) fn messengers(
    config: &EngineConfig,
    sources: &Sources,
    clock: &Arc<dyn Clock>,
    folder: &Path,
) -> anyhow::Result<Messengers> {
    let mut hooks = Vec::new();
    for hook in &config.webhooks {
        let (secret, timeout) = (hook.secret.clone(), hook.timeout.unsigned_abs());
        hooks.push(Hook {
            name: format!("webhook {}", hook.name),
            notifier: Arc::new(Webhook::new(&hook.url, secret, timeout, Arc::clone(clock))?),
            filter: hook.filter.clone(),
            patience: hook.patience,
            spacing: None,
        });
    }
    for hook in &config.command_hooks {
        let notifier = CommandHook {
            command: hook.command.clone(),
            folder: folder.to_owned(),
            time: hook.timeout.unsigned_abs(),
        };
        hooks.push(Hook {
            name: format!("command hook {}", hook.name),
            notifier: Arc::new(notifier),
            filter: hook.filter.clone(),
            patience: hook.patience,
            spacing: Some(hook.spacing),
        });
    }
    Ok(hooks.into_iter().map(|hook| Messenger::new(sources.clone(), hook)).unzip())
}
