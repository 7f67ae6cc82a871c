//! Celery's wire format: bytes to vocabulary and back; no I/O.
