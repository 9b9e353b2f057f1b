//! What is queued: all that who orders and who works have in common.

use std::path::PathBuf;
use std::time::Duration;

use quorate::QueueSpec;
use serde::{Deserialize, Serialize};

/// Folders to be made small. What became of an order is known for a day, and for as long the same order is not done twice.
pub const FOLDERS: QueueSpec<Folder> =
    QueueSpec::new("folders").keep_result(Duration::from_secs(24 * 60 * 60));

/// Images to be made small.
pub const IMAGES: QueueSpec<Picture> = QueueSpec::new("images");

/// Contact sheets to be made.
pub const SHEETS: QueueSpec<Sheet> = QueueSpec::new("sheets");

/// A folder to be made small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "who orders makes it")]
pub struct Folder {
    /// Where the images are.
    pub from: PathBuf,
    /// Where the thumbnails will be.
    pub to: PathBuf,
}

/// An image to be made small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Picture {
    /// Where it is, and where its thumbnails will be.
    pub folder: Folder,
    /// Its file name.
    pub name: String,
}

/// A contact sheet to be made of thumbnails that are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sheet {
    /// Where the thumbnails are, and the sheet will be.
    pub to: PathBuf,
    /// The images, by file name, in the order in which they stand on it.
    pub names: Vec<String>,
}
