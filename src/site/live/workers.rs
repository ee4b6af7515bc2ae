//! Floor 2, site: the service workers that browsers install. A worker may answer from its cache in the
//! place of this server, and an edit then shows late or never: the person at the browser has to be told.

use crate::http::{Field, RequestHead, Status};
use crate::site::{Files, Site};

/// The URL paths of the scripts of workers that were told of.
#[derive(Default, Debug)]
pub(super) struct Workers(Vec<Box<str>>);

impl Workers {
    const MAX: usize = 16;

    /// Returns a warning for the script of a worker, once for each. A worker whose script `is_missing` was
    /// installed when another site had this port, and the browser asks whether the script has changed.
    fn warning_of(&mut self, path: &str, is_missing: bool) -> Option<String> {
        if self.0.len() == Self::MAX || self.0.iter().any(|known| **known == *path) {
            return None;
        }
        self.0.push(path.into());
        let path = path.escape_debug();
        Some(match is_missing {
            false => format!(
                "a browser installs the service worker {path}, which may answer from its cache in place of \
                 this server"
            ),
            true => format!(
                "a browser has the service worker {path} of another site that was on this port, and the \
                 worker may answer in place of this server"
            ),
        })
    }
}

impl<F: Files> Site<F> {
    /// Notes the request for the script of a service worker, with the status of the answer.
    pub(super) fn note_worker(&mut self, request: &RequestHead<'_>, status: Status) {
        // A browser says both, and the first is found without a search.
        let is_script = request.value(Field::FetchDest) == Some(b"serviceworker")
            && request.named("service-worker") == Some(b"script");
        if let (true, Some(live), Some(path)) = (is_script, &mut self.live, request.path()) {
            let path = String::from_utf8_lossy(path);
            let is_missing = status == Status::NotFound;
            live.warnings
                .extend(live.workers.warning_of(&path, is_missing));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_is_told_of_once_and_not_without_end() {
        let mut workers = Workers::default();
        let mut told = 0;
        for at in 0..100 {
            let path = format!("/worker-{}.js", at / 2);
            told += usize::from(workers.warning_of(&path, false).is_some());
        }
        assert_eq!(told, Workers::MAX);
    }
}
