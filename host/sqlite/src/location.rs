//! SQLAlchemy's addresses of SQLite files.

use std::path::PathBuf;

/// Why an address names no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// It is not of the form `sqla+sqlite:///path`.
    #[error(
        "not an address of a SQLite file (as `sqla+sqlite:///relative` or `db+sqlite:////absolute`)"
    )]
    Form,
    /// It names a database in memory, which no other process could reach.
    #[error("a SQLite database in memory has no other reader: name a file")]
    Memory,
}

/// The file that an address such as `sqla+sqlite:///queue.db` (relative to the working directory) or
/// `db+sqlite:////var/lib/queue.db` (absolute) names, as SQLAlchemy reads it. What follows a `?` are
/// settings of Python's driver, and passed over.
///
/// # Errors
/// When the address names no file.
pub fn path_of_url(url: &str) -> Result<PathBuf, LocationError> {
    let (scheme, rest) = url.split_once("://").ok_or(LocationError::Form)?;
    let dialect = scheme.split_once('+').map_or(scheme, |(prefix, rest)| match prefix {
        "sqla" | "sqlalchemy" | "db" => rest,
        _ => scheme,
    });
    if dialect != "sqlite" && dialect != "sqlite+pysqlite" {
        return Err(LocationError::Form);
    }
    let path = match rest.strip_prefix('/') {
        Some(path) => path.split('?').next().unwrap_or_default(),
        None if rest.is_empty() => return Err(LocationError::Memory),
        None => return Err(LocationError::Form),
    };
    if path.is_empty() || path == ":memory:" {
        return Err(LocationError::Memory);
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::{LocationError, path_of_url};

    #[test]
    fn three_slashes_are_relative_and_four_are_absolute() {
        let path = |url| path_of_url(url).map(|path| path.display().to_string());
        assert_eq!(path("sqla+sqlite:///.lovage/queue.db").as_deref(), Ok(".lovage/queue.db"));
        assert_eq!(path("sqlalchemy+sqlite:////var/q.db?timeout=3").as_deref(), Ok("/var/q.db"));
        assert_eq!(path("db+sqlite+pysqlite:///r.db").as_deref(), Ok("r.db"));
        assert_eq!(path("sqlite:///r.db").as_deref(), Ok("r.db"));
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for url in ["sqlite://", "sqla+sqlite:///", "sqla+sqlite:///:memory:"] {
            assert_eq!(path_of_url(url), Err(LocationError::Memory), "{url}");
        }
        for url in ["", "queue.db", "redis://localhost", "sqla+postgresql:///x", "sqlite://h/x"] {
            assert_eq!(path_of_url(url), Err(LocationError::Form), "{url}");
        }
    }
}
