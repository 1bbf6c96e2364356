//! Where every handle finds the wrapper of an API, without a lock and without asking an actor.
//!
//! The seller alone changes it, by swapping a whole part of it for another: looking costs no share of anything, and one
//! that comes among ten thousand copies the few beside it.

use std::array;
use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use xbr_core::ApiId;

use crate::wrapper::Wrapper;

/// A prime, so that every bit of an id counts. Empty they take 6 KiB together.
const PARTS: usize = 61;

type Part = HashMap<ApiId, Wrapper>;

/// See the module. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Directory(Arc<[ArcSwap<Part>; PARTS]>);

impl Default for Directory {
    fn default() -> Self {
        Self(Arc::new(array::from_fn(|_| ArcSwap::default())))
    }
}

impl Directory {
    /// The part in which an API is, if it is anywhere.
    pub(crate) fn beside(&self, api_id: ApiId) -> Guard<Arc<Part>> {
        self.part(api_id).load()
    }

    pub(crate) fn insert(&self, api_id: ApiId, wrapper: Wrapper) {
        self.change(api_id, |part| drop(part.insert(api_id, wrapper)));
    }

    pub(crate) fn remove(&self, api_id: ApiId) {
        self.change(api_id, |part| drop(part.remove(&api_id)));
    }

    fn change(&self, api_id: ApiId, change: impl FnOnce(&mut Part)) {
        let mut part = HashMap::clone(&self.beside(api_id));
        change(&mut part);
        self.part(api_id).store(Arc::new(part));
    }

    /// By all of the id: some of its bytes say only when it was made, or are the same in all.
    fn part(&self, api_id: ApiId) -> &ArcSwap<Part> {
        let fold = |fold: usize, byte: &u8| fold.wrapping_mul(31).wrapping_add(usize::from(*byte));
        let number = api_id.as_bytes().iter().fold(0, fold) % PARTS;
        let [last, others @ ..] = &*self.0;
        others.get(number).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xbr_core::crypto::UserspaceEntropy;
    use xbr_core::offer::UriPrefix;

    use super::*;

    fn wrapper(api_id: ApiId) -> Wrapper {
        let prefix = UriPrefix::new("io.example").unwrap();
        Wrapper::new(api_id, prefix, Arc::default(), Arc::new(UserspaceEntropy), Duration::ZERO)
    }

    #[test]
    fn an_api_is_found_until_it_goes_and_few_stand_beside_it() {
        let numbered = |number: u16| {
            let mut bytes = [7; ApiId::LEN];
            bytes[14..].copy_from_slice(&number.to_be_bytes());
            ApiId::new(bytes)
        };
        let (directory, last) = (Directory::default(), numbered(6399));
        let shared = directory.clone();
        (0..6400).map(numbered).for_each(|api_id| directory.insert(api_id, wrapper(api_id)));
        for api_id in (0..6400).map(numbered) {
            let beside = shared.beside(api_id);
            assert_eq!(beside.get(&api_id).map(Wrapper::api_id), Some(api_id));
            assert!(beside.len() < 200, "{} of 6400 are copied for one", beside.len());
        }
        directory.remove(last);
        assert!(!shared.beside(last).contains_key(&last));
        assert!(shared.beside(numbered(6398)).contains_key(&numbered(6398)));
    }
}
