//! Daemons of a newer Debian, unpacked beside this one with all their libraries (`cargo xtask peers`).

use std::path::{Path, PathBuf};

/// The folder with their `etc` and `usr`: `$ADIT_PEERS`, or what the chore made in the target folder.
fn root() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ADIT_PEERS") {
        return Some(path.into());
    }
    let test = std::env::current_exe().ok()?;
    Some(test.ancestors().nth(3)?.join("peers/trixie"))
}

/// Is `program` (by its path on that Debian) there? If not, what is missing.
pub fn missing(program: &str) -> Option<String> {
    let path = root()?.join(program.trim_start_matches('/'));
    (!path.exists()).then(|| format!("{} is missing (cargo xtask peers)", path.display()))
}

/// Shell commands that put that Debian in the place of this one, for a shell that has a mount namespace of its own and
/// runs nothing of this machine any more. `usr` comes last: with it the shell's own tools go.
pub fn enter() -> String {
    enter_with(&root().expect("a folder of peers").join("etc"))
}

/// The same with another `etc`, for daemons that look there for more than can be given by name.
pub fn enter_with(etc: &Path) -> String {
    let root = root().expect("a folder of peers");
    format!("mount --bind '{}' /etc && mount --bind '{}/usr' /usr", etc.display(), root.display())
}

/// Copies a file or folder of its `etc` into `folder`.
pub(crate) fn copy_etc(name: &str, folder: &Path) {
    let source = root().expect("a folder of peers").join("etc").join(name).display().to_string();
    crate::process::run("cp", &["-a", &source, &folder.display().to_string()]);
}
