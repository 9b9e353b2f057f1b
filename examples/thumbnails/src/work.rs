//! Doing what was ordered.

use std::io::ErrorKind;
use std::time::Duration;

use image::{ImageError, ImageResult};
use quorate::queue::Condition;
use quorate::{CancellationToken, Fleet, Job, JobError, Queue};
use serde::{Deserialize, Serialize};

use crate::jobs::{FOLDERS, Folder, IMAGES, Picture, SHEETS, Sheet};
use crate::picture::{self, CONTACT_SHEET, SIZES};

/// The others get what a killed worker had when this is over. Short, because who tries that waits for it.
const LEASE: Duration = Duration::from_secs(5);

/// An order is at most as many jobs as one may leave, of which one is the sheet.
const MOST_IMAGES: usize = 999;

/// How a process works.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "who starts it makes it")]
pub struct Workers {
    /// How many images at a time.
    pub concurrency: usize,
    /// A pause after each thumbnail, for who wants to watch.
    pub rest: Duration,
}

/// Works until `stop` fires. What it had then is finished, or handed back to others.
///
/// # Errors
/// For an option that breaks its rule. Never because of the backend.
///
/// # Cancel safety
/// When the future is dropped, the workers stop in the background.
pub async fn work(fleet: &Fleet, how: Workers, stop: CancellationToken) -> quorate::Result<()> {
    let (images, sheets) = (fleet.queue(&IMAGES), fleet.queue(&SHEETS));
    let (to_images, to_sheets) = (images.clone(), sheets.clone());
    let folders = fleet.queue(&FOLDERS).worker(move |job| {
        let (images, sheets) = (to_images.clone(), to_sheets.clone());
        async move { open(job, &images, &sheets).await }
    });
    let images = images
        .worker(move |job| make_small(job, how.rest))
        .concurrency(how.concurrency);
    tokio::try_join!(
        folders.lease(LEASE).run(stop.clone()),
        images.lease(LEASE).run(stop.clone()),
        sheets.worker(make_sheet).lease(LEASE).run(stop.clone()),
    )?;
    Ok(())
}

/// Leaves a job for each image, and one that waits for all of them. They are queued together, or not at all.
async fn open(
    job: Job<Folder>,
    images: &Queue<Picture>,
    sheets: &Queue<Sheet>,
) -> Result<(), JobError> {
    let (folder, job) = job.split();
    let from = folder.from.clone();
    let names = blocking(move || Ok(picture::names_in(&from)?)).await?;
    if names.is_empty() || names.len() > MOST_IMAGES {
        let count = names.len();
        let rule = format!("the folder has {count} images, and must have 1 to {MOST_IMAGES}");
        return Err(JobError::abort(rule));
    }
    let mut left = Vec::new();
    for name in &names {
        let picture = Picture {
            folder: folder.clone(),
            name: name.clone(),
        };
        left.push(job.leave(images, &picture)?.id());
    }
    println!("opened {}: {} images", folder.from.display(), names.len());
    let to = folder.to;
    job.after(Condition::AllSucceeded, left)
        .leave(sheets, &Sheet { to, names })?;
    Ok(())
}

/// What is made of an image so far: where the next attempt begins.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Made {
    sizes: usize,
    bytes: u64,
}

async fn make_small(job: Job<Picture>, rest: Duration) -> Result<(), JobError> {
    let (Picture { folder, name }, job) = job.split();
    let mut made: Made = job.last_checkpoint()?.unwrap_or_default();
    let path = folder.from.join(&name);
    let mut image = blocking(move || picture::read(&path)).await?;
    for size in SIZES.into_iter().skip(made.sizes) {
        let (to, file, writer) = (folder.to.clone(), name.clone(), job.lease().get());
        let bytes;
        (image, bytes) = blocking(move || {
            let bytes = picture::write_small(&image, size, &to, &file, writer)?;
            Ok((image, bytes))
        })
        .await?;
        made.sizes += 1;
        made.bytes += bytes;
        let part = made.sizes as f64 / SIZES.len() as f64;
        if !job.checkpoint(&made).await? || !job.progress(&part).await? {
            return Err(JobError::retry("another worker has this image by now"));
        }
        println!("wrote {size}/{name}");
        tokio::time::sleep(rest).await;
    }
    job.append_group_value(&made.bytes)?;
    Ok(())
}

async fn make_sheet(job: Job<Sheet>) -> Result<(), JobError> {
    let (Sheet { to, names }, job) = job.split();
    let writer = job.lease().get();
    blocking(move || picture::write_sheet(&to, &names, writer)).await?;
    println!("wrote {CONTACT_SHEET}");
    Ok(())
}

/// Runs what keeps a processor busy beside the tasks of the runtime, which renew the leases meanwhile. An image that can't be
/// read today can't be tomorrow; anything else is tried again.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> ImageResult<T> + Send + 'static,
) -> Result<T, JobError> {
    match tokio::task::spawn_blocking(run).await? {
        Ok(value) => Ok(value),
        // A file that ends too soon does so next time as well.
        Err(ImageError::IoError(error)) if error.kind() != ErrorKind::UnexpectedEof => {
            Err(error.into())
        }
        Err(error) => Err(JobError::abort(error)),
    }
}
