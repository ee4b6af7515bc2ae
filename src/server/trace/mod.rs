//! Floor 4, server: the trace, which is the flight recorder as text. A trace is in logical time: a line has
//! the number of its turn. The same acts of the clients therefore give the same trace, on any machine.

pub mod jsonl;
