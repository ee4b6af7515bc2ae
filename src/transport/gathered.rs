//! Floor 1, transport: storage in which a message or a body is gathered piece by piece.
//!
//! Text is gathered as text: each piece is checked once, when it comes. Bytes of which is known only
//! later that they are text would have to be checked again as a whole, and a check of 16 MiB takes longer
//! than a turn may.

use std::mem;

/// Storage that grows: a vector of bytes, or a string.
pub(crate) trait Growing: Default {
    /// What is appended.
    type Piece: AsRef<[u8]> + ?Sized;

    /// Creates an empty value with the storage of `vec`, whose bytes are dropped.
    fn with_storage(vec: Vec<u8>) -> Self;

    /// Takes the storage with the bytes in it.
    fn into_vec(self) -> Vec<u8>;

    /// Returns all that was appended.
    fn whole(&self) -> &Self::Piece;

    /// Returns the number of bytes for which there is space.
    fn capacity(&self) -> usize;

    /// Makes space for `more` bytes after the present ones, and for no others.
    fn reserve_exact(&mut self, more: usize);

    /// Appends a piece.
    fn push_piece(&mut self, piece: &Self::Piece);
}

impl Growing for Vec<u8> {
    type Piece = [u8];

    fn with_storage(mut vec: Vec<u8>) -> Vec<u8> {
        vec.clear();
        vec
    }

    fn into_vec(self) -> Vec<u8> {
        self
    }

    fn whole(&self) -> &[u8] {
        self
    }

    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn reserve_exact(&mut self, more: usize) {
        self.reserve_exact(more);
    }

    fn push_piece(&mut self, piece: &[u8]) {
        self.extend_from_slice(piece);
    }
}

impl Growing for String {
    type Piece = str;

    fn with_storage(mut vec: Vec<u8>) -> String {
        vec.clear();
        String::from_utf8(vec).expect("no bytes are text")
    }

    fn into_vec(self) -> Vec<u8> {
        self.into_bytes()
    }

    fn whole(&self) -> &str {
        self
    }

    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn reserve_exact(&mut self, more: usize) {
        self.reserve_exact(more);
    }

    fn push_piece(&mut self, piece: &str) {
        self.push_str(piece);
    }
}

/// A message that was gathered, or is being gathered.
#[derive(Debug)]
pub(crate) enum Gathered {
    Bytes(Vec<u8>),
    Text(String),
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered::Bytes(Vec::new())
    }
}

impl Gathered {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Gathered::Bytes(bytes) => bytes,
            Gathered::Text(text) => text.as_bytes(),
        }
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Takes the storage with the bytes in it.
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Gathered::Bytes(bytes) => bytes,
            Gathered::Text(text) => text.into_bytes(),
        }
    }

    pub(super) fn take_vec(&mut self) -> Vec<u8> {
        mem::take(self).into_vec()
    }

    pub(super) fn capacity(&self) -> usize {
        match self {
            Gathered::Bytes(bytes) => bytes.capacity(),
            Gathered::Text(text) => text.capacity(),
        }
    }
}
