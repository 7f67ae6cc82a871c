"""The project of Celery's "Next steps": a package with an application and its tasks."""
