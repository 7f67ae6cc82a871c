"""Names that task files import from Celery's worker. Lovage is the worker."""
