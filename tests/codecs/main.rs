//! The codecs against others' and against themselves: what they accept is what an independent parser
//! reads in it, and no cut changes anything. Random inputs, from proptest, which shrinks what fails.

mod body;
mod head;
mod replay;
