//! Floor 0, sys: memory that the allocator gives back to the system.

use std::mem;
use std::ops::Deref;
use std::rc::Rc;

/// The bytes, at least, of an allocation that glibc takes from the system, as long as its threshold is
/// not raised.
pub(crate) const FROM_SYSTEM_BYTES: usize = 128 << 10;

/// Frees a vector. Large storage is made small first.
///
/// The allocator of glibc takes an allocation above a threshold, 128 KiB at first, from the system, and
/// gives it back whole. But the threshold rises to the largest such allocation that is freed: after
/// one message of 16 MiB, all messages would come from the heap, which grows by the gaps between
/// them and keeps its size (measured: 420 MB for 256 MB in use). A small one does not raise the
/// threshold (mallopt(3), `M_MMAP_THRESHOLD`).
pub(crate) fn free<T>(mut vec: Vec<T>) {
    let most = FROM_SYSTEM_BYTES / size_of::<T>().max(1);
    if vec.capacity() > most {
        vec.clear();
        vec.shrink_to(most / 2);
    }
}

/// A vector that [`free`] frees when it is dropped.
#[derive(Default, Debug)]
pub(crate) struct Storage(pub Vec<u8>);

impl Drop for Storage {
    fn drop(&mut self) {
        free(mem::take(&mut self.0));
    }
}

/// Bytes that several holders share without a copy. When the last one drops them, [`free`] frees them.
#[derive(Clone, Debug)]
pub(crate) struct SharedBytes(Rc<Storage>);

impl SharedBytes {
    /// Returns the address by which the bytes are known as long as somebody holds them.
    pub fn address(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }

    /// Returns how many hold the bytes.
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.0)
    }
}

impl From<Storage> for SharedBytes {
    fn from(mut bytes: Storage) -> SharedBytes {
        bytes.0.shrink_to_fit();
        SharedBytes(Rc::new(bytes))
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> SharedBytes {
        Storage(bytes).into()
    }
}

impl From<&[u8]> for SharedBytes {
    fn from(bytes: &[u8]) -> SharedBytes {
        bytes.to_vec().into()
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0.0
    }
}
