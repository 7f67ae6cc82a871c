//! Celery's database result backend in one SQLite file.
