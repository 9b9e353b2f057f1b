//! A folder of images made small by any number of workers, and a contact sheet when all are there.
//!
//! [`order`] asks for a folder to be made small, [`work`] does what was asked for. The two share a home (in this process, a file,
//! or a Redis or Valkey server), the folders, and nothing else.

mod jobs;
mod order;
mod picture;
mod work;

pub use jobs::{FOLDERS, Folder, IMAGES, Picture, SHEETS, Sheet};
pub use order::{Ordered, follow, order};
pub use picture::{CONTACT_SHEET, SIZES, draw};
pub use work::{Workers, work};
