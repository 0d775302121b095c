//! The small file beside the database that says what the directory holds: which layout of the trees, and whether an
//! import is under way.
//!
//! It is read before the database is opened, because opening a sled database writes to it: a store that is not for
//! this version must stay as it is, to the byte. A store without the file is one of the first layout. It says
//! nothing about the records themselves; those have versions of their own.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::store::StoreError;

/// The file's name.
const FILE: &str = "schema";
/// Behind the number while an import is under way.
const IMPORTING: &str = " importing";

/// What the file says; the number is that of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// It is a store.
    Ready(u32),
    /// It is the beginning of one.
    Importing(u32),
}

/// What the directory says; `None` where it says nothing.
pub(crate) fn read(directory: &Path) -> Result<Option<Marker>, StoreError> {
    let path = directory.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => return Err(StoreError::BadMarker(path)),
        Err(source) => return Err(StoreError::Unopenable { path: directory.to_owned(), source }),
    };
    let line = text.trim_end_matches('\n');
    let number = line.strip_suffix(IMPORTING).unwrap_or(line);
    let schema = number.parse().map_err(|_| StoreError::BadMarker(path))?;
    Ok(Some(if number == line { Marker::Ready(schema) } else { Marker::Importing(schema) }))
}

/// Puts it there, durably and at once: whoever looks sees what was or what is.
pub(crate) fn write(directory: &Path, marker: Marker) -> Result<(), StoreError> {
    let line = match marker {
        Marker::Ready(schema) => format!("{schema}\n"),
        Marker::Importing(schema) => format!("{schema}{IMPORTING}\n"),
    };
    let put = || -> std::io::Result<()> {
        let new = directory.join(format!("{FILE}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(new, directory.join(FILE))?;
        File::open(directory)?.sync_all()
    };
    put().map_err(|source| StoreError::Unopenable { path: directory.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let dir = tempfile::TempDir::new().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        for marker in [Marker::Importing(1), Marker::Ready(1), Marker::Ready(27)] {
            write(dir.path(), marker).unwrap();
            assert_eq!(read(dir.path()).unwrap(), Some(marker));
        }
        for damage in ["", "\n", "one\n", "1 exporting\n", " importing\n", "-1\n"] {
            std::fs::write(dir.path().join(FILE), damage).unwrap();
            assert!(matches!(read(dir.path()), Err(StoreError::BadMarker(_))), "{damage:?}");
        }
        std::fs::write(dir.path().join(FILE), [0xff, 0xfe]).unwrap();
        assert!(matches!(read(dir.path()), Err(StoreError::BadMarker(_))));
    }
}
