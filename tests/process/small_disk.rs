//! A disk of a few hundred kilobytes that really is full when it is full: a tmpfs in a namespace of its own.

use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rescind::runtime::child::Child;

use crate::support::PATIENCE;
use crate::support::lab::Process;

/// Written into the disk until nothing more fits.
const FILLING: &str = "filling";

/// A disk that only its owner and what is started on it see. It goes with its owner.
pub(crate) struct SmallDisk {
    /// Keeps the namespace while nothing else runs in it.
    keeper: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of so many KiB at a folder, which is made.
    pub(crate) async fn mount(folder: PathBuf, kibibytes: u32) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let script = r#"mount -t tmpfs -o mode=0700,size="$1" small-disk "$0" || exit
            echo '{"message": "listening"}' >&2
            exec sleep 600"#;
        let size = format!("{kibibytes}k");
        let arguments =
            ["--user", "--map-root-user", "--mount", "--", "/bin/sh", "-c", script].map(str::as_bytes);
        let arguments = arguments.into_iter().chain([folder.as_os_str().as_bytes(), size.as_bytes()]);
        let arguments = arguments.map(std::ffi::OsStr::from_bytes);
        let mut keeper = Child::start("small disk", Path::new("unshare"), arguments).unwrap();
        // Never passed over: a machine that lets nobody mount has not shown what happens on a full disk.
        keeper.listening(PATIENCE).await.unwrap();
        let disk = Self { keeper, folder };
        assert_ne!(disk.device(), std::fs::metadata(&disk.folder).map(device).unwrap(), "nothing is mounted");
        disk
    }

    /// Starts a program that sees the disk, and waits until it listens.
    pub(crate) async fn start(
        &self,
        name: &str,
        program: &str,
        arguments: &[String],
    ) -> anyhow::Result<Process> {
        let target = format!("--target={}", self.keeper.id());
        let all = [&target, "--user", "--preserve-credentials", "--mount", "--", program];
        let all: Vec<_> = all.into_iter().map(str::to_owned).chain(arguments.iter().cloned()).collect();
        Process::start(name, "nsenter", &all).await
    }

    /// Returns the path at which those who do not see the disk find one of its files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.folder.strip_prefix("/").unwrap()).join(name)
    }

    /// Leaves no room, to the last byte.
    pub(crate) fn fill(&self) {
        let mut file = std::fs::File::create(self.path(FILLING)).unwrap();
        let mut length = 64 * 1024;
        while length > 0 {
            match file.write_all(&vec![1; length]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => length /= 2,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Makes room again.
    pub(crate) fn clear(&self) {
        std::fs::remove_file(self.path(FILLING)).unwrap();
    }

    fn device(&self) -> u64 {
        device(std::fs::metadata(self.path(".")).unwrap())
    }
}

fn device(metadata: std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::dev(&metadata)
}
