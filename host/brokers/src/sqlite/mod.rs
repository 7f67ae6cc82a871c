//! kombu's SQLAlchemy tables in one SQLite file.
