//! The files that the URL names: regular files of a plausible size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// All public roots together take up a quarter of it.
const LARGEST: u64 = 1 << 20;

/// Reads the file that the URL's key `name` gives. A pipe or a device might have no end.
///
/// # Errors
/// One line without the path, which is part of the URL.
pub(super) fn read(path: &Path, name: &str) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("the file of {name} cannot be read: {}", error.kind());
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("the file of {name} is not a regular file"));
    }
    if metadata.len() > LARGEST {
        return Err(format!("the file of {name} is larger than 1 MiB"));
    }
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut content)).map_err(unreadable)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused_at_once() {
        for path in ["/dev/zero", "/dev", "/dev/tty"] {
            let fault = read(Path::new(path), "sslkey").unwrap_err();
            assert_eq!(fault, "the file of sslkey is not a regular file", "{path}");
        }
        let large = tempfile::NamedTempFile::new().unwrap();
        large.as_file().set_len(LARGEST + 1).unwrap();
        assert_eq!(read(large.path(), "sslcert").unwrap_err(), "the file of sslcert is larger than 1 MiB");
        large.as_file().set_len(10).unwrap();
        assert_eq!(read(large.path(), "sslcert").unwrap().len(), 10);
        let missing = read(Path::new("/nowhere/marked-path"), "sslrootcert").unwrap_err();
        assert_eq!(missing, "the file of sslrootcert cannot be read: entity not found");
    }
}
