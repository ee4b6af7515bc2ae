//! Floor 2, site: the service workers that browsers install. A worker may answer from its cache in the
//! place of this server, and an edit then shows late or never: the person at the browser has to be told.

use crate::http::{Field, RequestHead};
use crate::site::{Files, Site};

/// The URL paths of the scripts of workers that were told of.
#[derive(Default, Debug)]
pub(super) struct Workers(Vec<Box<str>>);

impl Workers {
    const MAX: usize = 16;

    /// Returns a warning for the script of a worker, once for each.
    fn warning_of(&mut self, path: &str) -> Option<String> {
        if self.0.len() == Self::MAX || self.0.iter().any(|known| **known == *path) {
            return None;
        }
        self.0.push(path.into());
        let path = path.escape_debug();
        Some(format!(
            "a browser installs the service worker {path}, which may answer from its cache in place of \
             this server"
        ))
    }
}

impl<F: Files> Site<F> {
    /// Notes the request for the script of a service worker.
    pub(super) fn note_worker(&mut self, request: &RequestHead<'_>) {
        // A browser says both, and the first is found without a search.
        let is_script = request.value(Field::FetchDest) == Some(b"serviceworker")
            && request.named("service-worker") == Some(b"script");
        if let (true, Some(live), Some(path)) = (is_script, &mut self.live, request.path()) {
            let warning = live.workers.warning_of(&String::from_utf8_lossy(path));
            live.warnings.extend(warning);
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
            told += usize::from(workers.warning_of(&path).is_some());
        }
        assert_eq!(told, Workers::MAX);
    }
}
