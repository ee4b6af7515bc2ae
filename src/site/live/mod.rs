//! Floor 2, site: live reload, as far as it concerns the answers.

mod inject;

pub use inject::TagPlace;
