//! Floor 2, site: answers that follow the rules in the root of a site.

use std::mem;
use std::time::SystemTime;

use super::{CanonicalPath, Edit, Found, Outcome};
use crate::http::{Form, Method, RequestHead, SitePath, Status, edit_head, field_values};
use crate::site::{FileError, Files, Reply, Site};

/// The moment at which the rules are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::site) enum Moment {
    /// Before the files: only a forced rule counts.
    BeforeFiles,
    /// After no file was found.
    WithoutFile,
}

impl<F: Files> Site<F> {
    /// The number of rules that cost as much as one unit of the budget's work.
    const RULES_PER_WORK: u32 = 64;

    /// The number of redirects that are followed in search of a circle. Browsers follow 20.
    const HOPS_MAX: usize = 10;

    /// Whether a path, relative to the root, is that of a file of rules. Such a file is not sent,
    /// unless the user has named it as the only file of the site.
    #[inline]
    pub(in crate::site) fn is_of_rules(&self, path: &[u8]) -> bool {
        path.first() == Some(&b'_') && super::NAMES.contains(&path) && *self.index != *path
    }

    /// The answer that a rule of `_redirects` gives, if the rule counts at this moment.
    #[inline(never)]
    pub(in crate::site) fn by_rule(
        &mut self,
        request: &RequestHead<'_>,
        now: SystemTime,
        moment: Moment,
    ) -> Option<Reply<F::File>> {
        let redirects = &self.rules.redirects;
        let may_count = match moment {
            Moment::BeforeFiles => redirects.has_forced(),
            Moment::WithoutFile => !redirects.is_empty(),
        };
        match may_count {
            true => self.find_rule(request, now, moment),
            false => None,
        }
    }

    fn find_rule(
        &mut self,
        request: &RequestHead<'_>,
        now: SystemTime,
        moment: Moment,
    ) -> Option<Reply<F::File>> {
        let path = CanonicalPath::new(request.path()?)?;
        let mut passed = 0;
        let found = loop {
            let found = self.redirect(&path, request.query(), passed)?;
            if moment == Moment::BeforeFiles && !found.is_forced {
                return None;
            }
            passed = found.place + 1;
            match &found.outcome {
                Outcome::Redirect(_, to) if self.is_circle(&path, request.query(), to, now) => {
                    self.rules.note_circle(found.line);
                }
                _ => break found,
            }
        };
        Some(match found.outcome {
            Outcome::Redirect(status, location) => Reply::to_place(status, &location, found.line),
            Outcome::Rewrite(path) => self.rewritten(&path, request, now),
            Outcome::Missing(path) => self.missing_by_rule(&path, request, now),
        })
    }

    /// The first rule of `_redirects` for a path, behind the first `passed` rules.
    fn redirect(
        &mut self,
        path: &CanonicalPath,
        query: Option<&[u8]>,
        passed: usize,
    ) -> Option<Found> {
        self.cost += 1 + self.rules.redirects.len() as u32 / Self::RULES_PER_WORK;
        self.rules.redirects.find(path, query, passed)
    }

    /// Whether a client that is redirected from `path` to the place `to`, and on from there, would come
    /// back, or would not come to an end in [`HOPS_MAX`](Self::HOPS_MAX) hops.
    fn is_circle(
        &mut self,
        path: &CanonicalPath,
        query: Option<&[u8]>,
        to: &str,
        now: SystemTime,
    ) -> bool {
        let mut to = to.to_owned();
        for _ in 0..Self::HOPS_MAX {
            let target = to.split('#').next().unwrap_or_default();
            let (there, query_there) = match target.split_once('?') {
                Some((there, query)) => (there, Some(query.as_bytes())),
                None => (target, None),
            };
            let (Some(canonical), Ok(decoded)) = (
                CanonicalPath::new(there.as_bytes()),
                SitePath::decode(there.as_bytes()),
            ) else {
                return false;
            };
            if (canonical.text(), query_there) == (path.text(), query) {
                return true;
            }
            let rule = self.redirect(&canonical, query_there, 0);
            let is_forced = rule.as_ref().is_some_and(|rule| rule.is_forced);
            if !is_forced {
                // A request finds a file, or is led to the slash of a directory, before a rule counts.
                let found = match decoded.is_directory() {
                    true => self.original(decoded.join(&self.index).bytes(), now),
                    false => self.original(decoded.bytes(), now),
                };
                match found {
                    Ok(_) => return false,
                    Err(FileError::Directory) if !decoded.is_directory() => {
                        let query = target.strip_prefix(there).unwrap_or_default();
                        to = format!("{there}/{query}");
                        continue;
                    }
                    Err(_) if self.has_page(&decoded, now) => return false,
                    Err(_) => {}
                }
            }
            match rule.map(|rule| rule.outcome) {
                Some(Outcome::Redirect(_, next)) => to = next,
                Some(Outcome::Rewrite(_) | Outcome::Missing(_)) | None => return false,
            }
        }
        true
    }

