//! Floor 2, site: pages with the script of live reload, kept for the next time that a browser asks.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::http::{Coding, Validators};
use crate::site::{Body, Stream};
use crate::sys::SharedBytes;

/// A page with the tag. Of a page that is not in memory, the first bytes.
#[derive(Debug)]
pub(in crate::site) struct Page {
    /// The page up to the tag, and the tag; or all of a page in memory.
    pub begin: SharedBytes,
    /// The offset in the file at which the rest of the page begins, if the page is not in memory.
    pub rest: u64,
    /// The whole page in the codings that were made.
    coded: [OnceCell<SharedBytes>; Coding::ALL.len()],
    /// The parts of an answer with the page in a coding, beside the body, if they are always the same.
    ready: [OnceCell<Ready>; Coding::ALL.len()],
}

/// The parts of an answer beside the body.
#[derive(Debug)]
pub(super) struct Ready {
    /// `None` for a page that cannot be recognised.
    pub validators: Option<Validators>,
    /// The head with the page, without its end.
    pub ok: Rc<[u8]>,
    /// The head of a 304, without its end.
    pub not_modified: Rc<[u8]>,
}

impl Page {
    pub fn new(begin: Vec<u8>, rest: u64) -> Page {
        Page {
            begin: begin.into(),
            rest,
            coded: Default::default(),
            ready: Default::default(),
        }
    }

    /// The length in bytes of the whole page with the tag. `plain` is the body of the answer without it.
    pub fn whole_bytes<F>(&self, plain: &Body<F>) -> u64 {
        let rest = match plain {
            Body::Stream(Stream::File(stream)) => stream.left.end.saturating_sub(self.rest),
            _ => 0,
        };
        self.begin.len() as u64 + rest
    }

    /// The parts of an answer with the page in a coding.
    pub(super) fn ready(&self, coding: Coding) -> Option<&Ready> {
        self.ready[coding as usize].get()
    }

    /// Keeps the parts of an answer with the page in a coding.
    pub(super) fn make_ready(&self, coding: Coding, ready: Ready) {
        self.ready[coding as usize].get_or_init(|| ready);
    }

    /// The page in a coding, if that was made.
    pub fn coded(&self, coding: Coding) -> Option<SharedBytes> {
        self.coded[coding as usize].get().cloned()
    }

    /// Keeps the page in a coding. Of two encoders for one page, the first counts.
    pub fn keep(&self, coding: Coding, coded: SharedBytes) {
        self.coded[coding as usize].get_or_init(|| coded);
    }

    /// The memory that the page holds, in bytes.
    fn bytes(&self) -> usize {
        let coded = self.coded.iter().filter_map(OnceCell::get);
        let ready = self.ready.iter().filter_map(OnceCell::get);
        let heads = ready.map(|ready| ready.ok.len() + ready.not_modified.len());
        self.begin.len() + coded.map(|coded| coded.len()).sum::<usize>() + heads.sum::<usize>()
    }
}

/// The pages that were asked for last. The head of the answer without the script names a page: the head has
/// a strong entity tag, which no two contents share.
#[derive(Debug)]
pub(super) struct Pages {
    /// The last that was asked for comes first.
    pages: Vec<(Box<[u8]>, Rc<Page>)>,
    bytes_max: usize,
}

impl Pages {
    /// A developer has a few pages open at a time.
    const PAGES_MAX: usize = 32;

    /// More memory than this, in bytes, is not held.
    const BYTES_MAX: usize = 4 << 20;

    /// Holds at most so many bytes.
    pub fn new(bytes_max: usize) -> Pages {
        Pages {
            pages: Vec::new(),
            bytes_max: bytes_max.min(Self::BYTES_MAX),
        }
    }

    pub fn get(&mut self, head: &[u8]) -> Option<Rc<Page>> {
        let at = self.pages.iter().position(|(other, _)| **other == *head)?;
        self.pages[..=at].rotate_right(1);
        Some(Rc::clone(&self.pages[0].1))
    }

    /// Adds a page. The pages that were asked for longest ago go, also because a coding was made of others
    /// meanwhile.
    pub fn insert(&mut self, head: &[u8], page: &Rc<Page>) {
        self.pages.truncate(Self::PAGES_MAX - 1);
        self.pages.insert(0, (head.into(), Rc::clone(page)));
        let mut bytes = 0;
        self.pages.retain(|(head, page)| {
            bytes += head.len() + page.bytes();
            bytes <= self.bytes_max
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_asked_for_last_are_kept_within_the_bound() {
        let page = |bytes| Rc::new(Page::new(vec![0; bytes], 0));
        let mut pages = Pages::new(1_000);
        pages.insert(b"a", &page(300));
        pages.insert(b"b", &page(300));
        assert!(pages.get(b"a").is_some());
        pages.insert(b"c", &page(500));
        assert!(pages.get(b"b").is_none());
        assert!(pages.get(b"a").is_some() && pages.get(b"c").is_some());
        pages.insert(b"huge", &page(2_000));
        assert!(pages.pages.is_empty());
        for n in 0..100_u8 {
            pages.insert(&[n], &page(1));
        }
        assert_eq!(pages.pages.len(), Pages::PAGES_MAX);
        assert!(pages.get(&[99]).is_some() && pages.get(&[0]).is_none());
    }

    #[test]
    fn a_coding_counts_as_memory() {
        let mut pages = Pages::new(1_000);
        let page = Rc::new(Page::new(vec![0; 300], 0));
        pages.insert(b"a", &page);
        page.keep(Coding::Gzip, vec![0; 600].into());
        page.keep(Coding::Gzip, vec![1].into());
        assert_eq!(page.coded(Coding::Gzip).map(|coded| coded.len()), Some(600));
        assert!(page.coded(Coding::Brotli).is_none());
        pages.insert(b"b", &Rc::new(Page::new(vec![0; 200], 0)));
        assert!(pages.get(b"a").is_none() && pages.get(b"b").is_some());
    }
}
