//! An engine with a folder of its own: its specs are there from the start, and its tasks end with it.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::harness::{Engine as Running, Place};
use crate::machine::{processes_in, signal};

/// An engine, and where it lives.
pub(super) struct Engine {
    running: Running,
    place: Place,
}

impl Engine {
    /// An engine over an empty folder, with the given specs.
    pub(super) fn start(specs: &str) -> Self {
        Self::start_with(specs, |_| String::new())
    }

    /// The same, with more settings, which may name files in the engine's folder.
    pub(super) fn start_with(specs: &str, more: impl FnOnce(&Path) -> String) -> Self {
        let mut place = Place::new();
        place.stops_tasks = true;
        place.set(&more(place.folder.path()));
        let file = place.folder.path().join("specs.toml");
        std::fs::write(&file, specs).expect("specs");
        place.specs = Some(file);
        let running = place.start();
        // Whoever starts it again shows that it knows them.
        place.specs = None;
        Self { running, place }
    }

    /// What `kill -9` does.
    pub(super) fn kill(&mut self) {
        self.running.kill_in_place();
    }

    /// Ends it, and its tasks, as Ctrl-C does.
    pub(super) fn end(&mut self) {
        assert!(self.running.ends_politely(), "the engine does not end");
    }

    /// The engine again, over the same folder and without specs: it must know them.
    pub(super) fn restart(&mut self) {
        self.running = self.place.start();
    }

    /// The same, with its API where it was before.
    pub(super) fn restart_in_place(&mut self) {
        self.place.listen = self.client.address().trim_start_matches("http://").to_owned();
        self.restart();
    }

    pub(super) fn folder(&self) -> &Path {
        self.place.folder.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.place.data.clone()
    }

    /// Declares specs that are valid, and tells what they change.
    pub(super) async fn apply(&self, text: &str) -> Vec<String> {
        self.running.apply(text).await.expect("valid specs").changes
    }
}

impl Deref for Engine {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Drop for Engine {
    /// Ends the engine politely, and whatever is left of its tasks by force.
    fn drop(&mut self) {
        self.running.ends_politely();
        for left in processes_in(self.folder()) {
            signal(left, Signal::SIGKILL);
        }
    }
}