    /// Looks for circles at the paths that a rule redirects, as far as that takes little time: each
    /// other circle is found by a request.
    pub(in crate::site) fn look_for_circles(&mut self, now: SystemTime) {
        const MATCHES_MAX: usize = 100_000;
        let paths_max = MATCHES_MAX / self.rules.redirects.len().max(1);
        let paths: Vec<_> = self
            .rules
            .redirects
            .redirected_paths()
            .take(paths_max)
            .collect();
        for path in paths {
            let decoded = SitePath::decode(path.as_bytes());
            let (Some(canonical), Ok(decoded)) = (CanonicalPath::new(path.as_bytes()), decoded)
            else {
                continue;
            };
            let Some(found) = self.redirect(&canonical, None, 0) else {
                continue;
            };
            let is_hidden_by_file = !found.is_forced
                && (self.original(decoded.bytes(), now).is_ok() || self.has_page(&decoded, now));
            if let Outcome::Redirect(_, to) = &found.outcome
                && !is_hidden_by_file
                && self.is_circle(&canonical, None, to, now)
            {
                self.rules.note_circle(found.line);
            }
        }
    }

    /// The answer from the file at another path than that of the request. No rule is applied to the other
    /// path, so two rules cannot lead in a circle.
    fn rewritten(
        &mut self,
        path: &str,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        let Some(path) = self.path_of_file(path, now) else {
            return self.without_file(FileError::Absent);
        };
        let redirects = mem::take(&mut self.rules.redirects);
        let reply = self.other_file(&path, request, now);
        self.rules.redirects = redirects;
        reply.into_fallback()
    }

    /// The answer 404 with the file at a path as its content.
    fn missing_by_rule(
        &mut self,
        path: &str,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        let error = FileError::Absent;
        match self.path_of_file(path, now) {
            Some(path) if path.is_directory() => {
                self.missing(path.join(&self.index).bytes(), error, request, now)
            }
            Some(path) => self.missing(path.bytes(), error, request, now),
            None => self.without_file(error),
        }
    }

    /// The path of a file that a rule names. For a folder, the path gets its slash here: the client does
    /// not see this path, and cannot be redirected to it.
    fn path_of_file(&mut self, path: &str, now: SystemTime) -> Option<SitePath<'static>> {
        if self.is_looking {
            self.led_to.clear();
            self.led_to.extend_from_slice(path.as_bytes());
        }
        let decode = |path: &str| {
            let path = SitePath::decode(path.as_bytes()).ok()?;
            // The path is copied, because a rule may go with the next look at the files.
            Some(path.into_owned())
        };
        let decoded = decode(path)?;
        let is_folder = !decoded.is_directory()
            && matches!(
                self.original(decoded.bytes(), now),
                Err(FileError::Directory)
            );
        match is_folder {
            true => decode(&format!("{path}/")),
            false => Some(decoded),
        }
    }

    /// Puts the fields on a reply that the rules of `_headers` set for the path of the request. They are
    /// for files and for the pages of a 404: a redirect stays as it is.
    #[inline(never)]
    pub(in crate::site) fn put_headers_on(
        &mut self,
        reply: &mut Reply<F::File>,
        request: &RequestHead<'_>,
    ) {
        let is_about_file = matches!(
            reply.status,
            Status::Ok | Status::PartialContent | Status::NotModified | Status::NotFound
        );
        if !is_about_file || request.method() == Method::Options {
            return;
        }
        let Some(path) = request.path().and_then(CanonicalPath::new) else {
            return;
        };
        self.cost += 1 + self.rules.headers.len() as u32 / Self::RULES_PER_WORK;
        let edits = self.rules.headers.edits(&path);
        if edits.is_empty() {
            return;
        }
        self.cost += edits.len() as u32 / Self::RULES_PER_WORK;
        let first = |name| field_values(&reply.head, name).next().unwrap_or_default();
        let media_type = first("Content-Type");
        // A policy for the files of the site would break a page of the server.
        let is_own_page = reply.form != Form::Text;
        let keeps_type = is_own_page
            || !matches!(reply.status, Status::Ok | Status::PartialContent)
            || media_type.starts_with(b"multipart/byteranges");
        let is_changing = is_own_page || reply.is_fallback || reply.status == Status::NotFound;
        let is_kept = |edit: &Edit<'_>| {
            (keeps_type && edit.is_of("Content-Type"))
                || (is_own_page && edit.is_of("Content-Security-Policy"))
                // The content is that of another path, or a list, or an error: it will change.
                || (is_changing && edit.is_of("Cache-Control"))
        };
        let changes = edits.iter().filter(|edit| !is_kept(edit));
        let changes = changes.map(Edit::change);
        let head = edit_head(&reply.head, changes);
        let is_page = reply.status == Status::NotFound || media_type.starts_with(b"text/html");
        let mut immutable = edits.iter().filter(|edit| {
            is_page && edit.is_of("Cache-Control") && edit.value().contains("immutable")
        });
        if let Some(line) = immutable.next().map(|edit| edit.line) {
            self.rules.note_immutable(line);
        }
        reply.head = head.into();
    }
}
