//! One copy of each name: equal names share their text, however they came to be.
//!
//! In: a text. Out: the shared copy of it. A million tasks on fifty thousand nodes bear few different names
//! in many places: told by agents, read from the store, written in specs. Shared, they compare and hash by
//! their address, without a look at the text, which would be a wait for memory each time.
//! Not here: which texts are names (`workload::check_name`).

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Names that nobody bears any more are looked for when there are this many, and at each doubling.
const SWEPT_FROM: usize = 4096;

struct Names {
    texts: HashSet<Arc<str>>,
    swept_at: usize,
}

static NAMES: LazyLock<Mutex<Names>> =
    LazyLock::new(|| Mutex::new(Names { texts: HashSet::new(), swept_at: SWEPT_FROM }));

/// The shared copy of a text. Two calls with equal texts give the same copy as long as one of the answers is
/// alive: a copy is dropped only where nobody else holds it, and can be had here alone.
pub(super) fn shared(text: &str) -> Arc<str> {
    // A poisoned lock only means that another thread panicked; the set stays whole.
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.texts.get(text) {
        return Arc::clone(known);
    }
    if names.texts.len() >= names.swept_at {
        names.texts.retain(|known| Arc::strong_count(known) > 1);
        names.swept_at = (names.texts.len() * 2).max(SWEPT_FROM);
    }
    let new: Arc<str> = text.into();
    names.texts.insert(Arc::clone(&new));
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_one_copy_and_forgotten_ones_go() {
        let one = shared("interned-test");
        assert!(Arc::ptr_eq(&one, &shared(&String::from("interned-test"))));
        assert!(!Arc::ptr_eq(&one, &shared("interned-other")));
        for number in 0..3 * SWEPT_FROM {
            shared(&format!("interned-{number}"));
        }
        let names = NAMES.lock().expect("no panic");
        assert!(names.texts.contains("interned-test"), "somebody holds it");
        assert!(!names.texts.contains("interned-0"), "nobody holds it");
    }

    #[test]
    fn names_are_equal_exactly_where_their_texts_are() {
        use crate::domain::workload::WorkloadName;
        let name = |text| WorkloadName::new(text).expect("a name");
        assert_eq!(name("web"), name("web"));
        assert_ne!(name("web"), name("web2"));
        assert!(name("web") < name("web2") && name("api") < name("web"));
        let from_json: WorkloadName = serde_json::from_str("\"web\"").expect("a name");
        let found = std::collections::HashMap::from([(name("web"), 1)]);
        assert_eq!(found.get(&from_json), Some(&1));
    }
}
