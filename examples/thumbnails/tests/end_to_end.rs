//! The whole way: processes that order and work, and one that is killed in the middle.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use quorate_testing::servers::{ServerKind, shared};
use tempfile::TempDir;
use thumbnails::{CONTACT_SHEET, SIZES, draw};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const IMAGES: u32 = 5;

/// A folder of images, and room for what is made of them.
fn images() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    draw(&folder.path().join("from"), IMAGES).unwrap();
    folder
}

/// The program, in a folder of [`images`].
fn thumbnails(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thumbnails"));
    command
        .args(arguments)
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A process that works, and what it says of that.
struct Working {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it wrote so far.
    wrote: Vec<String>,
}

impl Working {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            wrote: Vec::new(),
        }
    }

    /// Goes on until it has written something more; `false` if it ended.
    async fn writes(&mut self) -> bool {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            if let Some(file) = line.strip_prefix("wrote ") {
                self.wrote.push(file.to_owned());
                return true;
            }
        }
        false
    }

    /// With SIGKILL: it can say nothing to anybody any more. Returns what it wrote.
    async fn kill(mut self) -> Vec<String> {
        self.child.kill().await.unwrap();
        while self.writes().await {}
        self.wrote
    }
}

/// Everything that is to be there when an order is done, sorted.
fn expected() -> Vec<String> {
    let kind = |number| if number % 2 == 0 { "jpg" } else { "png" };
    let names = (1..=IMAGES).map(|number| format!("hills-{number:03}.{}", kind(number)));
    let mut all: Vec<_> = names
        .flat_map(|name| SIZES.map(|size| format!("{size}/{name}")))
        .chain([CONTACT_SHEET.to_owned()])
        .collect();
    all.sort();
    all
}

/// The files below a folder, whatever their names.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let (path, name) = entry.map(|it| (it.path(), it.file_name())).unwrap();
        let name = name.into_string().unwrap();
        if path.is_dir() {
            found.extend(files(&path).iter().map(|it| format!("{name}/{it}")));
        } else {
            found.insert(name);
        }
    }
    found
}

/// All is there and whole, and was written once, whoever did.
fn assert_made_once(folder: &TempDir, mut wrote: Vec<String>) {
    wrote.sort();
    assert_eq!(wrote, expected());
    let to = folder.path().join("to");
    assert_eq!(files(&to), expected().into_iter().collect());
    for file in wrote {
        let image = image::open(to.join(&file)).unwrap();
        if let Some((size, _)) = file.split_once('/') {
            assert_eq!(image.width().to_string(), size, "{file}");
        }
    }
}

#[tokio::test]
async fn when_a_worker_is_killed_another_goes_on_where_it_was() {
    let folder = images();
    let redis = shared(ServerKind::Redis).await.unwrap();
    let home = format!(
        "{}?namespace=thumbnails-{}",
        redis.url(),
        std::process::id()
    );
    let order = ["order", "from", "to", "--home", &home];

    // The first one pauses with one of three thumbnails of an image, for longer than the test takes.
    let slow = [
        "work",
        "--home",
        &home,
        "--concurrency",
        "1",
        "--rest",
        "1h",
    ];
    let mut first = Working::start(thumbnails(&folder, &slow));
    let ordering = thumbnails(&folder, &order).spawn().unwrap();
    assert!(first.writes().await);

    // The second one begins while the first has that image.
    let mut second = Working::start(thumbnails(&folder, &["work", "--home", &home]));
    assert!(second.writes().await);
    let mut wrote = first.kill().await;
    assert_eq!(wrote.len(), 1);

    while !second.wrote.contains(&CONTACT_SHEET.to_owned()) {
        assert!(second.writes().await, "it goes on until the sheet is there");
    }
    let output = ordering.wait_with_output().await.unwrap();
    let (said, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{error}");
    assert!(said.contains("5 images, 15 thumbnails"), "{said}");

    // Whoever orders the same again is told of the one that is done.
    let again = thumbnails(&folder, &order).output().await.unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success());
    assert!(said.contains("ordered before"), "{said}");
    wrote.extend(second.kill().await);
    assert_made_once(&folder, wrote);
}

#[tokio::test]
async fn one_process_with_a_file_goes_on_after_it_was_killed() {
    let folder = images();
    let run = [
        "run",
        "from",
        "to",
        "--home",
        "file:state.redb",
        "--concurrency",
        "1",
    ];
    let mut slow = thumbnails(&folder, &run);
    slow.args(["--rest", "1h"]);
    let mut first = Working::start(slow);
    assert!(first.writes().await);
    let mut wrote = first.kill().await;

    let mut second = Working::start(thumbnails(&folder, &run));
    while second.writes().await {}
    assert!(second.child.wait().await.unwrap().success());
    wrote.append(&mut second.wrote);
    assert_made_once(&folder, wrote);
}

#[tokio::test]
async fn an_image_that_is_none_ends_the_order_without_a_sheet() {
    let folder = images();
    std::fs::write(folder.path().join("from/broken.png"), "no image").unwrap();
    // Too short to say even that.
    std::fs::write(folder.path().join("from/short.png"), "no").unwrap();
    let refused = thumbnails(&folder, &["run", "from", "to"]).output().await;
    let refused = refused.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(
        said.contains("2 jobs failed for good, and 1 were cancelled"),
        "{said}"
    );
    let mut expected: BTreeSet<_> = expected().into_iter().collect();
    expected.remove(CONTACT_SHEET);
    assert_eq!(files(&folder.path().join("to")), expected);
}

#[tokio::test]
async fn wrong_arguments_are_refused_with_the_reason() {
    let folder = images();
    for (arguments, says) in [
        (
            &["work", "--home", "memory:"][..],
            "`thumbnails run` orders and works in one",
        ),
        (
            &["order", "from", "to", "--home", "file:state.redb"],
            "the home of one process",
        ),
        (
            &["run", "elsewhere", "to"],
            "elsewhere: there is no such folder",
        ),
        (&["run", "from", "to", "--concurrency", "0"], "concurrency"),
        (&["run", "from", "to", "--rest", "long"], "--rest"),
        (
            &["run", "from", "to", "--home", "carrier-pigeon://loft"],
            "url must begin",
        ),
        (&["work"], "--home"),
    ] {
        let refused = thumbnails(&folder, arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
