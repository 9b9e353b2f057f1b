//! Images: read, made small, drawn. Nothing here knows of queues.

use std::fs;
use std::io::{self, Cursor};
use std::path::Path;

use image::{DynamicImage, ImageFormat, ImageReader, ImageResult, Rgb, RgbImage, imageops};

/// The longer side of each thumbnail of an image, in pixels, and the name of the folder that it is put in.
pub const SIZES: [u32; 3] = [640, 320, 160];

/// The file name of the contact sheet.
pub const CONTACT_SHEET: &str = "contact-sheet.jpg";

const COLUMNS: u32 = 6;
/// Room for the smallest thumbnail, and a margin.
const CELL: u32 = SIZES[SIZES.len() - 1] + 8;
const PAPER: Rgb<u8> = Rgb([244, 242, 236]);

/// The names of the images in a folder, sorted.
pub(crate) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().into_string().map_err(|name| {
            io::Error::other(format!("{}: its name must be UTF-8", name.display()))
        })?;
        if !name.starts_with('.') && format_of(&name).is_ok() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn format_of(name: &str) -> ImageResult<ImageFormat> {
    let format = ImageFormat::from_path(name)?;
    if format.writing_enabled() {
        Ok(format)
    } else {
        Err(image::ImageError::Unsupported(
            image::error::ImageFormatHint::Exact(format).into(),
        ))
    }
}

pub(crate) fn read(path: &Path) -> ImageResult<DynamicImage> {
    ImageReader::open(path)?.with_guessed_format()?.decode()
}

/// Writes the image into the folder as a thumbnail of this size. Returns how many bytes that took.
pub(crate) fn write_small(
    image: &DynamicImage,
    size: u32,
    to: &Path,
    name: &str,
    writer: u64,
) -> ImageResult<u64> {
    let folder = to.join(size.to_string());
    fs::create_dir_all(&folder)?;
    let small = image.thumbnail(size, size);
    write(&small, &folder, name, writer)
}

/// Writes the smallest thumbnails of the images onto one.
pub(crate) fn write_sheet(to: &Path, names: &[String], writer: u64) -> ImageResult<u64> {
    let count = u32::try_from(names.len()).map_err(io::Error::other)?;
    let (columns, rows) = (count.min(COLUMNS), count.div_ceil(COLUMNS));
    let mut sheet = RgbImage::from_pixel(columns * CELL, rows * CELL, PAPER);
    let smallest = to.join(SIZES[SIZES.len() - 1].to_string());
    for (at, name) in (0..count).zip(names) {
        let small = read(&smallest.join(name))?.into_rgb8();
        let x = at % COLUMNS * CELL + (CELL - small.width()) / 2;
        let y = at / COLUMNS * CELL + (CELL - small.height()) / 2;
        imageops::replace(&mut sheet, &small, x.into(), y.into());
    }
    write(&sheet.into(), to, CONTACT_SHEET, writer)
}

/// Under its name there is the whole image or none: it is written beside that, each writer by itself, and moved.
fn write(image: &DynamicImage, folder: &Path, name: &str, writer: u64) -> ImageResult<u64> {
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), format_of(name)?)?;
    let aside = folder.join(format!(".{name}.{writer}.part"));
    fs::write(&aside, &bytes)?;
    fs::rename(&aside, folder.join(name))?;
    Ok(bytes.len() as u64)
}

/// Draws as many images into a folder, PNG and JPEG in turn: hills under a sky, each in a light of its own.
///
/// # Errors
/// Those of the file system.
pub fn draw(folder: &Path, count: u32) -> ImageResult<()> {
    fs::create_dir_all(folder)?;
    for number in 1..=count {
        let kind = if number % 2 == 0 { "jpg" } else { "png" };
        hills(number, 960, 640).save(folder.join(format!("hills-{number:03}.{kind}")))?;
    }
    Ok(())
}

fn hills(number: u32, width: u32, height: u32) -> RgbImage {
    let hour = f64::from(number) * 0.7;
    // Where the ridges, one behind the other, stand at each x; and the light.
    let ridges = |x: u32| {
        let x = f64::from(x) / f64::from(width);
        [0.0, 1.0, 2.0, 3.0, 4.0].map(|layer| {
            let wave = (x * (5.0 + 2.0 * layer) + hour * (layer + 1.0)).sin();
            0.4 + 0.12 * layer + 0.06 * wave
        })
    };
    let ridges: Vec<_> = (0..width).map(ridges).collect();
    let light = [0.0, 1.3, 2.6].map(|phase| 255.0 * (0.6 + 0.4 * (hour + phase).sin()));
    RgbImage::from_fn(width, height, |x, y| {
        let y = f64::from(y) / f64::from(height);
        let above = ridges[x as usize].iter().filter(|ridge| **ridge < y);
        let shade = (1.0 - 0.17 * above.count() as f64) * (1.0 - 0.3 * y);
        Rgb(light.map(|part| (part * shade) as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_has_the_size_and_the_shape_stays() {
        let folder = tempfile::tempdir().unwrap();
        let wide = DynamicImage::from(hills(1, 960, 640));
        for size in SIZES {
            write_small(&wide, size, folder.path(), "a.png", 1).unwrap();
            let small = read(&folder.path().join(format!("{size}/a.png"))).unwrap();
            assert_eq!(small.width(), size);
            assert_eq!(small.height(), (size * 2 + 1) / 3);
        }
    }

    #[test]
    fn only_images_count() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.png",
            "a.JPG",
            "notes.txt",
            "c.webp",
            ".b.png.7.part",
            ".d.png",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(names_in(folder.path()).unwrap(), ["a.JPG", "b.png"]);
    }
}
